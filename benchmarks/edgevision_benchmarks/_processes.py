"""The parent's side of the process that measures one file, see `_child`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
from typing import IO, Any, Callable, Optional, cast

import numpy as np

from ._child import Request

__all__ = ["ChildError", "Process", "child_command"]


class ChildError(Exception):
    """Why a process found nothing, in one line."""


class Process:
    """A process with one file open. It does what it is asked, and nothing between two questions.

    Attributes:
        opened: what opening, the first run and warming up took.
        pid: of the process.
    """

    def __init__(self, request: Request) -> None:
        # A file, not a pipe, for its log: nobody has to read and write at the same time.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._child = subprocess.Popen(child_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        self.pid = self._child.pid
        try:
            self.opened = self._ask(dataclasses.asdict(request))
        except BaseException:
            self.close()
            raise

    @property
    def expected_ms(self) -> float:
        """About how long a run takes, by those that warmed up."""
        return float(np.median(self.opened["warmup_ms"] or [self.opened["first_ms"]]))

    def time(self, runs: int) -> dict[str, Any]:
        """Time so many runs, after one that does not count: other processes had the caches until now."""
        return self._ask({"do": "time", "runs": runs})

    def stream(self, least_runs: int, least_s: float) -> dict[str, Any]:
        """Time one run after the other, see `time_stream`."""
        return self._ask({"do": "stream", "least_runs": least_runs, "least_s": least_s})

    def sustain(self, duration_s: float) -> dict[str, Any]:
        """Run without a pause; return what `Spells` holds."""
        return self._ask({"do": "sustain", "duration_s": duration_s})

    def time_operators(self) -> dict[str, Any]:
        """Return what the operators take, as `OperatorTimes` does."""
        return self._ask({"do": "operators"})

    def finish(self, on_stage: Optional[Callable[[str, int, int], None]] = None) -> dict[str, Any]:
        """Return how much memory all this took, and classify every picture."""
        return self._ask({"do": "finish"}, on_stage)

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._log):
            # A question that never arrived is still in the pipe's buffer.
            with contextlib.suppress(BrokenPipeError):
                cast("IO[bytes]", stream).close()

    def _ask(
        self, question: dict[str, Any], on_stage: Optional[Callable[[str, int, int], None]] = None
    ) -> dict[str, Any]:
        # A process that has died is found out by what it does not answer.
        with contextlib.suppress(BrokenPipeError):
            asked = cast("IO[bytes]", self._child.stdin)
            asked.write(json.dumps(question).encode() + b"\n")
            asked.flush()
        for line in cast("IO[bytes]", self._child.stdout):
            answer: dict[str, Any] = json.loads(line)
            if "result" in answer:
                return answer["result"]
            if "error" in answer:
                raise ChildError(answer["error"])
            if on_stage is not None:
                on_stage(answer["stage"], answer["done"], answer["total"])
        raise ChildError(self._obituary(self._child.wait()))

    def _obituary(self, code: int) -> str:
        """Say how a process died that did not answer."""
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            advice = "; most likely the system ran out of memory" if name == "SIGKILL" else ""
            return f"the runtime crashed: its process died of {name}{advice}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with code {code}: {lines[-1] if lines else 'no message'}"


def child_command() -> list[str]:
    """Return what starts the process."""
    # Not `-m`: that puts the working directory first on the path, where a user's `queue.py` may lie. The child imports
    # from where this process does.
    code = f"import sys; sys.path[:] = {sys.path!r}; from edgevision_benchmarks._child import main; sys.exit(main())"
    return [sys.executable, "-c", code]
