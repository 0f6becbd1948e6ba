"""Energy of a Raspberry Pi 5, from the chip that makes its voltages (PMIC), which its firmware reads out.

It has no counter: what flows at a moment is asked for a few times a second, while a file runs that nobody times.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from typing import Callable, Optional

from ._energy import beyond_idle_mj
from ._processes import Process
from ._text import printable

__all__ = ["MeterError", "PmicMeter", "can_ask", "measure_run_mj", "rail_watts", "read_watts"]

#: What is asked for; https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
_COMMAND = ("vcgencmd", "pmic_read_adc")
#: It answers in some milliseconds, or not at all.
_LIMIT_S = 1.0
_EVERY_S = 0.2
#: Of fewer samples no mean is told.
_LEAST_SAMPLES = 5
#: How long a file runs, and how long nothing does before and after that.
_SPELL_S = 5.0
_IDLE_S = 2.0
#: Such as `VDD_CORE_A current(7)=1.54489000A` and `VDD_CORE_V volt(15)=0.88725180V`.
_CURRENT = re.compile(r"(\w+)_A current\(\d+\)=(-?\d+\.\d+)A")
_VOLTAGE = re.compile(r"(\w+)_V volt\(\d+\)=(-?\d+\.\d+)V")


class MeterError(Exception):
    """Why there is no power to tell, in one line."""


def can_ask() -> bool:
    """Say whether this may be a Raspberry Pi: only the answer tells a 5."""
    return shutil.which(_COMMAND[0]) is not None


def rail_watts(text: str) -> float:
    """Return the sum of all rails of which the chip tells current and voltage.

    The 5 V input and the clock's battery have a voltage alone.

    Raises:
        MeterError: it is something else, or cut short.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    currents, voltages = (
        {found[1]: float(found[2]) for found in map(kind.fullmatch, lines) if found} for kind in (_CURRENT, _VOLTAGE)
    )
    if not currents or len(currents) + len(voltages) != len(lines) or not currents.keys() <= voltages.keys():
        raise MeterError(f"`{' '.join(_COMMAND)}` does not tell the rails: {_short(text) or 'it says nothing'}")
    return sum(amperes * voltages[rail] for rail, amperes in currents.items())


def read_watts(limit_s: float = _LIMIT_S) -> float:
    """Ask for the power at this moment.

    Raises:
        MeterError: no answer in time, or none that tells it.
    """
    asked = f"`{' '.join(_COMMAND)}`"
    try:
        done = subprocess.run(
            _COMMAND,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise MeterError(f"{asked} gave no answer in {limit_s:g} s") from None
    except OSError as error:
        raise MeterError(f"{asked} does not start: {error.strerror}") from error
    if done.returncode:
        raise MeterError(f"{asked} ended with code {done.returncode}: {_short(done.stdout)}")
    return rail_watts(done.stdout)


class PmicMeter:
    """Samples the power on a thread, from `start` to `stop`; what fails once ends it."""

    def __init__(
        self, read: Callable[[], float] = read_watts, clock_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self._read, self._clock_s = read, clock_s
        self._samples: list[tuple[float, float]] = []
        self._trouble: Optional[MeterError] = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="power", daemon=True)

    def start(self) -> None:
        """Begin the spell."""
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Let it last so long; no longer if it has failed."""
        self._thread.join(seconds)

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self._thread.join()

    def watts(self) -> float:
        """Return the mean power from the first sample to the last, by the trapezoidal rule.

        Raises:
            MeterError: the chip could not be read, or too seldom.
        """
        if self._trouble is not None:
            raise self._trouble
        if len(self._samples) < _LEAST_SAMPLES:
            raise MeterError(f"only {len(self._samples)} samples of the power, and {_LEAST_SAMPLES} are needed")
        pairs = list(zip(self._samples, self._samples[1:]))
        joules = sum((end_s - start_s) * (before + after) / 2 for (start_s, before), (end_s, after) in pairs)
        return joules / (self._samples[-1][0] - self._samples[0][0])

    def _sample(self) -> None:
        while not self._ended.is_set():
            try:
                watts = self._read()
            except MeterError as error:
                self._trouble = error
                return
            self._samples.append((self._clock_s(), watts))
            self._ended.wait(_EVERY_S)


def measure_run_mj(process: Process) -> float:
    """Return millijoules of one run beyond what the idle board takes, from a spell that is not timed.

    Raises:
        MeterError: the chip could not be read.
        ChildError: the file's process died.
    """
    before_w = _idle_watts()
    meter = PmicMeter()
    meter.start()
    try:
        found = process.stream(1, _SPELL_S)
    finally:
        meter.stop()
    idle_w = (before_w + _idle_watts()) / 2
    return beyond_idle_mj(meter.watts(), idle_w, found["duration_s"], found["latency"]["count"])


def _idle_watts() -> float:
    """Return the power while all processes wait."""
    meter = PmicMeter()
    meter.start()
    meter.wait(_IDLE_S)
    meter.stop()
    return meter.watts()


def _short(text: str) -> str:
    """Return the beginning of what was said, in one line."""
    return printable(" ".join(text.split())[:80])
