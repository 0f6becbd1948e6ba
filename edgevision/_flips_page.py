"""The pictures whose labels differ between two classifiers, as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from edgevision_device import load_opencv

from ._flips import grouped
from ._looking._canvas import clean, encode_png, enlarge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ._flips import Comparison, Flip
    from ._pictures import Pictures
    from ._sweep_record import Sweep

__all__ = ["FlipsPage", "render_comparisons", "render_flips"]

#: Pictures on one page, and at least so many per comparison: what is worst comes first, and the record has them all.
_SHOWN, _LEAST = 300, 12
_SIDE = 128
#: From this size on a photograph's thumbnail is a JPEG file; the pixels of smaller ones can be told apart.
_LARGE = 64


@dataclass(frozen=True)
class FlipsPage:
    """What the page says beside its pictures.

    Attributes:
        files: what is compared, such as `int8 files`.
        each: one of these, such as `row`.
        first, here: a word for what was compared with, and for what was compared.
        data, part: which pictures.
        record: name of the file that has all flips.
        edgevision: the version that made it.
    """

    files: str
    each: str
    first: str
    here: str
    data: str
    part: str
    record: str
    edgevision: str


@dataclass(frozen=True)
class _Card:
    """A flip with its thumbnails: one where both saw the same pixels, none where the picture is gone."""

    flip: Flip
    thumbnails: list[str]


@dataclass(frozen=True)
class _Section:
    """One comparison."""

    comparison: Comparison
    names: list[str]
    verdict: str
    cards: list[_Card]

    @property
    def left_out(self) -> int:
        return len(self.comparison.flips) - len(self.cards)


def render_flips(sweep: Sweep, pictures: Mapping[str, Pictures]) -> str:
    """Return the page of a sweep.

    Args:
        sweep: with comparisons.
        pictures: by name of row, what judged it, at the size that it takes; a row may be missing.
    """
    page = FlipsPage(
        files=f"{sweep.recipe} files",
        each="row",
        first="first",
        here="here",
        data=sweep.data,
        part=sweep.part,
        record="sweep.json",
        edgevision=sweep.edgevision,
    )
    return render_comparisons([row.comparison for row in sweep.rows if row.comparison is not None], pictures, page)


def render_comparisons(compared: Sequence[Comparison], pictures: Mapping[str, Pictures], page: FlipsPage) -> str:
    """Return the page of any comparisons with one and the same classifier.

    Args:
        compared: in the order of the page.
        pictures: by name of classifier, what judged it, at the size that it takes; one may be missing.
        page: its words.
    """
    from jinja2 import Environment, StrictUndefined

    groups = grouped(compared)
    limit = max(_LEAST, _SHOWN // max(1, len(groups)))
    sections = [
        _Section(each, names, each.difference.describe(), [_card(each, flip, pictures) for flip in each.flips[:limit]])
        for each, names in groups
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = _percent
    environment.filters["clean"] = clean
    text = resources.files(__package__ or "").joinpath("flips.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(text).render(page=page, sections=sections)


def _percent(score: float) -> str:
    return f"{100 * score:.1f} %"


def _card(comparison: Comparison, flip: Flip, pictures: Mapping[str, Pictures]) -> _Card:
    seen: list[npt.NDArray[np.uint8]] = []
    for name, place in ((comparison.a, flip.place_a), (comparison.b, flip.place_b)):
        shown = pictures.get(name)
        # Kept answers may be about pictures that have been moved away since.
        if shown is None or place >= len(shown) or shown.hashes[place] != flip.sha256:
            return _Card(flip, [])
        seen.append(shown.pixels(slice(place, place + 1))[0])
    same = seen[0].shape == seen[1].shape and bool((seen[0] == seen[1]).all())
    return _Card(flip, [_thumbnail(pixels) for pixels in seen[: 1 if same else 2]])


def _thumbnail(pixels: npt.NDArray[np.uint8]) -> str:
    """Return a `data:` address: small pictures enlarged by whole pixels, large ones averaged."""
    cv2 = load_opencv()
    height, width = pixels.shape[:2]
    side = max(height, width)
    if side < _LARGE:
        return _address("png", encode_png(enlarge(pixels, max(1, _SIDE // side))))
    if side > _SIDE:
        size_wh = max(1, round(width * _SIDE / side)), max(1, round(height * _SIDE / side))
        pixels = cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return _address("jpeg", encoded.tobytes())


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
