"""Accuracy against what it costs: where everything stands in a picture of a given size, in pixels.

The template draws it. Cost is latency or bytes; files that no other file beats in both are the Pareto front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from ._axis import LOG_FROM, Scale, Tick, log_values, round_values
from ._measurement import Measurement
from ._report import FileResult
from ._text import interval_text, ms_text, percent_text, size_text

__all__ = ["BYTES", "LATENCY", "Box", "Cost", "Dot", "Plot", "arrange", "pareto_front"]

_TEXT_HEIGHT = 16.0
#: Mean width of a character of a 13-pixel semi-bold sans serif; on the wide side, because fonts differ.
_CHARACTER = 7.3


@dataclass(frozen=True)
class Cost:
    """What stands on the x axis.

    Attributes:
        name: for a heading.
        axis: name and unit of the axis.
        of: the value, more than 0.
        beside: what to write beside a file's title: the other cost.
        by_bytes: whether the area of a circle is proportional to the bytes of the file; else all are equal.
    """

    name: str
    axis: str
    of: Callable[[FileResult, Measurement], float]
    beside: Callable[[FileResult, Measurement], str]
    by_bytes: bool


LATENCY = Cost(
    "latency",
    "latency p50, ms",
    lambda file, found: found.latency.p50_ms,
    lambda file, found: size_text(file.size_bytes),
    by_bytes=True,
)
BYTES = Cost(
    "bytes",
    "file, kB",
    lambda file, found: file.size_bytes / 1000,
    lambda file, found: f"{ms_text(found.latency.p50_ms)} ms",
    by_bytes=False,
)


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
class Dot:
    """One file.

    Attributes:
        beside: what stands after the title.
        front: whether it is on the Pareto front.
        x, y, radius: the circle; see `Cost.by_bytes`.
        low, high: y of the interval's ends.
        label: where the text stands.
        leader: the line from circle to text, if they are apart: x and y of both ends.
    """

    title: str
    beside: str
    tooltip: str
    format: str
    featured: bool
    front: bool
    x: float
    y: float
    radius: float
    low: float
    high: float
    label: Box
    leader: Optional[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Plot:
    """All of it; `frame` is what the axes enclose.

    Attributes:
        front: corners of the steps from one file of the Pareto front to the next and on to the right: x and y. The
            best top-1, as measured, that so much buys.
    """

    cost: Cost
    width: float
    height: float
    frame: Box
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    dots: list[Dot]
    front: list[tuple[float, float]]


def pareto_front(rows: Sequence[tuple[FileResult, Measurement]], cost: Cost) -> list[bool]:
    """Say of each file whether no other costs at most as much and is at least as accurate, and better in one."""
    points = [(cost.of(*row), -row[1].top1.share) for row in rows]
    return [not any(x <= mine[0] and y <= mine[1] and (x, y) != mine for x, y in points) for mine in points]


def arrange(
    rows: Sequence[tuple[FileResult, Measurement]],
    titles: Sequence[str],
    featured: FileResult,
    width: float,
    height: float,
    largest_radius: float,
    with_sizes: bool,
    cost: Cost = LATENCY,
) -> Plot:
    """Place axes, circles and labels.

    Args:
        rows: the files, at least one.
        titles: what to write beside each; pairwise different.
        featured: the file to emphasize.
        width, height: of the picture.
        largest_radius: of the largest file's circle, or half of it for every circle if they are equal.
        with_sizes: write the other cost beside the title.
        cost: what stands on the x axis.
    """
    frame = Box(46, 14, width - 14, height - 42)
    x_of, x_ticks = _cost_axis([cost.of(*row) for row in rows], frame)
    y_of, y_ticks = _share_axis([found.top1.interval for _, found in rows], frame)
    largest = max(file.size_bytes for file, _ in rows)
    radii = [math.sqrt(file.size_bytes / largest) if cost.by_bytes else 0.5 for file, _ in rows]
    circles = [
        (x_of(cost.of(file, found)), y_of(found.top1.share), largest_radius * radius)
        for (file, found), radius in zip(rows, radii)
    ]
    whiskers = [tuple(y_of(share) for share in found.top1.interval) for _, found in rows]
    others = [cost.beside(*row) for row in rows]
    texts = [f"{title} {other}" if with_sizes else title for title, other in zip(titles, others)]
    widths = [_CHARACTER * len(text) for text in texts]
    fronts = pareto_front(rows, cost)
    steps = _steps_up([(x, y) for (x, y, _), front in zip(circles, fronts) if front], frame)
    lines = [Box(x - 2, high, x + 2, low) for (x, _, _), (low, high) in zip(circles, whiskers)]
    lines += [
        Box(x - 2, min(y, next_y) - 2, next_x + 2, max(y, next_y) + 2)
        for (x, y), (next_x, next_y) in zip(steps, steps[1:])
    ]
    labels = _place(circles, lines, widths, frame)
    dots = [
        Dot(
            title=title,
            beside=other if with_sizes else "",
            tooltip=f"{file.name}: {percent_text(found.top1.share)} % ({interval_text(found.top1.interval)}), "
            f"p50 {ms_text(found.latency.p50_ms)} ms, {size_text(file.size_bytes)}"
            f"{', on the Pareto front' if front else ''}",
            format=file.format or "",
            featured=file is featured,
            front=front,
            x=x,
            y=y,
            radius=radius,
            low=low,
            high=high,
            label=label,
            leader=_leader(x, y, radius, label),
        )
        for (file, found), title, other, front, (x, y, radius), (low, high), label in zip(
            rows, titles, others, fronts, circles, whiskers, labels
        )
    ]
    return Plot(cost, width, height, frame, x_ticks, y_ticks, dots, steps)


def _steps_up(points: Sequence[tuple[float, float]], frame: Box) -> list[tuple[float, float]]:
    """Return the corners of steps over points, from the leftmost to the right edge."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return [*corners, (frame.right, corners[-1][1])]


def _cost_axis(costs: Sequence[float], frame: Box) -> tuple[Scale, list[Tick]]:
    least, most = min(costs), max(costs)
    if most <= LOG_FROM * least:
        # From zero, so that twice as far means twice as much.
        high = most * 1.3
        scale = Scale(0, high, frame.left, frame.right)
        return scale, [Tick(scale(value), f"{value:g}") for value in round_values(0, high, 5)]
    room = (most / least) ** 0.16
    low, high = least / room, most * room
    scale = Scale(low, high, frame.left, frame.right, log=True)
    return scale, [Tick(scale(value), f"{value:g}") for value in log_values(low, high)]


def _share_axis(intervals: Sequence[tuple[float, float]], frame: Box) -> tuple[Scale, list[Tick]]:
    low, high = 100 * min(low for low, _ in intervals), 100 * max(high for _, high in intervals)
    room = max(0.06 * (high - low), 0.2)
    low, high = low - room, high + room
    percent = Scale(low, high, frame.bottom, frame.top)
    ticks = [Tick(percent(value), f"{value:g}") for value in round_values(low, high, 6) if 0 <= value <= 100]
    return Scale(low / 100, high / 100, frame.bottom, frame.top), ticks


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
