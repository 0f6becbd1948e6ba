"""Trying what native code can do, each in a process of its own, so that a crash is a finding and not the end.

`tiny.tflite` and `tiny.onnx` are written by `tests/device/make_probe_models.py`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .._errors import FileError
from .._file import ModelFile

__all__ = ["Outcome", "try_model", "try_out"]

#: Long for a slow card in a Pi Zero that reads a runtime for the first time.
_TIME_LIMIT_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of trying one thing.

    Attributes:
        installed: Python finds its module.
        works: it gave the right answer.
        text: version and abilities if it works, else why not.
    """

    installed: bool
    works: bool
    text: str


def try_out(names: Sequence[str]) -> list[Outcome]:
    """Try runtimes by name, `opencv` and `picamera2`, all at once; return one outcome each."""
    children = [
        subprocess.Popen([*_child_command(), name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in names
    ]
    return [_outcome(child) for child in children]


def try_model(file: ModelFile, runtime: Optional[str]) -> None:
    """Run a model once in a process of its own. Raises FileError if the runtime dies of it or gives no answer.

    For files that nothing vouches for: with tflite-runtime 2.14, 30 of 40 truncated copies ended in SIGSEGV.
    """
    line = [*_child_command(), "model", file.format, runtime or ""]
    try:
        done = subprocess.run(line, input=file.content, capture_output=True, timeout=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise FileError(
            f"{file.path}: the runtime gave no answer within {_TIME_LIMIT_S:g} s; get the file again"
        ) from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise FileError(f"{file.path}: the runtime died of {name} when it read the file; get the file again")


def _child_command() -> list[str]:
    # `-c` and `-m` put the working directory first on the path, where a user's `numpy.py` may lie. The child imports
    # from where this process does.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from edgevision_device._probe._child import main; main(sys.argv[1:])"
    )
    return [sys.executable, "-c", code]


def _outcome(child: subprocess.Popen[str]) -> Outcome:
    try:
        stdout, stderr = child.communicate(timeout=_TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return Outcome(True, False, f"gave no answer within {_TIME_LIMIT_S:g} s")
    if child.returncode < 0:
        return Outcome(True, False, f"died of {signal.Signals(-child.returncode).name}")
    try:
        return Outcome(**json.loads(stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        last = (stderr.strip().splitlines() or ["without a word"])[-1]
        return Outcome(True, False, f"failed with exit code {child.returncode}: {last}")
