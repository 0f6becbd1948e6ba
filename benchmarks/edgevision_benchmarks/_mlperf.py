"""One query after the other, as in the single-stream scenario of MLPerf Inference: p90, long enough, and twice."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Callable, TypeVar

from edgevision_device import Percentiles

__all__ = ["LEAST_RUNS", "LEAST_S", "SingleStream", "StreamPass", "time_stream"]

Pixels = TypeVar("Pixels")

#: MLPerf Inference's rules for this scenario: so many queries, over so long, whichever takes longer.
LEAST_RUNS = 1024
LEAST_S = 60.0
#: Two passes whose p90 lie farther apart than this do not repeat each other.
_TOLERANCE = 0.05


@dataclass(frozen=True)
class StreamPass:
    """One pass: its runs, and how long it took."""

    latency: Percentiles
    duration_s: float


@dataclass(frozen=True)
class SingleStream:
    """Two passes, one right after the other."""

    passes: tuple[StreamPass, StreamPass]

    @property
    def difference_share(self) -> float:
        """How much longer the larger p90 is than the smaller."""
        low, high = sorted(each.latency.p90_ms for each in self.passes)
        return high / low - 1

    @property
    def repeated(self) -> bool:
        """Whether both p90 agree within 5 %."""
        low, high = sorted(each.latency.p90_ms for each in self.passes)
        return high <= (1 + _TOLERANCE) * low

    def describe(self) -> str:
        """Return one line with the verdict."""
        first, second = self.passes
        return (
            f"p90 {first.latency.p90_ms:.3g} ms ({first.latency.count:,} runs in {first.duration_s:.0f} s), "
            f"repeated {second.latency.p90_ms:.3g} ms ({second.latency.count:,}): "
            f"{'within' if self.repeated else 'NOT within'} {_TOLERANCE:.0%}"
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        passes = [{**asdict(each.latency), "duration_s": each.duration_s} for each in self.passes]
        return {"passes": passes, "difference_share": self.difference_share, "repeated": self.repeated}


def time_stream(
    run: Callable[[Pixels], object],
    sample: Iterator[Pixels],
    least_runs: int,
    least_s: float,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> StreamPass:
    """Time runs, each right after the one before, until there are `least_runs` and `least_s` have passed."""
    # A fast file runs a million times a minute: 8 bytes each.
    times_ms = array("d")
    started = after = clock_ns()
    while len(times_ms) < least_runs or after - started < least_s * 1e9:
        pixels = next(sample)
        before = clock_ns()
        run(pixels)
        after = clock_ns()
        times_ms.append((after - before) / 1e6)
    return StreamPass(Percentiles.of_ms(times_ms), (after - started) / 1e9)
