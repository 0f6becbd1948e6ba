"""What a run looks like: its history, its mistakes and what its network sees, as pictures and as one HTML file."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_benchmarks import Accuracy
from edgevision_device import __version__

from . import _looking as looking
from ._run_data import held_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras
    import numpy.typing as npt

    from ._pictures import Pictures, Splits

__all__ = ["REPORT_FILES", "make_run_report"]

#: What `make_run_report` makes; `filters.png` only for a network with convolutions.
REPORT_FILES = ("history.png", "confusion.png", "confusion.csv", "mistakes.png", "filters.png", "report.html")

_MISTAKES, _EXPLAINED, _MAP_LAYERS, _MAPS, _FILTERS = 20, 4, 3, 24, 96
#: Of labels in a list, where a table of all would be too long.
_LISTED = 40
#: Pixels of the longer side of a picture in the page.
_THUMBNAIL, _LARGE = 160, 224
#: Occlusions per side, and mistakes explained by them: fewer than in `edgevision look cam`, and for large inputs fewer
#: still, so that a report takes seconds. VGG16 needs a quarter of a second for each occlusion on a laptop.
_STEPS, _LARGE_STEPS, _LARGE_EXPLAINED, _LARGE_INPUT = 10, 7, 2, 128
#: Pixels of the confusion matrix of many labels in the page.
_MATRIX = 720

#: Charts: title, and what it shows by name in the history.
_CHARTS = (
    ("Loss", {"loss": "train", "val_loss": "val"}),
    ("Accuracy", {"accuracy": "train", "val_accuracy": "val"}),
    ("Learning rate", {"learning_rate": "learning rate"}),
)


@dataclass(frozen=True)
class _Picture:
    """A picture in the page; `pixelated` if its pixels are to be seen."""

    source: str
    pixelated: bool


@dataclass(frozen=True)
class _Held:
    """What was measured on the pictures held out."""

    part: str
    pictures: Pictures
    scores: npt.NDArray[np.float32]
    confusion: npt.NDArray[np.int64]

    @property
    def accuracy(self) -> Accuracy:
        return Accuracy(int(np.trace(self.confusion)), len(self.pictures))


def make_run_report(
    model: keras.Model,
    splits: Splits,
    record: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    *,
    name: str | None = None,
    scores: npt.NDArray[np.float32] | None = None,
) -> dict[str, bytes]:
    """Make the files that show what a run is like. The same arguments give the same bytes.

    Args:
        model: from pixels 0..255 to scores, one per label.
        splits: what it was trained on; its test part is looked at, or val where there is no test part.
        record: content of `run.json`.
        history: what was measured in each epoch, by name: `loss`, `val_loss`, `accuracy`, `val_accuracy`,
            `learning_rate`; what is not there is not drawn.
        name: of the run; default: the network's.
        scores: the model's, on all pictures of that part, `(n, labels)`; default: they are computed.

    Returns:
        content by file name, those of `REPORT_FILES`.
    """
    network = looking.clean(str(record.get("model") or record.get("network") or model.name))
    subject = looking.Subject(model, name or network, splits.labels, str(record.get("resize", "stretch")))
    part, pictures = held_out(splits)
    scores = looking.score_all(subject, pictures) if scores is None else np.asarray(scores, np.float32)
    if scores.shape != (len(pictures), len(splits.labels)):
        raise ValueError(f"scores have shape {scores.shape}, expected {(len(pictures), len(splits.labels))}")
    held = _Held(part, pictures, scores, looking.confusion_of(scores, pictures.targets))
    mistakes = looking.find_mistakes(scores, pictures, _MISTAKES)
    wrong = len(pictures) - held.accuracy.right
    counted = f"{wrong:,} of {len(pictures):,} {part} pictures got another label than their own"
    order = f"; the {len(mistakes)} surest, the surest first" if len(mistakes) < wrong else ", the surest first"
    made: dict[str, bytes] = {
        "history.png": looking.draw_history(history),
        "confusion.png": looking.draw_confusion(held.confusion, splits.labels, f"{subject.name}: confusion, {part}"),
        # A folder's name may hold bytes that are no UTF-8; Python keeps them as surrogates.
        "confusion.csv": looking.confusion_csv(held.confusion, splits.labels).encode(errors="surrogateescape"),
        "mistakes.png": looking.draw_mistakes(
            mistakes, pictures, f"{subject.name}: mistakes", [counted + (order if mistakes else "")]
        ),
    }
    convolutions = looking.convolutions(model)
    filters = looking.first_filters(model) if convolutions else None
    if filters is not None:
        made["filters.png"] = looking.draw_filters(filters, f"{subject.name}: filters", 256)
    context = {
        "name": looking.clean(subject.name),
        "network": network,
        "version": __version__,
        "record": record,
        "skipped": [looking.clean(str(line)) for line in record.get("skipped", ())],
        "held": held,
        "labels": [looking.clean(label) for label in splits.labels],
        "charts": [chart for each in _CHARTS if (chart := looking.chart_of(each[0], history, each[1])) is not None],
        "confusion": _confusion(held),
        "recalls": _recalls(held),
        "counted": counted,
        "mistakes": [(each, _thumbnail(pictures, each.place)) for each in map(_cleaned, mistakes)],
        "explained": _explain(subject, pictures, mistakes[:_EXPLAINED]),
        "filters": None if filters is None else _filters(filters),
        "maps": _maps(subject, pictures, convolutions),
        "facts": _facts(record, network),
        "options": _options(record.get("options", {})),
    }
    made["report.html"] = _render(context).encode(errors="replace")
    return {file: made[file] for file in REPORT_FILES if file in made}


def _render(context: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = _percent
    template = environment.from_string(Path(__file__).with_name("run_report.html.jinja").read_text(encoding="utf-8"))
    return template.render(context)


def _percent(share: float) -> str:
    """Write a share as per cent, without the sign."""
    return f"{100 * share:.1f}"


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _picture(pixels: npt.NDArray[np.uint8], side: int) -> _Picture:
    """Embed a picture as it is, or averaged where it is larger; the browser enlarges it without smoothing."""
    png = looking.encode_png(looking.shrink(pixels, side))
    return _Picture(_embedded(png), max(pixels.shape[:2]) < side)


def _thumbnail(pictures: Pictures, place: int) -> _Picture:
    return _picture(pictures.pixels(slice(place, place + 1))[0], _THUMBNAIL)


def _album(tiles: Sequence[looking.Tile]) -> list[tuple[_Picture, str]]:
    return [(_picture(tile.pixels, _THUMBNAIL), ": ".join(tile.lines)) for tile in tiles]


def _cleaned(mistake: looking.Mistake) -> looking.Mistake:
    file, true, predicted = (looking.clean(text) for text in (mistake.file, mistake.true, mistake.predicted))
    return replace(mistake, file=file, true=true, predicted=predicted)


def _confusion(held: _Held) -> dict[str, Any]:
    """Return rows of cells `(pictures, heat, right)` with few labels, else a picture and the commonest confusions."""
    labels = [looking.clean(label) for label in held.pictures.labels]
    if len(labels) <= looking.MATRIX_LABELS:
        heat = looking.cell_heat(held.confusion)
        rows = [
            (
                label,
                [
                    (int(held.confusion[row, column]), float(heat[row, column]), row == column)
                    for column in range(len(labels))
                ],
            )
            for row, label in enumerate(labels)
        ]
        return {"rows": rows}
    wrong = held.confusion * ~np.eye(len(labels), dtype=bool)
    most = np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]
    pairs = [(int(place) // len(labels), int(place) % len(labels)) for place in most]
    commonest = [(labels[row], labels[column], int(wrong[row, column])) for row, column in pairs if wrong[row, column]]
    # Shown smaller than it is, a pixel that is left out would be a confusion that is left out.
    picture = _Picture(_embedded(looking.encode_png(looking.confusion_layer(held.confusion))), len(labels) < _MATRIX)
    return {"picture": picture, "commonest": commonest}


def _recalls(held: _Held) -> dict[str, Any]:
    """Return all labels' recalls in order, or of many labels the lowest."""
    recalls = looking.recalls_of(held.confusion, held.pictures.labels)
    found = [(looking.clean(label), recall) for label, recall in recalls.items() if recall.pictures]
    if len(recalls) <= looking.MATRIX_LABELS:
        return {"shown": found, "left_out": 0}
    lowest = sorted(found, key=lambda each: each[1].share)[:_LISTED]
    return {"shown": lowest, "left_out": len(found) - len(lowest)}


