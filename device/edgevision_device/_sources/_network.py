"""Streams from an address: MJPEG or any container over HTTP, and RTSP."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterator
from typing import Optional
from urllib.parse import SplitResult, urlsplit

from .._errors import SourceError, UsageError
from .._preprocess import load_opencv
from ._base import Frame, Source
from ._opencv import Capture

__all__ = ["SCHEMES", "NetworkSource", "without_password"]

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
        self._shown = without_password(address)
        parts = _split(address)
        if parts is None:
            raise UsageError(f"{self._shown!r} is no address of a stream; one looks like http://host:8080/video")
        self._breaks_off = parts.scheme.startswith("rtsp")
        self._time_limit_s = time_limit_s
        load_opencv()  # without which there is nothing to wait for
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
        import concurrent.futures  # takes longer than the rest of the sources

        opened: concurrent.futures.Future[Capture] = concurrent.futures.Future()

        def work() -> None:
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits any more
                try:
                    capture = Capture(address, "CAP_FFMPEG", time_limit_s=self._time_limit_s)
                except BaseException as error:  # raised again where somebody can handle it
                    opened.set_exception(error)
                    return
                try:
                    opened.set_result(capture)
                except concurrent.futures.InvalidStateError:
                    capture.close()

        threading.Thread(target=work, name="edgevision-open", daemon=True).start()
        try:
            # FFmpeg keeps to the limit by itself, except while it looks the name up. The second is for its own slack.
            return opened.result(self._time_limit_s + 1)
        except concurrent.futures.TimeoutError:
            return None
        finally:
            opened.cancel()

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when it has arrived and been decoded; end when the sender ends the answer.

        That is what HTTP has an end for. RTSP has one only for recordings, and FFmpeg does not tell it from a lost
        connection, so there it raises SourceError.
        """
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
                if self._breaks_off:
                    raise SourceError(
                        f"{self._shown} broke off after {id} frames; is the camera still on and the network up?"
                    )
                return
            yield Frame.taken_now(id, picture, "bgr")

    def close(self) -> None:
        """Close the connection."""
        self._capture.close()


def without_password(address: str) -> str:
    """Return an address for messages, which end up in logs; all that may be secret is left out, also of a wrong one.

    >>> without_password("rtsp://admin:secret@camera:554/live?key=secret")
    'rtsp://…@camera:554/live'
    >>> without_password("rtsp://admin:se/cr?t@camera")
    'rtsp://…@camera'
    """
    if ":/" not in address:
        return address
    return re.sub(r"(:/+).*@", r"\1…@", address).partition("?")[0]


def _split(address: str) -> Optional[SplitResult]:
    """Return the parts of an address, or None if it is no address of a stream."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts if parts.scheme in SCHEMES and parts.hostname else None


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
