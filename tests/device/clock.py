"""A clock that stands still unless it is moved, or somebody waits."""

from __future__ import annotations

import threading
from typing import Optional


class Clock(threading.Event):
    """Stands in for the module `time` and for an event that is waited for: a wait moves the clock and is noted.

    Attributes:
        now_s: where the clock stands.
        waits_s: how long was waited, each time.
        most_waits: the event is set, as if by somebody else, in the wait after so many.
    """

    def __init__(self, most_waits: int = 1000) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.waits_s: list[float] = []
        self.most_waits = most_waits

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, timeout: Optional[float] = None) -> bool:
        assert timeout is not None
        if len(self.waits_s) == self.most_waits:
            self.set()
        if self.is_set():
            return True
        self.waits_s.append(timeout)
        self.now_s += timeout
        return False
