"""A share of each label by content, and cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision import Pictures, load_data
from edgevision._datasets import split_folds
from edgevision._datasets._shares import split_share
from edgevision_device import DataError, UsageError

LABELS = ("ant", "bee", "cow")
#: Label and content of each picture; few contents, so that many are equal.
many = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=1, max_size=120)


def digest(content: int) -> str:
    return f"{(content * 2654435761) % 2**32:064x}"


def make(pairs: list[tuple[int, int]]) -> Pictures:
    targets = np.array([target for target, _ in pairs], np.int64)
    store = np.zeros((len(pairs), 4, 6, 3), np.uint8)
    names = tuple(f"{place}.png" for place in range(len(pairs)))
    hashes = tuple(digest(content) for _, content in pairs)
    return Pictures(store, np.arange(len(pairs)), targets, LABELS, names, hashes, "made")


@settings(deadline=None, derandomize=True)
@given(many, st.floats(0.01, 0.9))
def test_a_share_keeps_equal_pictures_together(pairs: list[tuple[int, int]], share: float) -> None:
    pictures = make(pairs)
    try:
        rest, held = split_share(pictures.targets, pictures.hashes, share, LABELS)
    except DataError:
        # Equal pictures belong to the label that comes first.
        first = {content: min(target for target, other in pairs if other == content) for _, content in pairs}
        assert min(sum(label == target for label in first.values()) for target in {target for target, _ in pairs}) < 2
        return
    assert np.array_equal(np.sort(np.concatenate([rest, held])), np.arange(len(pairs)))
    assert not {pairs[place][1] for place in rest} & {pairs[place][1] for place in held}
    # The order of the pictures does not matter.
    order = np.random.default_rng(1).permutation(len(pairs))
    _, again = split_share(pictures.targets[order], [pictures.hashes[place] for place in order], share, LABELS)
    assert set(order[again]) == set(held)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=3), st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_a_share_is_met_within_each_label(counts: list[int], one: float, other: float) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    digests = [digest(place) for place in range(len(targets))]
    held = {share: split_share(targets, digests, share, LABELS)[1] for share in (one, other)}
    for share, places in held.items():
        expected = [min(max(1, round(share * count)), count - 1) for count in counts]
        assert np.bincount(targets[places], minlength=len(counts)).tolist() == expected
    assert set(held[min(one, other)]) <= set(held[max(one, other)])


@settings(deadline=None, derandomize=True)
@given(many, st.integers(2, 6))
def test_every_picture_is_tested_in_one_fold(pairs: list[tuple[int, int]], count: int) -> None:
    pictures = make(pairs)
    try:
        folds = split_folds(pictures, count)
    except DataError:
        first = {content: min(target for target, other in pairs if other == content) for _, content in pairs}
        own = [sum(label == target for label in first.values()) for target in {target for target, _ in pairs}]
        # Of two folds, one may leave a label no second picture for val.
        assert min(own) < max(count, 3) or count == 2
        return
    assert len(folds) == count
    tested = [name for fold in folds for name in fold.test.names]
    assert sorted(tested) == sorted(pictures.names)
    for fold in folds:
        names = [set(part.names) for part in (fold.train, fold.val, fold.test)]
        assert sum(map(len, names)) == len(pictures)
        assert set.union(*names) == set(pictures.names)
        hashes = [set(part.hashes) for part in (fold.train, fold.val, fold.test)]
        assert not hashes[0] & hashes[1]
        assert not (hashes[0] | hashes[1]) & hashes[2]


def test_folds_are_even_within_each_label_and_over_all() -> None:
    pictures = make([(place % 3, place) for place in range(66)])
    folds = split_folds(pictures, 5)
    for fold in folds:
        assert set(np.bincount(fold.test.targets)) <= {4, 5}
        assert len(fold.test) in (13, 14)
        assert np.bincount(fold.val.targets).tolist() == [2, 2, 2]
    order = np.random.default_rng(0).permutation(66)
    again = split_folds(pictures.take(order), 5)
    assert [set(fold.test.names) for fold in again] == [set(fold.test.names) for fold in folds]


def test_folds_of_a_data_set_put_its_parts_together(paint: Callable[..., Path], tmp_path: Path) -> None:
    splits = load_data(paint(tmp_path / "pets", {"dog": 20, "cat": 30}), (12, 8), "stretch")
    folds = split_folds(splits, 5)
    assert [len(fold.test) for fold in folds] == [10] * 5
    assert all(np.bincount(fold.test.targets).tolist() == [6, 4] for fold in folds)
    assert {name for fold in folds for name in fold.test.names} == {
        name for part in (splits.train, splits.val, splits.test) for name in part.names
    }
    one = folds[0].test
    pixels = {name: part.pixels(slice(place, place + 1)) for part in (splits.train, splits.val, splits.test)
              for place, name in enumerate(part.names)}  # fmt: skip
    for place, name in enumerate(one.names):
        assert np.array_equal(one.pixels(slice(place, place + 1)), pixels[name])


def test_too_few_pictures_and_other_stores_are_refused() -> None:
    few = make([(0, place) for place in range(9)] + [(1, place) for place in range(20, 24)])
    with pytest.raises(
        DataError, match="label 'bee' has 4 different pictures of its own; 5 folds need at least 5, and"
    ):
        split_folds(few, 5)
    with pytest.raises(UsageError, match="cross-validation needs at least 2 folds, got 1"):
        split_folds(few, 1)
    assert len(split_folds(few, 2)) == 2
    splits = load_data("digits", (28, 28), "stretch")
    other = make([(0, 1), (1, 2)])
    with pytest.raises(UsageError, match="digits has a test part of its own, in other files; this takes"):
        split_folds(type(splits)(splits.train, splits.val, other), 5)
