"""Pictures in memory: for tests, for benchmarks, and for programs that have their own camera code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np
import numpy.typing as npt

from .._errors import SourceError, UsageError, require_known
from .._metadata import COLOR_ORDERS
from ._base import Frame, Source

__all__ = ["ArraySource"]


class ArraySource(Source):
    """Yields pictures that are in memory already, as fast as they are taken.

    Args:
        pictures: uint8, each of shape `(height, width, 3)`; sizes may differ.
        picture_order: `rgb` or `bgr`.
        true_labels: one per picture, if known.
        repeat: how many times to go through them.
    """

    def __init__(
        self,
        pictures: Sequence[npt.NDArray[np.uint8]],
        picture_order: str = "rgb",
        *,
        true_labels: Optional[Sequence[str]] = None,
        repeat: int = 1,
    ) -> None:
        if not len(pictures):
            raise SourceError("a source of pictures needs at least one, got none")
        if true_labels is not None and len(true_labels) != len(pictures):
            raise UsageError(f"one true label per picture, got {len(true_labels)} for {len(pictures)} pictures")
        self._pictures = pictures
        self._picture_order = require_known("color order", picture_order, COLOR_ORDERS)
        self._true_labels = true_labels
        self._repeat = repeat

    def frames(self) -> Iterator[Frame]:
        """Yield each picture, captured when it is asked for."""
        for id in range(self._repeat * len(self._pictures)):
            which = id % len(self._pictures)
            true_label = None if self._true_labels is None else self._true_labels[which]
            yield Frame.taken_now(id, self._pictures[which], self._picture_order, true_label=true_label)
