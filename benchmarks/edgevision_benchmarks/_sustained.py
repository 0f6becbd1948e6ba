"""Whether a file slows down when it runs without a pause, as processors do that get hot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._speed import TimeRatio, beyond, drift_of
from ._text import ms_text

__all__ = ["WINDOWS", "Sustained", "compare_windows"]

#: Into so many spells of equal length the time is divided.
WINDOWS = 30


@dataclass(frozen=True)
class Sustained:
    """Runs without a pause: the first third of the time against the last.

    Attributes:
        duration_s: of all.
        burst_p50_ms, sustained_p50_ms: median of the medians of ten spells each, at the beginning and at the end.
        time: the end's over the beginning's.
        differs: whether that is beyond the noise floor, or beyond 5 % where there is none.
    """

    duration_s: float
    burst_p50_ms: float
    sustained_p50_ms: float
    time: TimeRatio
    differs: bool

    def describe(self) -> str:
        """Return one line."""
        change = self.time.ratio - 1
        return (
            f"without a pause for {self.duration_s:g} s: p50 {ms_text(self.burst_p50_ms)} ms in the first third, "
            f"{ms_text(self.sustained_p50_ms)} ms in the last"
            + (f", {abs(change):.0%} {'slower' if change > 0 else 'faster'}" if self.differs else ", no difference")
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "duration_s": self.duration_s,
            "burst_p50_ms": self.burst_p50_ms,
            "sustained_p50_ms": self.sustained_p50_ms,
            **self.time.to_record(),
            "differs": self.differs,
        }


def compare_windows(duration_s: float, windows_p50_ms: Sequence[float], seed: int, span: float) -> Sustained:
    """Compare the last third of `WINDOWS` spells with the first; a ratio within the factor `span` is no difference."""
    time = drift_of({number: [each] for number, each in enumerate(windows_p50_ms)}, seed)
    if time is None:
        raise ValueError(f"{WINDOWS} spells are needed, got {len(windows_p50_ms)}")
    third = len(windows_p50_ms) // 3
    burst, sustained = (float(np.median(part)) for part in (windows_p50_ms[:third], windows_p50_ms[-third:]))
    return Sustained(duration_s, burst, sustained, time, beyond(time, span) != "no difference")
