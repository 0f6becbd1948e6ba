"""Pictures in a grid with text under them, as one PNG: pixels are enlarged by whole numbers and never smoothed."""

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_benchmarks import printable as clean
from edgevision_device import MissingPackageError, load_opencv

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy.typing as npt

__all__ = [
    "DIM",
    "INK",
    "Tile",
    "clean",
    "draw_grid",
    "encode_png",
    "enlarge",
    "figure",
    "fitted_text",
    "rendered",
    "shrink",
]

INK, DIM = "#16191d", "#5a6472"
_DPI = 100
_MARGIN, _GAP = 20, 14
_TITLE, _TEXT = 19, 13
_LINE = 17
#: About how wide a letter of small text is.
_ABOUT = 8
#: A page as wide as a laptop's screen; a caption narrower than this says nothing.
_PAGE, _CAPTION = 1240, 124
#: DejaVu comes with matplotlib and has Latin, Greek and Cyrillic; the others are taken where they are installed.
_FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Arabic", "Noto Sans Devanagari", "Unifont")


@dataclass(frozen=True)
class Tile:
    """A picture and what stands under it.

    Attributes:
        pixels: uint8 RGB, `(height, width, 3)`.
        lines: text; the first is dark, the others are dimmed.
        inside: a text for the middle of each pixel, row by row; for a picture of few pixels.
    """

    pixels: npt.NDArray[np.uint8]
    lines: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Text:
    """A text with the left end, or the middle, of its baseline at `(x, y)`, cut to so many pixels."""

    x: float
    y: float
    text: str
    size: int
    color: str
    room: float
    centered: bool = False


