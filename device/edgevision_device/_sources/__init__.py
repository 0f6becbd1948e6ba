"""Where frames come from: one module per kind of source, and one grammar that names them all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from .._errors import PictureError, SourceError, UsageError
from .._pictures import PICTURE_SUFFIXES
from ._array import ArraySource
from ._base import Frame, Source
from ._camera import Camera, CameraSource, find_cameras
from ._clip import ClipSource
from ._clocked import ClockedSource
from ._folder import FolderSource
from ._network import SCHEMES, NetworkSource, without_password

__all__ = [
    "SOURCE_GRAMMAR",
    "ArraySource",
    "Camera",
    "CameraSource",
    "ClipSource",
    "ClockedSource",
    "FolderSource",
    "Frame",
    "NetworkSource",
    "Source",
    "find_cameras",
    "open_source",
]

SOURCE_GRAMMAR = (
    "a camera (0, /dev/video2), a video file (clip.mp4), a picture, a folder of pictures, "
    "or an address (http://…, https://…, rtsp://…)"
)


def open_source(
    uri: str,
    fps: Optional[float] = None,
    *,
    time_limit_s: float = 10.0,
    on_unreadable: Optional[Callable[[PictureError], None]] = None,
) -> Source:
    """Open what `uri` names; see `SOURCE_GRAMMAR`. The caller closes it, best by `with`.

    Of cameras and addresses `stream` takes only the newest frame, so that what is classified is never old. Files and
    folders wait, so that every frame is classified; with `fps` they are replayed on a clock as if they were a camera.

    Args:
        uri: `0`, `/dev/video2`, `clip.mp4`, `photos/`, `cat.jpg`, `http://…`, `rtsp://…`.
        fps: the clock for a file or folder; for a camera, the rate to ask of it; refused for an address.
        time_limit_s: how long an address may take to answer, and then to send a frame.
        on_unreadable: see `FolderSource`.

    Raises:
        SourceError: it cannot be opened.
        DataError: a folder without pictures.
        UsageError: `uri` is none of these, or a number is out of range.
    """
    if fps is not None and not 0 < fps <= 1000:
        raise UsageError(f"frames per second must lie above 0 and not above 1000, got {fps:g}")
    if not 0 < time_limit_s <= 3600:
        raise UsageError(f"the time limit must lie above 0 and not above 3600 seconds, got {time_limit_s:g}")
    camera = re.fullmatch(r"(?:/dev/video)?(\d+)", uri)
    if camera:
        return CameraSource(int(camera[1]), fps)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme:
        if scheme[1].lower() not in SCHEMES:
            raise UsageError(f"unknown kind of source {without_password(uri)!r}; a source is {SOURCE_GRAMMAR}")
        if fps is not None:
            raise UsageError(f"the sender of {scheme[0]}… sets its frames per second; leave out --fps")
        return NetworkSource(uri, time_limit_s)
    path = Path(uri)
    if not path.exists():
        raise SourceError(f"no such file or folder: {without_password(uri)!r}; a source is {SOURCE_GRAMMAR}")
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        source: Source = FolderSource(path, on_unreadable)
    else:
        source = ClipSource(path)
    return source if fps is None else ClockedSource(source, fps)
