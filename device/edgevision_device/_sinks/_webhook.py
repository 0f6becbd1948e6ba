"""Labels to an HTTP address of the user's."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
from typing import NamedTuple, Optional
from urllib.parse import SplitResult, urlsplit

from .._errors import UsageError
from .._http import authorization, target
from .._result import StreamResult
from ._background import SlowSink, UndeliverableError
from ._base import Starts

__all__ = ["Webhook", "check_webhook"]

#: How long a server may keep silent.
_TIME_LIMIT_S = 10.0
#: Refusals that may pass: a request that came too slowly, or too soon, or too often.
_PASSING = (408, 425, 429)


class _Post(NamedTuple):
    key: str
    body: bytes


class Webhook(SlowSink[_Post]):
    """Posts the record of each result that starts a label, as JSON.

    An answer of 2xx means delivered. A refusal (4xx but 408, 425 and 429) or a redirection is final; anything else is
    tried again, with pauses that double up to a minute. The header Idempotency-Key stays the same: a server whose
    answer got lost sees a record twice. The oldest thousand records wait, in memory.

    Args:
        url: http or https; a user and password in it go into the Authorization header.
        tries: a record is given up, and counted, after so many.
    """

    name = "webhook"
    retry_most_s = 60.0

    def __init__(self, url: str, *, tries: int = 8) -> None:
        self._parts = check_webhook(url)
        self.attempts = tries
        self._starts = Starts()
        self._connection: Optional[_Connection] = None

    def take(self, result: StreamResult) -> Optional[_Post]:
        """Return the record of a result that starts a label."""
        if not self._starts(result):
            return None
        return _Post(secrets.token_hex(16), json.dumps(result.to_record()).encode())

    def deliver(self, item: _Post) -> None:
        """Post one record."""
        parts = self._parts
        self._connection = connection = _Connection(parts)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": item.key,
            "User-Agent": "edgevision-device",
            "Connection": "close",
            **authorization(parts),
        }
        where = f"{parts.hostname}:{connection.port}"
        try:
            connection.request("POST", target(parts), item.body, headers)
            with connection.getresponse() as response:
                status = response.status
        except http.client.HTTPException as error:
            raise ConnectionError(f"{where} gave no HTTP answer: {type(error).__name__}") from error
        except OSError as error:
            raise ConnectionError(f"{where}: {error.strerror or error}") from error
        finally:
            connection.close()
        if 300 <= status < 500 and status not in _PASSING:
            raise UndeliverableError(f"{where} answered {status}")
        if not 200 <= status < 300:
            raise ConnectionError(f"{where} answered {status}")

    def abort(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.abort()


class _Connection(http.client.HTTPConnection):
    """A connection that another thread can break off, also while it is being made."""

    def __init__(self, parts: SplitResult) -> None:
        assert parts.hostname is not None
        super().__init__(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), timeout=_TIME_LIMIT_S)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._raw: Optional[socket.socket] = None
        self._aborted = False

    def connect(self) -> None:
        error: OSError = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM):
            self._raw = raw = socket.socket(family, kind, protocol)
            try:
                raw.settimeout(_TIME_LIMIT_S)
                if self._aborted:
                    raise OSError("broken off")
                raw.connect(address)
                self.sock = raw if self._tls is None else self._tls.wrap_socket(raw, server_hostname=self.host)
                return
            except OSError as failed:
                error = failed
                raw.close()
        raise error

    def abort(self) -> None:
        self._aborted = True
        for each in (self._raw, self.sock):  # TLS takes the descriptor from the first
            if each is not None:
                with contextlib.suppress(OSError):  # not connected, or closed already
                    each.shutdown(socket.SHUT_RDWR)


def check_webhook(url: str) -> SplitResult:
    """Take an address apart. Raises UsageError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("--webhook: expected http://HOST[:PORT]/PATH or https://…, with what is not ASCII escaped")
    return urlsplit(url)
