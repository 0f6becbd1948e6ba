"""Environments of their own in `.venvs/`, made by uv, for programs that cannot live in `.venv`.

The tests make theirs with it too, on Python 3.9 as well: standard library only.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class EnvironmentMissing(Exception):
    """There is no uv, or no such Python: the message says which."""


class InstallFailed(EnvironmentMissing):
    """The packages cannot be installed here."""


def make_environment(
    name: str, version: str, requirements: Sequence[str], keys: Sequence[Path] = (), local: Sequence[Path] = ()
) -> Path:
    """Return the Python of `.venvs/NAME`, which has `requirements` on an interpreter such as `3.11`.

    It is kept until the interpreter, the requirements or what the files `keys` hold change. The wheels `local` are
    installed anew each time.

    Raises:
        EnvironmentMissing: see there, and `InstallFailed`.
    """
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
            _run(uv, "venv", "--python", str(interpreter), str(folder))
            _run(uv, "pip", "install", "--compile-bytecode", "--python", str(python), *requirements)
            stamp.write_text(wanted)
        if local:
            # Our own wheels change with every edit; what they require does not.
            options = ["--no-deps", "--no-index", "--reinstall", "--compile-bytecode"]
            _run(uv, "pip", "install", "--python", str(python), *options, *map(str, local))
    return python


def find_uv() -> str:
    """Find uv on PATH, or where `make install` puts it."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools" / "bin"))
    if uv is None:
        raise EnvironmentMissing("uv is not installed: make install fetches it")
    return uv


def find_python(uv: str, version: str) -> Path:
    """Find an interpreter of a version such as `3.9`."""
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
    raise EnvironmentMissing(f"no Python {version} here (asked uv, pyenv and PATH)")


def _run(*line: str) -> None:
    done = subprocess.run([line[0], *line[1:], "--quiet"], capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise InstallFailed(f"`{' '.join(line[1:])}` failed: {done.stderr.strip()}")
