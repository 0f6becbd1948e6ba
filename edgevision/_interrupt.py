"""Ctrl-C that gets lost.

Python raises KeyboardInterrupt wherever the main thread next runs Python. In a callback from native code, as TensorFlow
makes while it traces, or in a destructor, nobody passes it on, and a training would go on for its hours.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["raise_if_interrupted", "remembered_interrupts"]

_came = threading.Event()


@contextlib.contextmanager
def remembered_interrupts() -> Generator[None]:
    """Let `raise_if_interrupted` know of each SIGINT in this block, unless another handles it or it is ignored."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _came.clear()


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a SIGINT came before, whatever became of what it raised then."""
    if _came.is_set():
        raise KeyboardInterrupt


def _note(number: int, frame: Any) -> None:
    _came.set()
    signal.default_int_handler(number, frame)
