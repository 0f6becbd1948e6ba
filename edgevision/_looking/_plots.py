"""A training's history and a confusion matrix, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._canvas import DIM, INK, encode_png, enlarge, figure, fitted_text, rendered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["MATRIX_LABELS", "cell_heat", "confusion_layer", "draw_confusion", "draw_history"]

#: Beyond this, numbers and labels in a confusion matrix are too small to read.
MATRIX_LABELS = 40

_TRAIN, _VAL = "#1667b8", "#cd4923"
_RIGHT, _WRONG, _GROUND = (22, 103, 184), (205, 73, 35), "#f1f3f6"
_POINTS = 0.72  # of a pixel, at 100 dots per inch
_LETTER = 8


def draw_history(history: Mapping[str, Sequence[float]]) -> bytes:
    """Draw loss, accuracy and, if it was noted, the learning rate per epoch."""
    shown = [name for name in ("loss", "accuracy", "learning_rate") if name in history]
    with figure(430 * max(1, len(shown)), 340) as drawn:
        for axes, name in zip(drawn.subplots(1, max(1, len(shown)), squeeze=False)[0], shown, strict=False):
            _draw_line(axes, name, history)
        drawn.tight_layout()
        return encode_png(rendered(drawn))


def _draw_line(axes: Any, name: str, history: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for key, color, legend in ((name, _TRAIN, "train"), (f"val_{name}", _VAL, "val")):
        values = history.get(key, ())
        # Dots, because a single epoch makes no line.
        size = 3 if len(values) < 60 else 0
        axes.plot(range(1, len(values) + 1), values, color=color, label=legend, marker="o", markersize=size)
    axes.set_title(name.replace("_", " "), loc="left", color=INK, fontsize=12)
    axes.set_xlabel("epoch", color=DIM)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#e3e7ec")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=DIM)
    if f"val_{name}" in history:
        axes.legend(frameon=False)


def _row_shares(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return what share of each true label's pictures got each label."""
    return confusion / np.maximum(confusion.sum(1, keepdims=True), 1)


def cell_heat(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return how strongly to color each cell, 0 to 1.

    Mistakes are few where it matters: the root makes one in a hundred visible beside one in four.
    """
    share = _row_shares(confusion)
    wrong = np.where(share > 0, np.minimum(1, 0.12 + np.sqrt(share)), 0)
    return np.where(np.eye(len(confusion), dtype=bool), share, wrong)


def confusion_layer(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Paint a confusion matrix, a pixel each: blue what is right, orange what is not, by its share of the row.

    Returns:
        RGBA, transparent where there is nothing; to be laid over any ground.
    """
    right = np.eye(len(confusion), dtype=bool)[..., np.newaxis]
    alpha = np.rint(255 * cell_heat(confusion))[..., np.newaxis]
    return np.concatenate([np.where(right, np.array(_RIGHT), np.array(_WRONG)), alpha], axis=2).astype(np.uint8)


def draw_confusion(confusion: npt.NDArray[np.int64], labels: Sequence[str], title: str) -> bytes:
    """Draw a confusion matrix; with many labels as a heat map without text."""
    count, with_text = len(labels), len(labels) <= MATRIX_LABELS
    longest = max(map(len, labels)) if with_text else 0
    digits = len(str(int(confusion.max())))
    # Whole pixels per cell: a cell of a fraction of one would be left out.
    # Of few labels larger ones, so that the picture is not mostly margin.
    cell = (
        max(_LETTER * digits + 8, min(54, 640 // count), min(160, 360 // count)) if with_text else max(1, 900 // count)
    )
    room = min(190, 16 + _LETTER * longest)
    flat = _LETTER * longest + 6 < cell
    side, left, top = cell * count, room + 40, (24 if flat else room) + 74
    width, height = max(left + side + 24, 480), top + side + 24
    with figure(width, height) as drawn:
        head = fitted_text(drawn, title, 19, width - 40)
        drawn.text(20 / width, 1 - 34 / height, head, fontsize=19 * _POINTS, color=INK, parse_math=False)
        axes = drawn.add_axes((left / width, 24 / height, side / width, side / height))
        axes.imshow(enlarge(confusion_layer(confusion), cell), extent=(0, count, count, 0), interpolation="nearest")
        axes.set_facecolor(_GROUND)
        axes.spines[:].set_visible(False)
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("predicted" if with_text else f"predicted, {count} labels", color=DIM, fontsize=12 * _POINTS)
        axes.set_ylabel("true" if with_text else "true, in the order of labels.txt", color=DIM, fontsize=12 * _POINTS)
        middles = np.arange(count) + 0.5 if with_text else []
        texts = [fitted_text(drawn, label, 12, room - 10) for label in labels] if with_text else []
        text = {"fontsize": 12 * _POINTS, "color": INK, "parse_math": False}
        axes.set_xticks(middles, texts, rotation=0 if flat else 90, **text)
        axes.set_yticks(middles, texts, **text)
        axes.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
        if with_text:
            _write_counts(axes, confusion)
        return encode_png(rendered(drawn))


def _write_counts(axes: Any, confusion: npt.NDArray[np.int64]) -> None:
    heat = cell_heat(confusion)
    for row, column in zip(*np.nonzero(confusion), strict=True):
        color = "white" if heat[row, column] > 0.6 else INK
        where = {"ha": "center", "va": "center_baseline"}
        number = str(confusion[row, column])
        axes.text(column + 0.5, row + 0.5, number, fontsize=12 * _POINTS, color=color, **where)
