"""What the machine says about its processor and its power: governor, clock, temperature, throttling."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Optional

__all__ = [
    "can_read_power",
    "describe_power",
    "read_clock_mhz",
    "read_governor",
    "read_int8_instructions",
    "read_power_bits",
    "read_temperature_c",
    "read_text",
    "read_throttle_count",
]

#: As Linux calls them: arm64's dot products and matrix products, x86's.
_INT8_INSTRUCTIONS = ("asimddp", "i8mm", "avx512_vnni", "avx_vnni", "avx_vnni_int8")

_CPU = Path("sys/devices/system/cpu")

#: Bits of `vcgencmd get_throttled`, https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_BOOT = 16


def read_governor(root: Path = Path("/")) -> Optional[str]:
    """Return the frequency governor of the first core."""
    return read_text(root / _CPU / "cpu0/cpufreq/scaling_governor")


def read_clock_mhz(root: Path = Path("/")) -> Optional[float]:
    """Return the mean clock of the cores at this moment."""
    found = [read_text(path) for path in sorted((root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    clocks = [int(text) / 1000 for text in found if text is not None and text.isdigit()]
    if not clocks:
        cpuinfo = read_text(root / "proc/cpuinfo") or ""
        clocks = [float(text) for text in re.findall(r"^cpu MHz\s*: ([\d.]+)$", cpuinfo, re.MULTILINE)]
    return sum(clocks) / len(clocks) if clocks else None


def read_int8_instructions(root: Path = Path("/")) -> Optional[tuple[str, ...]]:
    """Return which instructions for dot products of int8 the processor has; None where the system does not say."""
    cpuinfo = read_text(root / "proc/cpuinfo") or ""
    known = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return None if known is None else tuple(each for each in _INT8_INSTRUCTIONS if each in known[1].split())


def read_temperature_c(root: Path = Path("/")) -> Optional[float]:
    """Return what the first sensor says, on a Raspberry Pi the processor's."""
    text = read_text(root / "sys/class/thermal/thermal_zone0/temp")
    return None if text is None or not text.lstrip("-").isdigit() else int(text) / 1000


def read_throttle_count(root: Path = Path("/")) -> Optional[int]:
    """Return how often an x86 processor has slowed down for heat since boot, all cores together."""
    found = [read_text(path) for path in (root / _CPU).glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    counts = [int(text) for text in found if text is not None and text.isdigit()]
    return sum(counts) if counts else None


def can_read_power() -> bool:
    """Say whether this is a Raspberry Pi with its `vcgencmd`."""
    return shutil.which("vcgencmd") is not None


def read_power_bits() -> Optional[int]:
    """Return what `vcgencmd get_throttled` says; None where it is missing, or gives no answer."""
    if not can_read_power():
        return None
    import subprocess  # which takes longer to import than all else here, and opening a file reads the processor

    try:
        answer = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=10)
        return int(answer.stdout.strip().rpartition("=")[2], 16)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None


def describe_power(bits: int) -> tuple[list[str], list[str]]:
    """Return what `read_power_bits` says of now, and of any time since boot."""
    now = [text for bit, text in _THROTTLED.items() if bits >> bit & 1]
    return now, [text for bit, text in _THROTTLED.items() if bits >> bit + _SINCE_BOOT & 1]


def read_text(path: Path) -> Optional[str]:
    """Return what a file of the kernel's says, without the ends of line; None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
