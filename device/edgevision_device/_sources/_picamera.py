"""Cameras on the ribbon cable of a Raspberry Pi, through Picamera2: V4L2 gives only their raw sensor data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .._errors import MissingPackageError, SourceError
from ._base import Frame, Source

__all__ = ["PICAMERA_MEND", "PicameraSource", "load_picamera2"]

#: Picamera2 needs libcamera's Python module, which comes with the system and not from a package index
#: (https://github.com/raspberrypi/picamera2/issues/446 and 503).
PICAMERA_MEND = (
    "sudo apt install python3-picamera2, and make the environment that runs this with: "
    "python3 -m venv --system-site-packages DIR"
)

#: libcamera names formats by the bytes of a little-endian number: what it calls BGR888 lies in memory as R, G, B
#: (`Helpers.make_image` in Picamera2's request.py maps BGR888 to RGB; issues 191 and 848 there are about the surprise).
_FORMAT, _ORDER = "BGR888", "rgb"

_DEFAULT_SIZE_WH = (640, 480)

#: A sensor's timestamp that is older than this, or from the future, is on another clock than this computer's.
_OLDEST_NS = 10_000_000_000


class PicameraSource(Source):
    """Yields what a CSI camera sees. Who reads too slowly gets frames that are a little older; `stream` does not.

    Args:
        number: place among the cameras that `rpicam-hello --list-cameras` shows.
        fps: asked of the camera; default: what Picamera2 sets for video, 30.
        size_wh: asked of the camera, whose image processor scales; default: 640 × 480.
        time_limit_s: how long a frame may take to come.
        on_notice: is given one line if the camera gives another size than was asked.

    Raises:
        MissingPackageError: Picamera2 is not to be had in this Python.
        SourceError: no such camera, or another program uses it.
    """

    live = True

    def __init__(
        self,
        number: int = 0,
        fps: Optional[float] = None,
        *,
        size_wh: Optional[tuple[int, int]] = None,
        time_limit_s: float = 10.0,
        on_notice: Optional[Callable[[str], None]] = None,
    ) -> None:
        make = load_picamera2()
        self._shown = f"picamera://{number}"
        self._time_limit_s = time_limit_s
        self._closed = False
        cameras: list[dict[str, Any]] = make.global_camera_info()
        if number >= len(cameras):
            listed = ", ".join(f"{at} ({camera.get('Model')})" for at, camera in enumerate(cameras)) or "none"
            raise SourceError(
                f"{self._shown}: there is no such camera; cameras found: {listed} (is the cable in, and straight?)"
            )
        controls: dict[str, Any] = {}
        if fps is not None:
            controls["FrameDurationLimits"] = (round(1e6 / fps), round(1e6 / fps))
        try:
            self._camera: Any = make(number)
        except (RuntimeError, IndexError) as error:
            raise SourceError(f"{self._shown} cannot be opened: another program may be using it ({error})") from error
        try:
            wanted = {"size": size_wh or _DEFAULT_SIZE_WH, "format": _FORMAT}
            self._camera.configure(self._camera.create_video_configuration(main=wanted, controls=controls))
            self._given: dict[str, Any] = self._camera.camera_configuration()["main"]
            if self._given["format"] != _FORMAT:
                raise RuntimeError(f"it gives {self._given['format']}, not {_FORMAT}")
            self._camera.start()
        except (RuntimeError, ValueError) as error:
            self._camera.close()
            raise SourceError(f"{self._shown} cannot be set up: {error}") from error
        if size_wh is not None and tuple(self._given["size"]) != size_wh and on_notice:
            width, height = self._given["size"]
            on_notice(f"{self._shown} gives size {width}x{height} instead of {size_wh[0]}x{size_wh[1]}")

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when the sensor's first row was exposed."""
        import concurrent.futures

        id = latest_ns = 0
        while not self._closed:
            # The one way to wait that all versions have with a limit: `wait` given as a number is new.
            job = self._camera.capture_request(wait=False)
            try:
                request = job.get_result(timeout=self._time_limit_s)
            except (concurrent.futures.TimeoutError, TimeoutError):
                raise SourceError(
                    f"{self._shown} has sent no frame for {self._time_limit_s:g} s, after {id} frames; "
                    "is the cable in, and straight?"
                ) from None
            except (concurrent.futures.CancelledError, RuntimeError) as error:
                if self._closed:
                    return
                raise SourceError(f"{self._shown} broke off after {id} frames: {error}") from error
            try:
                picture = _unpadded(request.make_buffer("main"), self._given)
                sensor_ns: Optional[int] = request.get_metadata().get("SensorTimestamp")
            finally:
                request.release()
            now_ns = time.monotonic_ns()
            age_ns = _age_ns(sensor_ns)
            # Rising whatever the sensor's clock says.
            captured_ns = latest_ns = max(latest_ns, now_ns - age_ns)
            captured_utc = datetime.now(timezone.utc) - timedelta(microseconds=(now_ns - captured_ns) / 1000)
            yield Frame(id, captured_ns, captured_utc, picture, _ORDER)
            id += 1

    def close(self) -> None:
        """Stop the camera and let go of it."""
        if not self._closed:
            self._closed = True
            self._camera.close()


def load_picamera2() -> Any:
    """Import the class Picamera2, or raise MissingPackageError with what mends it."""
    # libcamera tells stderr what it does, line by line, unless told what to leave out.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    try:
        import picamera2  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPackageError(f"picamera:// needs Picamera2 ({error}): {PICAMERA_MEND}") from error
    except Exception as error:  # its compiled parts are made for the system's numpy, and say so by ValueError
        raise MissingPackageError(
            f"Picamera2 is installed, but cannot be loaded ({error}); a numpy in the environment that is not the "
            "system's is the usual cause: pip uninstall numpy"
        ) from error
    return picamera2.Picamera2


def _unpadded(buffer: npt.NDArray[np.uint8], given: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Return the picture in a buffer whose rows are longer than its width: a view."""
    width, height = given["size"]
    stride = given["stride"]
    rows = buffer[: height * stride].reshape(height, stride)
    return rows[:, : width * 3].reshape(height, width, 3)


def _age_ns(sensor_ns: Optional[int]) -> int:
    """How long ago the sensor's clock stood there: nanoseconds on the clock that goes on while the system sleeps."""
    if sensor_ns is None:
        return 0
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - sensor_ns
    return age_ns if 0 <= age_ns <= _OLDEST_NS else 0
