"""USB cameras, through Linux's V4L2."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import numpy.typing as npt

from .._errors import SourceError, UsageError
from ._base import Frame, Source
from ._opencv import Capture

__all__ = ["Camera", "CameraSource", "find_cameras", "is_torn"]

#: Drivers of the Raspberry Pi that make /dev/video nodes: the raw end of a CSI camera, and what is no camera at all
#: (codecs and image processors). Names as in /sys/class/video4linux/*/name.
_CSI = re.compile(r"unicam|rp1-cfe")
_NO_CAMERA = re.compile(r"bcm2835-(codec|isp)|pispbe|rpi-?(vid|hevc)|hevc-dec")

#: Reads that may fail in a row: a frame that came torn over the cable cannot be decoded, and the next one can.
_BAD_READS = 5
#: For so long no whole frame may come. OpenCV gives a silent camera 10 s, and then the read fails.
_SILENT_S = 5.0

#: Rows at the bottom that are all the same in a torn frame, and in no other of a camera: sensors make noise.
_SAME_ROWS = 8
_FLAT = 4
_MISSING = 128

#: What a grabber gives of a screen may end in rows that are all the same, but then it does so again and again: so many
#: frames after the first, whose last rows differ by so many levels on average. Tears are elsewhere each time.
_ALIKE_FRAMES = 3
_ALIKE = 8


@dataclass(frozen=True)
class Camera:
    """A camera that Linux lists.

    Attributes:
        path: `/dev/videoN`.
        name: what its driver calls it.
        csi: it is on the ribbon cable of a Raspberry Pi, where V4L2 gives raw sensor data and no pictures.
    """

    path: str
    name: str
    csi: bool


def find_cameras(root: str | os.PathLike[str] = "/") -> list[Camera]:
    """Return the cameras below `root`/dev, in the order of their numbers, without opening any."""
    from .._sensors import read_text  # which may run a program: importing that takes longer than the sources

    found: list[tuple[int, Camera]] = []
    for node in Path(root, "dev").glob("video*"):
        number = node.name[len("video") :]
        if not number.isdigit():
            continue
        about = Path(root, "sys/class/video4linux", node.name)
        name = read_text(about / "name") or "unknown"
        # A camera's second node carries metadata, no pictures; `index` counts the nodes of one camera.
        if _NO_CAMERA.search(name) or (read_text(about / "index") or "0") != "0":
            continue
        found.append((int(number), Camera(f"/dev/{node.name}", name, bool(_CSI.search(name)))))
    return [camera for _, camera in sorted(found, key=lambda entry: entry[0])]


class CameraSource(Source):
    """Yields what a camera sees. Who reads too slowly gets old frames from the driver's queue; `stream` does not.

    Args:
        number: N of `/dev/videoN`.
        fps, size_wh, pixel_format: asked of the camera, which may give something else; default: what it does by
            itself. A pixel format is four characters that the driver knows, such as `MJPG` or `YUYV`: many cameras
            reach their largest sizes and rates in MJPG only.
        on_notice: is given one line if the camera gives something else than was asked.

    Raises:
        SourceError: no such camera, or it cannot be opened. The message names the cameras there are.
        UsageError: a pixel format that is none.
    """

    live = True

    def __init__(
        self,
        number: int,
        fps: Optional[float] = None,
        *,
        size_wh: Optional[tuple[int, int]] = None,
        pixel_format: Optional[str] = None,
        on_notice: Optional[Callable[[str], None]] = None,
    ) -> None:
        if pixel_format is not None and not re.fullmatch(r"[!-~ ]{4}", pixel_format):
            raise UsageError(f"a pixel format has four characters, such as MJPG or YUYV; got {pixel_format!r}")
        self._path = f"/dev/video{number}"
        self._capture = Capture(number, "CAP_V4L2")
        if not self._capture.opened:
            raise SourceError(f"camera {self._path} cannot be opened: {_why_not(self._path)}")
        self._settle(fps, size_wh, pixel_format, on_notice or (lambda line: None))
        self._may_tear = _four(self._capture.tell("CAP_PROP_FOURCC")) == "MJPG"

    def _settle(
        self,
        fps: Optional[float],
        size_wh: Optional[tuple[int, int]],
        pixel_format: Optional[str],
        on_notice: Callable[[str], None],
    ) -> None:
        """Ask in the order in which V4L2 narrows down: sizes depend on the pixel format, rates on both."""
        capture = self._capture
        differs: list[str] = []
        if pixel_format is not None:
            capture.ask("CAP_PROP_FOURCC", int.from_bytes(pixel_format.encode(), "little"))
            given = _four(capture.tell("CAP_PROP_FOURCC"))
            if given != pixel_format:
                differs.append(f"pixel format {given} instead of {pixel_format}")
        if size_wh is not None:
            capture.ask("CAP_PROP_FRAME_WIDTH", size_wh[0])
            capture.ask("CAP_PROP_FRAME_HEIGHT", size_wh[1])
            got_wh = tuple(round(capture.tell(f"CAP_PROP_FRAME_{side}")) for side in ("WIDTH", "HEIGHT"))
            if got_wh != size_wh:
                differs.append("size {}x{} instead of {}x{}".format(*got_wh, *size_wh))
        if fps is not None:
            capture.ask("CAP_PROP_FPS", fps)
            got = capture.tell("CAP_PROP_FPS")
            if abs(got - fps) > 0.01 * fps:
                differs.append(f"{got:g} frames per second instead of {fps:g}")
        if differs:
            on_notice(f"camera {self._path} gives {', '.join(differs)} (v4l2-ctl --list-formats-ext lists what it can)")

    def frames(self) -> Iterator[Frame]:
        """Yield each whole frame, captured when the driver hands it over; torn ones leave gaps in the ids."""
        id = bad = 0
        tears = _Tears()
        whole_s = time.monotonic()
        while True:
            picture = self._capture.read()
            if picture is not None and not (self._may_tear and tears.show_in(picture)):
                yield Frame.taken_now(id, picture, "bgr")
                bad = 0
                whole_s = time.monotonic()
            else:
                bad += picture is None
                silent = time.monotonic() - whole_s > _SILENT_S
                if bad > _BAD_READS or silent or not Path(self._path).exists():
                    kind = f"{'more ' * bool(id)}{'' if picture is None else 'whole '}frames"
                    raise SourceError(
                        f"camera {self._path} gives no {kind}; is it still plugged in, and does no other program "
                        "use it?"
                    )
            id += 1

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.close()


class _Tears:
    """Tells the torn frames of a camera from those of a screen that always ends in the same rows."""

    def __init__(self) -> None:
        self._last: Optional[npt.NDArray[np.int16]] = None
        self._alike = 0

    def show_in(self, picture: npt.NDArray[np.uint8]) -> bool:
        if not is_torn(picture):
            self._last, self._alike = None, 0
            return False
        last = picture[-1].astype(np.int16)  # differences have a sign
        before, self._last = self._last, last
        alike = before is not None and before.shape == last.shape and np.abs(last - before).mean() <= _ALIKE
        # The grey that OpenCV leaves is always alike.
        self._alike = self._alike + 1 if alike and (last != _MISSING).any() else 0
        return self._alike < _ALIKE_FRAMES


def is_torn(picture: npt.NDArray[np.uint8]) -> bool:
    """Say whether a picture is what OpenCV makes of a JPEG that was cut short.

    It repeats the last row that it has down to the bottom (4.8), or leaves grey what is missing.

    Args:
        picture: uint8, shape `(height, width, 3)`.
    """
    last = picture[-1]
    if not (picture[-2] == last).all() or not (picture[-_SAME_ROWS:] == last).all():
        return False
    if (last == _MISSING).all():
        return not bool((picture[0] == _MISSING).all())
    # A bar of one color, black for the most part, is not torn.
    return int(np.ptp(last, axis=0).max()) > _FLAT


def _four(number: float) -> str:
    """Return the name of a pixel format, whose four characters are the bytes of a number."""
    return (int(number) & 0xFFFFFFFF).to_bytes(4, "little").decode("ascii", errors="replace")


def _why_not(path: str) -> str:
    cameras = find_cameras()
    if not Path(path).exists():
        listed = ", ".join(f"{camera.path} ({camera.name})" for camera in cameras if not camera.csi) or "none"
        return f"there is no such device; cameras found: {listed}"
    if not os.access(path, os.R_OK | os.W_OK):
        return "permission denied; sudo usermod -aG video $USER, then log in again"
    if any(camera.csi for camera in cameras if camera.path == path):
        return "it is a CSI camera, which gives pictures only through Picamera2; its address is picamera://0"
    return "another program may be using it, or it is no camera"
