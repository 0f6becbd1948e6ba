"""Results for people, one line each."""

from __future__ import annotations

import sys
import time
from typing import Optional, TextIO

from .._result import StreamResult
from ._base import Sink

__all__ = ["Progress", "TextLines"]


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


class Progress(Sink):
    """One line on stderr, written over once a second."""

    def __init__(self) -> None:
        self._shown_s = time.monotonic()

    def write(self, result: StreamResult) -> None:
        """Show where the stream is."""
        if time.monotonic() - self._shown_s >= 1:
            self._shown_s = time.monotonic()
            shown = f"frame {result.frame.id}  age {result.age_ms:.0f} ms  dropped {result.dropped}"
            print(f"\r{shown:<60}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line."""
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
