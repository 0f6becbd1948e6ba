"""Video files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from .._errors import SourceError
from ._base import Frame, Source
from ._opencv import Capture

__all__ = ["ClipSource"]


class ClipSource(Source):
    """Yields every frame of a video file, as fast as they are taken.

    Raises:
        SourceError: no such file, or nothing in it that OpenCV can decode.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise SourceError(f"no such video file: {self._path}")
        self._capture = Capture(str(self._path), "CAP_FFMPEG")
        if not self._capture.opened:
            raise SourceError(
                f"{self._path} ({self._path.stat().st_size} bytes) cannot be opened as a video; is it cut short, "
                "or compressed in a way that this OpenCV cannot read?"
            )

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when it has been decoded."""
        for id in itertools.count():
            picture = self._capture.read()
            if picture is None:
                if id == 0:
                    raise SourceError(f"{self._path} holds no frame that can be decoded; is it cut short?")
                return
            yield Frame.taken_now(id, picture, "bgr")

    def close(self) -> None:
        """Close the file."""
        self._capture.close()
