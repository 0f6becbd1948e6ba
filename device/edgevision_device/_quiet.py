"""Keeping the chatter of native libraries off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Generator
from typing import IO, Optional, TextIO

__all__ = ["forget", "quiet_native"]


#: There is one descriptor 2 for all threads.
_held = threading.Lock()


def _no_greeting(line: bytes) -> bool:
    return not line.startswith(b"INFO: ")


@contextlib.contextmanager
def quiet_native(keep: Callable[[bytes], bool] = _no_greeting) -> Generator[None, None, None]:
    """Hold back what is written to file descriptor 2 meanwhile; afterwards pass on the lines that `keep` is true of.

    By default that is all but the lines of level INFO. "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." comes
    from C++, past sys.stderr; tflite-runtime and LiteRT have no switch for it in Python. It would stand before each of
    our one-line errors.

    A use inside another one, or while another thread's lasts, leaves everything to that one.
    """
    if not _held.acquire(blocking=False):
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(_held.release)
        try:
            held = stack.enter_context(_scratch())
            saved = os.dup(2)
        except OSError:  # There is no place for temporary files, or no descriptor 2. A greeting does no harm.
            yield
            return
        stack.callback(os.close, saved)
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(saved, 2)
            held.seek(0)
            for line in held:
                if keep(line):
                    os.write(2, line)


def forget(stream: Optional[TextIO]) -> None:
    """Let what cannot be written go: Python would try again at exit, and exit with 120, or never."""
    if stream is not None:  # it is where the shell closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _scratch() -> IO[bytes]:
    """Open a file that has no name."""
    try:
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    except (AttributeError, OSError):  # not Linux, or an older or confined one
        import tempfile  # takes 5 ms, which Linux saves at every start

        return tempfile.TemporaryFile()


def _flush() -> None:
    if sys.stderr is not None:  # it is None under pythonw and with a closed descriptor
        sys.stderr.flush()
