"""Just enough of an HTTP/1.1 server, on asyncio: GET only, one request a connection, all of it bounded.

The standard library's own gives each connection a thread; twenty idle viewers would be twenty threads on a Pi.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional
from urllib.parse import parse_qsl, urlsplit

__all__ = ["REQUEST_BYTES", "HttpError", "Request", "head", "read_request", "respond"]

#: The longest request line and headers together.
REQUEST_BYTES = 16_384
_READ_S = 5.0

#: Nothing may be loaded from elsewhere, shown inside another page, kept, or guessed to be another type.
_SECURITY = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class HttpError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What was asked for. Header names are in lower case; of names that come twice, the last counts."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request. Raises HttpError, and EOFError where nothing or only a part of one came."""
    try:
        text = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _READ_S)).decode("latin-1")
    except asyncio.TimeoutError:
        raise HttpError(408, "the request came too slowly") from None
    except asyncio.LimitOverrunError:
        raise HttpError(431, f"a request may have {REQUEST_BYTES} bytes") from None
    first, *lines = text[:-4].split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise HttpError(400, "this is no HTTP/1.1 request")
    if words[0] != "GET":
        raise HttpError(405, "GET is the only method here")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise HttpError(400, "a header has no colon")
        headers[name.lower()] = value.strip()
    try:
        parts = urlsplit(words[1])
        return Request(parts.path, dict(parse_qsl(parts.query)), headers)
    except ValueError:
        raise HttpError(400, "this is no address") from None


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the first lines of an answer."""
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in {**_SECURITY, **headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def respond(status: int, content: bytes, content_type: str, headers: Optional[Mapping[str, str]] = None) -> bytes:
    """Return a whole answer."""
    return (
        head(status, {"Content-Type": content_type, "Content-Length": str(len(content)), **(headers or {})}) + content
    )