def _explain(subject: looking.Subject, pictures: Pictures, mistakes: Sequence[looking.Mistake]) -> list[dict[str, Any]]:
    large_input = max(subject.size_wh) > _LARGE_INPUT
    explained: list[dict[str, Any]] = []
    for mistake in mistakes:
        pixels = pictures.pixels(slice(mistake.place, mistake.place + 1))[0]
        found = looking.attend(subject, pixels, steps=_LARGE_STEPS if large_input else _STEPS)
        _, *maps = (tile.pixels for tile in looking.attention_tiles(pixels, found, _LARGE))
        panels = [_picture(pixels, _LARGE), *(_Picture(_embedded(looking.encode_png(each)), False) for each in maps)]
        explained.append({"mistake": _cleaned(mistake), "panels": panels, "method": found.method})
        if large_input and found.method == "occlusion" and len(explained) == _LARGE_EXPLAINED:
            break
    return explained


def _filters(filters: looking.Filters) -> dict[str, Any]:
    count, height, width, channels = filters.weights.shape
    tiles = looking.filter_tiles(filters, _FILTERS)
    return {
        "layer": filters.layer,
        "size": f"{width}x{height}",
        "shown": len(tiles),
        "count": count,
        "range": looking.range_text(filters.weights),
        "in_color": channels == 3,
        "averaged": filters.averaged,
        "pictures": _album(tiles),
    }


