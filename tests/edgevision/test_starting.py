"""What a command does before Keras starts, which takes seconds: it says so, and refuses what it can."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgevision import Run, TrainingOptions, sweep, train
from edgevision._checkpoint import Checkpoint
from edgevision_device import UsageError

Paint = Callable[..., Path]

#: Runs command lines until Keras or TensorFlow would be imported; prints of each the lines on stderr and how it ended.
_HARNESS = """
import contextlib, io, json, sys
from edgevision import main

class Started(BaseException):
    pass

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("keras", "tensorflow"):
            raise Started

sys.meta_path.insert(0, Finder())
for line in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            end = main(line)
        except Started:
            end = "started"
    print(json.dumps([end, told.getvalue().splitlines()]))
"""


def until_keras(*lines: list[Any]) -> list[tuple[int | str, list[str]]]:
    told = json.dumps([list(map(str, line)) for line in lines])
    done = subprocess.run(
        [sys.executable, "-c", _HARNESS], input=told, capture_output=True, text=True, timeout=300, check=True
    )
    return [(end, said) for end, said in map(json.loads, done.stdout.splitlines())]


def test_every_command_says_that_keras_starts_before_it_does(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path
) -> None:
    picture = next(digits_folder.rglob("*.png"))
    lines: list[list[Any]] = [
        ["train", digits_folder, "--model", "slim", "--out", tmp_path / "run"],
        ["train", digits_folder, "--model", "slim", "--out", tmp_path / "two", "--compare-augmentation"],
        ["sweep", digits_folder, "--model", "slim", "--vary", "depth=1,2", "--out", tmp_path / "sweep"],
        ["export", run.folder, "--out", tmp_path / "files"],
        ["verify", exports["three.int8.tflite"], "--against", run.folder],
        ["layers", "slim"],
        ["models", "slim", "--costs"],
        ["look", "maps", run.folder, picture, "--out", tmp_path / "maps"],
        ["imagenet", picture, "--weights", "random"],
    ]
    for line, (end, said) in zip(lines, until_keras(*lines), strict=True):
        assert (end, said[-1]) == ("started", "Starting Keras"), line
        assert said.count("Starting Keras") == 1


def test_options_that_a_training_was_not_started_with_are_refused_at_once(digits_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    line = ["train", digits_folder, "--model", "slim", "--out", out]
    started = Checkpoint.of(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "has_state", lambda self: True)
        patch.setattr("edgevision._training.Job", _stop)
        with pytest.raises(KeyboardInterrupt):
            train(digits_folder, out, TrainingOptions(epochs=3))
    assert started.folder.is_dir()
    ((end, said),) = until_keras([*line, "--epochs", 4, "--resume"])
    assert (end, len(said)) == (2, 1)
    assert "was started with epochs = 3, now it is 4; give what was given then, or start anew with --over" in said[0]
    ((end, said),) = until_keras([*line, "--epochs", 3, "--resume"])
    assert end == "started"


def _stop(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_layer_that_is_none_is_refused_before_pictures_are_read(
    paint: Paint, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = paint(tmp_path / "data", {"red": 6, "green": 6})
    (data / "red" / "00.png").write_bytes(b"no picture")  # would be refused when it is read
    options = TrainingOptions("efficientnet-lite0", (32, 32), weights="random", unfreeze_from="block99", strict=True)
    with pytest.raises(UsageError, match="unknown layer 'block99'"):
        train(data, tmp_path / "run", options)
    axes = {"unfreeze-from": ["block14_expand_conv", "block99"]}
    with pytest.raises(UsageError, match="unknown layer 'block99'"):
        sweep(data, tmp_path / "sweep", options, axes)
    assert "to train on" not in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_data_that_is_not_there_is_refused_before_a_layer_is_looked_for(tmp_path: Path) -> None:
    line = ["train", tmp_path / "absent", "--model", "efficientnet-lite0", "--weights", "random"]
    ((end, said),) = until_keras([*line, "--unfreeze-from", "top_conv", "--out", tmp_path / "run"])
    assert end == 2
    assert "absent" in said[-1]


def test_what_a_model_is_told_is_looked_at_before_keras_starts(
    run: Run, exports: dict[str, Path], digits_folder: Path, paint: Paint, tmp_path: Path
) -> None:
    labels, twice, whole = (tmp_path / name for name in ("labels.txt", "twice.txt", "mine.keras"))
    labels.write_text("\n".join(run.labels))
    twice.write_text("\n".join([*run.labels[1:], run.labels[1]]))
    shutil.copy(run.model_path, whole)
    cut = tmp_path / "cut.keras"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["weights"] = np.zeros(9999)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "whole.h5").read_bytes()[:20_000])
    (tmp_path / "empty").mkdir()
    one = paint(tmp_path / "one", {"red": 6})
    judge: list[Any] = ["verify", exports["three.int8.tflite"], "--against", run.folder]
    told: list[Any] = ["--out", tmp_path / "out", "--labels"]
    lines: dict[str, list[Any]] = {
        f"label {run.labels[1]!r} stands 2 times in the label file": ["export", whole, *told, twice],
        "cannot read the label file": ["export", whole, *told, tmp_path / "absent"],
        "cut.keras was cut short or is damaged; copy it again": ["export", cut, *told, labels],
        "cut.h5 was cut short or is damaged; copy it again": ["export", tmp_path / "cut.h5", *told, labels],
        "no such folder": ["export", whole, *told, labels, "--calibrate", tmp_path / "absent"],
        "empty holds no folders": ["export", whole, *told, labels, "--calibrate", tmp_path / "empty"],
        "one holds one label only, 'red'": ["export", run.folder, "--out", tmp_path / "out", "--calibrate", one],
        "empty holds no": ["export", run.folder, "--out", tmp_path / "out", "--evaluate", tmp_path / "empty"],
        "holds no folders": [*judge, "--data", tmp_path / "empty"],
    }
    for (wanted, line), (end, said) in zip(lines.items(), until_keras(*lines.values()), strict=True):
        assert (end, len(said)) == (2, 1), line
        assert wanted in said[0]
