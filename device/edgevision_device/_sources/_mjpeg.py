"""MJPEG over HTTP, as most network cameras send it: an answer that never ends, with one JPEG per part.

Read here, and not by FFmpeg, because FFmpeg fills up what is missing of a frame with what it has of the one before, and
hands frames on in the order in which they came, however old they have become in the socket.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Optional
from urllib.parse import SplitResult

from .._errors import PictureError, SourceError
from .._http import authorization, target
from .._pictures import decode_picture
from ._base import Frame, Source
from ._pace import BURST_S, Pace

__all__ = ["MjpegSource", "open_mjpeg"]

_READ_BYTES = 256 * 1024
_LARGEST_PART_BYTES = 64 * 2**20

_JPEG_END = b"\xff\xd9"

#: How long frames that have come already are passed over in favor of those behind them.
_DRAIN_S = 0.05

#: By so much a socket's time limit may strike before its time.
_EARLY_S = 0.01


def open_mjpeg(parts: SplitResult, shown: str, time_limit_s: float) -> Optional[MjpegSource]:
    """Ask an address for MJPEG; return None where the answer is something else, or is not for us to read.

    Args:
        parts: of an address with the scheme `http` or `https`.
        shown: the address for messages.
        time_limit_s: see `MjpegSource`.

    Raises:
        OSError: nobody answers.
        UnicodeError: a host that cannot be looked up, or a name or password that cannot be sent.
        SourceError: the server says that there is no such thing.
    """
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=time_limit_s)
    try:
        connection.connect()
        reader: Optional[socket.socket] = connection.sock
        connection.request("GET", target(parts), headers={"Connection": "close", **authorization(parts)})
        answer = connection.getresponse()
    except http.client.HTTPException:
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    kind = answer.headers.get_content_type()
    boundary = answer.headers.get_param("boundary")
    # 401 asks for a kind of password that FFmpeg may know; other addresses, playlists and clips it follows and reads.
    if answer.status == 200 and kind.startswith("multipart/") and isinstance(boundary, str) and reader is not None:
        return MjpegSource(answer, reader, boundary, shown, time_limit_s)
    answer.close()
    connection.close()
    if answer.status >= 400 and answer.status != 401:
        raise SourceError(f"{shown} cannot be opened: the server says {answer.status} {answer.reason}")
    return None


class MjpegSource(Source):
    """Yields the newest whole frame of an MJPEG stream; see `open_mjpeg`. Older and torn ones leave gaps in the ids.

    Args:
        answer: whose head has been read.
        reader: the socket below it.
        boundary: what stands between two parts.
        shown: the address for messages.
        time_limit_s: how long a whole frame may take to come.
    """

    live = True
    endless = True

    def __init__(
        self,
        answer: http.client.HTTPResponse,
        reader: socket.socket,
        boundary: str,
        shown: str,
        time_limit_s: float,
    ) -> None:
        self._answer = answer
        self._reader = reader
        self._parts = _Parts(boundary)
        self._shown = shown
        self._time_limit_s = time_limit_s
        self._pace = Pace()
        self._closed = False

    def frames(self) -> Iterator[Frame]:
        """Yield each frame, captured when its last byte has come; end when the sender ends the answer."""
        next_id = whole = torn = 0
        due_s = time.monotonic() + self._time_limit_s
        while True:
            came = self._newest(due_s)
            if self._closed:
                return
            if came is None:
                kind = "whole frame" if torn else "frame"
                if time.monotonic() >= due_s - _EARLY_S:
                    raise SourceError(
                        f"{self._shown} has sent no {kind} for {self._time_limit_s:g} s, after {whole} frames "
                        "(--time-limit SECONDS waits longer)"
                    )
                if not whole:
                    raise SourceError(f"{self._shown} closed the stream before the first {kind}")
                return
            content, passed_over, captured_ns, captured_utc = came
            id = next_id + passed_over
            next_id = id + 1
            try:
                picture = decode_picture(content)
            except PictureError:
                torn += 1
                continue
            whole += 1
            torn = 0
            yield Frame(id, captured_ns, captured_utc, picture, "rgb")
            due_s = time.monotonic() + self._time_limit_s

    def _newest(self, due_s: float) -> Optional[tuple[bytes, int, int, datetime]]:
        """Wait for the next part, and pass it over in favor of those that come right behind it.

        Returns:
            The last of them, how many were passed over, and on both clocks when it was complete; None if there are no
            more, or none came in time.
        """
        newest: Optional[bytes] = None
        count = 0
        came = time.monotonic_ns(), datetime.now(timezone.utc)
        waits_until_s = drains_until_s = 0.0
        while True:
            for part in self._parts.complete():
                came = time.monotonic_ns(), datetime.now(timezone.utc)
                if newest is None:
                    now_s = time.monotonic()
                    waits_until_s = now_s + (BURST_S if self._pace.resumes(now_s) else 0.0)
                    drains_until_s = max(waits_until_s, now_s + _DRAIN_S)
                newest = part
                count += 1
            now_s = time.monotonic()
            if newest is not None and (now_s >= drains_until_s or not self._has_come(waits_until_s - now_s)):
                self._pace.note(now_s)
                return newest, count - 1, *came
            if now_s >= due_s or self._closed:
                return None
            try:
                self._reader.settimeout(max(0.001, due_s - now_s))
                content = self._answer.read1(_READ_BYTES)
            except (OSError, ValueError, AttributeError, http.client.HTTPException):
                content = b""  # timed out, reset, or closed meanwhile
            if not content:
                in_time = time.monotonic() < due_s - _EARLY_S
                last = self._parts.rest() if in_time else None
                if last is not None and (newest is None or last.rstrip().endswith(_JPEG_END)):
                    newest, came = last, (time.monotonic_ns(), datetime.now(timezone.utc))
                    count += 1
                return None if newest is None else (newest, count - 1, *came)
            self._parts.add(content, self._shown)

    def _has_come(self, wait_s: float) -> bool:
        try:
            return bool(select.select([self._reader], [], [], max(0.0, wait_s))[0])
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Close the connection; a read that is under way comes back."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._reader.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._answer.close()


class _Parts:
    """Takes the bytes of a multipart answer apart.

    A part ends at the next boundary even where its Content-Length says otherwise: a camera that is reset in the middle
    of a frame starts the next one.
    """

    def __init__(self, boundary: str) -> None:
        # Some cameras count the two dashes in front to the boundary itself, and some do not.
        self._mark = b"--" + boundary.lstrip("-").encode("latin-1", errors="replace")
        self._pending = bytearray()

    def add(self, content: bytes, shown: str) -> None:
        self._pending += content
        if len(self._pending) > _LARGEST_PART_BYTES:
            raise SourceError(f"{shown} sends a frame of more than {_LARGEST_PART_BYTES >> 20} MiB, or no MJPEG")

    def complete(self) -> Iterator[bytes]:
        """Yield the parts that are there whole."""
        pending = self._pending
        while True:
            start = pending.find(self._mark)
            head_end = pending.find(b"\r\n\r\n", start) if start >= 0 else -1
            if head_end < 0:
                return
            begin = head_end + 4
            stop = pending.find(b"\r\n" + self._mark, head_end + 2)
            length = _content_length(bytes(pending[start:head_end]))
            if length is not None and len(pending) >= begin + length and not begin <= stop < begin + length:
                stop = begin + length
            if stop < 0:
                return
            part = bytes(pending[begin:stop])
            del pending[:stop]
            if part:
                yield part

    def rest(self) -> Optional[bytes]:
        """Return the last part, which the end of the answer ended, if there is one; to be called once."""
        start = self._pending.find(self._mark)
        head_end = self._pending.find(b"\r\n\r\n", start) if start >= 0 else -1
        part = bytes(self._pending[head_end + 4 :]) if head_end >= 0 else b""
        self._pending.clear()
        return part or None


def _content_length(head: bytes) -> Optional[int]:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None
