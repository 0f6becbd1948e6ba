"""Sets of decoded pictures that a network can learn from, and their split into train, val and test."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import DataError, DataOrigin, UsageError, hash_pictures, load_opencv, mark_pictures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

__all__ = ["Pictures", "Splits", "split_stratified", "write_pictures"]

#: Marks that a file carries of the pictures that trained it: 320 bytes. A benchmark on a tenth of those pictures holds
#: one of them in all but 0.9 ** 64, 1 in 850, cases.
_MARKS = 64


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures of one size, some rows of a store that may be larger than memory.

    Attributes:
        store: uint8 pixels of all pictures, `(all, height, width, 3)`; an array, or a file mapped into memory.
        rows: which pictures of the store these are, `(n,)`.
        targets: index of each picture's label, `(n,)`.
        labels: label by index.
        names: where each picture came from.
        hashes: SHA-256 of each picture's file content.
        source: what the user called the data set.
    """

    store: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, places: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.uint8]:
        """Return uint8 pixels `(k, height, width, 3)` of the pictures at `places`, as a new array."""
        return np.ascontiguousarray(self.store[self.rows[places]])

    def batches(self, size: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield all pixels in order, `size` pictures at a time."""
        for start in range(0, len(self), size):
            yield self.pixels(slice(start, start + size))

    def take(self, places: Sequence[int] | npt.NDArray[np.int64]) -> Pictures:
        """Return the pictures at `places`; they share the store."""
        chosen = np.asarray(places, np.int64)
        return Pictures(
            self.store,
            self.rows[chosen],
            self.targets[chosen],
            self.labels,
            tuple(self.names[place] for place in chosen),
            tuple(self.hashes[place] for place in chosen),
            self.source,
        )

    @classmethod
    def joined(cls, parts: Sequence[Pictures]) -> Pictures:
        """Put parts of one set together, in the order of the set.

        Raises UsageError if they are from different sets.
        """
        parts = [part for part in parts if len(part)] or parts[:1]
        first = parts[0]
        if any(part.store is not first.store for part in parts):
            raise UsageError(
                f"{first.source} has a test part of its own, in other files; this takes one set of pictures"
            )
        return cls(
            first.store,
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.targets for part in parts]),
            first.labels,
            tuple(name for part in parts for name in part.names),
            tuple(digest for part in parts for digest in part.hashes),
            first.source,
        ).take(np.argsort(np.concatenate([part.rows for part in parts]), kind="stable"))

    def sample(self, count: int, seed: int) -> Pictures:
        """Return `count` pictures, or all if there are fewer, evenly over the labels; a seed gives the same ones."""
        order = np.random.default_rng(seed).permutation(len(self))
        # Sorting by each picture's turn within its label takes one of every label before a second of any.
        turns = np.zeros(len(self), np.int64)
        seen = np.zeros(len(self.labels), np.int64)
        for place in order:
            turns[place] = seen[self.targets[place]]
            seen[self.targets[place]] += 1
        chosen = order[np.argsort(turns[order], kind="stable")][:count]
        return self.take(np.sort(chosen))

    @property
    def origin(self) -> DataOrigin:
        """What a file says of these pictures."""
        pairs = [(self.labels[target], digest) for target, digest in zip(self.targets, self.hashes, strict=True)]
        return DataOrigin(self.source, hash_pictures(pairs), len(self), mark_pictures(self.hashes, _MARKS))


@dataclass(frozen=True)
class Splits:
    """A data set in its three parts. `test` may be empty when the data has none of its own.

    Attributes:
        skipped: one message per picture that could not be read.
    """

    train: Pictures
    val: Pictures
    test: Pictures
    skipped: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the scores."""
        return self.train.labels

    @property
    def parts(self) -> tuple[Pictures, Pictures, Pictures]:
        """Train, val and test."""
        return self.train, self.val, self.test


def split_stratified(targets: npt.NDArray[np.int64], shares: Sequence[float], seed: int) -> list[npt.NDArray[np.int64]]:
    """Split places 0..n-1 so that every part holds about the same share of every label.

    Args:
        targets: label index of each place, `(n,)`.
        shares: of each part but the first, which takes the rest.
        seed: the same seed gives the same split.

    Returns:
        One sorted array of places per part, the first part first.

    Raises:
        DataError: a label has too few pictures to give each part one.
    """
    generator = np.random.default_rng(seed)
    parts: list[list[npt.NDArray[np.int64]]] = [[] for _ in range(len(shares) + 1)]
    for target in np.unique(targets):
        places = generator.permutation(np.flatnonzero(targets == target))
        if len(places) <= len(shares):
            raise DataError(f"label number {target} has {len(places)} pictures, a split into {len(parts)} needs more")
        at = 0
        for part, share in zip(parts[1:], shares, strict=True):
            count = max(1, round(share * len(places)))
            part.append(places[at : at + count])
            at += count
        parts[0].append(places[at:])
    return [np.sort(np.concatenate(part)) for part in parts]


def write_pictures(pictures: Pictures, folder: Path) -> None:
    """Write pictures as `folder/<label>/<number>.png`, for people to look at and for the camera path to replay.

    The folder appears when it is complete.
    """
    cv2 = load_opencv()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        for label in pictures.labels:
            (made / label).mkdir(parents=True)
        for place, target in enumerate(pictures.targets):
            bgr = cv2.cvtColor(pictures.pixels(slice(place, place + 1))[0], cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".png", bgr)
            (made / pictures.labels[target] / f"{pictures.rows[place]:05d}.png").write_bytes(encoded.tobytes())
        made.rename(folder)
