"""Results on stdout, one line each."""

from __future__ import annotations

import abc
import sys
from typing import Optional, TextIO

from .._result import StreamResult
from ._base import Sink

__all__ = ["Printed"]


class Printed(Sink):
    """Prints a line for each result; default: to stdout. Implement `line`.

    Attributes:
        name: what people call it.
        lost: lines whose printing was broken off, because nobody read on.
    """

    name = "stdout"

    def __init__(self, out: Optional[TextIO] = None) -> None:
        self._out = out
        self.lost = 0

    @abc.abstractmethod
    def line(self, result: StreamResult) -> str:
        """Return the line for a result."""

    def write(self, result: StreamResult) -> None:
        """Print one line, at once: whoever reads a pipe wants it now."""
        try:
            print(self.line(result), file=self._out or sys.stdout, flush=True)
        except KeyboardInterrupt:
            self.lost += 1
            raise
