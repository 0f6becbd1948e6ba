"""Telling frames that were held back on their way from those that are new."""

from __future__ import annotations

from typing import Optional

__all__ = ["Lateness"]

#: A frame this much later than the fastest one so far is old.
_STALE_S = 0.5

#: Frames that stay late for so long are not held back: the sender's clock was set, or the way has become longer.
_PATIENCE_S = 3.0


class Lateness:
    """Compares when frames come with when their sender says that they were made.

    After a silence the network first delivers what it held back. The sender's clock need not be right, only steady: the
    frame that took the shortest way tells the difference of the clocks, and how late the others are.
    """

    def __init__(self) -> None:
        self._difference_s: Optional[float] = None
        self._late_since_s: Optional[float] = None

    def stale(self, arrived_s: float, made_s: float) -> bool:
        """Whether a frame is too old to be shown as new.

        Args:
            arrived_s: on this computer's clock.
            made_s: on the sender's; 0 where it does not say.
        """
        if made_s <= 0:
            return False
        difference_s = arrived_s - made_s
        if self._difference_s is None or difference_s < self._difference_s + _STALE_S:
            # The clocks drift apart; what is a little late moves the mark a little.
            known_s = difference_s if self._difference_s is None else self._difference_s
            self._difference_s = min(difference_s, known_s + 0.01 * (difference_s - known_s))
            self._late_since_s = None
            return False
        if self._late_since_s is None:
            self._late_since_s = arrived_s
        if arrived_s - self._late_since_s < _PATIENCE_S:
            return True
        self._difference_s, self._late_since_s = difference_s, None
        return False
