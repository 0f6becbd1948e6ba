"""Is this device fit to run a classifier, and is this file one? A finding per question, with what mends it."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ._errors import FileError, ForeignFileError
from ._file import read_model_file
from ._metadata import Metadata
from ._preprocess import OPENCV
from ._probe import Outcome, try_out
from ._runtimes import PACKAGES, RUNTIMES
from ._sensors import can_read_power, describe_power, read_governor, read_power_bits, read_temperature_c, read_text
from ._sources import PICAMERA_MEND, find_cameras

__all__ = ["Finding", "check_device", "check_file", "check_machine", "check_packages"]

_OPENCV_WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)

#: A Raspberry Pi slows down from 80 °C on.
_HOT_C = 80.0
#: Labels that are named.
_NAMED = 5
_LITTLE_MB = 100


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        name: what was looked at.
        level: `ok`, `note` (it is not there, and may not be needed), `warn` (it runs, and could run
            better) or `fail` (nothing can run).
        found: what there is.
        mend: the command or the deed that helps, if there is need.
    """

    name: str
    level: str
    found: str
    mend: Optional[str] = None

    def to_record(self) -> dict[str, Any]:
        """Return what goes into JSON."""
        return asdict(self)


def check_device() -> list[Finding]:
    """Look at Python, the packages, cameras and the machine."""
    return [*check_packages(), *check_machine()]


def check_packages() -> list[Finding]:
    """Look at Python, OpenCV and the runtimes.

    Each is really run, in a process of its own: tflite-runtime under numpy 2 imports well and dies at its first model.
    """
    opencv, *runtimes = try_out(["opencv", *PACKAGES])
    return [*_python(), *_opencv(opencv), *_runtimes(dict(zip(PACKAGES, runtimes)))]


def check_machine(root: str | os.PathLike[str] = "/") -> list[Finding]:
    """Look at cameras, processor, temperature, power, memory and disk; `dev`, `proc` and `sys` lie below `root`."""
    root = Path(root)
    return [*_cameras(root), *_governor(root), *_temperature(root), *_throttled(), *_memory(root), *_disk()]


def check_file(path: str | os.PathLike[str]) -> Finding:
    """Read a model file, verify its bytes, and tell what it says about itself. Nothing in it is run."""
    name = Path(path).name
    try:
        file = read_model_file(path)
    except ForeignFileError as error:
        return Finding(name, "warn", str(error))
    except FileError as error:
        return Finding(name, "fail", str(error))
    return Finding(name, "ok", f".{file.format}, {file.size_bytes:,} bytes, {_said(file.metadata)}")


def _said(metadata: Metadata) -> str:
    """Return one line."""
    width, height = metadata.size_wh
    meaning = f" ({metadata.recipe_meaning})" if metadata.recipe_meaning else ""
    labels = ", ".join(metadata.labels[:_NAMED])
    parts = [
        f"{metadata.recipe}{meaning}",
        f"{width} x {height} pixels, {metadata.resize}",
        f"{len(metadata.labels):,} labels: {labels}{', …' if len(metadata.labels) > _NAMED else ''}",
    ]
    for verb, origin in (
        ("trained", metadata.trained_on),
        ("calibrated", metadata.calibrated_on),
        ("confidence fitted", metadata.fitted_on),
    ):
        if origin is not None:
            parts.append(f"{verb} on {origin.name}, {origin.pictures:,} pictures")
    parts.append(f"temperature {metadata.temperature:g}")
    if metadata.reject_threshold:
        parts.append(f"scores below {metadata.reject_threshold:g} rejected")
    return "; ".join([*parts, f"edgevision {metadata.edgevision}"])


def _python() -> Iterator[Finding]:
    bits = 8 * struct.calcsize("P")
    machine = platform.machine()
    found = f"{platform.python_version()}, {bits} bits, {machine}, numpy {np.__version__}"
    if bits == 32 and machine in ("aarch64", "x86_64"):
        # The kernel says nothing about the programs it runs: a 32-bit system on a 64-bit kernel is common on the Pi.
        yield Finding("python", "warn", found, "a 64-bit system is faster and runs LiteRT; write one to the card")
    else:
        yield Finding("python", "ok", found)


def _opencv(outcome: Outcome) -> Iterator[Finding]:
    wheels = [name for name in _OPENCV_WHEELS if _version_of(name)]
    if len(wheels) > 1:
        pip = f"{sys.executable} -m pip"
        mend = f"{pip} uninstall -y {' '.join(wheels)} && {pip} install {wheels[-1]}"
        yield Finding("opencv", "warn", f"{' and '.join(wheels)} overwrite one another", mend)
    if outcome.works:
        yield Finding("opencv", "ok", outcome.text)
    elif outcome.installed:
        yield Finding("opencv", "fail", outcome.text, _install(OPENCV, again=True))
    else:
        mend = f"{_install(OPENCV)}, or on Raspberry Pi OS: sudo apt install python3-opencv"
        yield Finding("opencv", "fail", "not installed", mend)


