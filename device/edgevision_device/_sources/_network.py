"""Streams from an address: MJPEG or any container over HTTP, and RTSP."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Optional
from urllib.parse import SplitResult, urlsplit

from .._errors import SourceError, UsageError
from ._base import Frame, Source
from ._opencv import Capture

__all__ = ["SCHEMES", "NetworkSource"]

#: scheme → default port
SCHEMES = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}


class NetworkSource(Source):
    """Yields the frames of a stream. Who reads too slowly gets old frames from the socket; `stream` does not.

    Args:
        address: `http://…`, `https://…`, `rtsp://…` or `rtsps://…`; a name and password may stand before the host.
        time_limit_s: how long opening may take, and how long a frame may take to come.

    Raises:
        SourceError: nobody answers there within the time limit, or not with a stream that OpenCV reads.
    """

    live = True

    def __init__(self, address: str, time_limit_s: float = 10.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise UsageError(f"{address!r} is no address of a stream; one looks like http://host:8080/video")
        self._shown = _without_password(parts)
        self._time_limit_s = time_limit_s
        began = time.monotonic()
        capture = self._open(address)
        if capture is None or not capture.opened:
            if time.monotonic() - began < time_limit_s:
                raise SourceError(f"{self._shown} cannot be opened: {_why_not(parts)}")
            raise SourceError(
                f"{self._shown} did not answer within {time_limit_s:g} s; is the address right and the camera on? "
                "(--time-limit SECONDS waits longer)"
            )
        self._capture = capture

    def _open(self, address: str) -> Optional[Capture]:
        """Open on a thread of its own: looking a name up keeps to no time limit, and Ctrl-C must get through."""
        opened: list[Capture] = []
        opener = threading.Thread(
            target=lambda: opened.append(Capture(address, "CAP_FFMPEG", time_limit_s=self._time_limit_s)),
            name="edgevision-open",
            daemon=True,
        )
        opener.start()
        # FFmpeg keeps to the limit by itself, except while it looks the name up. The second is for its own slack.
        opener.join(self._time_limit_s + 1)
        return opened[0] if opened else None

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when it has arrived and been decoded; end when the sender ends the stream."""
        for id in itertools.count():
            began = time.monotonic()
            picture = self._capture.read()
            if picture is None:
                if time.monotonic() - began >= self._time_limit_s:
                    raise SourceError(
                        f"{self._shown} has sent no frame for {self._time_limit_s:g} s, after {id} frames "
                        "(--time-limit SECONDS waits longer)"
                    )
                if id == 0:
                    raise SourceError(f"{self._shown} closed the stream before the first frame")
                return
            yield Frame.taken_now(id, picture, "bgr")

    def close(self) -> None:
        """Close the connection."""
        self._capture.close()


def _without_password(parts: SplitResult) -> str:
    """Return the address for messages, which end up in logs.

    >>> _without_password(urlsplit("rtsp://admin:secret@camera:554/live"))
    'rtsp://camera:554/live'
    """
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="").geturl()


def _why_not(parts: SplitResult) -> str:
    """Ask again without OpenCV, which keeps the reason to itself."""
    import http.client  # these two take longer to import than the rest of the sources
    import socket

    try:
        port = parts.port or SCHEMES[parts.scheme]
        with socket.create_connection((parts.hostname or "", port), timeout=2):
            pass
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.hostname or "", port, timeout=2)
        try:
            connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            answer = connection.getresponse()
            if answer.status >= 400:
                return f"the server says {answer.status} {answer.reason}"
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
    return "something answers there, but not with a video stream that OpenCV can read"
