"""`benchmarks/gpu_finetuning.py`, but for the networks: who takes turns, and what is made of their times."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))  # where it finds its sibling
    spec = importlib.util.spec_from_file_location("gpu_finetuning", root / "benchmarks" / "gpu_finetuning.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_round_is_theirs_ours_theirs_after_the_warm_up(script: ModuleType) -> None:
    turns: list[str] = []

    def side(name: str, seconds: Iterator[float]) -> object:
        def epoch() -> dict[str, float]:
            turns.append(name)
            return {"seconds": next(seconds), "loss": 1.0}

        return epoch

    theirs = side("theirs", iter([9.0, 9.0, *[2.0, 4.0] * 6]))
    ours = side("ours", iter([50.0, 50.0, *[1.0, 2.0] * 3]))
    found = script.measure(ours, theirs, 60, 6)
    assert turns == ["theirs", "ours"] * 2 + ["theirs", "ours", "theirs"] * 6
    assert [each["ratio"] for each in found["rounds"]] == [3.0, 1.5] * 3
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == (2.25, 1.5, 3.0)
    assert (found["timm_pictures_per_s"], found["edgevision_pictures_per_s"]) == (20.0, 45.0)


def test_without_timms_environment_it_says_how_to_make_one(root: Path, tmp_path: Path) -> None:
    line = [sys.executable, root / "benchmarks" / "gpu_finetuning.py", "--timm", tmp_path / "python"]
    done = subprocess.run([str(each) for each in line], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "the first lines of --help say how to make it" in done.stderr
