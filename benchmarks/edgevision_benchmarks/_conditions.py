"""What machine the numbers hold on, read from where Linux says it; what cannot be read is None."""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from edgevision_device import count_cores, read_governor, read_int8_instructions

__all__ = ["Conditions", "read_conditions"]


@dataclass(frozen=True)
class Conditions:
    """The machine and its software.

    Attributes:
        board: what the device tree calls it (`Raspberry Pi 5 Model B Rev 1.0`); None on a PC.
        cpu: the processor's model.
        cores: how many this process may use.
        architecture: what the kernel runs on, such as `aarch64`.
        userland_bits: of this Python; 32 on a 64-bit kernel happens on Raspberry Pi OS.
        memory_bytes: of the machine.
        system, kernel, python: names and versions.
        governor: the frequency governor of the first core; anything but `performance` makes times wander.
        numpy: its version.
        int8_instructions: those for dot products of int8 that the processor has; None where the system does not say.
    """

    board: Optional[str]
    cpu: Optional[str]
    cores: int
    architecture: str
    userland_bits: int
    memory_bytes: Optional[int]
    system: str
    kernel: str
    python: str
    governor: Optional[str]
    numpy: Optional[str] = None
    int8_instructions: Optional[tuple[str, ...]] = None


def read_conditions() -> Conditions:
    """Read them; never fails."""
    cpuinfo = _read(Path("/proc/cpuinfo")) or ""
    return Conditions(
        board=_read(Path("/proc/device-tree/model")),
        cpu=_field(cpuinfo, "model name") or _field(cpuinfo, "Model") or platform.processor() or None,
        cores=count_cores(),
        architecture=platform.machine(),
        userland_bits=8 * struct.calcsize("P"),
        memory_bytes=_kilobytes(_read(Path("/proc/meminfo")) or "", "MemTotal"),
        system=_system(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        governor=read_governor(),
        numpy=np.__version__,
        int8_instructions=read_int8_instructions(),
    )


def _read(path: Path) -> Optional[str]:
    try:
        # The device tree ends its strings with a zero byte.
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def _field(text: str, name: str) -> Optional[str]:
    """Return what follows `name` and a colon on the first such line."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip() or None
    return None


def _kilobytes(text: str, name: str) -> Optional[int]:
    value = _field(text, name)
    return None if value is None else 1024 * int(value.split()[0])


def _system() -> str:
    # platform.freedesktop_os_release needs Python 3.10.
    for line in (_read(Path("/etc/os-release")) or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip("\"'")
    return platform.platform()
