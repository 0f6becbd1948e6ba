"""Where frames come from: one module per kind of source, and one grammar that names them all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Optional
from urllib.parse import parse_qsl, urlsplit

from .._errors import PictureError, SourceError, UsageError, require_known
from .._pictures import PICTURE_SUFFIXES
from ._array import ArraySource
from ._base import Frame, Source, Still
from ._camera import Camera, CameraSource, find_cameras
from ._clip import ClipSource
from ._clocked import ClockedSource
from ._folder import FolderSource
from ._moving import DEFAULT_LEVELS, MovingSource
from ._network import SCHEMES, NetworkSource, open_address, without_password
from ._paced import PacedSource
from ._pattern import PatternSource
from ._picamera import PICAMERA_MEND, PicameraSource, load_picamera2
from ._reconnecting import ReconnectingSource
from ._several import SeveralSources
from ._turned import FLIPS, ROTATIONS, Region, TurnedSource, parse_region
from ._watched import WatchedSource

__all__ = [
    "DEFAULT_LEVELS",
    "FLIPS",
    "PICAMERA_MEND",
    "ROTATIONS",
    "SOURCE_GRAMMAR",
    "ArraySource",
    "Camera",
    "CameraSource",
    "ClipSource",
    "ClockedSource",
    "FolderSource",
    "Frame",
    "MovingSource",
    "NetworkSource",
    "PacedSource",
    "PatternSource",
    "PicameraSource",
    "ReconnectingSource",
    "Region",
    "SeveralSources",
    "Source",
    "Still",
    "TurnedSource",
    "WatchedSource",
    "find_cameras",
    "kind_of_source",
    "load_picamera2",
    "open_source",
    "parse_region",
    "parse_size",
    "without_password",
]

SOURCE_GRAMMAR = (
    "a camera (0, /dev/video2, picamera://0), a video file (clip.mp4), a picture, a folder of pictures, "
    "an address (http://…, https://…, rtsp://…), or a test picture (test://?size=640x480&fps=30&frames=100)"
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CAMERA = re.compile(r"(?:/dev/video)?(\d+)")
_LARGEST = 16384


def kind_of_source(uri: str) -> str:
    """Return `camera`, `picamera`, `test`, `address` or `path`. Raises UsageError for an address of another kind."""
    if _CAMERA.fullmatch(uri):
        return "camera"
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return "path"
    name = scheme[1].lower()
    if name in ("picamera", "test"):
        return name
    if name not in SCHEMES:
        raise UsageError(f"unknown kind of source {without_password(uri)!r}; a source is {SOURCE_GRAMMAR}")
    return "address"


def open_source(
    uri: str,
    fps: Optional[float] = None,
    *,
    size_wh: Optional[tuple[int, int]] = None,
    pixel_format: Optional[str] = None,
    time_limit_s: float = 10.0,
    on_unreadable: Optional[Callable[[PictureError], None]] = None,
    on_notice: Optional[Callable[[str], None]] = None,
) -> Source:
    """Open what `uri` names; see `SOURCE_GRAMMAR`. The caller closes it, best by `with`.

    Of cameras and addresses `stream` takes only the newest frame, so that what is classified is never old. Files and
    folders wait, so that every frame is classified; with `fps` they are replayed on a clock as if they were a camera.

    Args:
        uri: `0`, `/dev/video2`, `picamera://0`, `clip.mp4`, `photos/`, `cat.jpg`, `http://…`, `rtsp://…`, `test://`.
        fps: the clock for a file, folder or test picture; for a camera, the rate to ask of it; refused for an address.
        size_wh: asked of a camera; the size of a test picture; refused for all else.
        pixel_format: asked of a V4L2 camera; refused for all else.
        time_limit_s: how long an address may take to answer, and then it or a CSI camera to send a frame.
        on_unreadable: see `FolderSource`.
        on_notice: is given a line where a source is not quite what was asked.

    Raises:
        SourceError: it cannot be opened.
        DataError: a folder without pictures.
        MissingPackageError: no OpenCV, or no Picamera2.
        UsageError: `uri` is none of these, or a number is out of range.
    """
    if fps is not None and not 0 < fps <= 1000:
        raise UsageError(f"frames per second must lie above 0 and not above 1000, got {fps:g}")
    if not 0 < time_limit_s <= 3600:
        raise UsageError(f"the time limit must lie above 0 and not above 3600 seconds, got {time_limit_s:g}")
    if size_wh is not None:
        _check_size(size_wh)
    kind = kind_of_source(uri)
    if size_wh is not None and kind in ("address", "path"):
        raise UsageError(f"a size can be asked of cameras only, not of {without_password(uri)!r}; leave out --size")
    if pixel_format is not None and kind != "camera":
        raise UsageError(
            f"a pixel format can be asked of V4L2 cameras only, not of {without_password(uri)!r}; "
            "leave out --pixel-format"
        )
    if kind == "camera":
        number = int(_CAMERA.fullmatch(uri)[1])  # pyright: ignore[reportOptionalSubscript]
        return CameraSource(number, fps, size_wh=size_wh, pixel_format=pixel_format, on_notice=on_notice)
    if kind == "picamera":
        number, fps, size_wh, _ = _described(uri, fps, size_wh, ("size", "fps"))
        return PicameraSource(number, fps, size_wh=size_wh, time_limit_s=time_limit_s, on_notice=on_notice)
    if kind == "test":
        _, fps, size_wh, frames = _described(uri, fps, size_wh, ("size", "fps", "frames"))
        source: Source = PatternSource(size_wh or (640, 480), frames)
    elif kind == "address":
        if fps is not None:
            raise UsageError(f"the sender of {_SCHEME.match(uri)[0]}… sets its frames per second; leave out --fps")  # pyright: ignore[reportOptionalSubscript]
        return open_address(uri, time_limit_s)
    else:
        source = _open_path(uri, on_unreadable, on_notice)
    return source if fps is None else ClockedSource(source, fps)


def _open_path(
    uri: str,
    on_unreadable: Optional[Callable[[PictureError], None]],
    on_notice: Optional[Callable[[str], None]],
) -> Source:
    path = Path(uri)
    if not path.exists():
        raise SourceError(f"no such file or folder: {without_password(uri)!r}; a source is {SOURCE_GRAMMAR}")
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return FolderSource(path, on_unreadable)
    return ClipSource(path, on_notice)


def _described(
    uri: str, fps: Optional[float], size_wh: Optional[tuple[int, int]], known: tuple[str, ...]
) -> tuple[int, Optional[float], Optional[tuple[int, int]], Optional[int]]:
    """Return number, fps, size and count of `scheme://NUMBER?key=value&…`; what is given there comes first."""
    parts = urlsplit(uri)
    number = parts.netloc or "0"
    if not re.fullmatch(r"\d{1,3}", number) or parts.path not in ("", "/") or (parts.scheme == "test" and parts.netloc):
        raise UsageError(f"unknown source {uri!r}; a source is {SOURCE_GRAMMAR}")
    frames: Optional[int] = None
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        require_known(f"part of {parts.scheme}://", key, known)
        if key == "size":
            size_wh = parse_size(value)
        elif not re.fullmatch(r"\d{1,9}(\.\d+)?" if key == "fps" else r"\d{1,9}", value) or not float(value):
            raise UsageError(f"{key} in {uri!r} must be a number above 0, got {value!r}")
        elif key == "fps":
            fps = float(value)
        else:
            frames = int(value)
    if fps is not None and not 0 < fps <= 1000:
        raise UsageError(f"frames per second must lie above 0 and not above 1000, got {fps:g}")
    return int(number), fps, size_wh, frames


def parse_size(text: str) -> tuple[int, int]:
    """Read `WIDTHxHEIGHT`.

    >>> parse_size("640x480")
    (640, 480)
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if match is None:
        raise UsageError(f"a size is WIDTHxHEIGHT, such as 640x480; got {text!r}")
    return _check_size((int(match[1]), int(match[2])))


def _check_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    if not all(1 <= side <= _LARGEST for side in size_wh):
        raise UsageError(f"width and height must lie between 1 and {_LARGEST}, got {size_wh[0]}x{size_wh[1]}")
    return size_wh
