"""Whether a file slows down when it runs without a pause, as processors do that get hot."""

from __future__ import annotations

import dataclasses
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

import numpy as np

from edgevision_device import read_clock_mhz, read_temperature_c

from ._speed import TimeRatio, beyond, drift_of
from ._text import ms_text

__all__ = ["WINDOWS", "Spells", "Sustained", "compare_windows", "cool_down", "run_spells"]

Pixels = TypeVar("Pixels")

#: Into so many spells of equal length the time is divided.
WINDOWS = 30
#: A spell's median is that of so many of its times at most, evenly spread.
_KEPT = 3**8
#: It begins no warmer than this beyond the temperature before, or after so long.
_NEAR_C = 2.0
COOLING_S = 120


@dataclass(frozen=True)
class Spells:
    """What runs without a pause gave.

    Attributes:
        duration_s: of all, as measured.
        windows_p50_ms: median of each spell.
        start_temperature_c, end_temperature_c: of the processor before the first run and after the last one; None
            where there is no sensor.
        start_clock_mhz, end_clock_mhz: mean of the cores at the end of the first spell and of the last one.
    """

    duration_s: float
    windows_p50_ms: tuple[float, ...]
    start_temperature_c: Optional[float] = None
    end_temperature_c: Optional[float] = None
    start_clock_mhz: Optional[float] = None
    end_clock_mhz: Optional[float] = None


@dataclass(frozen=True)
class Sustained:
    """Runs without a pause: the first third of the time against the last.

    Attributes:
        duration_s: of all, as measured.
        burst_p50_ms, sustained_p50_ms: median of the medians of ten spells each, at the beginning and at the end.
        time: the end's over the beginning's.
        differs: whether that is beyond the noise floor, or beyond 5 % where there is none.
        start_temperature_c, end_temperature_c, start_clock_mhz, end_clock_mhz: see `Spells`.
    """

    duration_s: float
    burst_p50_ms: float
    sustained_p50_ms: float
    time: TimeRatio
    differs: bool
    start_temperature_c: Optional[float] = None
    end_temperature_c: Optional[float] = None
    start_clock_mhz: Optional[float] = None
    end_clock_mhz: Optional[float] = None

    def describe(self) -> str:
        """Return one line."""
        change = self.time.ratio - 1
        states = (
            (self.start_temperature_c, self.end_temperature_c, "; {:.0f} to {:.0f} °C"),
            (self.start_clock_mhz, self.end_clock_mhz, "; {:,.0f} to {:,.0f} MHz"),
        )
        return (
            f"without a pause for {self.duration_s:.3g} s: p50 {ms_text(self.burst_p50_ms)} ms in the first third, "
            f"{ms_text(self.sustained_p50_ms)} ms in the last"
            + (f", {abs(change):.0%} {'slower' if change > 0 else 'faster'}" if self.differs else ", no difference")
            + "".join(form.format(start, end) for start, end, form in states if start is not None and end is not None)
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        record = dataclasses.asdict(self)
        del record["time"]
        return {**record, **self.time.to_record()}


def run_spells(
    run: Callable[[Pixels], object],
    sample: Iterator[Pixels],
    duration_s: float,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    read_c: Callable[[], Optional[float]] = read_temperature_c,
    read_mhz: Callable[[], Optional[float]] = read_clock_mhz,
) -> Spells:
    """Run without a pause for `WINDOWS` spells, `duration_s` in all, a run at least each."""
    start_c, clocks = read_c(), list[Optional[float]]()
    medians: list[float] = []
    started = clock_ns()
    for _ in range(WINDOWS):
        medians.append(_median_ms(run, sample, duration_s / WINDOWS, clock_ns))
        if len(medians) in (1, WINDOWS):
            clocks.append(read_mhz())
    return Spells((clock_ns() - started) / 1e9, tuple(medians), start_c, read_c(), clocks[0], clocks[1])


def _median_ms(
    run: Callable[[Pixels], object], sample: Iterator[Pixels], limit_s: float, clock_ns: Callable[[], int]
) -> float:
    """Return the median of the runs of a spell, in bounded memory: a fast file runs millions of times."""
    times_ms, every, done = array("d"), 1, 0
    started = after = clock_ns()
    while not done or after - started < limit_s * 1e9:
        pixels = next(sample)
        before = clock_ns()
        run(pixels)
        after = clock_ns()
        if done % every == 0:
            times_ms.append((after - before) / 1e6)
            if len(times_ms) == _KEPT:
                # Thirds, not halves: the pictures come again after a power of two.
                times_ms, every = times_ms[::3], 3 * every
        done += 1
    return float(np.median(times_ms))


def cool_down(
    target_c: Optional[float],
    read_c: Callable[[], Optional[float]] = read_temperature_c,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the processor is about as warm as `target_c`, for two minutes at most; not at all without a sensor."""
    for _ in range(COOLING_S):
        now_c = read_c()
        if target_c is None or now_c is None or now_c <= target_c + _NEAR_C:
            return
        sleep(1.0)


def compare_windows(spells: Spells, seed: int, span: float) -> Sustained:
    """Compare the last third of the spells with the first; a ratio within the factor `span` is no difference."""
    windows_p50_ms = spells.windows_p50_ms
    time = drift_of({number: [each] for number, each in enumerate(windows_p50_ms)}, seed)
    if time is None:
        raise ValueError(f"{WINDOWS} spells are needed, got {len(windows_p50_ms)}")
    third = len(windows_p50_ms) // 3
    burst, sustained = (float(np.median(part)) for part in (windows_p50_ms[:third], windows_p50_ms[-third:]))
    return Sustained(
        spells.duration_s,
        burst,
        sustained,
        time,
        beyond(time, span) != "no difference",
        spells.start_temperature_c,
        spells.end_temperature_c,
        spells.start_clock_mhz,
        spells.end_clock_mhz,
    )
