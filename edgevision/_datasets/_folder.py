"""A folder of labelled pictures: `PATH/{train,val,test}/<label>/*` or `PATH/<label>/*`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import (
    PARTS,
    DataError,
    LabelledPicture,
    PictureError,
    UsageError,
    find_labelled,
    find_parts,
)

from .._cache import decode_all
from .._pictures import Pictures, Splits
from ._shares import split_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["check", "decode", "load"]


def check(folder: Path) -> None:
    """Raise what `load` would about the folders and the names in them."""
    parts = _parts(folder)
    if not parts:
        find_labelled(folder)
        return
    labels = sorted({each.label for each in find_labelled(parts["train"])})
    for part in parts.values():
        find_labelled(part, labels)


def _parts(folder: Path) -> dict[str, Path]:
    parts = find_parts(folder)
    if parts and "train" not in parts:
        raise DataError(f"{folder} holds {', '.join(sorted(parts))} and no train; add {folder / 'train'}/<label>/*")
    return parts


def load(
    folder: Path,
    size_wh: tuple[int, int],
    resize: str,
    strict: bool,
    on_progress: Callable[[int, int], None],
    validation_split: float | None = None,
) -> Splits:
    """Decode a folder; what it does not split itself is split by content, see `split_by_content`.

    With `train/` but no `val/`, a tenth of train is val. With `train/` but no `test/`, test is empty. A validation
    split is the share of val among all that is not test.
    """
    parts = _parts(folder)
    if "val" in parts and validation_split is not None:
        raise UsageError(f"{folder} has a val part of its own, {parts['val']}; leave out --validation-split")
    if not parts:
        pictures, skipped = decode(find_labelled(folder), folder, size_wh, resize, strict, on_progress)
        train, val, test = split_pictures(pictures, pictures.hashes, validation_split)
        return Splits(train, val, test, skipped)
    labels = sorted({each.label for each in find_labelled(parts["train"])})
    found = [picture for part in PARTS if part in parts for picture in find_labelled(parts[part], labels)]
    pictures, skipped = decode(found, folder, size_wh, resize, strict, on_progress)
    places = [np.flatnonzero([name.startswith(f"{part}/") for name in pictures.names]) for part in PARTS]
    train, val, test = (pictures.take(each) for each in places)
    unseen = np.setdiff1d(np.arange(len(labels)), train.targets)
    if len(unseen):
        raise DataError(f"label {labels[unseen[0]]!r} has no picture that can be read in {parts['train']}")
    if not len(val):
        train, val = split_pictures(train, train.hashes, validation_split, PARTS[:2])
    return Splits(train, val, test, skipped)


def decode(
    found: list[LabelledPicture],
    folder: Path,
    size_wh: tuple[int, int],
    resize: str,
    strict: bool,
    on_progress: Callable[[int, int], None],
) -> tuple[Pictures, tuple[str, ...]]:
    """Decode the pictures that were found in a folder, and say of each that cannot be read why."""
    decoded = decode_all([each.path for each in found], size_wh, resize, on_progress)
    if strict and decoded.skipped:
        raise PictureError(f"{decoded.skipped[0]} (1 of {len(decoded.skipped)}; without --strict they are skipped)")
    labels = sorted({each.label for each in found})
    index = {label: place for place, label in enumerate(labels)}
    kept = [found[place] for place in decoded.places]
    lost = set(labels) - {each.label for each in kept}
    if lost:
        raise DataError(f"label {min(lost)!r} has no picture that can be read in {folder}")
    pictures = Pictures(
        store=decoded.store,
        rows=np.arange(len(kept)),
        targets=np.array([index[each.label] for each in kept], np.int64),
        labels=tuple(labels),
        names=tuple(each.path.relative_to(folder).as_posix() for each in kept),
        hashes=decoded.hashes,
        source=folder.resolve().name,
    )
    return pictures, decoded.skipped
