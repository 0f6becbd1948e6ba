"""Opening a source again when it breaks off."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Optional

from .._errors import SourceError
from .._health import Health
from ._base import Frame, Source

__all__ = ["ReconnectingSource"]


class ReconnectingSource(Source):
    """Yields the frames of a live source, and opens it again whenever it breaks off, until it is closed.

    Ids go on rising. A frame is captured when the source that is open now says so: none comes from before the break.

    Args:
        open_it: opens the source; raises SourceError where that fails, which is tried again. Other errors are raised.
        opened: the source, if it is open already.
        health: is told once that it broke off, and once that frames come again.
        part: what `health` calls it.
        first_wait_s: before the first attempt; each wait is twice the one before, give or take a quarter by chance, so
            that many devices do not come back to one server all at once.
        longest_wait_s: where that ends. A source that gave frames for longer than the next wait begins with the first.
    """

    live = True

    def __init__(
        self,
        open_it: Callable[[], Source],
        opened: Optional[Source] = None,
        *,
        health: Optional[Health] = None,
        part: str = "source",
        first_wait_s: float = 0.5,
        longest_wait_s: float = 30.0,
    ) -> None:
        self._open_it = open_it
        self._source = opened
        self._health = health or Health()
        self._part = part
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def frames(self) -> Iterator[Frame]:
        """Yield each frame; end when the source ends for good, or is closed."""
        next_id = 0
        wait_s = self._first_wait_s
        while True:
            first_s: Optional[float] = None
            lived_s = 0.0
            try:
                source = self._opened()
                if source is None:
                    return
                base = next_id
                for frame in source.frames():
                    now_s = time.monotonic()
                    first_s = now_s if first_s is None else first_s
                    lived_s = now_s - first_s
                    self._health.well(self._part)
                    next_id = base + frame.id + 1
                    yield frame if base == 0 else dataclasses.replace(frame, id=base + frame.id)
                if not source.endless:
                    return
                trouble = "the sender ended the stream"
            except SourceError as error:
                trouble = str(error)
            if self._closed.is_set():
                return
            self._health.trouble(self._part, f"{trouble}; trying again until it is back")
            self._drop()
            if lived_s > wait_s:
                wait_s = self._first_wait_s
            if self._closed.wait(wait_s * random.uniform(0.75, 1.25)):
                return
            wait_s = min(2 * wait_s, self._longest_wait_s)

    def _opened(self) -> Optional[Source]:
        """Return the open source, or None if nobody wants it any more."""
        source = self._source
        if source is None:
            source = self._open_it()
        with self._lock:
            if not self._closed.is_set():
                self._source = source
                return source
        source.close()
        return None

    def _drop(self) -> None:
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def close(self) -> None:
        """Close the source, and stop trying."""
        with self._lock:
            self._closed.set()
        self._drop()
