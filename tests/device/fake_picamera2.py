"""Stands in for Picamera2, which runs on a Raspberry Pi only: what its manual and source say it does.

- `global_camera_info()` has a record per camera; `Picamera2(number)` raises RuntimeError where the camera is in use.
- A configuration names `main` with size and format, and controls; `configure` may align the size, and
  `camera_configuration()` tells size, format and `stride`, the bytes from one row to the next, padding and all.
- Formats are libcamera's: `RGB888` lies in memory as B, G, R, and `BGR888` as R, G, B.
- `capture_request(wait=False)` returns a job; its result is a request that must be released, or the camera runs dry:
  there are as many as `buffer_count`, 6 for video.
- `make_buffer` returns all bytes of a stream in one dimension, a copy.
- `SensorTimestamp` counts nanoseconds on CLOCK_BOOTTIME.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
import types
from typing import Any, ClassVar, Optional

import numpy as np

COLOR_RGB = (200, 120, 40)


class Job:
    def __init__(self, future: concurrent.futures.Future[Any]) -> None:
        self._future = future

    def get_result(self, timeout: Optional[float] = None) -> Any:
        return self._future.result(timeout)


class Request:
    def __init__(self, camera: Picamera2, number: int) -> None:
        self._camera, self._number = camera, number

    def make_buffer(self, name: str) -> np.ndarray:
        assert not self._camera.closed
        given = self._camera.camera_configuration()[name]
        width, height = given["size"]
        channels = {"RGB888": COLOR_RGB[::-1], "BGR888": COLOR_RGB}[given["format"]]
        # Padding is whatever was there before.
        rows = np.random.default_rng(self._number).integers(0, 255, (height, given["stride"]), dtype=np.uint8)
        rows[:, : 3 * width] = np.tile(np.array(channels, np.uint8), width)
        rows[:, 0] = np.arange(height)  # the first byte of each row says which it is
        return rows.reshape(-1)

    def get_metadata(self) -> dict[str, Any]:
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return {"SensorTimestamp": now_ns - self._camera.behind_ns(self._number)}

    def release(self) -> None:
        self._camera.held -= 1


class Picamera2:
    """One camera; the class's attributes say what is plugged in and how it behaves."""

    cameras: ClassVar[list[dict[str, Any]]] = [{"Model": "imx219", "Num": 0, "Id": "/base/soc/i2c0mux/i2c@1/imx219@10"}]
    in_use = False
    largest_wh = (3280, 2464)
    frames_until_silence: Optional[int] = None
    behind_ns = staticmethod(lambda number: 25_000_000)
    made: ClassVar[list[Picamera2]] = []

    def __init__(self, camera_num: int = 0) -> None:
        if type(self).in_use:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.held = 0
        self.taken = 0
        self.started = self.closed = False
        self._lock = threading.Lock()
        type(self).made.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return Picamera2.cameras

    def create_video_configuration(
        self, main: Optional[dict[str, Any]] = None, controls: Optional[dict[str, Any]] = None, buffer_count: int = 6
    ) -> dict[str, Any]:
        wanted = {"format": "XBGR8888", "size": (1280, 720), **(main or {})}
        if set(wanted) != {"format", "size"}:
            raise ValueError("Bad key")
        return {
            "main": wanted,
            "controls": {"FrameDurationLimits": (33333, 33333), **(controls or {})},
            "buffer_count": buffer_count,
        }

    def configure(self, configuration: dict[str, Any]) -> None:
        width, height = configuration["main"]["size"]
        if width % 2 or height % 2:
            raise RuntimeError("width and height should be even")
        size = min(width, self.largest_wh[0]), min(height, self.largest_wh[1])
        stride = -(-3 * size[0] // 64) * 64
        self.configuration = {**configuration, "main": {**configuration["main"], "size": size, "stride": stride}}

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def start(self) -> None:
        self.started = True

    def capture_request(self, wait: Optional[bool] = None) -> Any:
        assert self.started
        assert wait is False
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._lock:
            number, self.taken = self.taken, self.taken + 1
        dry = self.held >= self.configuration["buffer_count"]
        silent = self.frames_until_silence is not None and number >= self.frames_until_silence
        if not dry and not silent:
            self.held += 1
            future.set_result(Request(self, number))
        return Job(future)

    def close(self) -> None:
        self.started, self.closed = False, True


def module() -> types.ModuleType:
    """Return a new module `picamera2` with one camera, plugged in and idle."""
    made = types.ModuleType("picamera2")
    fresh = type("Picamera2", (Picamera2,), {"made": []})
    made.Picamera2 = fresh  # type: ignore[attr-defined]
    return made
