"""The statistics of times, the same on the device and in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Percentiles"]


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
