"""Working ahead on a thread of its own: the next item is made while the one before is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, Optional, TypeVar

__all__ = ["Ahead"]

_Item = TypeVar("_Item")

#: How long `close` waits for what is under way. A read that takes longer is stuck in native code until its own time
#: limit; the thread then ends without anybody waiting for it.
_JOIN_S = 0.5
#: How often `on_wait` is called.
_WAIT_S = 1.0


class Ahead(Generic[_Item]):
    """Iterates once over what `make` yields, in a thread, holding an item ready. To be used as a context manager.

    An exception in the thread is raised here, after the items made before it.

    Args:
        make: returns the iterator; called and used in the thread only.
        newest: an item that nobody has taken gives way to the next one, and the thread never waits. Otherwise the
            thread makes the next item when the one before is taken, and none is lost.
        when_asked: nothing is made ahead: the thread begins an item when somebody waits for it. Not with `newest`.
        on_wait: called once a second while there is no item; what it raises ends the iteration.
    """

    def __init__(
        self,
        make: Callable[[], Iterator[_Item]],
        *,
        newest: bool,
        when_asked: bool = False,
        on_wait: Optional[Callable[[], None]] = None,
    ) -> None:
        self._make = make
        self._newest = newest
        self._when_asked = when_asked
        self._on_wait = on_wait
        self._changed = threading.Condition()
        self._ready: list[_Item] = []  # one at most
        self._asked = False
        self._ended = False
        self._stopped = False
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._work, name="edgevision-ahead", daemon=True)

    def __enter__(self) -> Ahead[_Item]:
        # The thread begins with the iteration: a signal that comes while it does finds a context that is left.
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    @property
    def waiting(self) -> int:
        """How many items are ready and not taken: 0 or 1."""
        return len(self._ready)

    def __iter__(self) -> Iterator[_Item]:
        self._thread.start()
        while True:
            with self._changed:
                self._asked = True
                self._changed.notify_all()
                while not self._ready and not self._ended:
                    if not self._changed.wait(_WAIT_S) and self._on_wait is not None:
                        self._on_wait()
                if not self._ready:
                    break
                item = self._ready.pop()
                self._asked = False
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def _wanted(self) -> bool:
        """Wait until the next item is to be made; return False if none is any more."""
        with self._changed:
            while not self._stopped and not self._newest and (self._ready or (self._when_asked and not self._asked)):
                self._changed.wait()
            return not self._stopped

    def _work(self) -> None:
        try:
            items = self._make()
            while self._wanted():
                item = next(items)
                with self._changed:
                    self._ready[:] = [item]
                    self._changed.notify_all()
                # Else this thread would hold it until the next one is made: a whole picture more.
                del item
        except StopIteration:
            pass
        except BaseException as error:  # raised again where somebody can handle it
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
