"""What a run says about its training, and its scores on pictures."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError

from .._progress import decoding_bar

if TYPE_CHECKING:
    import numpy.typing as npt

    from .._pictures import Pictures
    from .._run import Run
    from ._subject import Subject

__all__ = ["read_history", "read_record", "score_all"]

_BATCH = 256


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


def score_all(subject: Subject, pictures: Pictures) -> npt.NDArray[np.float32]:
    """Return the scores of all pictures, `(n, labels)`."""
    parts: list[npt.NDArray[np.float32]] = []
    with decoding_bar("scores") as on_progress:
        for pixels in pictures.batches(_BATCH):
            parts.append(subject.scores(pixels))
            on_progress(sum(map(len, parts)), len(pictures))
    return np.concatenate(parts)
