"""Streams from an address: RTSP, any container over HTTP, and MJPEG, which `_mjpeg.py` reads."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Callable, Optional, TypeVar, Union
from urllib.parse import SplitResult, urlsplit

from .._errors import SourceError, UsageError
from .._http import escaped, target
from .._preprocess import load_opencv
from ._base import Frame, Source
from ._opencv import Capture
from ._pace import Pace

__all__ = ["SCHEMES", "NetworkSource", "open_address", "without_password"]

_Opened = TypeVar("_Opened", bound=Union[Capture, Source, None])

#: scheme → default port
SCHEMES = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}


def open_address(address: str, time_limit_s: float = 10.0) -> Source:
    """Open a stream; see `NetworkSource`, which it is unless it turns out to be MJPEG: then a `MjpegSource`."""
    shown = without_password(address)
    parts = _split(address)
    if parts is not None and parts.scheme in ("http", "https"):
        from ._mjpeg import open_mjpeg  # http.client takes longer to import than the rest of the sources

        load_opencv()  # without which there is nothing to ask for
        try:
            source = _in_time(lambda: open_mjpeg(parts, shown, time_limit_s), time_limit_s)
        except TimeoutError:
            raise _no_answer(shown, time_limit_s) from None
        except (OSError, UnicodeError) as error:
            # A certificate that this computer does not trust, as most cameras have, does not matter to FFmpeg.
            if parts.scheme != "https":
                raise SourceError(f"{shown} cannot be opened: {_reason(error)}") from error
            source = None
        if source is not None:
            return source
    return NetworkSource(address, time_limit_s)


class NetworkSource(Source):
    """Yields the frames of a stream that FFmpeg reads. Who reads too slowly gets old ones; `stream` does not.

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
        plain = parts.geturl()
        began = time.monotonic()
        try:
            # FFmpeg keeps to the limit by itself, except while it looks the name up. The second is for its own slack.
            capture = _in_time(lambda: Capture(plain, "CAP_FFMPEG", time_limit_s=time_limit_s), time_limit_s + 1)
        except TimeoutError:
            raise _no_answer(self._shown, time_limit_s) from None
        if not capture.opened:
            if time.monotonic() - began < time_limit_s:
                raise SourceError(f"{self._shown} cannot be opened: {_why_not(parts)}")
            raise _no_answer(self._shown, time_limit_s)
        # Only a recording says how long it is; a camera has no end, whatever it sends its pictures in.
        self.endless = not capture.tell("CAP_PROP_FRAME_COUNT") > 0
        self._capture = capture
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when it has arrived and been decoded; end when the sender ends the answer.

        FFmpeg does not tell the end of RTSP from a lost connection, so there it raises SourceError.
        """
        id = 0
        pace = Pace()
        while True:
            began = time.monotonic()
            picture = self._capture.read()
            if self._closed:
                return
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
            if not pace.held_back(time.monotonic()):
                yield Frame.taken_now(id, picture, "bgr")
            id += 1

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._capture.close()


def _no_answer(shown: str, time_limit_s: float) -> SourceError:
    return SourceError(
        f"{shown} did not answer within {time_limit_s:g} s; is the address right and the camera on? "
        "(--time-limit SECONDS waits longer)"
    )


def _in_time(open_it: Callable[[], _Opened], time_limit_s: float) -> _Opened:
    """Open on a thread of its own: looking a name up keeps to no time limit, and Ctrl-C must get through.

    What opens after all when nobody waits any more is closed. Raises TimeoutError.
    """
    import concurrent.futures  # takes longer than the rest of the sources
    import socket

    opened: concurrent.futures.Future[_Opened] = concurrent.futures.Future()

    def work() -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits any more
            try:
                result = open_it()
            except BaseException as error:  # raised again where somebody can handle it
                opened.set_exception(error)
                return
            try:
                opened.set_result(result)
            except concurrent.futures.InvalidStateError:
                if result is not None:
                    result.close()

    threading.Thread(target=work, name="edgevision-open", daemon=True).start()
    try:
        return opened.result(time_limit_s)
    except (concurrent.futures.TimeoutError, socket.timeout):
        raise TimeoutError from None  # kinds of their own before Python 3.11 and 3.10
    finally:
        opened.cancel()


def without_password(address: str) -> str:
    """Return an address for messages, which end up in logs; all that may be secret is left out, also of a wrong one.

    >>> without_password("rtsp://admin:secret@camera:554/live?key=secret")
    'rtsp://…@camera:554/live'
    >>> without_password("rtsp://admin:se/cr?t@camera")
    'rtsp://…@camera'
    >>> without_password("rtsp://10.0.0.5/user=admin_password=secret_channel=1_stream=0.sdp")
    'rtsp://10.0.0.5/…'
    """
    if ":/" not in address:
        return address
    plain = re.sub(r"(:/+).*@", r"\1…@", address).partition("?")[0]
    return re.sub(r"/[^/]*(=|%3d).*", "/…", plain, flags=re.IGNORECASE)


def _split(address: str) -> Optional[SplitResult]:
    """Return the parts of an address, or None if it is no address of a stream."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return escaped(parts) if parts.scheme in SCHEMES and parts.hostname else None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _why_not(parts: SplitResult) -> str:
    """Ask again without OpenCV, which keeps the reason to itself."""
    import http.client  # these two take longer to import than the rest of the sources
    import socket

    try:
        port = parts.port or SCHEMES[parts.scheme]
        with socket.create_connection((parts.hostname or "", port), timeout=2):
            pass
    except (OSError, ValueError) as error:
        return _reason(error)
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.hostname or "", port, timeout=2)
        try:
            connection.request("GET", target(parts))
            answer = connection.getresponse()
            if answer.status >= 400:
                return f"the server says {answer.status} {answer.reason}"
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
    return "something answers there, but not with a video stream that OpenCV can read"
