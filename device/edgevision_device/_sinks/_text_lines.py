"""Results for people, one line each."""

from __future__ import annotations

import sys
import time
from typing import Optional, TextIO

from .._result import StreamResult
from ._base import Sink, Starts
from ._printed import Printed

__all__ = ["Progress", "TextLines"]


class TextLines(Printed):
    """Prints frame, label, score and age, and the file's name where there is one; default: to stdout.

    Args:
        out: where to.
        changes_only: print only what starts a label.
    """

    def __init__(self, out: Optional[TextIO] = None, *, changes_only: bool = False) -> None:
        super().__init__(out)
        self._starts = Starts() if changes_only else None

    def write(self, result: StreamResult) -> None:
        """Print one line, or none."""
        if self._starts is None or self._starts(result):
            super().write(result)

    def line(self, result: StreamResult) -> str:
        """Return them."""
        named = "" if result.frame.name is None else f"  {result.frame.name}"
        label = "unknown" if result.label is None else result.label
        return f"{result.frame.id}  {label}  {100 * result.score:.1f} %  age {result.age_ms:.1f} ms{named}"


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
