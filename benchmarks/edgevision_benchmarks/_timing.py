"""Timing files in turns, each in a process of its own, one process running at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Callable, Optional

from ._energy import EnergyMeter, energy_of_runs
from ._load import Load, LoadMeter, MachineState, loads_of, read_state
from ._processes import ChildError, Process
from ._rounds import Rounds, Settings, take_rounds
from ._speed import TimeRatio, time_ratio

__all__ = ["OnProgress", "Timing", "mean_of", "time_files"]

#: Told the file's name (empty while pictures are hashed), the stage, and how many of how many are done.
OnProgress = Callable[[str, str, int, int], None]

#: What the reference is called when it is timed a second time. No path is empty.
_TWIN = ""


@dataclass(frozen=True)
class Timing:
    """What the turns of all files gave.

    Attributes:
        opened: by name, what opening, the first run and the runs that warmed up took.
        rounds: by name, of the files that could be timed.
        loads: see `loads_of`, of its turns.
        energy_mj: by name, of a run; None if not measured.
        errors: by name, why a file could not be timed.
        noise_floor, before, after: see `Report`.
        no_floor: why several files have no noise floor, or None.
    """

    opened: dict[str, dict[str, Any]]
    rounds: dict[str, Rounds]
    loads: dict[str, Load]
    energy_mj: dict[str, Optional[float]]
    errors: dict[str, str]
    noise_floor: Optional[TimeRatio]
    before: MachineState
    after: MachineState
    no_floor: Optional[str] = None

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        floor = None if self.noise_floor is None else self.noise_floor.to_record()
        return {**asdict(self), "noise_floor": floor}

    @property
    def reference(self) -> str:
        """The first file that could be timed to the end, which the others are compared with."""
        return next((name for name in self.opened if name in self.rounds), "")


def time_files(start: Mapping[str, Callable[[], Process]], settings: Settings, tell: OnProgress) -> Timing:
    """Open every file, and time all of them in turns.

    Args:
        start: by name, what starts its process; whoever called ends it.
        settings: how many runs, rounds and seconds.
        tell: told what is being done.
    """
    turns: dict[str, _Turns] = {}
    errors: dict[str, str] = {}
    for name, begin in start.items():
        tell(name, "open", 0, 1)
        try:
            turns[name] = _Turns(begin())
        except ChildError as error:
            errors[name] = str(error)
    opened = {name: each.process.opened for name, each in turns.items()}
    reference = next(iter(turns), "")
    if len(turns) > 1:
        try:
            turns[_TWIN] = _Turns(start[reference]())
        except ChildError as error:  # the file itself is none the worse
            errors[_TWIN] = str(error)

    def take_turn(name: str, runs: int) -> Optional[list[float]]:
        try:
            times_ms = turns[name].take(runs)
        except ChildError as error:
            errors[name] = str(error)
            return None
        tell(name or reference, "latency", turns[name].done, settings.runs)
        return times_ms

    before = read_state()
    rounds = take_rounds({name: each.process.expected_ms for name, each in turns.items()}, take_turn, settings)
    after = read_state()
    twin = turns.pop(_TWIN, None)
    twin_rounds = rounds.pop(_TWIN, None)
    died = errors.pop(_TWIN, None)
    died = errors.get(reference, died)
    floor = time_ratio(twin_rounds, rounds[reference], settings.seed) if twin_rounds and reference in rounds else None
    if twin is not None:
        twin.process.close()
    idle_w = mean_of(before.processor_w, after.processor_w)
    return Timing(
        opened=opened,
        rounds=rounds,
        loads=loads_of({name: each.load for name, each in turns.items()}),
        energy_mj={name: energy_of_runs(each.energy, each.ran, idle_w) for name, each in turns.items()},
        errors=errors,
        noise_floor=floor,
        before=before,
        after=after,
        no_floor=None if died is None else f"{reference} could not be timed as two: {died}",
    )


class _Turns:
    """A file's turns so far: its process, and what was measured meanwhile."""

    def __init__(self, process: Process) -> None:
        self.process, self.load, self.energy = process, LoadMeter(), EnergyMeter()
        self.done = self.ran = 0

    def take(self, runs: int) -> list[float]:
        own_s = time.process_time()
        self.load.start()
        self.energy.start()
        answer = self.process.time(runs)
        self.energy.stop()
        self.ran += runs + 1  # the first one of a turn is not timed, but takes its energy
        self.load.stop(answer["cpu_s"] + time.process_time() - own_s)
        times_ms: list[float] = answer["times_ms"]
        self.done += len(times_ms)
        return times_ms


def mean_of(before: Optional[float], after: Optional[float]) -> Optional[float]:
    """Return the mean of what was read before and after, None if either is not known."""
    return None if before is None or after is None else (before + after) / 2
