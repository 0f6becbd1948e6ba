"""Replaying a source as if it were a camera, so that drops and age can be tried without one."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

from .._errors import UsageError
from ._base import Frame, Source, Wrapped

__all__ = ["ClockedSource"]


class ClockedSource(Wrapped):
    """Yields the frames of another source on a clock: frame `n` is captured `n / fps` seconds after frame 0.

    The frame is decoded before that, while the one before is current. If decoding takes longer than the clock allows,
    the frame is captured when it has been decoded; the clock does not wait.

    Args:
        source: is closed by this one.
        fps: frames per second.
    """

    def __init__(self, source: Source, fps: float) -> None:
        # The upper bound is where the clock's own wake-ups would be late by much of a frame.
        if not 0 < fps <= 1000:
            raise UsageError(f"frames per second must lie above 0 and not above 1000, got {fps:g}")
        super().__init__(source)
        # The clock does not wait to be asked.
        self.live, self.keeps_newest = True, False
        self.fps: float = fps
        self._closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        """Yield each frame when it is due."""
        start_ns = None
        for frame in self._source.frames():
            decoded_ns = time.monotonic_ns()
            start_ns = decoded_ns if start_ns is None else start_ns
            due_ns = max(decoded_ns, start_ns + round(frame.id * 1e9 / self.fps))
            if self._closed.wait((due_ns - decoded_ns) / 1e9):
                return
            later = timedelta(microseconds=(due_ns - frame.captured_ns) / 1000)
            # A camera knows of no clip: its time is that of this clock.
            yield dataclasses.replace(frame, captured_ns=due_ns, captured_utc=frame.captured_utc + later, clip_s=None)

    def close(self) -> None:
        """Stop the clock, and close the source behind it."""
        self._closed.set()
        super().close()
