"""Sinks that may have to wait for a disk, a peer or an encoder: each works on a thread of its own."""

from __future__ import annotations

import abc
import threading
import time
from collections import deque
from typing import Any, Generic, Optional, TypeVar

from .._health import Health
from .._result import StreamResult
from ._base import Sink

__all__ = ["Background", "SlowSink", "UndeliverableError", "reason_of"]

_Item = TypeVar("_Item")

#: How often an idle sink is asked whether it works.
_IDLE_S = 1.0
#: The pause after the first failure; each further one doubles it.
_RETRY_S = 0.25
#: How long an interrupted sink has for the rest.
_ABORT_S = 0.15


class UndeliverableError(Exception):
    """What a sink raises about an item that no further attempt would deliver."""


class SlowSink(Sink, Generic[_Item]):
    """A sink in two halves: `take` is quick, `deliver` may wait. To be run by `Background`, or directly.

    Attributes:
        name: what `Health` and people call it.
        keep: the most items that wait for delivery.
        promised: an item that failed is tried again, in order, and those lost are counted. Otherwise it is dropped:
            another picture comes soon.
        drops_oldest: what gives way when `keep` items wait: the oldest, or else the one that comes.
        attempts: an item is given up after so many; None: never.
        retry_most_s: the longest pause between two attempts.
        close_s: how long closing may take for what still waits.
    """

    name: str
    keep: int = 1000
    promised: bool = True
    drops_oldest: bool = False
    attempts: Optional[int] = None
    retry_most_s: float = 5.0
    close_s: float = 0.7

    @abc.abstractmethod
    def take(self, result: StreamResult) -> Optional[_Item]:
        """Return what of a result is to be delivered; None: nothing. The loop waits for it."""

    @abc.abstractmethod
    def deliver(self, item: _Item) -> None:
        """Deliver one item. May wait; whatever it raises means that the item was not delivered."""

    def check(self) -> bool:
        """Called once a second while nothing waits: raise if it does not work; return whether it is known to work."""
        return False

    def abort(self) -> None:
        """Break off what `deliver` waits for. Called from another thread, when closing takes too long."""

    def write(self, result: StreamResult) -> None:
        """Take one result and wait until it is delivered."""
        item = self.take(result)
        if item is not None:
            self.deliver(item)


