"""Wheels of the four distributions, and environments of their own for what cannot live in `.venv`.

This file is also loaded on Python 3.9, where `test_device_matrix.py` runs `tests/device`: standard library only.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
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

#: Makes the environment `.venvs/NAME`; see `environment`.
Build = Callable[..., Path]


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
    """Return the Python of `.venvs/NAME`, made for an interpreter and a set of requirements.

    It is kept until one of `keys` or the requirements change. Skips where uv or the interpreter is missing. Where the
    packages cannot be installed it skips too, but fails under CI, which has a network.
    """

    def build(name: str, version: str, requirements: list[str], keys: list[Path], local: list[Path]) -> Path:
        uv = find_uv()
        interpreter = find_python(uv, version)
        folder = ROOT / ".venvs" / name
        folder.parent.mkdir(exist_ok=True)
        python = folder / "bin" / "python"
        content = b"".join(key.read_bytes() for key in keys)
        wanted = hashlib.sha256("\n".join([str(interpreter), *requirements]).encode() + content).hexdigest()
        stamp = folder / "edgevision-stamp"
        with (folder.parent / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist runs several of us
            if not stamp.exists() or stamp.read_text() != wanted:
                shutil.rmtree(folder, ignore_errors=True)
                install(uv, "venv", "--python", str(interpreter), str(folder))
                install(uv, "pip", "install", "--compile-bytecode", "--python", str(python), *requirements)
                stamp.write_text(wanted)
            if local:
                # Our own wheels change with every edit; what they require does not.
                options = ["--no-deps", "--no-index", "--reinstall", "--compile-bytecode"]
                install(uv, "pip", "install", "--python", str(python), *options, *map(str, local))
        return python

    return build


def find_uv() -> str:
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools" / "bin"))
    return uv or pytest.skip("uv is not installed: make install fetches it")


def find_python(uv: str, version: str) -> Path:
    """Find an interpreter of a version such as `3.9`, or skip."""
    found = subprocess.run(
        [uv, "python", "find", "--no-python-downloads", "--no-project", "--system", version],
        capture_output=True,
        text=True,
        timeout=60,
    )
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = [found.stdout.strip()] if found.returncode == 0 else []
    candidates += sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python"))
    candidates += [shutil.which(f"python{version}") or ""]
    for candidate in filter(None, candidates):
        line = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        asked = subprocess.run(line, capture_output=True, text=True, timeout=60)
        if asked.stdout.strip() == version:
            return Path(candidate)
    return pytest.skip(f"no Python {version} here (asked uv, pyenv and PATH)")


def install(*line: str) -> None:
    done = subprocess.run([line[0], *line[1:], "--quiet"], capture_output=True, text=True, timeout=900)
    if done.returncode:
        reason = f"`{' '.join(line[1:])}` failed: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
