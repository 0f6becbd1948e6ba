"""What a benchmark has finished so far, in a file: one that is killed can be gone on with."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, cast

from edgevision_device import FileError, UsageError, write_atomically

from ._reading import Misfit, decode
from ._timing import Timing

__all__ = ["Journal", "digest"]

_FORMAT = 3


class Journal:
    """Answers of finished files, and the times of all of them.

    The times are one piece: a benchmark that is killed while it takes them takes them anew, because rounds of another
    hour are not comparable.

    Attributes:
        timing: what was found by timing; None: not yet.
        answers: by name, what the process of a finished file answered.
        resumed: whether it went on with what was there.
    """

    def __init__(self, path: Optional[Path], asked: Mapping[str, Any], *, resume: bool) -> None:
        """Read what is there, or begin.

        Args:
            path: of the file; None: keep nothing.
            asked: JSON types that say what is measured, and with what; only a benchmark of the same goes on.
            resume: go on with what is there; else it is removed.
        """
        self._path, self._asked = path, json.loads(json.dumps(asked))
        self.timing: Optional[Timing] = None
        self.answers: dict[str, dict[str, Any]] = {}
        self.resumed = False
        if path is not None and not resume:
            path.unlink(missing_ok=True)
        elif path is not None and path.exists():
            self._read(path)

    def keep_timing(self, timing: Timing) -> None:
        """Write that all files were timed."""
        self.timing = timing
        self._write()

    def keep_answer(self, name: str, answer: dict[str, Any]) -> None:
        """Write that one file is finished."""
        self.answers[name] = answer
        self._write()

    def require_same(self, name: str, opened: Mapping[str, Any]) -> None:
        """Raise UsageError if a file that is gone on with is run by something else than when it was timed."""
        if self.resumed and self.timing is not None:
            then = self.timing.opened[name]
            keys = ("runtime", "runtime_version", "threads", "opencv")
            self._refuse(*({"versions": {key: each[key] for key in keys}} for each in (then, opened)))

    def _write(self) -> None:
        if self._path is None:
            return
        found = {"timing": None if self.timing is None else self.timing.to_record(), "answers": self.answers}
        record = {"format": _FORMAT, "asked": self._asked, "sha256": digest(found), **found}
        try:
            write_atomically(self._path, json.dumps(record).encode())
        except OSError as error:
            # What was measured is worth more than being able to go on with it.
            print(
                f"cannot write {self._path}: {error.strerror}; measuring goes on, but --resume will not know what is "
                "finished from here on",
                file=sys.stderr,
            )
            self._path = None

    def _read(self, path: Path) -> None:
        try:
            record: Any = json.loads(path.read_bytes())
            if record["format"] != _FORMAT:
                raise ValueError(f"its format is {record['format']}")
            asked, timing, answers = record["asked"], decode(Optional[Timing], record["timing"]), record["answers"]
            if record["sha256"] != digest({"timing": record["timing"], "answers": answers}):
                raise ValueError("its SHA-256 is not that of what it holds")
        except (OSError, ValueError, KeyError, TypeError, Misfit) as error:
            raise FileError(f"{path} is no unfinished benchmark ({error}); delete it to begin anew") from error
        self._refuse(asked, self._asked)
        self.timing, self.answers, self.resumed = timing, answers, True

    def _refuse(self, then: Any, now: Any) -> None:
        told = list(_differences(then, now))
        if told:
            raise UsageError(
                f"{self._path} is an unfinished benchmark with other {', other '.join(told)}; make that as it was and "
                "repeat its command with --resume, or give --overwrite to begin anew"
            )


def digest(found: Any) -> str:
    """Return the SHA-256, in hex, of JSON types."""
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _differences(then: Any, now: Any, name: str = "", *, nested: bool = False) -> Iterator[str]:
    """Name what differs; of single values, with both."""
    if isinstance(then, dict) and isinstance(now, dict):
        before, after = cast("dict[str, Any]", then), cast("dict[str, Any]", now)
        for key in {**before, **after}:
            yield from _differences(before.get(key), after.get(key), key, nested=bool(name) or nested)
    elif then != now:
        yield f"{name} ({json.dumps(then)}, now {json.dumps(now)})" if nested else name
