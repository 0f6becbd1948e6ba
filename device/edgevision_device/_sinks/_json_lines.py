"""Results for machines: one JSON record a line, to a stream or to a file."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Optional, TextIO

from .._stream import StreamResult
from ._base import Sink

__all__ = ["JsonLines", "JsonLinesFile"]


class JsonLines(Sink):
    """Prints the records of results; default: to stdout."""

    def __init__(self, out: Optional[TextIO] = None) -> None:
        self._out = out

    def write(self, result: StreamResult) -> None:
        """Print one record, at once: whoever reads a pipe wants it now."""
        print(_line(result), file=self._out or sys.stdout, flush=True)


class JsonLinesFile(Sink):
    """Writes the records of results to a file, each as one whole line and at once: `tail -F` follows it.

    The first record makes the file, in place of one that is there. Whatever ends the process leaves whole lines behind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: Optional[io.FileIO] = None
        self._size_bytes = 0

    def write(self, result: StreamResult) -> None:
        """Append one record. Raises OSError if the disk is full, and leaves no part of the line behind."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, so that a line is there when it is written, and a full disk is noticed at the line that does
            # not fit.
            self._file = self.path.open("wb", buffering=0)
        line = _line(result).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):  # a pipe or a device has no end to move
                self._file.truncate(self._size_bytes)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._size_bytes += len(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _line(result: StreamResult) -> str:
    # ASCII: a file's name may hold bytes that are no UTF-8, which Python keeps as surrogates and JSON can escape.
    return json.dumps(result.to_record())
