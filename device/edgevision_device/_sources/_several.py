"""Several sources as one."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from typing import Optional

from .._errors import SourceError, UsageError
from .._health import Health
from ._base import Frame, Source, Still

__all__ = ["SeveralSources"]


class SeveralSources(Source):
    """Yields the frames of several sources in turn; each says its `source`, and ids count for each source.

    Every source is read on a thread of its own. Of a live one the newest frame is kept; any other waits. Whoever has a
    frame gets its turn, so that a fast camera does not crowd out a slow one. One that breaks off is said to, once, and
    the others go on; where there are none any more, that is an error.

    Args:
        sources: name → source; they are closed by this one.
        health: is told when one breaks off, by the name `source NAME`.
    """

    keeps_newest = True

    def __init__(self, sources: Mapping[str, Source], health: Optional[Health] = None) -> None:
        if not sources:
            raise UsageError("several sources need at least one, got none")
        self.live = any(source.live for source in sources.values())
        self._sources = dict(sources)
        self._health = health or Health()
        self._changed = threading.Condition()
        self._waiting: dict[str, Frame] = {}
        self._running = set(self._sources)
        self._errors: list[BaseException] = []
        self._broke_last = False
        self._stopped = False

    @property
    def still(self) -> Mapping[Optional[str], Still]:
        """Of all sources."""
        return {name: still for name, source in self._sources.items() for still in source.still.values()}

    def frames(self) -> Iterator[Frame]:
        """Yield frames until all sources have ended. Raises an error of one if the last broke off, or none gave one."""
        names = list(self._sources)
        for name in names:
            threading.Thread(target=self._read, args=(name,), name=f"edgevision-{name}", daemon=True).start()
        turn = 0
        any_came = False
        try:
            while True:
                with self._changed:
                    while not self._waiting and self._running and not self._stopped and not self._fatal():
                        self._changed.wait()
                    if self._stopped:
                        return
                    if self._fatal():
                        raise self._errors[-1]
                    if not self._waiting:
                        break
                    turn = next(
                        at % len(names)
                        for at in range(turn, turn + len(names))
                        if names[at % len(names)] in self._waiting
                    )
                    frame = self._waiting.pop(names[turn])
                    turn += 1
                    self._changed.notify_all()
                any_came = True
                yield frame
        finally:
            self.close()
        if self._broke_last or (self._errors and not any_came):
            raise self._errors[-1]

    def _fatal(self) -> bool:
        """Whether something was raised that does not come from the source itself, and would come again."""
        return any(not isinstance(error, SourceError) for error in self._errors)

    def _read(self, name: str) -> None:
        source = self._sources[name]
        try:
            for frame in source.frames():
                with self._changed:
                    while name in self._waiting and not source.live and not self._stopped:
                        self._changed.wait()
                    if self._stopped:
                        return
                    self._waiting[name] = dataclasses.replace(frame, source=name)
                    self._changed.notify_all()
                del frame  # else this thread would hold a whole picture more
        except BaseException as error:  # told, or raised again where somebody can handle it
            with self._changed:
                self._errors.append(error)
                self._running.discard(name)
                self._broke_last = not self._running
                raised = self._fatal() or self._broke_last
            if not self._stopped and not raised:
                self._health.trouble(f"source {name}", f"{error}; the others go on")
        finally:
            with self._changed:
                self._running.discard(name)
                self._changed.notify_all()

    def close(self) -> None:
        """Close all sources."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for source in self._sources.values():
            source.close()
