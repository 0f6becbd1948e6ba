"""Results for machines: one JSON record a line, to a stream or to a file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from pathlib import Path
from typing import Optional, TextIO

from .._outputs import writing
from .._stream import StreamResult
from ._base import Sink

__all__ = ["JsonLines", "JsonLinesFile"]


class JsonLines(Sink):
    """Prints the records of results; default: to stdout."""

    def __init__(self, out: Optional[TextIO] = None) -> None:
        self._out = out

    def write(self, result: StreamResult) -> None:
        """Print one record, at once: whoever reads a pipe wants it now."""
        print(json.dumps(result.to_record(), ensure_ascii=False), file=self._out or sys.stdout, flush=True)


class JsonLinesFile(Sink):
    """Writes the records of results to a file, which gets its name when it is closed.

    Whatever was recorded until then is kept, also after an error, and always in whole lines. Without a single record
    there is no file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._finish = contextlib.ExitStack()
        # Unbuffered, so that a full disk is noticed at the line that does not fit.
        self._file = self._finish.enter_context(writing(path)).open("wb", buffering=0)
        self._size_bytes = 0

    def write(self, result: StreamResult) -> None:
        """Append one record. Raises OSError if the disk is full, and leaves no part of the line behind."""
        line = json.dumps(result.to_record(), ensure_ascii=False).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            self._file.truncate(self._size_bytes)
            raise
        self._size_bytes += len(line)

    def close(self) -> None:
        """Give the file its name."""
        self._file.close()
        # `writing` renames when its block ends well and removes when it ends with an exception.
        with contextlib.suppress(_NothingRecorded), self._finish:
            if not self._size_bytes:
                raise _NothingRecorded


class _NothingRecorded(Exception):
    pass
