"""What is well and what is not, of a stream that nobody watches: the source, each sink, the model file."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Optional

__all__ = ["Health"]


class Health:
    """Remembers, from any thread, which parts are in trouble, and says so once when that changes.

    Args:
        say: is given a line when a part gets into trouble, and one when it is well again. Repeated troubles of a part
            that is in trouble already are counted, not said.
    """

    def __init__(self, say: Optional[Callable[[str], None]] = None) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._troubles: dict[str, _Trouble] = {}
        self._times: dict[str, int] = {}

    def trouble(self, part: str, text: str) -> None:
        """Note that a part does not work: `health.trouble("source", "camera /dev/video0 gives no frames")`."""
        with self._lock:
            known = self._troubles.get(part)
            if known is not None:
                known.text = text
                return
            self._troubles[part] = _Trouble(text)
            self._times[part] = self._times.get(part, 0) + 1
        self._tell(f"{part}: {text}")

    def well(self, part: str) -> None:
        """Note that a part works. Costs nothing where it always did."""
        if part not in self._troubles:
            return
        with self._lock:
            trouble = self._troubles.pop(part, None)
        if trouble is not None:
            self._tell(f"{part}: works again, after {time.monotonic() - trouble.since_s:.1f} s")

    def note(self, part: str, text: str) -> None:
        """Say what is worth a line and no trouble: `health.note("model", "model.tflite took over")`."""
        self._tell(f"{part}: {text}")

    @property
    def ok(self) -> bool:
        """Whether every part works."""
        return not self._troubles

    def to_record(self) -> dict[str, Any]:
        """Return what goes into JSON: the troubles of now, and how often each part was in trouble so far."""
        with self._lock:
            now_s = time.monotonic()
            return {
                "ok": not self._troubles,
                "troubles": {
                    part: {
                        "text": trouble.text,
                        "since": trouble.since_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                        "seconds": round(now_s - trouble.since_s, 3),
                    }
                    for part, trouble in self._troubles.items()
                },
                "times": dict(self._times),
            }

    def _tell(self, line: str) -> None:
        if self._say is not None:
            with contextlib.suppress(OSError):  # nobody reads any more: no reason for a part to stop
                self._say(line)


class _Trouble:
    def __init__(self, text: str) -> None:
        self.text = text
        self.since_s = time.monotonic()
        self.since_utc = datetime.now(timezone.utc)
