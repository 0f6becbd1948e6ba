"""The pictures that `edgevision look` and a run's report show, as PNG."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ._attention import METHODS, Attention, heat_pixels, overlay_pixels
from ._canvas import Tile, draw_grid, enlarge
from ._layers import check_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .._pictures import Pictures
    from ._layers import Filters
    from ._mistakes import Mistake

__all__ = [
    "attention_tiles",
    "draw_attention",
    "draw_filters",
    "draw_kernel",
    "draw_maps",
    "draw_mistakes",
    "filter_tiles",
    "map_tiles",
    "range_text",
]


#: Numbers side by side in the drawing of a kernel.
_READABLE = 7


def _number_text(number: float, digits: int = 3) -> str:
    """Write a number with so many digits that matter.

    >>> [_number_text(number) for number in (0, -0.25, 1020.4, 3e-9)]
    ['0', '−0.25', '1020', '3e−9']
    """
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    decade = math.floor(math.log10(abs(number)))
    if -4 <= decade < 6:
        text = f"{number:.{max(0, digits - 1 - decade)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = re.sub(r"e([+-])0*", r"e\1", f"{number:.{digits}g}").replace("e+", "e")
    return text.replace("-", "\u2212")


def _caption(values: npt.NDArray[Any], beside: npt.NDArray[Any]) -> str:
    """Write the range of one among others; numbers that are nothing beside theirs are called so.

    >>> _caption(np.array([-4e-10, 9e-10]), np.array([-0.25, 3.0]))
    'all near 0'
    """
    largest = float(np.abs(beside).max(initial=0))
    return "all near 0" if float(np.abs(values).max(initial=0)) < 1e-5 * largest else range_text(values, 2)


def range_text(values: npt.NDArray[Any], digits: int = 3) -> str:
    """Write smallest and largest.

    >>> range_text(np.array([-0.25, 3.0]))
    '−0.25 … 3'
    """
    return f"{_number_text(float(values.min()), digits)} … {_number_text(float(values.max()), digits)}"


def filter_tiles(filters: Filters, count: int) -> list[Tile]:
    """Return the filters as pictures: three channels in color, grey being zero; one in red above zero, blue below."""
    return [
        Tile(_filter_pixels(each), (f"{place}", _caption(each, filters.weights)))
        for place, each in enumerate(filters.weights[:count])
    ]


def _filter_pixels(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    if weights.shape[2] == 1:
        return heat_pixels(weights[..., 0], (weights.shape[1], weights.shape[0]))
    largest = float(np.abs(weights).max()) or 1.0
    return np.rint(127.5 + weights * (127.5 / largest)).astype(np.uint8)


def draw_filters(filters: Filters, title: str, count: int) -> bytes:
    """Draw the first filters of a convolution."""
    total, height, width, channels = filters.weights.shape
    color = "color: each scaled by its largest weight, grey is 0" if channels == 3 else "red above 0, blue below"
    averaged = f"; mean over {filters.averaged} channels" if filters.averaged else ""
    notes = [
        f"{_some(min(total, count), total, 'filters')} of {width}x{height} in layer {filters.layer}{averaged}",
        f"{color}; under each its range; of all: {range_text(filters.weights)}",
    ]
    return draw_grid(filter_tiles(filters, count), title, notes, side=72)


def map_tiles(maps: npt.NDArray[np.float32], count: int) -> list[Tile]:
    """Return feature maps `(height, width, channels)` as pictures, each from its smallest value to its largest."""
    return [
        Tile(_map_pixels(maps[..., place]), (f"{place}", _caption(maps[..., place], maps)))
        for place in range(min(count, maps.shape[2]))
    ]


def _map_pixels(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    import matplotlib

    low, high = float(values.min()), float(values.max())
    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.rint(matplotlib.colormaps["viridis"](share)[..., :3] * 255).astype(np.uint8)


def draw_maps(answer: npt.NDArray[np.float32], layer: str, title: str, count: int, labels: Sequence[str] = ()) -> bytes:
    """Draw what a layer answered to one picture.

    Args:
        answer: `(height, width, channels)`, or a vector.
        layer: its name.
        title: above the drawing.
        count: draw at most so many maps, or numbers of a vector.
        labels: of a vector's numbers, if there are as many.

    Raises:
        UsageError: the answer holds NaN or infinite numbers.
    """
    check_finite(answer, f"the answers of {layer}")
    if answer.ndim == 3:
        what = f"{_some(min(answer.shape[2], count), answer.shape[2], 'maps')} of {answer.shape[1]}x{answer.shape[0]}"
        scale, tiles = "dark is each map's smallest value, yellow its largest", map_tiles(answer, count)
    else:
        answer = answer.ravel()
        what = _some(min(answer.size, count), answer.size, "numbers")
        names = labels if len(labels) == answer.size else [str(place) for place in range(answer.size)]
        colors = _map_pixels(answer.reshape(1, -1))
        scale = "dark is the smallest number, yellow the largest"
        tiles = [
            Tile(colors[:, place : place + 1], (names[place], _number_text(float(answer[place]))))
            for place in range(min(answer.size, count))
        ]
    notes = [f"{what} out of layer {layer}", f"{scale}; of all: {range_text(answer)}"]
    return draw_grid(tiles, title, notes, side=112 if answer.ndim == 3 else 48, caption=160 if labels else 124)


def attention_tiles(pixels: npt.NDArray[np.uint8], found: Attention, side: int = 320) -> list[Tile]:
    """Return the picture, its heat map and both together, the picture's longer side about `side` pixels long."""
    height, width = pixels.shape[:2]
    factor = max(1, round(side / max(height, width)))
    rows, columns = found.heat.shape
    return [
        Tile(enlarge(pixels, factor), (f"as the network sees it, {width}x{height}",)),
        Tile(heat_pixels(found.heat, (width * factor, height * factor)), (f"{found.method}, {columns}x{rows}",)),
        Tile(overlay_pixels(pixels, found.heat, factor), ("both, smoothed",)),
    ]


