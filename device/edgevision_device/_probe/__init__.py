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
from pathlib import Path

__all__ = ["Outcome", "try_out"]

#: Long for a slow card in a Pi Zero that reads a runtime for the first time.
_TIME_LIMIT_S = 60.0

# The package may lie anywhere, installed or not; behind everything else on the path, so that it shadows nothing.
_CHILD = "import sys; sys.path.append(sys.argv[1]); from edgevision_device._probe._child import main; main(sys.argv[2])"


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
    """Try runtimes by name, and `opencv`, all at once; return one outcome each."""
    here = str(Path(__file__).parents[2])
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, here, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name in names
    ]
    return [_outcome(child) for child in children]


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
