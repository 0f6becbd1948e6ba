"""Opening clips, cameras and addresses with OpenCV, without its chatter."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .._errors import UsageError
from .._preprocess import load_opencv

__all__ = ["Capture"]


class Capture:
    """A `cv2.VideoCapture` that may be closed while another thread reads.

    Args:
        what: a path, an address or the number of a camera.
        backend: `CAP_FFMPEG` or `CAP_V4L2`. Only this one is tried, if OpenCV has it: the others would each print why
            they cannot, some of them to stdout.
        time_limit_s: how long opening and each read may take; 0 leaves it to OpenCV.

    Attributes:
        opened: whether that went well; OpenCV says no more about it.

    Raises:
        UsageError: `what` cannot be handed to OpenCV, which would crash.
    """

    def __init__(self, what: str | int, backend: str, *, time_limit_s: float = 0.0) -> None:
        if isinstance(what, str):
            try:
                what.encode()
            except UnicodeEncodeError:
                raise UsageError(
                    f"the name {what!a} holds bytes that are no UTF-8, which OpenCV cannot open; rename it"
                ) from None
        self._cv2 = cv2 = load_opencv()
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
        self._in_use = threading.Lock()
        self._closed = False

    def ask(self, name: str, value: float) -> None:
        """Ask for a property, such as `CAP_PROP_FPS`; `tell` says what came of it."""
        self._capture.set(getattr(self._cv2, name), value)

    def tell(self, name: str) -> float:
        """Return a property; 0 if OpenCV does not know it, or the capture is closed."""
        with self._used():
            return float(self._capture.get(getattr(self._cv2, name)))

    def read(self) -> Optional[npt.NDArray[np.uint8]]:
        """Return the next picture, BGR, shape `(height, width, 3)`; None if there is none, or it took too long."""
        with self._used():
            try:
                got, picture = self._capture.read()
            except self._cv2.error:  # a frame so damaged that decoding it raises
                got, picture = False, None
        if self._closed or not got or picture is None:
            return None
        if picture.ndim == 2 or picture.shape[2] == 1:  # a camera without color
            picture = self._cv2.cvtColor(picture, self._cv2.COLOR_GRAY2BGR)
        return picture

    def close(self) -> None:
        """Release the capture; if it is used at this moment, then after that, because OpenCV would crash."""
        self._closed = True
        if self._in_use.acquire(blocking=False):
            self._capture.release()
            self._in_use.release()

    @contextlib.contextmanager
    def _used(self) -> Generator[None, None, None]:
        try:
            with self._in_use:
                yield
        finally:
            if self._closed:
                self.close()


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
