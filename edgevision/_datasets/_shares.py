"""How pictures are split: by content, by a share that the caller asks for, and for cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import PARTS, DataError, UsageError, split_by_content

from .._pictures import Pictures, Splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["check_share", "split_folds", "split_pictures", "split_share"]

#: Of the pictures that are not in a fold's test part.
_VAL_SHARE = 0.1


def check_share(share: float | None) -> None:
    """Raise UsageError if a validation split is no share that leaves something to train on."""
    if share is not None and not 0 < share <= 0.9:
        raise UsageError(f"validation split must be more than 0 and at most 0.9, got {share}")


def split_pictures(
    pictures: Pictures, digests: Sequence[str], validation_split: float | None, parts: Sequence[str] = PARTS
) -> list[Pictures]:
    """Split pictures into `parts` as `split_by_content` does; a validation split then divides train and val anew.

    Args:
        pictures: all of them.
        digests: what each picture holds, in hex.
        validation_split: share of val among all that is not test; None leaves it at about a tenth of all.
        parts: `PARTS`, or without `test`.
    """
    chosen = np.array(split_by_content([pictures.labels[target] for target in pictures.targets], digests, parts))
    places = [np.flatnonzero(chosen == part) for part in parts]
    if validation_split is not None:
        known = np.sort(np.concatenate(places[:2]))
        own = [digests[int(place)] for place in known]
        rest, held = split_share(pictures.targets[known], own, validation_split, pictures.labels)
        places[:2] = known[rest], known[held]
    return [pictures.take(each) for each in places]


def split_share(
    targets: npt.NDArray[np.int64], digests: Sequence[str], share: float, labels: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split places 0..n-1 into the rest and a share of every label, by what is in the pictures.

    The share holds those of the lowest digests, so that neither order nor names nor a seed matter, a larger share holds
    a smaller one, and equal pictures stay together. It is met to the nearest picture where no two pictures are equal.

    Args:
        targets: label index of each place, `(n,)`.
        digests: what each picture holds, in hex.
        share: 0 to 0.9.
        labels: label by index.

    Returns:
        Sorted places of the rest, and of the share; both hold every label.

    Raises:
        DataError: a label has fewer than two different pictures.
    """
    held = np.zeros(len(targets), bool)
    for target, groups in _alike(targets, digests).items():
        if len(groups) < 2:
            raise DataError(
                f"label {labels[target]!r} has {len(groups)} different pictures of its own; train and val need one each"
            )
        wanted = round(share * sum(len(group) for group in groups))
        for group in groups[:-1]:  # one is left to train on
            # The nearer of with and without; the first always.
            if group is not groups[0] and len(group) > 2 * wanted:
                break
            held[group] = True
            wanted -= len(group)
    return np.flatnonzero(~held), np.flatnonzero(held)


def split_folds(data: Pictures | Splits, count: int) -> list[Splits]:
    """Split pictures for cross-validation: each is in the test part of one fold, of `count`.

    The folds are decided by what is in the pictures, so that neither their order nor their names matter, and equal
    pictures are never on two sides. Each label is spread evenly. A tenth of the pictures outside a fold's test part is
    its val.

    Args:
        data: the pictures, or a data set whose parts are put together.
        count: 2 or more.

    Raises:
        UsageError: fewer than two folds, or a data set whose test part comes from other files.
        DataError: a label has fewer different pictures than there are folds, or than three.
    """
    if count < 2:
        raise UsageError(f"cross-validation needs at least 2 folds, got {count}")
    pictures = Pictures.joined(data.parts) if isinstance(data, Splits) else data
    fold_of = np.empty(len(pictures), np.int64)
    sizes = np.zeros(count, np.int64)
    for target, groups in _alike(pictures.targets, pictures.hashes).items():
        if len(groups) < max(count, 3):
            raise DataError(
                f"label {pictures.labels[target]!r} has {len(groups)} different pictures of its own; "
                f"{count} folds need at least {max(count, 3)}, and many more to mean something"
            )
        own = np.zeros(count, np.int64)
        for group in groups:
            # Even within the label first, then over all.
            fold = min(range(count), key=lambda each: (own[each], sizes[each], each))
            fold_of[group] = fold
            own[fold] += len(group)
            sizes[fold] += len(group)
    folds: list[Splits] = []
    for fold in range(count):
        outside, test = pictures.take(np.flatnonzero(fold_of != fold)), pictures.take(np.flatnonzero(fold_of == fold))
        train, val = split_share(outside.targets, outside.hashes, _VAL_SHARE, outside.labels)
        folds.append(Splits(outside.take(train), outside.take(val), test))
    return folds


def _alike(targets: npt.NDArray[np.int64], digests: Sequence[str]) -> dict[int, list[list[int]]]:
    """Return the places of equal pictures together, in the order of their digests, by label.

    Equal pictures with different labels stand with the label that comes first, so that they stay together too.
    """
    groups: dict[str, list[int]] = {}
    for place, digest in enumerate(digests):
        groups.setdefault(digest, []).append(place)
    by_label: dict[int, list[list[int]]] = {int(target): [] for target in np.unique(targets)}
    for digest in sorted(groups):
        by_label[int(min(targets[groups[digest]]))].append(groups[digest])
    return by_label