def draw_grid(
    tiles: Sequence[Tile],
    title: str,
    notes: Sequence[str] = (),
    *,
    side: int = 112,
    columns: int | None = None,
    caption: int = _CAPTION,
) -> bytes:
    """Return a PNG with the tiles in rows, a title and notes above them.

    Args:
        tiles: none gives title and notes alone.
        title: cut where it is too long, as all text is.
        notes: dimmed lines under the title.
        side: about how many pixels the longer side of each picture takes.
        columns: default: as many as a screen is wide.
        caption: pixels that the text under a picture gets at least.
    """
    cv2 = load_opencv()
    shown = [_fitted(tile.pixels, side) for tile in tiles]
    cells = [max(caption, pixels.shape[1]) for pixels in shown]
    columns = columns or max(1, min(len(tiles), (_PAGE - 2 * _MARGIN + _GAP) // (max(cells, default=1) + _GAP)))
    widths = [max(cells[column::columns], default=0) for column in range(columns)]
    lefts = [_MARGIN + sum(widths[:column]) + column * _GAP for column in range(columns)]
    cell_h = max((pixels.shape[0] for pixels in shown), default=0) + _GAP
    cell_h += max((len(tile.lines) for tile in tiles), default=0) * _LINE
    head = [_MARGIN + _TITLE + 9 + _LINE * place for place in range(len(notes) + 1)]
    top = head[-1] + (8 if tiles else 0)
    longest = max((_ABOUT * len(note) for note in notes), default=0)
    width = max(lefts[-1] + widths[-1] + _MARGIN, min(_PAGE, max(480, longest + 2 * _MARGIN)))
    height = top + math.ceil(len(tiles) / columns) * cell_h + (_MARGIN - _GAP if tiles else _MARGIN - 8)
    canvas = np.full((height, width, 3), 255, np.uint8)
    texts = [_Text(_MARGIN, _MARGIN + _TITLE - 4, title, _TITLE, INK, width - 2 * _MARGIN)]
    for y, note in zip(head, notes, strict=False):
        texts.append(_Text(_MARGIN, y + _LINE - 5, note, _TEXT, DIM, width - 2 * _MARGIN))
    for place, (tile, pixels) in enumerate(zip(tiles, shown, strict=True)):
        x, y = lefts[place % columns], top + place // columns * cell_h
        canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        # A hairline tells a white picture from the page.
        cv2.rectangle(canvas, (x - 1, y - 1), (x + pixels.shape[1], y + pixels.shape[0]), (216, 221, 227), 1)
        for line, text in enumerate(tile.lines):
            baseline = y + pixels.shape[0] + _LINE * (line + 1) - 3
            texts.append(_Text(x, baseline, text, _TEXT, DIM if line else INK, widths[place % columns] + _GAP - 6))
        texts += _inside(tile, pixels, x, y)
    return encode_png(_written(canvas, texts))


def _inside(tile: Tile, pixels: npt.NDArray[np.uint8], left: int, top: int) -> list[_Text]:
    if not tile.inside:
        return []
    rows, columns = tile.pixels.shape[:2]
    cell_w, cell_h = pixels.shape[1] / columns, pixels.shape[0] / rows
    found: list[_Text] = []
    for place, text in enumerate(tile.inside):
        row, column = divmod(place, columns)
        color = "white" if tile.pixels[row, column].mean() < 150 else INK
        x, y = left + (column + 0.5) * cell_w, top + (row + 0.5) * cell_h + _TEXT * 0.35
        found.append(_Text(x, y, text, _TEXT, color, cell_w - 4, centered=True))
    return found


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode RGB or RGBA pixels, `(height, width, 3 or 4)`."""
    cv2 = load_opencv()
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    _, encoded = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), order))
    return encoded.tobytes()


def enlarge(pixels: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Repeat every pixel `factor` times in both directions.

    >>> enlarge(np.array([[1, 2]]), 2).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    return pixels.repeat(factor, 0).repeat(factor, 1)


@contextlib.contextmanager
def figure(width: int, height: int) -> Generator[Any]:
    """Yield a matplotlib figure of so many pixels that no configuration of the user's reaches, and nothing keeps."""
    try:
        import matplotlib
        from matplotlib import font_manager, style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(f"pictures with text need matplotlib ({error}); pip install matplotlib") from error
    installed = set(font_manager.get_font_names())
    with style.context("default"), matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcParams["font.family"] = [name for name in _FONTS if name in installed]
        # A box stands for a letter that no font has: a warning to the user, who sees the box, would help nobody.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        made = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasAgg(made)
        yield made


def rendered(drawn: Any) -> npt.NDArray[np.uint8]:
    """Return a figure's RGB pixels, `(height, width, 3)`."""
    drawn.canvas.draw()
    return np.asarray(drawn.canvas.buffer_rgba())[..., :3].copy()


def fitted_text(drawn: Any, text: str, pixels: float, width: float) -> str:
    """Return `text` with its middle left out if it is wider than `width` in letters of so many pixels."""
    from matplotlib.font_manager import FontProperties

    font, renderer = FontProperties(size=pixels * 72 / _DPI), drawn.canvas.get_renderer()

    def wide(candidate: str) -> bool:
        return renderer.get_text_width_height_descent(candidate, font, False)[0] > width

    text = clean(text)
    if not wide(text):
        return text
    low, high = 0, len(text)
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (low, kept - 1) if wide(_without_middle(text, kept)) else (kept, high)
    return _without_middle(text, low)


def _without_middle(text: str, kept: int) -> str:
    """Keep the start and the end, where names of files differ.

    >>> _without_middle("photographs/0017.png", 10)
    'photo…7.png'
    """
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def _written(canvas: npt.NDArray[np.uint8], texts: Sequence[_Text]) -> npt.NDArray[np.uint8]:
    """Write texts over a picture of the same size."""
    height, width = canvas.shape[:2]
    with figure(width, height) as drawn:
        drawn.patch.set_alpha(0)
        for each in texts:
            fitted = fitted_text(drawn, each.text, each.size, each.room)
            drawn.text(
                each.x / width,
                1 - each.y / height,
                fitted,
                fontsize=each.size * 72 / _DPI,
                color=each.color,
                va="baseline",
                ha="center" if each.centered else "left",
                parse_math=False,
            )
        drawn.canvas.draw()
        layer = np.asarray(drawn.canvas.buffer_rgba()).astype(np.float32)
    alpha = layer[..., 3:] / 255
    # Without alpha a pixel of the layer has no color: what was there stays as it is, bit for bit.
    return np.rint(canvas * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)


def _fitted(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Bring the longer side near `side`: enlarged by a whole number, or averaged where it is much larger."""
    longer = max(pixels.shape[:2])
    return enlarge(pixels, max(1, round(side / longer))) if longer <= 1.5 * side else shrink(pixels, side)


def shrink(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Average a picture until its longer side has `side` pixels; one that has fewer stays as it is."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    cv2 = load_opencv()
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size_wh, interpolation=cv2.INTER_AREA)
