"""Passing over frames that come too fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from .._errors import UsageError
from ._base import Frame, Source, Wrapped

__all__ = ["PacedSource"]


class PacedSource(Wrapped):
    """Yields at most so many frames a second, so that a small board stays cool.

    A live source goes on at its own rate and its frames between are dropped; any other is read more slowly.

    Args:
        source: is closed by this one.
        fps: frames per second.
    """

    def __init__(self, source: Source, fps: float) -> None:
        if not 0 < fps <= 1000:
            raise UsageError(f"the most frames per second must lie above 0 and not above 1000, got {fps:g}")
        super().__init__(source)
        self._interval_s = 1 / fps
        self._closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        """Yield each frame that is due."""
        due_s = 0.0
        frames = self._source.frames()
        while True:
            if not self.live:
                self._closed.wait(max(0.0, due_s - time.monotonic()))
            frame = next(frames, None)
            if frame is None:
                return
            now_s = time.monotonic()
            if now_s < due_s:
                continue
            # On the beat, so that frames that come a little late do not add up to a lower rate; after a gap, anew.
            due_s = due_s + self._interval_s if now_s - due_s < self._interval_s else now_s + self._interval_s
            yield frame

    def close(self) -> None:
        """Close the source behind it."""
        self._closed.set()
        super().close()
