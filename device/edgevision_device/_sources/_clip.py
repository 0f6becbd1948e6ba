"""Video files."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

from .._errors import SourceError
from ._base import Frame, Source
from ._opencv import Capture

__all__ = ["ClipSource"]

#: What a file says about its length is an estimate in some formats.
_SHORT = 0.9


class ClipSource(Source):
    """Yields every frame of a video file, as fast as they are taken.

    Args:
        path: the file.
        on_notice: is given a line if the file ends well before the number of frames that it announces.

    Raises:
        SourceError: no such file, or nothing in it that OpenCV can decode.
        UsageError: a name that OpenCV cannot open.
    """

    def __init__(self, path: str | os.PathLike[str], on_notice: Optional[Callable[[str], None]] = None) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise SourceError(f"no such video file: {self._path}")
        self._capture = Capture(str(self._path), "CAP_FFMPEG")
        if not self._capture.opened:
            raise SourceError(
                f"{self._path} ({self._path.stat().st_size} bytes) cannot be opened as a video; is it cut short, "
                "or compressed in a way that this OpenCV cannot read?"
            )
        self.fps = self._capture.tell("CAP_PROP_FPS") or None
        self._announced = self._capture.tell("CAP_PROP_FRAME_COUNT")
        self._on_notice = on_notice
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when it has been decoded."""
        reached_s = -math.inf
        for id in itertools.count():
            picture = self._capture.read()
            if picture is None:
                if id == 0:
                    raise SourceError(f"{self._path} holds no frame that can be decoded; is it cut short?")
                if self._on_notice and not self._closed and id < _SHORT * self._announced:
                    self._on_notice(
                        f"{self._path} ended after {id} of {self._announced:.0f} frames; is it cut short or damaged?"
                    )
                return
            # 0 for a frame without a time: each of raw H.264, the last one of MPEG-1 and -2.
            position_s = self._capture.tell("CAP_PROP_POS_MSEC") / 1000
            clip_s = position_s if position_s > reached_s else None
            reached_s = max(reached_s, position_s)
            yield dataclasses.replace(Frame.taken_now(id, picture, "bgr"), clip_s=clip_s)

    def close(self) -> None:
        """Close the file."""
        self._closed = True
        self._capture.close()
