"""A line chart as numbers that a page draws in its own colors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Chart", "Line", "chart_of"]

#: Of the chart, and of what its axes leave around it: left, right, top, bottom.
_WIDTH, _HEIGHT = 420, 240
_AROUND = (46, 12, 12, 30)


@dataclass(frozen=True)
class Line:
    """One line; `points` is what SVG's polyline takes, `last` its last value as text."""

    name: str
    points: str
    end: tuple[float, float]
    last: str


@dataclass(frozen=True)
class Chart:
    """All of it; ticks are places with the text to write there."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    frame: tuple[int, int, int, int]


def chart_of(title: str, history: Mapping[str, Sequence[float]], names: Mapping[str, str]) -> Chart | None:
    """Place the lines of one measure over epochs.

    Args:
        title: of the chart.
        history: values of each epoch by name.
        names: of what to draw, with what to call it; those that the history lacks are left out.

    Returns:
        the chart; None where there is no finite number to draw.
    """
    left, right, top, bottom = _AROUND
    frame = (left, top, _WIDTH - right, _HEIGHT - bottom)
    found = {text: history[name] for name, text in names.items() if name in history}
    finite = [value for values in found.values() for value in values if math.isfinite(value)]
    if not finite:
        return None
    epochs = max(map(len, found.values()))
    low, high = min(finite), max(finite)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - room, high + room

    def at(place: int, value: float) -> tuple[float, float]:
        share = place / (epochs - 1) if epochs > 1 else 0.5
        x = frame[0] + share * (frame[2] - frame[0])
        return round(x, 1), round(frame[3] - (value - low) / (high - low) * (frame[3] - frame[1]), 1)

    lines: list[Line] = []
    for text, values in found.items():
        places = [at(place, value) for place, value in enumerate(values) if math.isfinite(value)]
        if places:
            last = next(value for value in reversed(values) if math.isfinite(value))
            lines.append(Line(text, " ".join(f"{x},{y}" for x, y in places), places[-1], f"{last:.3g}"))
    whole = sorted({max(1, round(value)) for value in _round_numbers(1, epochs, 6)} | {1, epochs})
    # Two numbers at the end would stand on one another.
    whole = [epoch for epoch in whole if epoch in (1, epochs) or epochs - epoch > 0.07 * epochs]
    return Chart(
        title,
        tuple(lines),
        tuple((at(epoch - 1, low)[0], str(epoch)) for epoch in whole),
        tuple((at(0, value)[1], f"{value:g}") for value in _round_numbers(low, high, 5)),
        frame,
    )


def _round_numbers(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from `low` to `high`, about so many.

    >>> _round_numbers(0.83, 0.98, 4)
    [0.85, 0.9, 0.95]
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= 0.8 * rough)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
