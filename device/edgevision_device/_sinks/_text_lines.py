"""Results for people, one line each."""

from __future__ import annotations

import sys
from typing import Optional, TextIO

from .._stream import StreamResult
from ._base import Sink

__all__ = ["TextLines"]


class TextLines(Sink):
    """Prints frame, label, score and age, and the file's name where there is one; default: to stdout."""

    def __init__(self, out: Optional[TextIO] = None) -> None:
        self._out = out

    def write(self, result: StreamResult) -> None:
        """Print one line, at once: whoever reads a pipe wants it now."""
        named = "" if result.frame.name is None else f"  {result.frame.name}"
        label = "unknown" if result.label is None else result.label
        line = f"{result.frame.id}  {label}  {100 * result.score:.1f} %  age {result.age_ms:.1f} ms{named}"
        print(line, file=self._out or sys.stdout, flush=True)
