"""What the device tests share. They run on Python 3.9 to 3.13, without TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgevision_device import RUNTIMES, main, read_model_file, seal

DATA = Path(__file__).parent / "data"

#: Scripts that make the files in data/; they need the workstation's packages.
collect_ignore = ["data"]

#: The first module of each runtime's package.
RUNTIME_MODULES = {"litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime", "onnxruntime": "onnxruntime"}


def bar(color: str = "red", direction: str = "upright", enlarged: int = 1) -> np.ndarray:
    """Draw a red or blue bar, upright or flat, on grey: uint8 RGB, 12 wide and 8 high, times `enlarged`."""
    picture = np.full((8, 12, 3), 110, np.uint8)
    place = np.s_[:, 4:7] if direction == "upright" else np.s_[3:5, :]
    picture[place] = {"red": (220, 30, 60), "blue": (60, 30, 220)}[color]
    return picture.repeat(enlarged, axis=0).repeat(enlarged, axis=1)


@pytest.fixture(name="bar", scope="session")
def bar_fixture() -> Callable[..., np.ndarray]:
    return bar


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of committed model files and pictures."""
    return DATA


@pytest.fixture(scope="session")
def expected() -> dict[str, Any]:
    """What data/make_tiny.py wrote down when it made the files."""
    return json.loads((DATA / "expected.json").read_text())


@pytest.fixture(scope="session")
def cv2() -> Any:
    return pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets, whose names may have 107 bytes at most, unlike those of pytest's own folders."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def resealed(tmp_path: Path) -> Callable[..., Path]:
    """Write a copy of a sealed file whose metadata is changed and whose seal is right again."""

    def reseal(name: str, **changes: Any) -> Path:
        file = read_model_file(DATA / name)
        path = tmp_path / name
        path.write_bytes(seal(file.model, dataclasses.replace(file.metadata, **changes), file.format))
        return path

    return reseal


@pytest.fixture
def picture_file(tmp_path: Path, cv2: Any) -> Path:
    """A PNG of a red upright bar, larger than the network's input."""
    path = tmp_path / "red upright.png"
    cv2.imwrite(str(path), bar(enlarged=4)[..., ::-1])
    return path


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("red upright\nred flat\nblue upright\nblue flat\n")
    return path


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `edgevision-device` in this process, in an empty folder; what native code prints counts too."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [str(argument) for argument in arguments]
        capfd.readouterr()
        try:
            code = main(line)
        except SystemExit as stop:  # argparse: --help, --version and wrong usage
            code = int(stop.code or 0)
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(line, code, printed.out, printed.err)

    return run


def require_runtime(format: str) -> None:
    """Skip the test unless a runtime that reads the format is installed."""
    names = RUNTIMES[format]
    if not any(importlib.util.find_spec(RUNTIME_MODULES[name]) for name in names):
        pytest.skip(f"none of {', '.join(names)} is installed")


@pytest.fixture(params=["tiny.float32.tflite", "tiny.int8.tflite", "tiny.float32.onnx"])
def sealed(request: pytest.FixtureRequest) -> Path:
    """Each of the sealed files, whether or not a runtime for it is installed."""
    return DATA / request.param


@pytest.fixture
def runnable(sealed: Path) -> Path:
    """Each of the sealed files that an installed runtime reads."""
    require_runtime(sealed.suffix[1:])
    return sealed


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """Skip the test unless a runtime that reads the format is installed."""
    return require_runtime
