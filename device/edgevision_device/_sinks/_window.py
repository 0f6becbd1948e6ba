"""Results in a window."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from .._errors import UsageError
from .._health import Health
from .._preprocess import load_opencv
from .._result import StreamResult
from ._background import reason_of
from ._base import Sink
from ._overlay import draw_result

__all__ = ["Window", "check_window"]

_NAME = "edgevision"
_PART = "sink window"
#: More frames than this a second nobody sees.
_MOST_FPS = 30
_ESCAPE = 27


class Window(Sink):
    """Shows each frame with its label. The key q, Escape, or closing the window ends the stream.

    It draws in the loop's thread, because window systems take calls from the main thread only: 2 to 4 ms a frame.
    """

    def __init__(self, health: Health, stop: Callable[[], None]) -> None:
        self._health = health
        self._stop = stop
        self._shown = False
        self._over = False
        self._next_s = 0.0

    def write(self, result: StreamResult) -> None:
        """Show a result, unless the one before was shown just now."""
        now_s = time.monotonic()
        if self._over or now_s < self._next_s:
            return
        self._next_s = now_s + 1 / _MOST_FPS
        cv2 = load_opencv()
        try:
            # Before imshow, which would open a window that the user has closed again.
            if self._shown and self._is_closed():
                self._end()
                return
            picture = draw_result(result)
            if not self._shown:
                cv2.namedWindow(_NAME, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                cv2.resizeWindow(_NAME, picture.shape[1], picture.shape[0])
            cv2.imshow(_NAME, picture)
            self._shown = True
            self._listen()
        except cv2.error as error:
            self._over = True
            self._health.trouble(_PART, reason_of(error))

    def idle(self) -> None:
        """Let the window answer while no frame comes."""
        if self._shown and not self._over:
            self._listen()

    def _listen(self) -> None:
        cv2 = load_opencv()
        # Not waitKey(1): that waits for as long as the system's clock tick.
        key = cv2.pollKey() & 0xFF
        if key in (ord("q"), ord("Q"), _ESCAPE) or self._is_closed():
            self._end()

    def _is_closed(self) -> bool:
        cv2 = load_opencv()
        try:
            return cv2.getWindowProperty(_NAME, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # what Qt says of a window that is gone
            return True

    def _end(self) -> None:
        self._over = True
        self._stop()

    def close(self) -> None:
        """Close the window."""
        if self._shown:
            self._shown = False
            cv2 = load_opencv()
            try:
                cv2.destroyWindow(_NAME)
                cv2.pollKey()  # some window systems close it only when events are handled
            except cv2.error:  # the user has closed it
                pass


def check_window() -> None:
    """Raise UsageError where OpenCV can open no window.

    In a process of its own: without a display, Qt's reaction is to abort the process.
    """
    load_opencv()
    code = f"import sys; sys.path[:] = {sys.path!r}; import cv2; cv2.namedWindow('{_NAME}'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
        works = done.returncode == 0
    except subprocess.TimeoutExpired:
        works = False
    if not works:
        raise UsageError(
            "--window: OpenCV can open no window here. It needs a display, and opencv-python or Raspberry Pi OS's "
            "python3-opencv (opencv-python-headless has no windows); or use --web and a browser"
        )
