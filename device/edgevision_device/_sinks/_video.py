"""Results as a video: each frame with its label drawn on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .._errors import UsageError
from .._outputs import writing
from .._preprocess import load_opencv
from .._quiet import quiet_native
from .._result import StreamResult
from ._background import SlowSink
from ._overlay import draw_result

__all__ = ["VIDEO_CODECS", "VIDEO_FPS", "Video", "check_video"]

#: What OpenCV's wheels and Debian's OpenCV can write.
VIDEO_CODECS = {".avi": "MJPG", ".mkv": "mp4v", ".mov": "mp4v", ".mp4": "mp4v"}
#: Of a source that does not say how many frames of it make a second.
VIDEO_FPS = 25.0

#: A camera's silence is shown for so long; the rest is cut.
_LONGEST_GAP_NS = 2_000_000_000
#: A card that is full to the last byte stops more than this video.
_LEAST_FREE_BYTES = 50_000_000


class Video(SlowSink[StreamResult]):
    """Writes frames to a video file, which gets its name when it is whole: at the end.

    Args:
        path: the file; its suffix says the format, see `VIDEO_CODECS`.
        fps: frames per second of the video.
        live: a frame is shown for as long as it took until the next one; otherwise all frames alike.
    """

    name = "video"
    keep = 8
    drops_oldest = True
    attempts = 1
    # Not a peer that hangs, but a disk that is slow: a video without its end cannot be played.
    close_s = 20.0

    def __init__(self, path: str | os.PathLike[str], *, fps: float, live: bool) -> None:
        self.path = Path(path)
        self._fps = fps
        self._live = live
        # Frames of a live source that the encoder has no time for are left out, and those beside them shown for longer.
        self.promised = not live
        self._opened = contextlib.ExitStack()
        self._writer: Optional[Any] = None
        self._refused: Optional[str] = None  # why no encoder will ever take these frames
        self._size_wh = (0, 0)
        self._last_ns = 0
        self._elapsed_ns = 0
        self._written = 0
        self._picture: Optional[npt.NDArray[np.uint8]] = None

    def take(self, result: StreamResult) -> StreamResult:
        """Return the result itself, with its picture."""
        return result

    def deliver(self, item: StreamResult) -> None:
        """Draw and encode a frame. Raises OSError if the disk is nearly full, UsageError if no encoder takes it."""
        if self._refused is not None:
            raise UsageError(self._refused)
        cv2 = load_opencv()
        picture = draw_result(item)
        if self._writer is None:
            self._start(cv2, picture)
        else:
            self._elapsed_ns += min(max(item.frame.captured_ns - self._last_ns, 0), _LONGEST_GAP_NS)
        self._last_ns = item.frame.captured_ns
        self._require_room()
        if self._live:
            # Each frame of the video shows the newest that came before half its time was over: of a source at the
            # video's own rate, each one once, also if some come a little early or late.
            while self._written < round(self._elapsed_ns * self._fps / 1e9):
                self._encode()
            self._picture = _fitted(cv2, picture, self._size_wh)
        else:
            self._picture = _fitted(cv2, picture, self._size_wh)
            self._encode()

    def _require_room(self) -> None:
        free_bytes = shutil.disk_usage(self.path.parent).free
        if free_bytes < _LEAST_FREE_BYTES:
            raise OSError(f"only {free_bytes // 1_000_000} MB are free beside {self.path}; frames are left out")

    def _encode(self) -> None:
        assert self._writer is not None
        if self._picture is not None:
            self._writer.write(self._picture)
        self._written += 1

    def close(self) -> None:
        """End the video and give it its name. Without a frame there is none."""
        if self._writer is not None:
            if self._live:
                self._encode()
            self._writer.release()
            self._writer = None
            self._opened.close()

    def _start(self, cv2: Any, picture: npt.NDArray[np.uint8]) -> None:
        # Encoders take even sizes only.
        self._size_wh = (picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2)
        with contextlib.ExitStack() as opened:
            temporary = opened.enter_context(writing(self.path))
            self._require_room()  # a full disk passes; an encoder that is not there does not come
            try:
                self._writer = _open_writer(cv2, temporary, self._fps, self._size_wh)
            except UsageError as error:
                self._refused = str(error)
                raise
            self._opened = opened.pop_all()


def check_video(path: str) -> None:
    """Raise UsageError if OpenCV cannot write a video with such a name."""
    suffix = Path(path).suffix.lower()
    if suffix not in VIDEO_CODECS:
        raise UsageError(f"--video {path}: the name must end in one of {', '.join(VIDEO_CODECS)}")
    cv2 = load_opencv()
    with tempfile.TemporaryDirectory() as folder:
        _open_writer(cv2, Path(folder) / f"probe{suffix}", VIDEO_FPS, (64, 48)).release()


def _open_writer(cv2: Any, path: Path, fps: float, size_wh: tuple[int, int]) -> Any:
    codec = VIDEO_CODECS[path.suffix.lower()]
    with quiet_native(lambda line: False):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size_wh)
    if not writer.isOpened():
        others = ", ".join(suffix for suffix in VIDEO_CODECS if suffix != path.suffix.lower())
        raise UsageError(
            f"this OpenCV cannot encode {codec} into {path.suffix}; try a name that ends in {others}, "
            "or install opencv-python"
        )
    return writer


def _fitted(cv2: Any, picture: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the picture in the video's size: cut by a pixel, or scaled with black bars where it is another."""
    height, width = picture.shape[:2]
    if 0 <= width - size_wh[0] <= 1 and 0 <= height - size_wh[1] <= 1:
        return np.ascontiguousarray(picture[: size_wh[1], : size_wh[0]])
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    left, top = (size_wh[0] - inner_wh[0]) // 2, (size_wh[1] - inner_wh[1]) // 2
    framed = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    framed[top : top + inner_wh[1], left : left + inner_wh[0]] = cv2.resize(picture, inner_wh)
    return framed
