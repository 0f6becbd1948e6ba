"""Telling frames that the network held back from those that are new."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["BURST_S", "Pace"]

#: For so long no frame comes in a silence; of a camera that is slow, four times its usual interval.
_SILENCE_S = 1.0

#: After a silence the network first delivers what it held back, which is old: so long it is passed over.
BURST_S = 0.25

#: A longer burst, or one that is decoded slowly, is known by its haste: it comes in less than so much of the usual
#: interval. No sender is as steady as that for ever, so it is looked for only so long after the silence.
_HASTE = 0.75
_PATIENCE_S = 3.0


class Pace:
    """Knows how fast frames usually come, and so when a silence was one, and what was held back during it.

    What the sender says about when a frame was made does not count: for raw H.264, FFmpeg makes it up.
    """

    def __init__(self) -> None:
        self._intervals_s: deque[float] = deque(maxlen=5)
        self._last_s = math.inf
        self._resumed_s = -math.inf

    def resumes(self, now_s: float) -> bool:
        """Whether a frame that comes now ends a silence."""
        return now_s - self._last_s > max(_SILENCE_S, 4 * self._usual_s())

    def note(self, now_s: float) -> None:
        """Take a frame that comes now for one that came in its time."""
        if now_s >= self._last_s:
            self._intervals_s.append(now_s - self._last_s)
        self._last_s = now_s

    def held_back(self, now_s: float) -> bool:
        """Whether a frame that comes now is too old to be shown as new; to be asked once for each frame."""
        if self.resumes(now_s):
            self._resumed_s = now_s
        after_s = now_s - self._resumed_s
        hasty = after_s < _PATIENCE_S and now_s - self._last_s < _HASTE * self._usual_s()
        if hasty:
            self._last_s = now_s
        else:
            self.note(now_s)
        return hasty or after_s < BURST_S

    def _usual_s(self) -> float:
        # The median: neither a silence nor a frame that comes late changes it.
        return sorted(self._intervals_s)[len(self._intervals_s) // 2] if self._intervals_s else math.inf
