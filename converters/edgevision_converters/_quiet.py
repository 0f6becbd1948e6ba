"""Keeping the chatter of native libraries off the terminal without losing what explains a failure."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["quiet_native"]


@contextlib.contextmanager
def quiet_native() -> Generator[None]:
    """Hold back what native code writes to file descriptors 1 and 2; add the end of it to an exception.

    TensorFlow's converter prints from C++, past sys.stderr and past every log level.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 1)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception as error:
            held.seek(0)
            said = held.read().decode(errors="replace").strip()
            if said:
                error.add_note("native code said: " + said[-4000:])
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)
