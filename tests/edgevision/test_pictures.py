"""Sets of pictures: their split, their sampling, and the hash by which they are known again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision import Pictures, load_data
from edgevision._pictures import split_stratified, write_pictures
from edgevision_device import DataError, find_labelled, hash_pictures, read_picture

shares = st.lists(st.floats(0.01, 0.3), min_size=1, max_size=3).map(tuple)
targets = st.lists(st.integers(0, 4), min_size=1, max_size=120).map(np.array)


@settings(deadline=None, derandomize=True)
@given(targets, shares, st.integers(0, 2**32 - 1))
def test_a_split_is_stratified(targets: np.ndarray, shares: tuple[float, ...], seed: int) -> None:
    known, counts = np.unique(targets, return_counts=True)
    if counts.min() <= len(shares):
        with pytest.raises(DataError, match="pictures, a split into"):
            split_stratified(targets, shares, seed)
        return
    # Each part but the first holds its rounded share, and at least one; too many parts may leave the first nothing.
    parts = split_stratified(targets, shares, seed)
    assert len(parts) == len(shares) + 1
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(targets)))
    assert all(np.array_equal(part, np.sort(part)) for part in parts)
    for label, count in zip(known, counts, strict=True):
        held = [int((targets[part] == label).sum()) for part in parts]
        assert held[1:] == [max(1, round(share * count)) for share in shares]
        assert held[0] > 0
    again = split_stratified(targets, shares, seed)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


def test_another_seed_is_another_split() -> None:
    targets = np.arange(200) % 4
    one, other = (split_stratified(targets, (0.2,), seed)[1] for seed in (1, 2))
    assert not np.array_equal(one, other)


def make(targets: list[int], labels: tuple[str, ...] = ("ant", "bee", "cow")) -> Pictures:
    store = np.arange(len(targets) * 4 * 6 * 3, dtype=np.int64).reshape(-1, 4, 6, 3).astype(np.uint8)
    hashes = tuple(hashlib.sha256(bytes([place])).hexdigest() for place in range(len(targets)))
    names = tuple(f"{place}.png" for place in range(len(targets)))
    return Pictures(store, np.arange(len(targets)), np.array(targets), labels, names, hashes, "made")


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_a_sample_is_even_and_repeatable(targets: list[int], count: int, seed: int) -> None:
    pictures = make(targets)
    sample = pictures.sample(count, seed)
    assert len(sample) == min(count, len(targets))
    assert len(set(sample.names)) == len(sample)
    available, taken = (np.bincount(each.targets, minlength=3) for each in (pictures, sample))
    # A label has fewer than another only where it has no more, and then by one at most in the last round.
    for label in range(3):
        assert taken[label] >= min(available[label], taken.max() - 1)
    assert sample.names == pictures.sample(count, seed).names


def test_taking_keeps_everything_together() -> None:
    pictures = make([0, 1, 2, 1, 0])
    taken = pictures.take([4, 1]).take([1, 0])
    assert taken.names == ("1.png", "4.png")
    assert taken.targets.tolist() == [1, 0]
    assert np.array_equal(taken.pixels(slice(None)), pictures.store[[1, 4]])
    assert taken.hashes == (pictures.hashes[1], pictures.hashes[4])
    assert np.shares_memory(taken.store, pictures.store)


def test_batches_hold_all_pixels_in_order() -> None:
    pictures = make([0] * 7).take([6, 5, 4, 3, 2, 1, 0])
    batches = list(pictures.batches(3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert np.array_equal(np.concatenate(batches), pictures.store[::-1])
    batches[0][:] = 0
    assert pictures.store.any(), "a batch is a new array"


def test_the_hash_of_an_array_is_that_of_its_files(tmp_path: Path) -> None:
    pictures = load_data("digits", (28, 28), "stretch").val.sample(30, seed=1)
    folder = tmp_path / "written"
    write_pictures(pictures, folder)
    found = find_labelled(folder)
    assert len(found) == 30
    assert [each.label for each in found] == sorted(pictures.labels[target] for target in pictures.targets)
    digests = [(each.label, hashlib.sha256(each.path.read_bytes()).hexdigest()) for each in found]
    assert hash_pictures(digests) == pictures.origin.sha256
    assert pictures.origin.pictures == 30
    assert pictures.origin.name == "digits"
    by_name = {path.stem: path for path in folder.rglob("*.png")}
    for place in range(30):
        path = by_name[f"{pictures.rows[place]:05d}"]
        assert np.array_equal(read_picture(path), pictures.pixels(slice(place, place + 1))[0])
    # A folder that is read again knows them by the same hash.
    again = load_data(str(folder), (28, 28), "stretch")
    parts = (again.train, again.val, again.test)
    together = [(part.labels[t], h) for part in parts for t, h in zip(part.targets, part.hashes, strict=True)]
    assert hash_pictures(together) == pictures.origin.sha256
