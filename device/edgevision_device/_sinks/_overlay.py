"""Drawing a result on its picture, for the window and the video."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

from .._preprocess import load_opencv
from .._result import StreamResult

__all__ = ["as_bgr", "draw_result"]

#: A smaller picture is enlarged, else no text fits.
_LEAST_SIDE = 240
#: Letters are no smaller than on a picture of so many times 640 × 480.
_LEAST_SCALE = 0.55
_WHITE, _GREY, _GREEN, _AMBER = (255, 255, 255), (170, 170, 170), (110, 200, 60), (60, 180, 250)


def as_bgr(picture: npt.NDArray[np.uint8], order: str) -> npt.NDArray[np.uint8]:
    """Return the picture with channels in OpenCV's order: itself, if they are already."""
    return picture if order == "bgr" else np.ascontiguousarray(picture[..., ::-1])


def draw_result(result: StreamResult, *, count: int = 3) -> npt.NDArray[np.uint8]:
    """Return a copy of the result's picture with label, score, age and a bar for each of the `count` best labels.

    The text stands on a darkened strip, so that it can be read on any picture. The strip takes a quarter of the height
    at most: a small picture shows fewer labels.

    Returns:
        uint8 BGR, shape `(height, width, 3)`: of the frame's picture, or a whole multiple if that is tiny.
    """
    cv2 = load_opencv()
    picture = as_bgr(result.frame.picture, result.frame.picture_order)
    enlarged = -(-_LEAST_SIDE // min(picture.shape[:2]))
    canvas = picture.repeat(enlarged, axis=0).repeat(enlarged, axis=1)  # a copy, also if enlarged is 1
    height, width = canvas.shape[:2]
    scale = max(_LEAST_SCALE, min(height / 480, width / 640))
    row = round(24 * scale) + 4
    pad = round(10 * scale) + 2
    margin = pad // 3
    pen = _Pen(cv2, canvas, 0.66 * scale)
    best = result.top(min(count, (height // 4 - 2 * margin) // row - 1))
    strip = canvas[height - row * (len(best) + 1) - 2 * margin :]
    strip[:] = cv2.convertScaleAbs(strip, alpha=0.3)
    top = height - len(strip) + margin

    age = f"{result.age_ms:.0f} ms"
    label = "unknown" if result.label is None else result.label
    source = "" if result.frame.source is None else f"{result.frame.source}  "
    age_left = width - pad - pen.width(source + age)
    pen.text(source + age, age_left, top, row, _GREY)
    headline = f" {100 * result.score:.0f} %"
    label = pen.fit(label, age_left - 2 * pad - pen.width(headline))
    pen.text(label + headline, pad, top, row, _AMBER if result.label is None else _WHITE)

    name_width = (width - 2 * pad) * 2 // 5
    bar_left, bar_right = pad + name_width + pad, width - 2 * pad - pen.width("100 %")
    for place, (name, score) in enumerate(best, 1):
        y = top + place * row
        pen.text(pen.fit(name, name_width), pad, y, row, _WHITE)
        low, high = y + row // 4, y + row - row // 4
        share = min(max(score, 0.0), 1.0) if score == score else 0.0
        cv2.rectangle(canvas, (bar_left, low), (bar_right, high), (90, 90, 90), -1)
        if share > 0:
            end = bar_left + round(share * (bar_right - bar_left))
            cv2.rectangle(canvas, (bar_left, low), (end, high), _GREEN, -1)
        percent = f"{100 * share:.0f} %"
        pen.text(percent, width - pad - pen.width(percent), y, row, _WHITE)
    return canvas


class _Pen:
    """Writes lines of text into rows of a picture."""

    def __init__(self, cv2: Any, canvas: npt.NDArray[np.uint8], scale: float) -> None:
        self._cv2 = cv2
        self._canvas = canvas
        self._scale = scale
        self._thickness = 1 if scale < 1 else 2

    def width(self, text: str) -> int:
        font = self._cv2.FONT_HERSHEY_SIMPLEX
        return int(self._cv2.getTextSize(_plain(text), font, self._scale, self._thickness)[0][0])

    def fit(self, text: str, width: int) -> str:
        """Cut text off so that it fits."""
        if self.width(text) <= width:
            return text
        while text and self.width(f"{text}..") > width:
            text = text[:-1]
        return f"{text}.."

    def text(self, text: str, left: int, top: int, row: int, color: tuple[int, int, int]) -> None:
        place = (left, top + round(0.72 * row))
        font, line = self._cv2.FONT_HERSHEY_SIMPLEX, self._cv2.LINE_AA
        self._cv2.putText(self._canvas, _plain(text), place, font, self._scale, color, self._thickness, line)


def _plain(text: str) -> str:
    """Return what OpenCV 4's font has: ASCII. Letters lose their accents, others become question marks.

    >>> _plain("Käse 手")
    'Kase ?'
    """
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in letters)
