"""What else the machine does while a file is timed, and in what state it is before and after."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from edgevision_device import (
    describe_power,
    read_clock_mhz,
    read_power_bits,
    read_temperature_c,
    read_throttle_count,
)

from ._energy import EnergyMeter

__all__ = [
    "CpuTimes",
    "Load",
    "LoadMeter",
    "MachineState",
    "loads_of",
    "read_cpu_times",
    "read_state",
    "throttled_between",
]

#: /proc/stat counts in ticks, 100 a second on every Linux that people use (USER_HZ).
_TICK_S = 0.01
#: Of less processor time than this, all cores together, ticks tell too little.
_LEAST_S = 1.0
#: How long the load is looked at before and after.
SAMPLE_S = 0.5


@dataclass(frozen=True)
class CpuTimes:
    """What all cores together have done since boot.

    Attributes:
        busy_s: work of any process.
        steal_s: wanted to work, and the hypervisor gave the time to another machine.
        total_s: both, and idling.
    """

    busy_s: float
    steal_s: float
    total_s: float


def read_cpu_times(root: Path = Path("/")) -> Optional[CpuTimes]:
    """Read /proc/stat; None where there is none."""
    try:
        with (root / "proc/stat").open(encoding="ascii") as lines:
            name, *counts = lines.readline().split()
    except OSError:
        return None
    if name != "cpu" or len(counts) < 8:
        return None
    # proc(5): user already counts what guests take, so those two fields come after the eighth and are left out.
    user, nice, system, idle, iowait, irq, softirq, steal = (_TICK_S * int(count) for count in counts[:8])
    busy_s = user + nice + system + irq + softirq
    return CpuTimes(busy_s, steal, busy_s + idle + iowait + steal)


@dataclass(frozen=True)
class Load:
    """Shares of the machine's processor time, 0 to 1; None where it is not known.

    Attributes:
        others_share: taken by processes that do not belong to the benchmark.
        steal_share: taken by other virtual machines.
    """

    others_share: Optional[float]
    steal_share: Optional[float]


class LoadMeter:
    """Adds up what others do, over spells of which our own processor time is known."""

    def __init__(self, read: Callable[[], Optional[CpuTimes]] = read_cpu_times) -> None:
        self._read = read
        self._others_s = self._steal_s = self._total_s = 0.0
        self._start: Optional[CpuTimes] = None

    def start(self) -> None:
        """Begin a spell."""
        self._start = self._read()

    def stop(self, own_s: float) -> None:
        """End it; our processes took `own_s` of it."""
        start, end = self._start, self._read()
        if start is not None and end is not None:
            # Not cut off at 0 here: in one spell ticks may come out too few, in the next too many.
            self._others_s += end.busy_s - start.busy_s - own_s
            self._steal_s += end.steal_s - start.steal_s
            self._total_s += end.total_s - start.total_s

    def add(self, other: LoadMeter) -> None:
        """Add the spells of another meter."""
        self._others_s += other._others_s
        self._steal_s += other._steal_s
        self._total_s += other._total_s

    def load(self, least_s: float = _LEAST_S) -> Load:
        """Return the shares; unknown if all spells together are shorter than `least_s`, counting each core."""
        if self._total_s < max(least_s, _TICK_S):
            return Load(None, None)
        shares = (min(1.0, max(0.0, part / self._total_s)) for part in (self._others_s, self._steal_s))
        return Load(*shares)


def loads_of(meters: Mapping[str, LoadMeter]) -> dict[str, Load]:
    """Return each meter's load; where its spells are too short to tell, that of all meters together."""
    together = LoadMeter()
    for meter in meters.values():
        together.add(meter)
    known = {name: meter.load() for name, meter in meters.items()}
    return {name: together.load() if load.others_share is None else load for name, load in known.items()}


@dataclass(frozen=True)
class MachineState:
    """How the machine is at one moment; None where it does not say.

    Attributes:
        clock_mhz: mean of the cores.
        temperature_c: of the processor.
        power: troubles that a Raspberry Pi has at this moment, such as `under-voltage`.
        power_since_boot: those that it has had.
        throttle_count: how often an x86 processor has slowed down for heat since boot.
        others_share, steal_share: see `Load`, over half a second in which the benchmark does nothing.
        processor_w: power in that time, of an x86 processor whose counters may be read.
    """

    clock_mhz: Optional[float]
    temperature_c: Optional[float]
    power: Optional[tuple[str, ...]]
    power_since_boot: Optional[tuple[str, ...]]
    throttle_count: Optional[int]
    others_share: Optional[float]
    steal_share: Optional[float]
    processor_w: Optional[float] = None


def read_state() -> MachineState:
    """Look at the machine for `SAMPLE_S`; never fails."""
    meter, energy = LoadMeter(), EnergyMeter()
    energy.start()
    meter.start()
    own_s = time.process_time()
    time.sleep(SAMPLE_S)
    energy.stop()
    meter.stop(time.process_time() - own_s)
    load = meter.load(0.0)
    bits = read_power_bits()
    now, ever = (None, None) if bits is None else map(tuple, describe_power(bits))
    return MachineState(
        read_clock_mhz(),
        read_temperature_c(),
        now,
        ever,
        read_throttle_count(),
        load.others_share,
        load.steal_share,
        energy.watts(),
    )


def throttled_between(before: MachineState, after: MachineState) -> Optional[bool]:
    """Say whether the processor was slowed down, or short of power, at some time in between; None if nothing tells."""
    told: list[bool] = []
    if before.power is not None and after.power is not None:
        came = set(after.power_since_boot or ()).difference(before.power_since_boot or ())
        told.append(bool(before.power or after.power or came))
    if before.throttle_count is not None and after.throttle_count is not None:
        told.append(after.throttle_count > before.throttle_count)
    return any(told) if told else None
