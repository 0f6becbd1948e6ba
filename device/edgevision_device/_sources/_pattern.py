"""A moving test picture, for when there is no camera."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

import numpy as np

from ._base import Frame, Source

__all__ = ["PatternSource"]

#: How many pixels to the left the pattern moves from one frame to the next.
_STEP = 4


class PatternSource(Source):
    """Yields bars in the colors of the rainbow that move to the left: frame `n` is the same in every run.

    Args:
        size_wh: width and height.
        frames: how many; default: without end.
    """

    def __init__(self, size_wh: tuple[int, int] = (640, 480), frames: Optional[int] = None) -> None:
        width, height = size_wh
        self._width = width
        self._count = frames
        phase = 2 * np.pi * np.arange(width) / width
        bars = np.stack([127.5 + 127.5 * np.cos(phase + shift) for shift in (0, 2, 4)], axis=-1)
        shade = np.linspace(1, 0.25, height)[:, np.newaxis, np.newaxis]
        picture = np.rint(bars * shade).astype(np.uint8)
        # Twice side by side, so that every frame is a view.
        self._twice = np.concatenate([picture, picture], axis=1)
        self._twice.flags.writeable = False

    def frames(self) -> Iterator[Frame]:
        """Yield each picture, captured when it is asked for."""
        id = 0
        while self._count is None or id < self._count:
            left = id * _STEP % self._width
            yield Frame.taken_now(id, self._twice[:, left : left + self._width], "rgb")
            id += 1
