"""The pictures of a run, in the same parts as in its training, and its scores on them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import DataError, FileError

from .._datasets import load_data
from .._pictures import Pictures, Splits
from .._progress import decoding_bar, say, say_skipped

if TYPE_CHECKING:
    import numpy.typing as npt

    from .._run import Run
    from ._subject import Subject

__all__ = ["held_out", "load_splits", "read_history", "read_record", "score_all", "with_labels_of"]

_BATCH = 256


def load_splits(run: Run, data: str | None = None, *, data_dir: str | None = None, strict: bool = False) -> Splits:
    """Load what a run was trained on, in the same parts, or other data the same way."""
    options = read_record(run).get("options", {})
    share = options.get("validation_split") if data is None else None
    more: dict[str, Any] = {} if share is None else {"validation_split": share}
    with decoding_bar() as on_progress:
        splits = load_data(
            data or run.data,
            run.size_wh,
            run.resize,
            data_dir=data_dir or run.data_dir,
            strict=strict,
            on_progress=on_progress,
            **more,
        )
    say_skipped(splits.skipped)
    if data is None and splits.train.origin != run.trained_on:
        say(f"note: the pictures in {run.data} are not those of the training any more; they are used as they are now")
    return splits


def read_record(run: Run) -> dict[str, Any]:
    """Read all that a run says about itself."""
    return json.loads((run.folder / "run.json").read_text(encoding="utf-8"))


def read_history(run: Run) -> dict[str, list[float]]:
    """Read what was measured in each epoch; columns that hold no numbers are left out. Raises FileError."""
    path = run.folder / "history.csv"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path} ({error}); train the model again") from error
    history: dict[str, list[float]] = {}
    for name in rows[0] if rows else ():
        try:
            history[name] = [float(row[name]) for row in rows]
        except (TypeError, ValueError):
            continue
    return history


def held_out(splits: Splits) -> tuple[str, Pictures]:
    """Return the part that accuracy is measured on, with its name: test, or val where the data has no test part."""
    return ("test", splits.test) if len(splits.test) else ("val", splits.val)


def with_labels_of(pictures: Pictures, labels: tuple[str, ...]) -> Pictures:
    """Count the pictures' labels as the model does. Raises DataError for a label that the model does not know."""
    strangers = sorted({pictures.labels[target] for target in pictures.targets} - set(labels))
    if strangers:
        raise DataError(
            f"the pictures have the label {strangers[0]!r}, which the model does not know; "
            f"it knows {len(labels)}: {', '.join(labels[:8])}{', …' if len(labels) > 8 else ''}"
        )
    index = {label: place for place, label in enumerate(labels)}
    moved = np.array([index.get(label, 0) for label in pictures.labels], np.int64)
    return replace(pictures, targets=moved[pictures.targets], labels=labels)


def score_all(subject: Subject, pictures: Pictures) -> npt.NDArray[np.float32]:
    """Return the scores of all pictures, `(n, labels)`."""
    parts: list[npt.NDArray[np.float32]] = []
    with decoding_bar("scores") as on_progress:
        for pixels in pictures.batches(_BATCH):
            parts.append(subject.scores(pixels))
            on_progress(sum(map(len, parts)), len(pictures))
    return np.concatenate(parts)
