"""Passing over frames in which nothing moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .._errors import UsageError
from .._preprocess import load_opencv
from ._base import Frame, Source, Still, Wrapped

__all__ = ["DEFAULT_LEVELS", "MovingSource"]

#: Above the noise of a small camera in dim light, below a hand in a corner of the picture.
DEFAULT_LEVELS = 12.0

#: Fields that the picture is averaged over before it is compared: one of 640 × 480 is 20 × 20 pixels.
_FIELDS_WH = (32, 24)


class MovingSource(Wrapped):
    """Yields the frames that differ from the last one that it yielded, and one now and then that does not.

    The picture is averaged over 32 × 24 fields, in grey; it moves if any field does. So noise does not count, a change
    in a small place does, and what changes slowly does when it has added up.

    Args:
        source: is closed by this one.
        levels: by how many of 255 grey levels one field must have changed.
        every_s: so long after a frame the next one is yielded even if nothing moves.
    """

    def __init__(self, source: Source, levels: float = DEFAULT_LEVELS, every_s: float = 10.0) -> None:
        if not 0 < levels <= 255:
            raise UsageError(f"motion is told in grey levels, above 0 and not above 255; got {levels:g}")
        if not every_s > 0:
            raise UsageError(f"the time between frames without motion must be positive, got {every_s:g} s")
        super().__init__(source)
        self.fps = None  # frames are left out
        self._levels = levels
        self._every_ns = 1e9 * every_s
        self._still: Optional[Still] = None

    @property
    def still(self) -> Mapping[Optional[str], Still]:
        """What was passed over so far, the frames after the last one that moved included."""
        still = self._still  # another thread may pass over a frame meanwhile
        return {} if still is None else {None: still}

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that move; `Frame.still` counts those passed over so far."""
        cv2 = load_opencv()
        last_ns = 0
        last: Optional[npt.NDArray[np.int16]] = None
        count, clip_s = 0, None
        for frame in self._source.frames():
            fields = _fields(cv2, frame)
            clip_s = clip_s if frame.clip_s is None else frame.clip_s
            recent = last is not None and frame.captured_ns - last_ns < self._every_ns
            if last is not None and recent and int(np.abs(fields - last).max()) < self._levels:
                count += 1
                self._still = Still(count, frame.captured_ns, clip_s)
                continue
            last, last_ns = fields, frame.captured_ns
            yield dataclasses.replace(frame, still=count)


def _fields(cv2: Any, frame: Frame) -> npt.NDArray[np.int16]:
    small = cv2.resize(frame.picture, _FIELDS_WH, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY if frame.picture_order == "rgb" else cv2.COLOR_BGR2GRAY)
    return grey.astype(np.int16)  # differences have a sign