def _maps(subject: looking.Subject, pictures: Pictures, convolutions: list[str]) -> dict[str, Any] | None:
    """Return maps of the first picture in a few layers, from the first convolution to the last with any extent."""
    pixels = pictures.pixels(slice(0, 1))
    _, passed = looking.run_watched(subject.model, subject.inputs(pixels), convolutions)
    wide = [name for name in convolutions if min(passed[name].after.shape[1:3]) > 1]
    chosen = [wide[place] for place in np.linspace(0, len(wide) - 1, min(_MAP_LAYERS, len(wide))).round().astype(int)]
    layers: list[dict[str, Any]] = []
    for name in dict.fromkeys(chosen):
        answer = passed[name].after[0]
        tiles = looking.map_tiles(answer, _MAPS)
        layers.append(
            {
                "layer": name,
                "size": f"{answer.shape[1]}x{answer.shape[0]}",
                "shown": len(tiles),
                "count": answer.shape[2],
                "range": looking.range_text(answer),
                "pictures": _album(tiles),
            }
        )
    if not layers:
        return None
    file = looking.clean(pictures.names[0])
    return {"picture": _picture(pixels[0], _THUMBNAIL), "file": file, "layers": layers}


def _facts(record: Mapping[str, Any], network: str) -> list[tuple[str, str]]:
    """Return what a run says about itself, in words."""
    origin = record.get("trained_on", {})
    counts = record.get("pictures", {})
    size = record.get("size_wh", ())
    seconds = record.get("training_seconds")
    known = {
        "network": network,
        "input": f"{'x'.join(map(str, size))}, {record.get('resize', '')}",
        "data": origin.get("name"),
        "pictures": ", ".join(f"{count:,} {part}" for part, count in counts.items()),
        "trained in": None if seconds is None else _duration(float(seconds)),
        "seed": record.get("seed"),
        "backend": record.get("backend"),
        "Keras": record.get("keras"),
        "devices": ", ".join(record.get("devices", ())) or None,
        "pictures' SHA-256": (origin.get("sha256") or "")[:16] or None,
    }
    return [(name, looking.clean(str(value))) for name, value in known.items() if value not in (None, "")]


def _duration(seconds: float) -> str:
    """Write a time.

    >>> _duration(68.6), _duration(4000)
    ('69 s', '67 min')
    """
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _options(options: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Return all options that have a value, those inside others as `outer: inner`."""
    rows: list[tuple[str, str]] = []
    for name, value in options.items():
        text = f"{above}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            rows += _options(value, f"{text}: ")
        elif value is not None:
            plain = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else None
            joined = "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            rows.append((text, looking.clean(plain or joined)))
    return rows
