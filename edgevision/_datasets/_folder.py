"""A folder of labelled pictures: `PATH/{train,val,test}/<label>/*` or `PATH/<label>/*`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import DataError, LabelledPicture, PictureError, find_labelled

from .._cache import decode_all
from .._pictures import Pictures, Splits, split_stratified

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PARTS = ("train", "val", "test")
_SHARE = 0.1


def load(
    folder: Path,
    size_wh: tuple[int, int],
    resize: str,
    seed: int,
    strict: bool,
    on_progress: Callable[[int, int], None],
) -> Splits:
    """Decode a folder; what it does not split itself is split by seed, a tenth for val and a tenth for test.

    With `train/` but no `val/`, a tenth of train is val. With `train/` but no `test/`, test is empty.
    """
    if not (folder / "train").is_dir():
        found = find_labelled(folder)
        pictures, skipped = _decode(found, folder, size_wh, resize, strict, on_progress)
        train, val, test = _split(pictures, (_SHARE, _SHARE), seed)
        return Splits(train, val, test, skipped)
    labels = sorted({each.label for each in find_labelled(folder / "train")})
    found = [picture for part in _PARTS if (folder / part).is_dir() for picture in find_labelled(folder / part, labels)]
    pictures, skipped = _decode(found, folder, size_wh, resize, strict, on_progress)
    parts = [np.flatnonzero([name.startswith(f"{part}/") for name in pictures.names]) for part in _PARTS]
    train, val, test = (pictures.take(places) for places in parts)
    unseen = np.setdiff1d(np.arange(len(labels)), train.targets)
    if len(unseen):
        raise DataError(f"label {labels[unseen[0]]!r} has no picture that can be read in {folder / 'train'}")
    if not len(val):
        train, val = _split(train, (_SHARE,), seed)
    return Splits(train, val, test, skipped)


def _decode(
    found: list[LabelledPicture],
    folder: Path,
    size_wh: tuple[int, int],
    resize: str,
    strict: bool,
    on_progress: Callable[[int, int], None],
) -> tuple[Pictures, tuple[str, ...]]:
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


def _split(pictures: Pictures, shares: tuple[float, ...], seed: int) -> list[Pictures]:
    counts = np.bincount(pictures.targets, minlength=len(pictures.labels))
    fewest = int(counts.argmin())
    if counts[fewest] <= len(shares):
        raise DataError(
            f"label {pictures.labels[fewest]!r} has {counts[fewest]} pictures; "
            f"a split into {len(shares) + 1} parts needs at least {len(shares) + 1}"
        )
    return [pictures.take(places) for places in split_stratified(pictures.targets, shares, seed)]