def draw_attention(
    picture: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8], found: Attention, title: str, notes: Sequence[str]
) -> bytes:
    """Draw a picture, what the network sees of it, the heat map and both together."""
    tiles = attention_tiles(pixels, found)
    if picture.shape != pixels.shape:
        tiles.insert(0, Tile(picture, (f"the picture, {picture.shape[1]}x{picture.shape[0]}",)))
    about = f"red speaks for the label, blue against it; {range_text(found.heat)}"
    return draw_grid(tiles, title, [*notes, METHODS[found.method], about], side=320, columns=len(tiles))


def draw_mistakes(mistakes: Sequence[Mistake], pictures: Pictures, title: str, notes: Sequence[str]) -> bytes:
    """Draw the pictures of mistakes with their labels, score and file."""
    tiles = [
        Tile(
            pictures.pixels(slice(each.place, each.place + 1))[0],
            (f"says {each.predicted}", f"is {each.true}", f"{100 * each.score:.1f} %", each.file),
        )
        for each in mistakes
    ]
    return draw_grid(tiles, title, notes, side=150, caption=160)


def draw_kernel(
    picture: npt.NDArray[np.uint8],
    kernel: npt.NDArray[np.float64],
    result: npt.NDArray[np.uint8],
    title: str,
    notes: Sequence[str],
) -> bytes:
    """Draw a picture, the kernel and what it made of the picture."""
    tile = heat_pixels(kernel.astype(np.float32), (kernel.shape[1], kernel.shape[0]))
    numbers = tuple(map(_number_text, kernel.ravel())) if max(kernel.shape) <= _READABLE else ()
    tiles = [
        Tile(picture, (f"the picture, {picture.shape[1]}x{picture.shape[0]}",)),
        Tile(tile, (f"the kernel, {kernel.shape[1]}x{kernel.shape[0]}", range_text(kernel)), numbers),
        Tile(result, (f"the result, {result.shape[1]}x{result.shape[0]}",)),
    ]
    return draw_grid(tiles, title, notes, side=360, columns=3)


def _some(shown: int, total: int, what: str) -> str:
    return f"{total} {what}" if shown == total else f"the first {shown} of {total} {what}"
