"""Who may look at the web page: where it listens, and what a viewer must know."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Optional
from urllib.parse import urlsplit

from .._errors import UsageError
from ._http import HttpError, Request

__all__ = ["WEB_TOKEN", "Access", "WebAddress", "check_token"]

#: The variable that may hold the token, so that it stands in no command line.
WEB_TOKEN = "EDGEVISION_WEB_TOKEN"

_LEAST_TOKEN = 12
_LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class WebAddress:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> WebAddress:
        """Read `[HOST:]PORT`; without a host: this machine only. Raises UsageError.

        >>> WebAddress.parse("8080"), WebAddress.parse("[::]:8080")
        (WebAddress(host='127.0.0.1', port=8080), WebAddress(host='::', port=8080))
        """
        host, colon, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not port.isascii() or not port.isdigit() or int(port) > 65535 or (colon and not host):
            raise UsageError(
                f"--web {text}: expected PORT or HOST:PORT, such as 8080 for this machine alone, or 0.0.0.0:8080"
            )
        return cls(host if colon and host != "localhost" else _LOCAL, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return _is_loopback(self.host)

    def listen(self) -> list[socket.socket]:
        """Return sockets that listen there. Raises UsageError."""
        opened: list[socket.socket] = []
        try:
            for family, _, _, _, address in socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM):
                opened.append(socket.create_server(address[:2], family=family))
        except OSError as error:
            for each in opened:
                each.close()
            # socket.create_server adds words of its own to the system's.
            known = error.errno is not None and not isinstance(error, socket.gaierror)
            reason = os.strerror(error.errno or 0) if known else error.strerror
            raise UsageError(f"--web {self}: {reason}; choose another port or address") from error
        return opened

    def url(self, port: int, token: Optional[str]) -> str:
        """Return what to type into a browser, on another machine if others can reach it."""
        host = self.host
        if host in ("0.0.0.0", "::"):
            host = _own_address()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={token}" if token else "")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Access:
    """Decides whether a request may be answered.

    Args:
        token: what a viewer must know, from `?token=`, the cookie that it then gets, or `Authorization: Bearer`.
        loopback: only this machine can reach the server; then the request must be for this machine by name too. Else
            any page in its browser could point a name of its own at 127.0.0.1 and read ours.
        port: tells cookies of several servers on one machine apart; a browser does not.
    """

    def __init__(self, token: Optional[str], loopback: bool, port: int) -> None:
        self._token = token
        self._loopback = loopback
        self._name = f"edgevision_{port}"
        # Browsers send cookies to every port of a machine. This one opens this server alone, and while it runs.
        salt = secrets.token_bytes(16)
        self._cookie = hashlib.sha256(salt + (token or "").encode()).hexdigest()

    def check(self, request: Request) -> Optional[str]:
        """Return None if the request may be answered; a cookie to send it on with, if it brought the token.

        Raises HttpError.
        """
        if self._loopback:
            host = _host_of(request.headers.get("host", ""))
            if host != "localhost" and not _is_loopback(host):
                raise HttpError(403, "this page is for 127.0.0.1 or localhost")
        foreign = request.headers.get("sec-fetch-site") == "cross-site"
        if foreign and request.headers.get("sec-fetch-mode") != "navigate":
            raise HttpError(403, "this is not for other sites' pages")
        if self._token is None:
            return None
        given = request.query.get("token")
        if given is not None and _equal(given, self._token):
            attributes = "Path=/; HttpOnly; SameSite=Lax"
            return f"{self._name}={self._cookie}; {attributes}" if request.path == "/" else None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if (scheme.lower() == "bearer" and _equal(bearer.strip(), self._token)) or self._has_cookie(request):
            return None
        raise HttpError(401, "this needs the token: open /?token=TOKEN, or send Authorization: Bearer TOKEN")

    def _has_cookie(self, request: Request) -> bool:
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(self._name)
        except CookieError:
            return False
        return cookie is not None and _equal(cookie.value, self._cookie)


def check_token(token: str) -> None:
    """Raise UsageError if a token is easy to guess, or does not fit into an address."""
    if len(token) < _LEAST_TOKEN or not all(each.isascii() and (each.isalnum() or each in "-._~") for each in token):
        raise UsageError(f"--web-token: at least {_LEAST_TOKEN} of A-Z a-z 0-9 - . _ ~; leave it out to get one")


def _equal(one: str, other: str) -> bool:
    """Compare in a time that says nothing about how much is right."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: whoever answers for names says where it leads
        return False


def _host_of(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _own_address() -> str:
    """Return this machine's address in its network; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: an address for documentation
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
