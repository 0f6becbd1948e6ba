"""Training on other Keras backends than TensorFlow: the same code, and a run that TensorFlow converts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision import ExportOptions, export

Paint = Callable[..., Path]


@pytest.fixture(scope="module")
def data(paint: Paint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("data") / "colors", {"red": 16, "green": 16})


def train_on(backend: str, *line: object, **environment: str) -> str:
    """Run `edgevision train` in a process of its own; return what it printed to stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "edgevision", "train", *map(str, line)],
        env={**os.environ, "KERAS_BACKEND": backend, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_jax_trains_and_tensorflow_converts(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    run = tmp_path / "run"
    flags = ("--size", "24x18", "--epochs", 4, "--filters", 4, "--units", 8, "--batch-size", 8)
    told = train_on("jax", data, "--model", "stride-dropout", *flags, "--out", run)
    assert "training on cpu:0; jax, float32" in told
    record = json.loads((run / "run.json").read_text())
    assert (record["backend"], record["val_accuracy"]) == ("jax", 1.0)
    (file,) = export(run, tmp_path / "files", ExportOptions(formats=["tflite"], recipes=["float32"]))
    assert file.agreement.same_top1 == 1


def test_every_device_takes_its_share(data: Path, tmp_path: Path) -> None:
    """Two devices that XLA makes of one CPU, features, fine-tuning, and a batch that two do not divide."""
    pytest.importorskip("jax", reason="JAX is not installed")
    run = tmp_path / "run"
    flags = ("--size", 32, "--weights", "random", "--epochs", 2, "--batch-size", 5, "--fine-tune-epochs", 1)
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    line = (data, "--model", "efficientnet-lite0", "--unfreeze-from", "top_conv", *flags, "--out", run)
    told = train_on("jax", *line, "--precision", "mixed_bfloat16", **two)
    assert "training on cpu:0, cpu:1, each with its share of every batch; jax, mixed_bfloat16" in told
    assert json.loads((run / "run.json").read_text())["devices"] == ["cpu:0", "cpu:1"]
    import keras

    model = keras.models.load_model(run / "model.keras", compile=False)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
