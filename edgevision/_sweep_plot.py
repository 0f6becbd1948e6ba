"""A sweep as a picture: accuracy with its interval against the file's bytes and against multiplications."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._looking._canvas import DIM, INK, clean, encode_png, figure, rendered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._sweep_record import Result, Sweep, SweepRow

__all__ = ["draw_sweep"]

_WIDTH, _HEIGHT = 1720, 800
_POINT = 0.72  # of a pixel, at 100 dots per inch
_LETTERS, _SMALL = 20 * _POINT, 17 * _POINT
_GRID = "#e3e7ec"
#: One per model, apart from one another for color-blind eyes too.
_COLORS = ("#1667b8", "#cd4923", "#0b7a4f", "#8a4fbf", "#b3860b", "#c2357f", "#3a8f9e", "#5a6472")
#: More rows or letters than these cover one another: rows then have numbers, and a list gives their names.
_MOST_ROWS, _MOST_LETTERS = 14, 230

#: Points that are nearer than so many pixels to each other hide one another.
_APART = 9

_Box = tuple[float, float, float, float]


def draw_sweep(sweep: Sweep) -> bytes:
    """Return a PNG. Axes of costs are logarithmic: equal steps to the right multiply the cost by the same factor."""
    rows = sweep.finished
    models = list(dict.fromkeys(_model(row) for row, _ in rows))
    colors = {model: _COLORS[place % len(_COLORS)] for place, model in enumerate(models)}
    texts = [_title(row, several=len(models) > 1) for row, _ in rows]
    numbered = len(rows) > _MOST_ROWS or sum(map(len, texts)) > _MOST_LETTERS
    names = math.ceil(len(rows) / 4) * 26 + 16 if numbered else 0
    height = _HEIGHT + names
    with figure(_WIDTH, height) as drawn:
        sides = {"left": 0.05, "right": 0.985, "top": 1 - 96 / height, "bottom": (84 + names) / height, "wspace": 0.05}
        panels = drawn.subplots(1, 2, sharey=True, gridspec_kw=sides)
        _write_title(drawn, sweep, colors if len(models) > 1 else {}, height)
        for axes, cost, what, unit in (
            (panels[0], _bytes, "bytes of the file", "B"),
            (panels[1], _macs, "multiply-accumulates per picture", ""),
        ):
            costs = [cost(result) for _, result in rows]
            _dress(axes, costs, what, unit)
            _draw_points(axes, rows, _spread(axes, costs), colors)
        panels[0].set_ylabel("top-1, %", fontsize=_LETTERS, color=DIM)
        drawn.canvas.draw()
        labels = [str(number) for number in range(1, len(rows) + 1)] if numbered else texts
        for axes, cost in ((panels[0], _bytes), (panels[1], _macs)):
            _label(drawn, axes, rows, _spread(axes, [cost(result) for _, result in rows]), labels)
        for place, text in enumerate(texts if numbered else ()):
            at = 0.02 + 0.245 * (place % 4), (names - 16 - 26 * (place // 4)) / height
            drawn.text(*at, f"{place + 1}  {text}", fontsize=_SMALL, color=INK, parse_math=False)
        return encode_png(rendered(drawn))


def _bytes(result: Result) -> float:
    return result.size_bytes


def _macs(result: Result) -> float:
    return max(1, result.macs)  # there is no 0 on a logarithmic axis


def _model(row: SweepRow) -> str:
    return str(row.options["model"])


def _title(row: SweepRow, *, several: bool = False) -> str:
    """Write what tells a row from the others; of several models, the color tells them apart.

    >>> from ._sweep_record import SweepRow
    >>> _title(SweepRow("slim_depth=2_size=48", {"depth": "2", "size": "48"}, {"model": "slim"}))
    'depth 2, size 48'
    """
    parts = [f"{name} {value}" for name, value in row.varied.items() if name != "model"]
    return clean(", ".join(parts) or (_model(row) if several else row.name))


def _amount(value: float, unit: str) -> str:
    """Write a large number short.

    >>> [_amount(value, "B") for value in (812, 20_000, 4_700_000)] + [_amount(1.5e9, "")]
    ['812 B', '20 kB', '4.7 MB', '1.5 G']
    """
    limit, sign = next(
        ((limit, sign) for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= limit), (1, "")
    )
    return f"{value / limit:.4g} {sign}{unit}".rstrip()


def _write_title(drawn: Any, sweep: Sweep, colors: Mapping[str, str], height: float) -> None:
    pictures = sweep.finished[0][1].file.pictures
    title = f"Accuracy of the {sweep.recipe} files on {pictures:,} {sweep.part} pictures of {sweep.data}"
    drawn.text(0.012, 1 - 34 / height, clean(title), fontsize=24 * _POINT, color=INK, parse_math=False)
    under = (
        "bars: 95 % intervals; hollow: what the others are compared with; rows that cost the same stand side by side"
    )
    drawn.text(0.012, 1 - 64 / height, under, fontsize=_SMALL, color=DIM)
    right = 0.985
    for model, color in reversed(list(colors.items())):
        style: dict[str, Any] = {"fontsize": _LETTERS, "ha": "right", "parse_math": False}
        text = drawn.text(right, 1 - 64 / height, clean(model), color=INK, **style)
        left = text.get_window_extent(drawn.canvas.get_renderer()).x0 / _WIDTH
        drawn.text(left - 0.004, 1 - 64 / height, "●", color=color, **style)
        right = left - 0.03


def _draw_points(
    axes: Any, rows: Sequence[tuple[SweepRow, Result]], at: Sequence[float], colors: Mapping[str, str]
) -> None:
    for place, ((row, result), x) in enumerate(zip(rows, at, strict=True)):
        low, high = (100 * share for share in result.file.interval)
        share, color = 100 * result.file.share, colors[_model(row)]
        axes.errorbar(
            x,
            share,
            yerr=[[max(0.0, share - low)], [max(0.0, high - share)]],
            fmt="o",
            markersize=9,
            color=color,
            markerfacecolor="white" if place == 0 else color,
            markeredgewidth=2.2,
            elinewidth=1.6,
            capsize=4,
            zorder=3,
        )


def _dress(axes: Any, costs: Sequence[float], what: str, unit: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    def write_cost(value: float, place: int) -> str:
        return _amount(value, unit)

    def write_share(value: float, place: int) -> str:
        return f"{value:g}" if value <= 100 else ""

    axes.set_xscale("log")
    # Room for labels on both sides, and some where all cost the same.
    room = max((max(costs) / min(costs)) ** 0.14, 1.2)
    low, high = min(costs) / room, max(costs) * room
    axes.set_xlim(low, high)
    decades = math.log10(high / low)
    if decades > 0.9:
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0), numticks=12))
    else:
        ticks = [float(tick) for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)]
        axes.xaxis.set_major_locator(
            FixedLocator([tick for tick in ticks if low * room**0.1 <= tick <= high / room**0.1])
        )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(write_cost))
    axes.yaxis.set_major_formatter(FuncFormatter(write_share))
    axes.margins(y=0.1)
    axes.set_xlabel(what, fontsize=_LETTERS, color=DIM, labelpad=10)
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c3cad3")
    axes.tick_params(colors=DIM, labelsize=_SMALL)
    axes.tick_params(axis="y", length=0)


def _spread(axes: Any, costs: Sequence[float]) -> list[float]:
    """Return where to draw each: those that cost the same, or nearly, stand side by side."""
    forward, back = axes.transData.transform, axes.transData.inverted().transform
    pixels = [float(forward((cost, 0))[0]) for cost in costs]
    spread = list(pixels)
    order = sorted(range(len(costs)), key=pixels.__getitem__)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or pixels[order[end]] - pixels[order[end - 1]] > _APART:
            group = order[start:end]
            middle = sum(pixels[place] for place in group) / len(group)
            for number, place in enumerate(sorted(group)):
                if len(group) > 1:
                    spread[place] = middle + (number - (len(group) - 1) / 2) * 1.6 * _APART
            start = end
    return [float(back((x, 0))[0]) for x in spread]


def _label(
    drawn: Any,
    axes: Any,
    rows: Sequence[tuple[SweepRow, Result]],
    at: Sequence[float],
    labels: Sequence[str],
) -> None:
    """Write each label where it covers no other label, no point, and as little else as can be."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patheffects import withStroke

    renderer = drawn.canvas.get_renderer()
    font = FontProperties(size=_SMALL)
    sizes = [renderer.get_text_width_height_descent(text, font, False)[:2] for text in labels]

    def pixels(cost: float, share: float) -> tuple[float, float]:
        x, y = axes.transData.transform((cost, 100 * share))
        return float(x), float(y)

    points = [pixels(cost, result.file.share) for cost, (_, result) in zip(at, rows, strict=True)]
    ends = [[pixels(cost, share) for share in result.file.interval] for cost, (_, result) in zip(at, rows, strict=True)]
    bars = [(x - 4, low, x + 4, high) for (x, low), (_, high) in ends]
    frame = axes.get_window_extent(renderer)
    chosen = _place(points, sizes, bars, (frame.x0 + 2, frame.y0 + 2, frame.x1 - 2, frame.y1 + 14))
    halo = [withStroke(linewidth=3, foreground="white")]
    back = axes.transData.inverted().transform
    for text, (x, y), box in zip(labels, points, chosen, strict=True):
        if _gap((x, y), box) > 24:
            line = [back(each) for each in ((x, y), (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])))]
            axes.plot(*zip(*line, strict=True), color="#aab2bd", linewidth=1, zorder=2)
        middle = back(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": _SMALL, "color": INK}
        axes.text(*middle, text, **style, parse_math=False, path_effects=halo, zorder=5)


def _place(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], bars: Sequence[_Box], room: _Box
) -> list[_Box]:
    marks: list[_Box] = [(x - 8, y - 8, x + 8, y + 8) for x, y in points]
    candidates = [list(_around(*point, *size)) for point, size in zip(points, sizes, strict=True)]
    chosen = [places[0][0] for places in candidates]

    def cost(mine: int, box: _Box, distance: float) -> float:
        labels = sum(_overlap(box, other) for place, other in enumerate(chosen) if place != mine)
        covered = sum(_overlap(box, mark) for mark in marks)
        crossed = sum(_overlap(box, bar) for bar in bars)
        # A label that is nearer to another point than to its own seems to belong to that one.
        own = _gap(points[mine], box)
        nearer = sum(max(0.0, own + 10 - _gap(point, box)) for place, point in enumerate(points) if place != mine)
        outside = (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, room)
        return 100 * outside + 30 * labels + 20 * covered + 6 * crossed + 40 * nearer + 4 * distance

    # Each label moves to its best place given the others, until none wants to.
    for _ in range(12):
        before = list(chosen)
        for place, places in enumerate(candidates):
            chosen[place] = min(places, key=lambda each, place=place: cost(place, *each))[0]
        if chosen == before:
            break
    return chosen


def _around(x: float, y: float, width: float, height: float) -> list[tuple[_Box, float]]:
    """Return places for a label around a point with their distances, to the right of it first."""
    places: list[tuple[_Box, float]] = []
    for gap in (14, 26, 42, 62, 90, 124):
        for turn in range(16):
            angle = 2 * math.pi * turn / 16
            middle_x = x + math.cos(angle) * (gap + width / 2)
            middle_y = y + math.sin(angle) * (gap + height / 2)
            box = (middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2)
            places.append((box, gap + 0.2 * turn))
    return places


def _gap(point: tuple[float, float], box: _Box) -> float:
    """Return how far a point lies from a box."""
    x, y = point
    return math.dist(point, (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])))


def _overlap(one: _Box, other: _Box) -> float:
    """Return the common area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
