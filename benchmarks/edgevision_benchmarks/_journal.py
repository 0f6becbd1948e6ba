"""What a benchmark has finished so far, in a file: one that is killed can be gone on with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Optional

from edgevision_device import FileError, UsageError, write_atomically

from ._reading import Misfit, decode
from ._timing import Timing

__all__ = ["Journal"]

_FORMAT = 1


class Journal:
    """Answers of finished files, and the times of all of them.

    The times are one piece: a benchmark that is killed while it takes them takes them anew, because rounds of another
    hour are not comparable.

    Attributes:
        timing: what was found by timing; None: not yet.
        answers: by name, what the process of a finished file answered.
    """

    def __init__(self, path: Optional[Path], asked: Any, *, resume: bool) -> None:
        """Read what is there, or begin.

        Args:
            path: of the file; None: keep nothing.
            asked: JSON types that say what is measured; only a benchmark of the same goes on.
            resume: go on with what is there; else it is begun anew.
        """
        self._path, self._key = path, hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        self.timing: Optional[Timing] = None
        self.answers: dict[str, dict[str, Any]] = {}
        if path is not None and resume and path.exists():
            self._read(path)

    def keep_timing(self, timing: Timing) -> None:
        """Write that all files were timed."""
        self.timing = timing
        self._write()

    def keep_answer(self, name: str, answer: dict[str, Any]) -> None:
        """Write that one file is finished."""
        self.answers[name] = answer
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            timing = None if self.timing is None else self.timing.to_record()
            record = {"format": _FORMAT, "asked": self._key, "timing": timing, "answers": self.answers}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(record).encode())

    def _read(self, path: Path) -> None:
        try:
            record: Any = json.loads(path.read_bytes())
            if record["format"] != _FORMAT:
                raise ValueError(f"its format is {record['format']}")
            asked, timing, answers = record["asked"], decode(Optional[Timing], record["timing"]), record["answers"]
        except (OSError, ValueError, KeyError, TypeError, Misfit) as error:
            raise FileError(f"{path} is no unfinished benchmark ({error}); delete it to begin anew") from error
        if asked != self._key:
            raise UsageError(
                f"{path} is an unfinished benchmark of other files, pictures or settings, or another machine; repeat "
                "its command with --resume, or give --overwrite to begin anew"
            )
        self.timing, self.answers = timing, answers
