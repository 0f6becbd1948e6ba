"""Accuracy against latency: where everything stands in a picture of a given size, in pixels. The template draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ._report import FileResult, Measurement
from ._text import interval_text, ms_text, percent_text, size_text

__all__ = ["Box", "Dot", "Plot", "Tick", "arrange"]

#: Above this ratio of the slowest to the fastest, equal steps of x multiply the time.
_LOG_FROM = 4.0

_TEXT_HEIGHT = 16.0
#: Mean width of a character of a 13-pixel semi-bold sans serif; on the wide side, because fonts differ.
_CHARACTER = 7.3


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the common area."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def outside(self, frame: Box) -> float:
        """Return how far it sticks out of `frame`, all four sides together."""
        sides = (frame.left - self.left, frame.top - self.top, self.right - frame.right, self.bottom - frame.bottom)
        return sum(max(0.0, side) for side in sides)


@dataclass(frozen=True)
class Tick:
    """A place on an axis and what to write there."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """One file.

    Attributes:
        x, y, radius: the circle; its area is proportional to the file's bytes.
        low, high: y of the interval's ends.
        label: where the text stands.
        leader: the line from circle to text, if they are apart: x and y of both ends.
    """

    title: str
    size: str
    tooltip: str
    format: str
    featured: bool
    x: float
    y: float
    radius: float
    low: float
    high: float
    label: Box
    leader: Optional[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Plot:
    """All of it; `frame` is what the axes enclose."""

    width: float
    height: float
    frame: Box
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    dots: list[Dot]


def arrange(
    rows: Sequence[tuple[FileResult, Measurement]],
    titles: Sequence[str],
    featured: FileResult,
    width: float,
    height: float,
    largest_radius: float,
    with_sizes: bool,
) -> Plot:
    """Place axes, circles and labels.

    Args:
        rows: the files, at least one.
        titles: what to write beside each; pairwise different.
        featured: the file to emphasize.
        width, height: of the picture.
        largest_radius: of the largest file's circle.
        with_sizes: write the bytes beside the title.
    """
    frame = Box(46, 14, width - 14, height - 42)
    x_of, x_ticks = _time_axis([found.latency.p50_ms for _, found in rows], frame)
    y_of, y_ticks = _share_axis([found.top1.interval for _, found in rows], frame)
    largest = max(file.size_bytes for file, _ in rows)
    circles = [
        (x_of(found.latency.p50_ms), y_of(found.top1.share), largest_radius * math.sqrt(file.size_bytes / largest))
        for file, found in rows
    ]
    whiskers = [tuple(y_of(share) for share in found.top1.interval) for _, found in rows]
    sizes = [size_text(file.size_bytes) for file, _ in rows]
    texts = [f"{title} {size}" if with_sizes else title for title, size in zip(titles, sizes)]
    widths = [_CHARACTER * len(text) for text in texts]
    lines = [Box(x - 2, high, x + 2, low) for (x, _, _), (low, high) in zip(circles, whiskers)]
    labels = _place(circles, lines, widths, frame)
    dots = [
        Dot(
            title=title,
            size=size if with_sizes else "",
            tooltip=f"{file.name}: {percent_text(found.top1.share)} % ({interval_text(found.top1.interval)}), "
            f"p50 {ms_text(found.latency.p50_ms)} ms, {size}",
            format=file.format or "",
            featured=file is featured,
            x=x,
            y=y,
            radius=radius,
            low=low,
            high=high,
            label=label,
            leader=_leader(x, y, radius, label),
        )
        for (file, found), title, size, (x, y, radius), (low, high), label in zip(
            rows, titles, sizes, circles, whiskers, labels
        )
    ]
    return Plot(width, height, frame, x_ticks, y_ticks, dots)


class _Scale:
    """Maps values to pixels, along a straight or a logarithmic axis."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self._low, self._high, self._start, self._end, self._log = low, high, start, end, log

    def __call__(self, value: float) -> float:
        if self._log:
            share = math.log(value / self._low) / math.log(self._high / self._low)
        else:
            share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def _time_axis(times_ms: Sequence[float], frame: Box) -> tuple[_Scale, list[Tick]]:
    fastest, slowest = min(times_ms), max(times_ms)
    if slowest <= _LOG_FROM * fastest:
        # From zero, so that twice as far means twice as slow.
        high = slowest * 1.3
        scale = _Scale(0, high, frame.left, frame.right)
        return scale, [Tick(scale(value), f"{value:g}") for value in _steps(0, high, 5)]
    room = (slowest / fastest) ** 0.16
    low, high = fastest / room, slowest * room
    scale = _Scale(low, high, frame.left, frame.right, log=True)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    leads = (1, 2, 5) if high / low < 1000 else (1,)
    values = [lead * 10.0**decade for decade in decades for lead in leads]
    return scale, [Tick(scale(value), f"{value:g}") for value in values if low <= value <= high]


