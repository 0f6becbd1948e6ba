"""The page itself, and the policy that lets nothing but it run."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

__all__ = ["read_page"]


def read_page() -> tuple[bytes, str]:
    """Return the page and its Content-Security-Policy: its own script and style by hash, nothing from outside."""
    page = Path(__file__).with_name("web.html").read_text(encoding="utf-8")
    policy = [
        "default-src 'none'",
        f"script-src {_hash(page, 'script')}",
        f"style-src {_hash(page, 'style')}",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return page.encode(), "; ".join(policy)


def _hash(page: str, element: str) -> str:
    inside = re.search(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    assert inside is not None
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()}'"
