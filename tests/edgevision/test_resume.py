"""A training that is killed goes on to the same result; one that is told to stop stops."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision import Run, TrainingOptions, read_run, train
from edgevision._augmentation import Augmentation
from edgevision._checkpoint import Checkpoint, PhaseState
from edgevision_device import UsageError

Paint = Callable[..., Path]

#: Dropout, augmentation, moments of the optimizer and the schedule: all of it must survive.
OPTIONS = TrainingOptions("stride-dropout", (24, 18), epochs=5, batch_size=4, filters=4, units=8, seed=5)


def weights_of(run: Run) -> list[np.ndarray]:
    import keras

    return keras.models.load_model(run.model_path, compile=False).get_weights()


def history(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader((run.folder / "history.csv").read_text().splitlines()))


def assert_same(run: Run, other: Run) -> None:
    assert all(np.array_equal(one, two) for one, two in zip(weights_of(run), weights_of(other), strict=True))
    assert (run.folder / "history.csv").read_text() == (other.folder / "history.csv").read_text()


def assert_goes_on(data: Path, folder: Path, options: TrainingOptions, phase: str = "train", epoch: int = 1) -> Run:
    """Train once without a stop, once with one after an epoch of a phase; return the latter, which must not differ."""
    whole = train(data, folder / "whole", options)
    save = Checkpoint.save

    def stop(self: Checkpoint, name: str, model: Any, state: PhaseState) -> None:
        save(self, name, model, state)
        if (name, state.epochs) == (phase, epoch):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            train(data, folder / "stopped", options)
    stopped = train(data, folder / "stopped", options, resume=True)
    assert_same(stopped, whole)
    return stopped


@pytest.fixture(scope="module")
def data(paint: Paint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("data") / "colors", {"red": 30, "green": 18, "blue": 12})


def start(data: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    line = ["train", str(data), "--model", OPTIONS.model, "--size", "24x18", "--epochs", "5", "--batch-size", "4"]
    line += ["--filters", "4", "--units", "8", "--seed", "5", "--out", str(out), *flags]
    return subprocess.Popen([sys.executable, "-m", "edgevision", *line], stderr=subprocess.PIPE, text=True)


def test_a_killed_training_goes_on_to_the_same_result(data: Path, tmp_path: Path) -> None:
    whole = train(data, tmp_path / "whole", OPTIONS)

    out = tmp_path / "killed"
    process = start(data, out)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 2/5" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.stderr.close()
    process.wait()
    assert not out.exists()
    assert (tmp_path / "killed.unfinished" / "train.npz").is_file()

    with pytest.raises(UsageError, match=r"killed\.unfinished; --resume goes on with it, --overwrite starts anew"):
        train(data, out, OPTIONS)
    with pytest.raises(UsageError, match="was started with epochs = 5, now it is 6; give what was given then"):
        train(data, out, replace(OPTIONS, epochs=6), resume=True)
    assert_same(train(data, out, OPTIONS, resume=True), whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


def test_ctrl_c_keeps_the_epochs_that_are_done(data: Path, tmp_path: Path) -> None:
    process = start(data, tmp_path / "run")
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if "epoch 1/5" in line:
            process.send_signal(signal.SIGINT)
    process.stderr.close()
    assert process.wait(timeout=60) == 130
    assert "the same command with --resume goes on" in told
    assert (tmp_path / "run.unfinished" / "train.npz").is_file()
    train(data, tmp_path / "run", OPTIONS, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_second_part_of_a_transfer_goes_on(data: Path, tmp_path: Path, own_cache: Path) -> None:
    options = TrainingOptions(
        "efficientnet-lite0",
        (32, 32),
        epochs=3,
        batch_size=8,
        weights="random",
        augmentation=Augmentation(flip=True),
        unfreeze_from="block15_expand_conv",
        fine_tune_epochs=2,
    )
    run = assert_goes_on(data, tmp_path, options, "fine-tune")
    rows = history(run)
    assert [row["phase"] for row in rows] == ["head"] * 3 + ["fine-tune"] * 2
    best = min(rows[3:], key=lambda row: float(row["val_loss"]))
    assert str(json.loads((run.folder / "run.json").read_text())["kept_epoch"]) == best["epoch"]


#: The least to train.
SMALL = TrainingOptions("dense", (8, 8), epochs=3, batch_size=8, units=8)


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(data, tmp_path_factory.mktemp("teacher") / "run", SMALL)


def test_with_copies_and_a_teacher_it_goes_on(data: Path, teacher: Run, tmp_path: Path) -> None:
    """Epochs take turns among the copies: the third sees the first one again."""
    moved = Augmentation(flip=True, shift=0.1)
    options = replace(SMALL, augmentation=moved, copies=2, teacher=str(teacher.folder), seed=1)
    assert_goes_on(data, tmp_path, options)


@pytest.mark.parametrize("more", [{"class_weights": "balanced"}, {"precision": "mixed_bfloat16"}], ids=str)
def test_with_other_options_it_goes_on(data: Path, teacher: Run, tmp_path: Path, more: dict[str, Any]) -> None:
    run = assert_goes_on(data, tmp_path, replace(SMALL, **more))
    assert not np.array_equal(weights_of(run)[0], weights_of(teacher)[0]), "they change the training"


#: What `assert_goes_on` does, where Keras was not imported yet.
GO_ON = """
import dataclasses, pathlib, runpy, sys
found = runpy.run_path(sys.argv[1])
options = dataclasses.replace(found["OPTIONS"], size_wh=(12, 9), epochs=2)
found["assert_goes_on"](*map(pathlib.Path, sys.argv[2:]), options)
"""
#: What XLA compiles matters less here than for how long, and three trainings need the same.
XLA = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def test_on_jax_it_goes_on(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    line = [sys.executable, "-c", GO_ON, __file__, str(data), str(tmp_path)]
    environment = {**os.environ, **XLA, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla"), "KERAS_BACKEND": "jax"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "stopped" / "run.json").read_text())["backend"] == "jax"


def test_there_must_be_something_to_go_on_with(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no interrupted training in .*run\.unfinished; leave out --resume"):
        train(data, tmp_path / "run", OPTIONS, resume=True)
    foreign = tmp_path / "run.unfinished"
    foreign.mkdir()
    (foreign / "only copy.txt").write_text("...")
    with pytest.raises(Exception, match="is no interrupted training; choose another --out"):
        train(data, tmp_path / "run", OPTIONS, overwrite=True)
    assert (foreign / "only copy.txt").is_file()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"stop_at_accuracy": 0.5}, r"training accuracy 0\.\d+ passed 0\.5"),
        ({"stop_at_loss": 1.0}, r"training loss 0\.\d+ fell under 1\.0"),
        ({"patience": 2, "learning_rate": 10.0}, r"the val loss has not fallen for 2 epochs"),
    ],
    ids=["accuracy", "loss", "patience"],
)
def test_training_ends_when_it_was_told_to(
    data: Path, tmp_path: Path, more: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = TrainingOptions("dense", (8, 8), epochs=40, batch_size=8, units=8, schedule="constant", **more)
    run = train(data, tmp_path / "run", options)
    assert re.search(f"stopping after epoch \\d+: {reason}", capsys.readouterr().err)
    rows = history(run)
    assert len(rows) < 40
    record = json.loads((run.folder / "run.json").read_text())
    assert (record["epochs"], record["kept_epoch"]) == (len(rows), len(rows) - more.get("patience", 0))
    assert read_run(run.folder) == run
