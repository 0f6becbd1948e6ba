"""Opening clips, cameras and addresses with OpenCV, without its chatter."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .._errors import SourceError
from .._preprocess import load_opencv

__all__ = ["Capture"]


class Capture:
    """A `cv2.VideoCapture` that may be closed while another thread reads.

    Args:
        what: a path, an address or the number of a camera.
        backend: `CAP_FFMPEG` or `CAP_V4L2`. Only this one is tried, if OpenCV has it: the others would each print why
            they cannot, some of them to stdout.
        time_limit_s: how long opening and each read may take; 0 leaves it to OpenCV.
        fps: asked of a camera, which may give fewer; default: what it does by itself.

    Raises:
        SourceError: a path that OpenCV cannot be given.

    Attributes:
        opened: whether that went well; OpenCV says no more about it.
    """

    def __init__(
        self, what: str | int, backend: str, *, time_limit_s: float = 0.0, fps: Optional[float] = None
    ) -> None:
        if isinstance(what, str) and not _is_utf8(what):
            raise SourceError(f"{what}: OpenCV crashes on a path with bytes that are no UTF-8; rename it")
        cv2 = load_opencv()
        chosen = getattr(cv2, backend)
        if not cv2.videoio_registry.hasBackend(chosen):
            chosen = cv2.CAP_ANY
        parameters: list[int] = []
        if time_limit_s:
            limit_ms = round(1000 * time_limit_s)
            parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        with _without_chatter(cv2):
            self._capture: Any = cv2.VideoCapture(what, chosen, parameters)
        self.opened: bool = self._capture.isOpened()
        if fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, fps)
        self._reading = threading.Lock()
        self._closed = False

    def read(self) -> Optional[npt.NDArray[np.uint8]]:
        """Return the next picture, BGR, shape `(height, width, 3)`; None if there is none, or it took too long."""
        with self._reading:
            got, picture = self._capture.read()
            if self._closed:
                self._capture.release()
                return None
            return picture if got else None

    def close(self) -> None:
        """Release the capture; if a read is under way, when it comes back, because OpenCV would crash."""
        self._closed = True
        if self._reading.acquire(blocking=False):
            self._capture.release()
            self._reading.release()


def _is_utf8(path: str) -> bool:
    """Say whether Python holds no byte of a path as a lone surrogate."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _without_chatter(cv2: Any) -> Generator[None, None, None]:
    """Keep OpenCV and FFmpeg from printing to stderr, unless the user's environment asks for their logs.

    OpenCV's level has a function, which has moved in version 5. FFmpeg's is read from the environment, once, when the
    first capture opens, and set nowhere else.
    """
    if "OPENCV_LOG_LEVEL" not in os.environ:
        logging: Any = getattr(getattr(cv2, "utils", None), "logging", None)
        if hasattr(logging, "setLogLevel"):
            logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        elif hasattr(cv2, "setLogLevel"):
            cv2.setLogLevel(0)
    if {"OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_DEBUG"} & os.environ.keys():
        yield
        return
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
    try:
        yield
    finally:
        del os.environ["OPENCV_FFMPEG_LOGLEVEL"]
