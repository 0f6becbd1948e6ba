"""Wheels of the four distributions, and environments of their own for what cannot live in `.venv`.

This file is also loaded on Python 3.9, where `test_device_matrix.py` runs `tests/device`: standard library only.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Distribution → its folder.
PROJECTS = {
    "edgevision": ROOT,
    "edgevision-converters": ROOT / "converters",
    "edgevision-device": ROOT / "device",
    "edgevision-benchmarks": ROOT / "benchmarks",
}

#: A test that takes longer, its fixtures included, waits for what never comes. Those that run programs wait 900 s.
HANGS_S = 1200.0
_stderr = 2

#: Of minutes each. Begun first, they leave no process without work at the end.
LONGEST = ("test_device_matrix.py", "test_arm64.py")

#: `make_environment` of benchmarks/environments.py.
Build = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    global _stderr
    _stderr = os.dup((sys.__stderr__ or sys.stderr).fileno())  # while a test runs, pytest keeps what goes there


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """End the process with a traceback where a test hangs; pytest 8, for Python 3.9, has no setting for it."""
    faulthandler.dump_traceback_later(HANGS_S, exit=True, file=_stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the wheel of each distribution, without a network."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, project in PROJECTS.items():
        line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        done = subprocess.run(line, cwd=project, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return {name: next(folder.glob(f"{name.replace('-', '_')}-[0-9]*.whl")) for name in PROJECTS}


@pytest.fixture(scope="session")
def environment() -> Build:
    """Return `make_environment` of benchmarks/environments.py.

    Skips where uv or the interpreter is missing. Where the packages cannot be installed it skips too, but fails under
    CI, which has a network.
    """
    place = importlib.util.spec_from_file_location("environments", ROOT / "benchmarks" / "environments.py")
    assert place is not None
    assert place.loader is not None
    environments = importlib.util.module_from_spec(place)
    place.loader.exec_module(environments)

    def build(name: str, version: str, requirements: list[str], keys: list[Path], local: list[Path]) -> Path:
        try:
            return environments.make_environment(name, version, requirements, keys, local)
        except environments.InstallFailed as error:
            if os.environ.get("CI"):
                pytest.fail(str(error))
            pytest.skip(str(error))
        except environments.EnvironmentMissing as error:
            pytest.skip(str(error))

    return build
