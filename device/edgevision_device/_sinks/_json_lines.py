"""Results for machines: one JSON record a line, to a stream or to a file."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import time
from pathlib import Path
from typing import Optional

from .._result import StreamResult
from ._background import SlowSink
from ._printed import Printed

__all__ = ["JsonLines", "JsonLinesFile", "rotated"]

#: How often it is looked whether the file is still the one that has the name.
_LOOK_S = 1.0
_LONGEST_RECORD = 1_000_000


class JsonLines(Printed):
    """Prints the records of results; default: to stdout."""

    def line(self, result: StreamResult) -> str:
        """Return the record."""
        return _line(result)


class JsonLinesFile(SlowSink[bytes]):
    """Writes the records of results to a file, each as one whole line and at once: `tail -F` follows it.

    The first record makes the file. Whatever ends the process leaves whole lines behind. In the background it keeps
    10,000 records, about 3 MB, while the disk is full.

    Args:
        path: the file.
        append: go on with a file that is there, after its last whole record; otherwise the first record replaces it.
        rotate_bytes: a file that would grow beyond this becomes `path.1`, the one before `path.2`, and so on.
        keep_files: how many of those are kept.
    """

    name = "out"
    keep = 10_000

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        append: bool = False,
        rotate_bytes: Optional[int] = None,
        keep_files: int = 5,
    ) -> None:
        self.path = Path(path)
        self._append = append
        self._rotate_bytes = rotate_bytes
        self._keep_files = keep_files
        self._file: Optional[io.FileIO] = None
        self._looked_s = 0.0

    def take(self, result: StreamResult) -> bytes:
        """Return the line."""
        return _line(result).encode() + b"\n"

    def deliver(self, item: bytes) -> None:
        """Append one line. Raises OSError if the disk is full, and leaves no part of the line behind."""
        if self._file is not None and time.monotonic() - self._looked_s >= _LOOK_S:
            self._look()
        try:
            file = self._file or self._open()
            size_bytes = _size_bytes(file) if self._rotate_bytes else 0
            if self._rotate_bytes and size_bytes and size_bytes + len(item) > self._rotate_bytes:
                self._rotate()
                file = self._open()
            written = file.write(item)
            if written != len(item):
                with contextlib.suppress(OSError):  # a pipe or a device has no end to move
                    file.truncate(_size_bytes(file) - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError(error.errno, error.strerror, error.filename or str(self.path)) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> io.FileIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        goes_on = self._append and self.path.is_file()
        emptied = 0 if self._append else os.O_TRUNC
        # Unbuffered, so that a line is there when it is written, and a full disk is noticed at the line that does not
        # fit. At the file's end, wherever that is by then: whoever rotates files may empty this one.
        file = io.FileIO(
            os.fspath(self.path),
            "a+" if goes_on else "a",
            opener=lambda path, flags: os.open(path, flags | emptied, 0o666),
        )
        try:
            if goes_on:
                _end_last_line(file)
        except BaseException:
            file.close()
            raise
        self._file, self._append, self._looked_s = file, True, time.monotonic()
        return file

    def _look(self) -> None:
        """Leave a file that was moved away or deleted: nobody would find what goes there."""
        self._looked_s = time.monotonic()
        assert self._file is not None
        held = os.fstat(self._file.fileno())
        if not stat.S_ISREG(held.st_mode):
            return
        try:
            named = os.stat(self.path)
        except OSError:
            named = None
        if named is None or (named.st_ino, named.st_dev) != (held.st_ino, held.st_dev):
            self.close()

    def _rotate(self) -> None:
        self.close()
        names = [self.path, *rotated(self.path, self._keep_files)]
        for older, newer in zip(reversed(names), reversed(names[:-1])):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)
        if not self._keep_files:
            self.path.unlink(missing_ok=True)


def rotated(path: Path, count: int) -> list[Path]:
    """Return the names of older files, the newest first."""
    return [path.with_name(f"{path.name}.{number}") for number in range(1, count + 1)]


def _size_bytes(file: io.FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _end_last_line(file: io.FileIO) -> None:
    """End a last record that lacks its newline, and remove part of one: a power cut may have left either."""
    start, end = _end_of_lines(file), _size_bytes(file)
    if start == end:
        return
    file.seek(start)
    if end - start > _LONGEST_RECORD or not _is_json(file.read(end - start)):
        file.truncate(start)
    elif file.write(b"\n") != 1:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _end_of_lines(file: io.FileIO) -> int:
    """Return where the last whole line ends."""
    at = file.seek(0, os.SEEK_END)
    while at > 0:
        start = max(0, at - 65536)
        file.seek(start)
        newline = file.read(at - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _line(result: StreamResult) -> str:
    # ASCII: a file's name may hold bytes that are no UTF-8, which Python keeps as surrogates and JSON can escape.
    return json.dumps(result.to_record())
