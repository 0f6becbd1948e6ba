"""USB cameras, through Linux's V4L2."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .._errors import SourceError
from ._base import Frame, Source
from ._opencv import Capture

__all__ = ["Camera", "CameraSource", "find_cameras"]

#: Drivers of the Raspberry Pi that make /dev/video nodes: the raw end of a CSI camera, and what is no camera at all
#: (codecs and image processors). Names as in /sys/class/video4linux/*/name.
_CSI = re.compile(r"unicam|rp1-cfe")
_NO_CAMERA = re.compile(r"bcm2835-(codec|isp)|pispbe|rpi-?(vid|hevc)|hevc-dec")


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
    found: list[tuple[int, Camera]] = []
    for node in Path(root, "dev").glob("video*"):
        number = node.name[len("video") :]
        if not number.isdigit():
            continue
        about = Path(root, "sys/class/video4linux", node.name)
        name = _text(about / "name") or "unknown"
        # A camera's second node carries metadata, no pictures; `index` counts the nodes of one camera.
        if _NO_CAMERA.search(name) or (_text(about / "index") or "0") != "0":
            continue
        found.append((int(number), Camera(f"/dev/{node.name}", name, bool(_CSI.search(name)))))
    return [camera for _, camera in sorted(found, key=lambda entry: entry[0])]


def _text(path: Path) -> Optional[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


class CameraSource(Source):
    """Yields what a camera sees. Who reads too slowly gets old frames from the driver's queue; `stream` does not.

    Args:
        number: N of `/dev/videoN`.
        fps: asked of the camera, which may give fewer; default: what it does by itself.

    Raises:
        SourceError: no such camera, or it cannot be opened. The message names the cameras there are.
    """

    live = True

    def __init__(self, number: int, fps: Optional[float] = None) -> None:
        self._path = f"/dev/video{number}"
        self._capture = Capture(number, "CAP_V4L2", fps=fps)
        if not self._capture.opened:
            raise SourceError(f"camera {self._path} cannot be opened: {_why_not(self._path)}")

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when the driver hands it over."""
        for id in itertools.count():
            picture = self._capture.read()
            if picture is None:
                raise SourceError(
                    f"camera {self._path} gives no {'more ' if id else ''}frames; is it still plugged in, and does "
                    "no other program use it?"
                )
            yield Frame.taken_now(id, picture, "bgr")

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.close()


def _why_not(path: str) -> str:
    cameras = find_cameras()
    if not Path(path).exists():
        listed = ", ".join(f"{camera.path} ({camera.name})" for camera in cameras if not camera.csi) or "none"
        return f"there is no such device; cameras found: {listed}"
    if not os.access(path, os.R_OK | os.W_OK):
        return "permission denied; sudo usermod -aG video $USER, then log in again"
    if any(camera.csi for camera in cameras if camera.path == path):
        return "it is a CSI camera, which gives pictures only through libcamera"
    return "another program may be using it, or it is no camera"
