"""The statistics of times, the same on the device and in a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Percentiles", "TimeHistogram"]

#: Each bin of a `TimeHistogram` is 1 % wider than the one before, from a microsecond to more than an hour.
_GROWTH = math.log(1.01)
_LEAST_MS = 0.001
_BINS = 2220


@dataclass(frozen=True)
class Percentiles:
    """How a set of times is spread, in milliseconds.

    >>> Percentiles.of_ms([1.0, 2.0, 3.0, 4.0])
    Percentiles(count=4, p50_ms=2.0, p90_ms=4.0, p99_ms=4.0)
    """

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float

    @classmethod
    def of_ms(cls, times_ms: Sequence[float]) -> Percentiles:
        """Take percentiles by nearest rank: each is a time that was measured, never a mean of two.

        NaN in all three if `times_ms` is empty.
        """
        if not len(times_ms):
            return cls(0, float("nan"), float("nan"), float("nan"))
        p50, p90, p99 = np.percentile(np.asarray(times_ms, np.float64), [50, 90, 99], method="inverted_cdf")
        return cls(len(times_ms), float(p50), float(p90), float(p99))


class TimeHistogram:
    """Percentiles of times without end, in constant memory: 2,220 counters, whatever the number of times.

    A percentile is the middle of its bin: within 0.5 % of the time measured, from 1 µs to an hour.

    >>> histogram = TimeHistogram()
    >>> for time_ms in (1.0, 2.0, 3.0, 4.0):
    ...     histogram.add_ms(time_ms)
    >>> round(histogram.percentiles().p90_ms, 1)
    4.0
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._total = 0

    def add_ms(self, time_ms: float) -> None:
        """Count one time. Times outside the range go to the first or the last bin."""
        place = round(math.log(max(time_ms, _LEAST_MS) / _LEAST_MS) / _GROWTH)
        self._counts[min(place, _BINS - 1)] += 1
        self._total += 1

    def add(self, other: TimeHistogram) -> None:
        """Count the times of another histogram too."""
        self._counts += other._counts
        self._total += other._total

    def percentiles(self) -> Percentiles:
        """Return the percentiles of all times so far, by nearest rank; NaN if there is none."""
        if not self._total:
            return Percentiles.of_ms([])
        ranks = [math.ceil(self._total * percent / 100) for percent in (50, 90, 99)]
        places = np.searchsorted(np.cumsum(self._counts), ranks)
        p50, p90, p99 = (_LEAST_MS * math.exp(place * _GROWTH) for place in places.tolist())
        return Percentiles(self._total, p50, p90, p99)
