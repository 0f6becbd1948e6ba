"""How many runs took how long: counted in bins that are as wide as their times are long, and drawn on one axis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgevision_device import Percentiles

from ._axis import LOG_FROM, Scale, Tick, log_values, round_values

__all__ = ["Histogram", "HistogramPlot", "Small", "draw_histograms"]

#: Bins of a decade: each is 1.2 % wider than the one before, finer than any page shows.
_BINS = 200
#: Columns of a drawing.
_COLUMNS = 72


@dataclass(frozen=True)
class Histogram:
    """Runs by time; only bins that hold any.

    Attributes:
        low_ms: where each bin begins, ascending; it ends before `low_ms * bin_ratio`.
        counts: runs in each.
        bin_ratio: the end of a bin over its beginning.
    """

    low_ms: tuple[float, ...]
    counts: tuple[int, ...]
    bin_ratio: float

    @classmethod
    def of_ms(cls, times_ms: Iterable[float]) -> Histogram:
        """Count times, each more than 0.

        >>> Histogram.of_ms([1.0, 1.001, 2.0]).counts
        (2, 1)
        """
        counted = Counter(math.floor(math.log10(max(time_ms, 1e-6)) * _BINS) for time_ms in times_ms)
        bins = sorted(counted)
        return cls(tuple(10 ** (n / _BINS) for n in bins), tuple(counted[n] for n in bins), 10 ** (1 / _BINS))

    @property
    def high_ms(self) -> float:
        """Where the last bin ends."""
        return self.low_ms[-1] * self.bin_ratio

    @property
    def is_sound(self) -> bool:
        """Whether this counts runs: what was read may not."""
        return (
            len(self.low_ms) == len(self.counts) > 0
            and min(self.counts) > 0
            and self.low_ms[0] > 1e-9
            and 1 < self.bin_ratio < 10
            and all(a < b for a, b in zip(self.low_ms, self.low_ms[1:]))
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"low_ms": list(self.low_ms), "counts": list(self.counts), "bin_ratio": self.bin_ratio}


@dataclass(frozen=True)
class Small:
    """One file's histogram.

    Attributes:
        bars: left end, width and height of each column, shares of the whole.
        marks: name and place of p50, p90 and p99.
    """

    name: str
    latency: Percentiles
    bars: list[tuple[float, float, float]]
    marks: list[tuple[str, float]]


@dataclass(frozen=True)
class HistogramPlot:
    """All histograms, on one axis.

    Attributes:
        log: whether equal steps along the axis multiply the time.
    """

    log: bool
    ticks: list[Tick]
    smalls: list[Small]


def draw_histograms(rows: Sequence[tuple[str, Percentiles, Histogram]]) -> HistogramPlot:
    """Draw histograms one above the other; places are shares of the width, heights of the tallest column.

    Args:
        rows: name, percentiles and counts of each file, at least one.
    """
    low, high = min(each.low_ms[0] for _, _, each in rows), max(each.high_ms for _, _, each in rows)
    log = high > LOG_FROM * low
    room = (high / low) ** 0.02 if log else 1 + 0.03 * (high / low - 1)
    low, high = low / room, high * room
    at = Scale(low, high, 0.0, 1.0, log=log)
    values = log_values(low, high) if log else round_values(low, high, 5)
    smalls: list[Small] = []
    for name, latency, found in rows:
        columns = _columns(found, at)
        tallest = max(columns)
        bars = [(n / _COLUMNS, 1 / _COLUMNS, each / tallest) for n, each in enumerate(columns) if each > 0]
        # A percentile of a report that was changed by hand may lie anywhere.
        marks = [(f"p{n}", at(min(max(getattr(latency, f"p{n}_ms"), low), high))) for n in (50, 90, 99)]
        smalls.append(Small(name, latency, bars, marks))
    return HistogramPlot(log, [Tick(at(value), f"{value:g}") for value in values], smalls)


def _columns(found: Histogram, at: Scale) -> list[float]:
    """Deal the runs of each bin out to the columns that it lies in: bins and columns need not have the same ends."""
    columns = [0.0] * _COLUMNS
    for low_ms, count in zip(found.low_ms, found.counts):
        left, right = at(low_ms) * _COLUMNS, at(low_ms * found.bin_ratio) * _COLUMNS
        for n in range(max(0, math.floor(left)), min(_COLUMNS, math.ceil(right))):
            columns[n] += count * (min(right, n + 1) - max(left, n)) / (right - left)
    return columns
