"""The pictures of a run, in the same parts as in its training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import DataError

from ._datasets import load_data, native_size
from ._progress import decoding_bar, say, say_skipped

if TYPE_CHECKING:
    from ._pictures import Pictures, Splits
    from ._run import Run

__all__ = ["HeldOut", "held_out", "load_shown", "load_splits", "same_data", "with_labels_of"]


def load_shown(data: str, size_wh: tuple[int, int], resize: str, **more: Any) -> Splits:
    """Load data, see `load_data`, with a bar on stderr and a word about pictures that cannot be read."""
    with decoding_bar() as on_progress:
        splits = load_data(data, size_wh, resize, on_progress=on_progress, **more)
    say_skipped(splits.skipped)
    return splits


def load_splits(run: Run, data: str | None = None, *, data_dir: str | None = None, strict: bool = False) -> Splits:
    """Load what a run was trained on, in the same parts, or other data the same way."""
    own = data is None or same_data(data, run.data)
    splits = load_shown(
        data or run.data,
        run.size_wh,
        run.resize,
        data_dir=data_dir or run.data_dir,
        strict=strict,
        validation_split=run.validation_split if own else None,
    )
    if own and splits.train.origin != run.trained_on:
        say(f"note: the pictures in {run.data} are not those of the training any more; they are used as they are now")
    return splits


def same_data(data: str, other: str) -> bool:
    """Say whether two arguments mean the same data set, by name or by path."""
    if data == other:
        return True
    named = [native_size(each) is not None and not Path(each).exists() for each in (data, other)]
    return not any(named) and Path(data).resolve() == Path(other).resolve()


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


@dataclass(frozen=True)
class HeldOut:
    """Loads the pictures that judge runs, once for all runs that share them.

    Attributes:
        strict: see `load_data`.
    """

    strict: bool = False
    _loaded: dict[tuple[object, ...], Splits] = field(default_factory=dict["tuple[object, ...]", "Splits"])

    def of(self, run: Run) -> tuple[str, Pictures]:
        """Return a run's `test` part at its size, or `val` where the data has no test part, and which of them it is.

        Raises:
            DataError: the pictures have a label that the run did not learn.
        """
        key = (run.data, run.data_dir, run.size_wh, run.resize, run.validation_split, run.trained_on)
        if key not in self._loaded:
            self._loaded[key] = load_splits(run, strict=self.strict)
        part, pictures = held_out(self._loaded[key])
        return part, with_labels_of(pictures, run.labels)
