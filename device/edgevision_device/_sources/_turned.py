"""Turning pictures upright, and cutting a region out of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Optional, Union

from .._errors import SourceError, UsageError, require_known
from .._preprocess import load_opencv
from ._base import Frame, Source, Wrapped

__all__ = ["FLIPS", "ROTATIONS", "Region", "TurnedSource", "parse_region"]

ROTATIONS = (0, 90, 180, 270)

#: name → what cv2.flip calls it
FLIPS = {"h": 1, "v": 0}

Region = Union[tuple[int, int, int, int], tuple[float, float, float, float]]


def parse_region(text: str) -> Region:
    """Read `X,Y,W,H`: pixels, or shares of the picture's width and height, from 0 to 1 and with a point.

    >>> parse_region("10,0,300,200")
    (10, 0, 300, 200)
    >>> parse_region("0.25,0,0.5,1")
    (0.25, 0.0, 0.5, 1.0)
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 4 or not all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", word) for word in words):
        raise UsageError(f"a region is X,Y,WIDTH,HEIGHT in pixels, or in shares such as 0.25,0,0.5,1; got {text!r}")
    left, top, width, height = (float(word) for word in words)
    if not width or not height:
        raise UsageError(f"a region needs a width and a height above 0, got {text!r}")
    if "." not in text:
        return int(left), int(top), int(width), int(height)
    if left + width > 1 + 1e-9 or top + height > 1 + 1e-9:
        raise UsageError(f"a region in shares must lie within the picture, whose width and height are 1; got {text!r}")
    return left, top, width, height


class TurnedSource(Wrapped):
    """Yields the frames of a source upright, and of them only a region.

    A region alone is a view of the picture and costs nothing. What is turned is copied, after the region was cut out:
    OpenCV would copy a turned view anyway, and takes less than half the time when it turns by itself.

    Args:
        source: is closed by this one.
        region: of the upright picture: x and y of its upper left corner, width and height. Four whole numbers are
            pixels; floats are shares.
        rotate: degrees clockwise; one of `ROTATIONS`.
        flip: after that, `h` (left and right change places) or `v` (top and bottom do).

    Raises:
        UsageError: a value that is none of these; from `frames`, a region that does not lie within the first picture.
        SourceError: from `frames`, one that does not lie within a later one, as of a camera that came back smaller.
    """

    def __init__(
        self, source: Source, *, region: Optional[Region] = None, rotate: int = 0, flip: Optional[str] = None
    ) -> None:
        require_known("rotation", str(rotate), map(str, ROTATIONS))
        if flip is not None:
            require_known("flip", flip, FLIPS)
        super().__init__(source)
        self._region = region
        self._rotate = rotate
        self._flip = flip
        self._fitted = False

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, turned and cut."""
        cv2 = load_opencv()
        codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
        for frame in self._source.frames():
            picture = frame.picture
            if self._region is not None:
                height, width = picture.shape[:2]
                left, top, width, height = self._cut(width, height)
                picture = picture[top : top + height, left : left + width]
            if self._rotate:
                picture = cv2.rotate(picture, codes[self._rotate])
            if self._flip is not None:
                picture = cv2.flip(picture, FLIPS[self._flip])
            yield dataclasses.replace(frame, picture=picture)

    def _cut(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the region of the picture as the camera gives it, in pixels."""
        assert self._region is not None
        up_w, up_h = (height, width) if self._rotate in (90, 270) else (width, height)
        if all(isinstance(number, int) for number in self._region):
            x, y, w, h = (int(number) for number in self._region)
        else:
            x, w = _edges(self._region[0], self._region[2], up_w)
            y, h = _edges(self._region[1], self._region[3], up_h)
        if x + w > up_w or y + h > up_h:
            kind = SourceError if self._fitted else UsageError
            raise kind(
                f"the region {x},{y},{w},{h} does not lie within the picture, which is {up_w} wide and {up_h} high"
                f"{' once turned' if self._rotate in (90, 270) else ''}"
            )
        self._fitted = True
        # What was done to the whole picture is undone for the region, last things first.
        if self._flip == "h":
            x = up_w - x - w
        elif self._flip == "v":
            y = up_h - y - h
        return {
            0: (x, y, w, h),
            90: (y, height - x - w, h, w),
            180: (width - x - w, height - y - h, w, h),
            270: (width - y - h, x, h, w),
        }[self._rotate]


def _edges(start: float, extent: float, size: int) -> tuple[int, int]:
    """Turn shares into a first pixel and a number of pixels, at least one."""
    first = min(round(start * size), size - 1)
    return first, max(1, min(round((start + extent) * size), size) - first)
