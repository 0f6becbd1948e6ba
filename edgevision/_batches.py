"""Handing pictures, or what stands for them, to Keras batch by batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._augmentation import Augmentation
    from ._pictures import Pictures

__all__ = ["Changes", "Rows", "make_batches"]

#: Gives what stands for some pictures of a copy: `(copy, places) -> array (k, ...)`.
Rows = Callable[[int, "npt.NDArray[np.int64]"], "npt.NDArray[Any]"]


@dataclass(frozen=True)
class Changes:
    """Which changes each picture gets in which epoch.

    Attributes:
        pictures: what is changed.
        augmentation: how far.
        seed: the same seed gives the same changes.
        copies: epoch e uses copy `e % copies`; copy 0 is the picture as it is, the changes of the others depend on the
            seed, the copy and the picture's content alone. 0 draws anew every epoch.
    """

    pictures: Pictures
    augmentation: Augmentation
    seed: int
    copies: int = 0
    _drawn: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict[int, "npt.NDArray[np.float64]"])

    @property
    def fresh(self) -> bool:
        """Whether no changed picture ever comes back."""
        return not self.augmentation.changes_nothing and not self.copies

    def copy(self, epoch: int) -> int:
        """Return the number of the copy that epoch 0, 1, ... uses."""
        if self.augmentation.changes_nothing:
            return 0
        return epoch % self.copies if self.copies else epoch

    def pixels(self, copy: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return changed uint8 pixels `(k, height, width, 3)`."""
        pixels = self.pictures.pixels(places)
        if self._is_plain(copy):
            return pixels
        return self.augmentation.apply(pixels, self._draws(copy)[places])

    def identifier(self, copy: int, place: int) -> str:
        """Name a changed picture, for what is computed from it and kept."""
        digest = self.pictures.hashes[place]
        if self._is_plain(copy):
            return digest
        # Short, because a store's index holds one for every copy.
        return hashlib.sha256(f"{digest} {copy} {self.seed} {self.augmentation}".encode()).hexdigest()

    def _is_plain(self, copy: int) -> bool:
        return self.augmentation.changes_nothing or (copy == 0 and self.copies > 0)

    def _draws(self, copy: int) -> npt.NDArray[np.float64]:
        if copy not in self._drawn:
            if self.fresh:
                self._drawn.clear()  # the epochs before this one do not come back
                generator = np.random.default_rng((self.seed, copy))
                self._drawn[copy] = self.augmentation.draw(len(self.pictures), generator)
            else:
                names = [f"{self.seed} {copy} {digest}" for digest in self.pictures.hashes]
                self._drawn[copy] = self.augmentation.draw_for(names)
        return self._drawn[copy]


def make_batches(
    changes: Changes,
    size: int,
    *,
    shuffle: bool,
    first_epoch: int = 0,
    rows: Rows | None = None,
    soft: Rows | None = None,
    weights: npt.NDArray[np.float32] | None = None,
    binary: bool = False,
    multiple: int = 1,
) -> Any:
    """Return a `keras.utils.PyDataset` of (inputs, targets, sample weights).

    Which pictures are in a batch and how they are changed depends on seed, epoch and batch number alone.

    Args:
        changes: what to go through.
        size: pictures per batch; the last batch may be smaller.
        shuffle: anew each epoch.
        first_epoch: number of the first epoch, for a training that goes on.
        rows: gives the inputs instead of the pixels.
        soft: a teacher's scores, which are put behind the one-hot targets.
        weights: one per label.
        binary: targets are `(k, 1)`, 1 for the second label, instead of one-hot.
        multiple: batches are filled up with pictures of weight 0 until this divides them.
    """
    import keras

    pictures = changes.pictures
    classes = 1 if binary else len(pictures.labels)

    class Batches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()
            self._begun = False
            self._epoch = first_epoch
            self._shuffle()

        def __len__(self) -> int:
            return math.ceil(len(pictures) / size)

        def on_epoch_begin(self) -> None:
            if self._begun:
                self._epoch += 1
                self._shuffle()
            self._begun = True

        def _shuffle(self) -> None:
            order = np.arange(len(pictures))
            self._order = np.random.default_rng((changes.seed, self._epoch)).permutation(order) if shuffle else order

        def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float32]]:
            places = self._order[index * size : (index + 1) * size]
            padding = -len(places) % multiple
            places = np.concatenate([places, np.resize(places, padding)])
            labels = pictures.targets[places]
            targets = labels[:, np.newaxis].astype(np.float32) if binary else np.eye(classes, dtype=np.float32)[labels]
            copy = changes.copy(self._epoch) if shuffle else 0
            if soft is not None:
                targets = np.concatenate([targets, soft(copy, places)], axis=1)
            sample = np.ones(len(places), np.float32) if weights is None else weights[labels]
            # Keras divides by the length of the batch, whatever its weights sum to.
            share = np.float32(len(places) / (len(places) - padding))
            sample = np.where(np.arange(len(places)) < len(places) - padding, share * sample, np.float32(0))
            inputs = changes.pixels(copy, places) if rows is None else rows(copy, places)
            return inputs.astype(np.float32), targets, sample

    return Batches()
