"""Keeping the greetings of native libraries off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Generator

__all__ = ["without_greetings"]


@contextlib.contextmanager
def without_greetings() -> Generator[None, None, None]:
    """Hold back what is written to file descriptor 2 meanwhile; afterwards pass on all but the lines of level INFO.

    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." comes from C++, past sys.stderr; tflite-runtime and LiteRT
    have no switch for it in Python. It would stand before each of our one-line errors.
    """
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            saved = os.dup(2)
        except OSError:  # no place for temporary files, or no descriptor 2: a greeting does no harm
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
                if not line.startswith(b"INFO: "):
                    os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:  # it is None under pythonw and with a closed descriptor
        sys.stderr.flush()
