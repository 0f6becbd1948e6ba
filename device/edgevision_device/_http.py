"""What the parts of an address become in an HTTP request."""

from __future__ import annotations

import base64
import string
from urllib.parse import SplitResult, quote, unquote

__all__ = ["authorization", "escaped", "target"]


def authorization(parts: SplitResult) -> dict[str, str]:
    """Return the header that carries the name and password of an address, if it has them."""
    if parts.username is None:
        return {}
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(secret).decode()}"}


def escaped(parts: SplitResult) -> SplitResult:
    """Return an address whose path and query hold ASCII only; what is ASCII already stays, but spaces.

    >>> from urllib.parse import urlsplit
    >>> escaped(urlsplit("http://host/für alle%20?x=[1]")).geturl()
    'http://host/f%C3%BCr%20alle%20?x=[1]'
    """
    path, query = (quote(part, safe=string.punctuation, errors="surrogateescape") for part in (parts.path, parts.query))
    return parts._replace(path=path, query=query)


def target(parts: SplitResult) -> str:
    """Return path and query, as a request asks for them."""
    return f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
