"""Axes of the page's plots: where a value stands, and which values are written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LOG_FROM", "Scale", "Tick", "log_values", "round_values"]

#: Above this ratio of the largest value to the smallest, equal steps along the axis multiply it.
LOG_FROM = 4.0


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what to write there."""

    at: float
    text: str


class Scale:
    """Maps values to pixels, along a straight or a logarithmic axis."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self._low, self._high, self._start, self._end, self._log = low, high, start, end, log

    def __call__(self, value: float) -> float:
        if self._log:
            share = math.log(value / self._low) / math.log(self._high / self._low)
        else:
            share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def log_values(low: float, high: float) -> list[float]:
    """Return round numbers from `low` to `high` for a logarithmic axis.

    >>> log_values(0.3, 25)
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    leads = (1, 2, 5) if high / low < 1000 else (1,)
    values = [float(f"{lead}e{decade}") for decade in decades for lead in leads]
    return [value for value in values if low <= value <= high]


def round_values(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from `low` to `high`, about so many.

    >>> round_values(95.3, 98.7, 6)
    [95.5, 96.0, 96.5, 97.0, 97.5, 98.0, 98.5]
    """
    rough = (high - low) / about
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= 0.8 * rough)
    return [round(index * step, 10) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