def _share_axis(intervals: Sequence[tuple[float, float]], frame: Box) -> tuple[_Scale, list[Tick]]:
    low, high = 100 * min(low for low, _ in intervals), 100 * max(high for _, high in intervals)
    room = max(0.06 * (high - low), 0.2)
    low, high = low - room, high + room
    percent = _Scale(low, high, frame.bottom, frame.top)
    ticks = [Tick(percent(value), f"{value:g}") for value in _steps(low, high, 6) if 0 <= value <= 100]
    return _Scale(low / 100, high / 100, frame.bottom, frame.top), ticks


def _steps(low: float, high: float, about: int) -> list[float]:
    """Return round numbers from `low` to `high`, about so many.

    >>> _steps(95.3, 98.7, 6)
    [95.5, 96.0, 96.5, 97.0, 97.5, 98.0, 98.5]
    """
    rough = (high - low) / about
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= 0.8 * rough)
    return [round(index * step, 10) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _place(
    circles: Sequence[tuple[float, float, float]], lines: Sequence[Box], widths: Sequence[float], frame: Box
) -> list[Box]:
    """Choose a place for each label that covers no other label, no circle, and as little else as can be."""
    obstacles = [Box(x - r, y - r, x + r, y + r) for x, y, r in circles]
    candidates = [list(_around(*circle, width)) for circle, width in zip(circles, widths)]
    chosen = [places[0][0] for places in candidates]

    def cost(mine: int, box: Box, distance: float) -> float:
        labels = sum(box.overlap(other) for index, other in enumerate(chosen) if index != mine)
        covered = sum(box.overlap(other) for other in obstacles)
        crossed = sum(box.overlap(line) for line in lines)
        own = _gap(circles[mine], box)
        # A label that is nearer to another circle than to its own seems to belong to that one.
        nearer = sum(max(0.0, own + 6 - _gap(other, box)) for other in circles if other != circles[mine])
        return 1000 * box.outside(frame) + 20 * labels + 5 * covered + crossed + 4 * nearer + distance

    # Each label moves to its best place given the others, until none wants to; twelve rounds have always been enough.
    for _ in range(12):
        before = list(chosen)
        for index, places in enumerate(candidates):
            chosen[index] = min(places, key=lambda place: cost(index, *place))[0]
        if chosen == before:
            break
    return chosen


def _gap(circle: tuple[float, float, float], box: Box) -> float:
    """Return the distance of a circle's edge from the nearest point of a box."""
    x, y, radius = circle
    return math.hypot(x - min(max(x, box.left), box.right), y - min(max(y, box.top), box.bottom)) - radius


def _around(x: float, y: float, radius: float, width: float) -> list[tuple[Box, float]]:
    """Return places for a label around a circle with their distances, to the right of it first."""
    places: list[tuple[Box, float]] = []
    for gap in (5, 14, 26, 40, 58, 80, 110):
        for turn in range(16):
            angle = 2 * math.pi * turn / 16
            at_x, at_y = x + (radius + gap) * math.cos(angle), y - (radius + gap) * math.sin(angle)
            # Beside the circle the text starts or ends at this point, above and below it is centered on it.
            left = at_x - width * (1 - math.cos(angle)) / 2
            top = at_y - _TEXT_HEIGHT * (1 + math.sin(angle)) / 2
            places.append((Box(left, top, left + width, top + _TEXT_HEIGHT), gap + 0.1 * turn))
    return places


def _leader(x: float, y: float, radius: float, label: Box) -> Optional[tuple[float, float, float, float]]:
    near_x, near_y = min(max(x, label.left), label.right), min(max(y, label.top), label.bottom)
    distance = math.hypot(near_x - x, near_y - y)
    if distance < radius + 10:
        return None
    edge = radius / distance
    return x + (near_x - x) * edge, y + (near_y - y) * edge, near_x, near_y
