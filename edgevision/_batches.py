"""Handing pictures, or what stands for them, to Keras batch by batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ._augmentation import Augmentation

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from ._pictures import Pictures

__all__ = ["make_batches"]


def make_batches(
    pictures: Pictures,
    size: int,
    seed: int | None,
    augmentation: Augmentation | None = None,
    rows: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]] | None = None,
) -> Any:
    """Return a `keras.utils.PyDataset` of (inputs, one-hot targets).

    Args:
        pictures: what to go through.
        size: pictures per batch; the last batch may be smaller.
        seed: shuffles anew each epoch, and drives the augmentation; None keeps the order.
        augmentation: of the pixels.
        rows: gives the inputs at some places instead of the pixels.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        """Inputs are float32; which pictures and changes they are depends on seed, epoch and batch number only."""

        def __init__(self) -> None:
            super().__init__()
            self._epoch = -1
            self._order = np.arange(len(pictures))
            self.on_epoch_begin()

        def __len__(self) -> int:
            return math.ceil(len(pictures) / size)

        def on_epoch_begin(self) -> None:
            self._epoch += 1
            if seed is not None:
                self._order = np.random.default_rng((seed, self._epoch)).permutation(len(pictures))

        def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            places = self._order[index * size : (index + 1) * size]
            targets = np.eye(len(pictures.labels), dtype=np.float32)[pictures.targets[places]]
            if rows is not None:
                return rows(places), targets
            pixels = pictures.pixels(places)
            if augmentation is not None:
                pixels = augmentation.apply(pixels, np.random.default_rng((seed or 0, self._epoch, index)))
            return pixels.astype(np.float32), targets

    return Batches()
