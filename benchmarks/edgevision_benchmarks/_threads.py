"""How many threads a file needs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Optional

from edgevision_device import Percentiles

from ._child import Request
from ._processes import Process
from ._rounds import Rounds, Settings, take_rounds
from ._speed import LEAST_ROUNDS, TimeRatio, beyond, time_ratio

__all__ = ["ThreadCount", "ThreadSweep", "recommend", "time_threads"]


@dataclass(frozen=True)
class ThreadCount:
    """A file with so many threads.

    Attributes:
        threads: what the runtime was told.
        latency: its runs.
        time: against the fastest count.
    """

    threads: int
    latency: Percentiles
    time: TimeRatio


@dataclass(frozen=True)
class ThreadSweep:
    """A file with several numbers of threads, timed in turns.

    Attributes:
        counts: in the order asked for.
        recommended: the fewest threads that cannot be told from the fastest; None if there were fewer than
            `LEAST_ROUNDS` rounds.
    """

    counts: tuple[ThreadCount, ...]
    recommended: Optional[int]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        counts = [
            {"threads": each.threads, "latency": dataclasses.asdict(each.latency), **each.time.to_record()}
            for each in self.counts
        ]
        return {"counts": counts, "recommended_threads": self.recommended}


def time_threads(request: Request, counts: Sequence[int], settings: Settings) -> dict[int, Rounds]:
    """Time one file with each number of threads, each in a process of its own.

    Args:
        request: the file.
        counts: of threads.
        settings: see `take_rounds`.

    Raises:
        ChildError: the file cannot be opened, or run, with one of them.
    """
    with ExitStack() as stack:
        processes: dict[str, Process] = {}
        for count in counts:
            process = Process(dataclasses.replace(request, threads=count))
            stack.callback(process.close)
            processes[str(count)] = process
        rounds = take_rounds(
            {name: process.expected_ms for name, process in processes.items()},
            lambda name, runs: processes[name].time(runs)["times_ms"],
            settings,
        )
    return {int(name): found for name, found in rounds.items()}


def recommend(rounds: Mapping[int, Rounds], seed: int, span: float) -> ThreadSweep:
    """Compare the rounds of each number of threads; a ratio within the factor `span` of 1 is no difference."""
    latencies = {
        count: Percentiles.of_ms(list(itertools.chain.from_iterable(found.values()))) for count, found in rounds.items()
    }
    fastest = min(rounds, key=lambda count: (latencies[count].p50_ms, count))
    found = [ThreadCount(count, latencies[count], time_ratio(rounds[count], rounds[fastest], seed)) for count in rounds]
    close = [each.threads for each in found if beyond(each.time, span) != "slower"]
    enough = all(each.time.rounds >= LEAST_ROUNDS for each in found)
    return ThreadSweep(tuple(found), min([fastest, *close]) if enough else None)
