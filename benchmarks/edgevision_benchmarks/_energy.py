"""Energy of the processor, from the counters of x86 (RAPL) that Linux shows below /sys/class/powercap."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

__all__ = ["Counter", "EnergyMeter", "beyond_idle_mj", "energy_of_runs", "read_counters"]

#: The counters move about every millisecond: of less time than this they tell too little.
_LEAST_S = 0.5


@dataclass(frozen=True)
class Counter:
    """Energy of one package so far; it starts again from 0 after `range_uj`."""

    energy_uj: int
    range_uj: int


def read_counters(root: Path = Path("/")) -> dict[str, Counter]:
    """Read the counter of each package; empty where there is none, or only root may read it."""
    found: dict[str, Counter] = {}
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        # intel-rapl:0 is a package, intel-rapl:0:1 a part of it, and psys the whole machine, packages included.
        try:
            if zone.name.count(":") == 1 and (zone / "name").read_text(encoding="ascii").startswith("package"):
                energy_uj, range_uj = (
                    int((zone / name).read_text(encoding="ascii")) for name in ("energy_uj", "max_energy_range_uj")
                )
                found[zone.name] = Counter(energy_uj, range_uj)
        except (OSError, ValueError):
            return {}
    return found


class EnergyMeter:
    """Adds up energy and time over spells.

    Attributes:
        spent_j, spent_s: of all spells so far.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, Counter]] = read_counters,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._read, self._clock_s = read, clock_s
        self.spent_j = self.spent_s = 0.0
        self._known = True
        self._start: Mapping[str, Counter] = {}
        self._start_s = 0.0

    def start(self) -> None:
        """Begin a spell."""
        self._start, self._start_s = self._read(), self._clock_s()

    def stop(self) -> None:
        """End it."""
        end, end_s = self._read(), self._clock_s()
        self._known = self._known and bool(end) and end.keys() == self._start.keys()
        for name, after in end.items():
            before = self._start.get(name, after)
            change_uj = after.energy_uj - before.energy_uj
            self.spent_j += 1e-6 * (change_uj if change_uj >= 0 else change_uj + after.range_uj)
        self.spent_s += end_s - self._start_s

    def watts(self) -> Optional[float]:
        """Return the mean power, None where there are no counters."""
        return self.spent_j / self.spent_s if self._known and self.spent_s > 0 else None


def energy_of_runs(meter: EnergyMeter, runs: int, idle_w: Optional[float]) -> Optional[float]:
    """Return millijoules of one run, beyond what the idle processor takes in that time; None if not measured."""
    watts = meter.watts()
    if watts is None or idle_w is None or meter.spent_s < _LEAST_S or not runs:
        return None
    return beyond_idle_mj(watts, idle_w, meter.spent_s, runs)


def beyond_idle_mj(watts: float, idle_w: float, seconds: float, runs: int) -> float:
    """Return millijoules of one of `runs` runs, beyond what is taken in that time by doing nothing.

    >>> beyond_idle_mj(watts=5.0, idle_w=3.0, seconds=10.0, runs=1000)
    20.0
    """
    return 1e3 * (watts - idle_w) * seconds / runs
