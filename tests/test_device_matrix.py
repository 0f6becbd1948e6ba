"""The device's tests and the benchmarks' on the interpreters and runtimes that boards have, from built wheels."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


#: What meets the runtime; the rest of the device's tests meet Python alone.
RUNTIME_TESTS = tuple(
    f"device/test_{name}.py" for name in ("classifier", "hostile", "preprocess", "runtimes", "stream", "swap")
)


@pytest.mark.parametrize(
    ("version", "runtime", "chosen"),
    [
        ("3.9", "tflite", ("device", "benchmarks")),  # Raspberry Pi OS Bullseye, 32-bit
        ("3.9", "litert", ()),  # Bullseye, 64-bit
        ("3.11", "litert", ()),  # Bookworm
        ("3.13", "litert", ("device", "benchmarks/test_command.py", "benchmarks/test_measure.py")),  # Trixie
    ],
)
def test_on(
    version: str,
    runtime: str,
    chosen: tuple[str, ...],
    root: Path,
    wheels: dict[str, Path],
    environment: Callable[..., Path],
    tmp_path: Path,
) -> None:
    device, benchmarks = wheels["edgevision-device"], wheels["edgevision-benchmarks"]
    # The requirements are read from the folders, whose names stay the same; the wheels replace what this installs.
    requirements = [
        f"edgevision-device[{runtime},camera,onnx] @ {(root / 'device').as_uri()}",
        f"edgevision-benchmarks @ {(root / 'benchmarks').as_uri()}",
        "pytest>=8",
        "hypothesis>=6",
    ]
    keys = [root / "device" / "pyproject.toml", root / "benchmarks" / "pyproject.toml"]
    python = environment(f"py{version}-{runtime}", version, requirements, keys, [device, benchmarks])
    tests = root / "tests"
    paths = [tests / name for name in chosen or RUNTIME_TESTS]
    done = subprocess.run(
        # The script and not `-m pytest`, which would put the repository's root on sys.path.
        [
            python.with_name("pytest"),
            "-q",
            "-p",
            "no:cacheprovider",
            f"--basetemp={tmp_path / 'tests'}",
            *map(str, paths),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    print(done.stdout[-400:])