class Background(Sink):
    """Runs a sink on a thread of its own. It neither stops nor slows the loop; what is wrong goes to `Health`.

    Args:
        sink: what to run. It is closed on the thread.
        health: where troubles go, as part `sink NAME`.
        wait: `write` waits for room in the queue, as long as the sink works: for sources that wait too.
        together: sinks that end together: closing one begins to close all, so that all of them take a second, not
            each. This one is added to them.
    """

    def __init__(
        self,
        sink: SlowSink[Any],
        health: Health,
        *,
        wait: bool = False,
        together: Optional[list[Background]] = None,
    ) -> None:
        self.name = sink.name
        self.lost = 0
        self._sink = sink
        self._health = health
        self._part = f"sink {sink.name}"
        self._wait = wait
        self._together = [] if together is None else together
        self._together.append(self)
        self._changed = threading.Condition()
        self._queue: deque[Any] = deque()
        self._failed = 0  # attempts in a row
        self._busy = False
        self._left = False  # what it still does is counted
        self._ends_s: Optional[float] = None
        self._thread = threading.Thread(target=self._work, name=f"edgevision-{sink.name}", daemon=True)
        self._thread.start()

    def write(self, result: StreamResult) -> None:
        """Hand over one result."""
        try:
            item = self._sink.take(result)
        except Exception as error:
            self._lose(1)
            self._health.trouble(self._part, reason_of(error))
            return
        if item is None:
            return
        with self._changed:
            if self._wait:
                try:
                    self._changed.wait_for(self._has_room_or_cannot_have)
                except KeyboardInterrupt:
                    self._lose(1)
                    raise
            if self._ends_s is not None:
                self._lose(1)
                return
            full = len(self._queue) >= self._sink.keep
            if full:
                self._lose(1)
                if self._sink.drops_oldest:
                    self._queue.popleft()
            if not full or self._sink.drops_oldest:
                self._queue.append(item)
            self._changed.notify_all()
        if full and self._sink.promised:
            self._health.trouble(self._part, f"does not keep up; {self._count()}")

    def _has_room_or_cannot_have(self) -> bool:
        return len(self._queue) < self._sink.keep or self._failed > 0 or self._ends_s is not None

    def close(self) -> None:
        """Deliver what waits, as far as that goes in the sink's `close_s`, and end the thread."""
        self.begin_to_end()
        self._thread.join(max(0.0, (self._ends_s or 0) - time.monotonic()))
        if self._thread.is_alive():
            self._sink.abort()
            self._thread.join(_ABORT_S)
            if self._thread.is_alive():
                with self._changed:
                    # Whether what it is at arrives, nobody will know.
                    self._lose(len(self._queue) + self._busy)
                    self._left = True
                self._health.trouble(self._part, f"hangs and is left behind; {self.lost} lost")

    def begin_to_end(self) -> None:
        """Begin what `close` waits for, of all that end together. What is written from now on is lost."""
        for each in self._together:
            each._begin()  # pyright: ignore[reportPrivateUsage] (its own class)

    def _begin(self) -> None:
        with self._changed:
            if self._ends_s is None:
                self._ends_s = time.monotonic() + self._sink.close_s
            self._changed.notify_all()

    def _work(self) -> None:
        attempts = 0  # at the first item
        while True:
            with self._changed:
                pause_s = pause_after(self._failed, self._sink.retry_most_s) if self._failed else _IDLE_S
                self._changed.wait_for(self._can_go_on, pause_s)
                if self._ends_s is not None and (not self._queue or time.monotonic() > self._ends_s):
                    break
                item = self._queue.popleft() if self._queue else None
                self._busy = item is not None
                self._changed.notify_all()
            delivered, hopeless, reason = False, False, None
            try:
                if item is None:
                    delivered = self._sink.check()
                else:
                    self._sink.deliver(item)
                    delivered = True
            except Exception as error:
                # Not kept: through its traceback it holds this frame, and with it whatever the sink had open.
                hopeless, reason = isinstance(error, UndeliverableError), reason_of(error)
            with self._changed:
                self._busy = False
                well = delivered and self._keeps_up()
                if reason is None:
                    self._failed = attempts = 0
                else:
                    self._failed += 1
                    attempts += item is not None
                    if item is not None and self._return(item, attempts, hopeless):
                        attempts = 0
            if reason is not None:
                self._health.trouble(self._part, f"{reason}; {self._count()}")
                if self._ends_s is not None:
                    break
            elif well:
                self._health.well(self._part)
        self._finish()

    def _can_go_on(self) -> bool:
        return self._ends_s is not None or (not self._failed and len(self._queue) > 0)

    def _keeps_up(self) -> bool:
        """Whether nothing was lost for a while. One delivery of a slow sink makes room for one item, and no more."""
        return self._wait or not self._sink.promised or 2 * len(self._queue) < self._sink.keep

    def _return(self, item: Any, attempts: int, hopeless: bool) -> bool:
        """Put an item back that was not delivered; return whether it was given up instead."""
        hopeless = hopeless or attempts >= (self._sink.attempts or attempts + 1)
        if not self._sink.promised or hopeless or len(self._queue) >= self._sink.keep:
            self._lose(1)
            return True
        self._queue.appendleft(item)
        return False

    def _finish(self) -> None:
        with self._changed:
            self._lose(len(self._queue))
            self._queue.clear()
            self._changed.notify_all()
        try:
            self._sink.close()
        except Exception as error:
            self._health.trouble(self._part, reason_of(error))

    def _lose(self, count: int) -> None:
        if self._sink.promised and not self._left:
            self.lost += count

    def _count(self) -> str:
        return f"{len(self._queue) + self._busy} kept, {self.lost} lost"


def pause_after(failures: int, most_s: float) -> float:
    """Return how long to wait after so many failures in a row."""
    return min(_RETRY_S * 2 ** min(failures - 1, 20), most_s)


def reason_of(error: BaseException) -> str:
    """Return one line that says what was wrong."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
