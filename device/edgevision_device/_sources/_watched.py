"""Looking at what a camera gives, and saying so when it shows nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Optional

import numpy as np
import numpy.typing as npt

from .._health import Health
from ._base import Frame, Source, Wrapped

__all__ = ["WatchedSource"]

#: Every so many pixels one is looked at: 1,200 of 640 × 480.
_EVERY = 16

#: A covered camera is not quite black, and a flat color not quite flat: sensors and JPEG make noise.
_DARK = 32
_FLAT = 4


class WatchedSource(Wrapped):
    """Yields the frames of a live source, and tells `health` when they show nothing.

    Those that are black, or the same again and again, are yielded all the same: what they mean is not known here.

    Args:
        source: is closed by this one.
        health: is told.
        part: what `health` calls it.
        nothing_s: how long pictures may be black or of one color before that is said.
        frozen_s: how long they may be the same to the byte. A sensor's noise never is, but a compressed stream may
            leave out what does not change until its next whole picture, some seconds later.
    """

    def __init__(
        self,
        source: Source,
        health: Health,
        part: str = "picture",
        *,
        nothing_s: float = 2.0,
        frozen_s: float = 30.0,
    ) -> None:
        super().__init__(source)
        self._health = health
        self._part = part
        self._nothing_s = nothing_s
        self._frozen_s = frozen_s

    def frames(self) -> Iterator[Frame]:
        """Yield each frame."""
        before: Optional[npt.NDArray[np.uint8]] = None
        since_s: dict[str, float] = {}
        for frame in self._source.frames():
            picture = frame.picture
            seen = _trouble(picture, before)
            before = picture
            now_s = time.monotonic()
            since_s = {seen: since_s.get(seen, now_s)} if seen else {}
            limit_s = self._frozen_s if seen == _FROZEN else self._nothing_s
            if seen and now_s - since_s[seen] >= limit_s:
                self._health.trouble(self._part, f"{seen}, for {limit_s:g} s now")
            elif not seen:
                self._health.well(self._part)
            yield frame


_BLACK = "black; is the camera covered, or the light off?"
_PLAIN = "all of one color; is the camera covered or broken?"
_FROZEN = "frozen: each frame is the same as the one before"


def _trouble(picture: npt.NDArray[np.uint8], before: Optional[npt.NDArray[np.uint8]]) -> Optional[str]:
    sample = picture[::_EVERY, ::_EVERY]
    if int(sample.max()) < _DARK:
        return _BLACK
    if all(int(sample[..., channel].max()) - int(sample[..., channel].min()) <= _FLAT for channel in range(3)):
        return _PLAIN
    if before is None or before.shape != picture.shape:
        return None
    # Most pictures differ in one of these few pixels already; only those that do not are compared whole.
    same = np.array_equal(sample, before[::_EVERY, ::_EVERY]) and np.array_equal(picture, before)
    return _FROZEN if same else None