def _version_of(distribution: str) -> Optional[str]:
    import importlib.metadata  # takes longer than the rest of this module

    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _runtimes(outcomes: dict[str, Outcome]) -> Iterator[Finding]:
    # One runtime is enough; what the others lack is worth a word, and a failure only if nothing runs at all.
    missed = "warn" if any(outcome.works for outcome in outcomes.values()) else "fail"
    for format, names in RUNTIMES.items():
        readers = [name for name in names if outcomes[name].works]
        for name in names:
            outcome = outcomes[name]
            install = _install(PACKAGES[name].requirement, again=outcome.installed)
            if outcome.works:
                yield Finding(name, "ok", outcome.text)
            elif outcome.installed:
                yield Finding(name, "ok" if readers else missed, f"installed, but unusable: {outcome.text}", install)
            elif readers:
                yield Finding(name, "note", f"not installed, nor needed: {readers[0]} runs .{format} files")
            else:
                # Somebody whose files are of the other kind lacks nothing.
                level = "note" if missed == "warn" else missed
                yield Finding(name, level, f"not installed; only .{format} files need it", install)


def _install(requirement: str, *, again: bool = False) -> str:
    return f"{sys.executable} -m pip install {'--force-reinstall ' if again else ''}{requirement}"


def _cameras(root: Path) -> Iterator[Finding]:
    cameras = find_cameras(root)
    usable = [camera for camera in cameras if not camera.csi]
    for camera in usable:
        node = root / camera.path[1:]
        if os.access(node, os.R_OK | os.W_OK):
            yield Finding("camera", "ok", f"{camera.path}: {camera.name}")
        else:
            mend = "sudo usermod -aG video $USER, then log in again"
            yield Finding("camera", "warn", f"{camera.path}: {camera.name}, permission denied", mend)
    raw = [camera for camera in cameras if camera.csi]
    if raw:
        # One camera has several nodes there: on a Raspberry Pi 5 eight.
        yield _csi(f"{raw[0].path}: a CSI camera ({raw[0].name}), which gives pictures only through Picamera2")
    if not cameras:
        yield Finding("camera", "note", "none found; files, folders and addresses need none")


def _csi(found: str) -> Finding:
    (picamera2,) = try_out(["picamera2"])
    if picamera2.works:
        return Finding("camera", "ok", f"{found}, {picamera2.text}: --source picamera://0")
    if not picamera2.installed:
        return Finding("camera", "warn", f"{found}, not installed in this Python", PICAMERA_MEND)
    return Finding("camera", "warn", f"{found}, installed, but unusable", picamera2.text)


def _governor(root: Path) -> Iterator[Finding]:
    governor = read_governor(root)
    if governor in ("powersave", "ondemand", "conservative"):
        mend = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield Finding("cpu", "warn", f"{os.cpu_count()} cores, governor {governor}: latencies vary", mend)
    else:
        yield Finding("cpu", "ok", f"{os.cpu_count()} cores, governor {governor or 'not adjustable'}")


def _temperature(root: Path) -> Iterator[Finding]:
    degrees_c = read_temperature_c(root)
    if degrees_c is None:
        return
    if degrees_c >= _HOT_C:
        yield Finding("temperature", "warn", f"{degrees_c:.0f} °C", "add a heat sink or a fan, or lower --fps")
    else:
        yield Finding("temperature", "ok", f"{degrees_c:.0f} °C")


def _throttled() -> Iterator[Finding]:
    if not can_read_power():
        return
    bits = read_power_bits()
    if bits is None:
        yield Finding("power", "warn", "vcgencmd get_throttled gives no answer", "sudo usermod -aG video $USER")
        return
    now, ever = describe_power(bits)
    before = [text for text in ever if text not in now]
    told = [f"now: {', '.join(now)}"] * bool(now) + [f"since start: {', '.join(before)}"] * bool(before)
    if told:
        mend = "use the power supply made for this board and a short cable; add a heat sink or a fan"
        yield Finding("power", "warn", "; ".join(told), mend)
    else:
        yield Finding("power", "ok", "never throttled since start")


def _memory(root: Path) -> Iterator[Finding]:
    lines = (read_text(root / "proc/meminfo") or "").splitlines()
    available = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    if available:
        yield _room("memory", available[0] // 1024, "stop other programs, or choose a smaller model")


def _disk() -> Iterator[Finding]:
    yield _room("disk", shutil.disk_usage(".").free // 2**20, "delete something: sudo apt clean")


def _room(name: str, free_mb: int, mend: str) -> Finding:
    if free_mb < _LITTLE_MB:
        return Finding(name, "warn", f"{free_mb} MB free", mend)
    return Finding(name, "ok", f"{free_mb} MB free")
