"""Finished models of any make, without retraining: a SavedModel, a float `.tflite`, an `.onnx`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision import ExportOptions, export, load_data
from edgevision_device import (
    Classifier,
    DataError,
    EdgevisionError,
    FileError,
    UsageError,
    read_model_file,
    read_picture,
)

Paint = Callable[..., Path]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Refuse = Callable[..., str]

#: Not square, so that an exchange of width and height cannot go unseen.
WIDTH, HEIGHT = 28, 20
#: In the order of red, green and blue, which `paint` gives them.
LABELS = ("ant", "bee", "cat")


def weights() -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel that passes colors on beside noise, and a matrix that tells them apart."""
    generator = np.random.default_rng(3)
    kernel = generator.normal(0, 0.05, (3, 3, 3, 48)).astype(np.float32)
    kernel[1, 1, :, :3] += 4 * np.eye(3, dtype=np.float32)
    matrix = generator.normal(0, 0.05, (48, 3)).astype(np.float32)
    matrix[:3] += np.eye(3, dtype=np.float32)
    return kernel, matrix


def as_onnx() -> onnx.ModelProto:
    """Build the network as PyTorch's exporter would: channels first, a free batch, logits."""
    kernel, matrix = weights()
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], "/features/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "/features/relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "/pool"),
        helper.make_node("Flatten", ["p"], ["f"], "/flatten"),
        helper.make_node("Gemm", ["f", "w"], ["y"], "/head"),
    ]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, HEIGHT, WIDTH))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 3))],
        [numpy_helper.from_array(kernel.transpose(3, 2, 0, 1).copy(), "k"), numpy_helper.from_array(matrix, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def as_keras() -> Any:
    import keras

    kernel, matrix = weights()
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Conv2D(48, 3, padding="same", activation="relu", use_bias=False, name="features")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, use_bias=False, name="head")(x))
    model.set_weights([kernel, matrix])
    return model


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network in each form, and its labels."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("theirs")
    onnx.save(as_onnx(), folder / "net.onnx")
    model = as_keras()
    (folder / "net.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    model.export(folder / "saved", verbose=False)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return folder


@pytest.fixture(scope="module")
def data(paint: Paint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("data") / "insects", dict.fromkeys(LABELS, 20))


def options(home: Path, data: Path, **more: Any) -> ExportOptions:
    given = {"pixels": "0..1", "logits": True, "calibration_pictures": 12, **more}
    return ExportOptions(labels=str(home / "labels.txt"), calibrate=str(data), **given)


@pytest.mark.parametrize(
    ("name", "recipes", "formats"),
    [
        ("net.tflite", ["float32", "float16", "dynamic", "int8"], ["tflite"]),
        ("net.onnx", ["float32", "dynamic", "int8"], ["onnx"]),
        ("saved", ["float32", "int8"], ["tflite", "onnx"]),
    ],
)
def test_a_finished_model_becomes_files_that_say_the_same(
    name: str, recipes: list[str], formats: list[str], home: Path, data: Path, tmp_path: Path
) -> None:
    files = export(home / name, tmp_path, options(home, data, recipes=recipes, resize="crop"))
    stem = Path(name).stem
    assert [file.path.name for file in files] == [f"{stem}.{r}.{f}" for f in formats for r in recipes]
    sizes = {(file.format, file.recipe): file.size_bytes for file in files}
    if len(formats) == 1:
        assert sizes[formats[0], "int8"] < sizes[formats[0], "float32"]
    test = load_data(str(data), (WIDTH, HEIGHT), "crop").test
    for file in files:
        assert file.agreement.same_top1 == 1.0
        assert file.agreement.largest_difference < {"float32": 1e-5, "float16": 1e-2}.get(file.recipe, 0.1)
        classifier = Classifier(file.path)
        assert (classifier.metadata.labels, classifier.metadata.resize) == (LABELS, "crop")
        assert (classifier.metadata.trained_on, classifier.metadata.recipe) == (None, file.recipe)
        assert (classifier.runtime.input.shape, classifier.runtime.input.dtype) == ((1, HEIGHT, WIDTH, 3), np.uint8)
        for picture in test.names:
            (best,) = classifier.classify(read_picture(data / picture))
            assert best.label == picture.split("/")[0]


def test_a_file_marks_every_picture_that_calibrated_it(home: Path, data: Path, tmp_path: Path) -> None:
    (file,) = export(home / "net.onnx", tmp_path, options(home, data, recipes=["int8"]))
    origin = read_model_file(file.path).metadata.calibrated_on
    train = load_data(str(data), (WIDTH, HEIGHT), "stretch").train
    assert origin is not None
    assert (origin.pictures, len(origin.marked)) == (12, 12)
    held = train.take([place for place, digest in enumerate(train.hashes) if origin.holds(digest)])
    assert np.bincount(held.targets).tolist() == [4, 4, 4]
    from edgevision_benchmarks import benchmark

    shown = next(iter(held.names))
    leak = tmp_path / "leak"
    for label in LABELS:
        (leak / label).mkdir(parents=True)
    for number, name in enumerate(load_data(str(data), (WIDTH, HEIGHT), "stretch").test.names):
        (leak / name.split("/")[0] / f"{number}.png").write_bytes((data / name).read_bytes())
    assert benchmark([file.path], leak, runs=1, warmup=0).pictures.count >= 3
    (leak / "bee" / "renamed.png").write_bytes((data / shown).read_bytes())
    with pytest.raises(DataError, match=r"was calibrated on 1 of these \d+ pictures: bee/renamed\.png;"):
        benchmark([file.path], leak, runs=1, warmup=0)
    # The folder that it was calibrated on is known again, and measured on what was kept apart.
    report = benchmark([file.path], data, runs=1, warmup=0)
    assert (report.pictures.split, report.pictures.count) == (
        "test",
        len(load_data(str(data), (WIDTH, HEIGHT), "stretch").test),
    )


def test_a_renamed_folder_is_known_whatever_its_validation_split_was(
    home: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses
    import shutil

    from edgevision_benchmarks import benchmark
    from edgevision_device import seal

    (file,) = export(home / "net.onnx", tmp_path, options(home, data, recipes=["float32"]))
    trained = load_data(str(data), (WIDTH, HEIGHT), "stretch", validation_split=0.4).train
    read = read_model_file(file.path)
    metadata = dataclasses.replace(read.metadata, trained_on=trained.origin)
    file.path.write_bytes(seal(read.model, metadata, "onnx"))
    shutil.copytree(data, tmp_path / "another name")
    report = benchmark([file.path], tmp_path / "another name", runs=1, warmup=0)
    kept = load_data(str(data), (WIDTH, HEIGHT), "stretch").test
    assert (report.pictures.split, report.pictures.count) == ("test", len(kept))


def test_an_onnx_file_needs_no_tensorflow(home: Path, data: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from edgevision import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    line = ["export", "net.onnx", "--out", tmp_path, "--labels", "labels.txt", "--pixels", "0..1", "--logits"]
    line += ["--calibrate", data, "--recipes", "float32,int8", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, line)], cwd=home, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(text) for text in done.stdout.splitlines()]
    assert [record["recipe"] for record in records] == ["float32", "int8"]


@pytest.fixture
def refuse(home: Path, data: Path, tmp_path: Path) -> Refuse:
    """Return the one line with which an export is refused, and see that nothing was written."""

    def line(model: Path, **more: Any) -> str:
        with pytest.raises(EdgevisionError) as raised:
            export(model, tmp_path / "out", options(home, data, **more))
        assert isinstance(raised.value, (UsageError, FileError, DataError))
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "out").exists()
        return str(raised.value)

    return line


def test_what_does_not_fit_a_file_is_refused(home: Path, refuse: Refuse) -> None:
    tflite, network = home / "net.tflite", home / "net.onnx"
    assert refuse(tflite, formats=["onnx"]) == (
        f"from {tflite} only .tflite files are made, not .onnx; leave onnx out of --formats, or export the model that "
        "the file was made from"
    )
    assert "only .onnx files are made, not .tflite" in refuse(network, formats=["onnx", "tflite"])
    for model in (tflite, network):
        assert "does not say what numbers it takes; give --pixels" in refuse(model, pixels=None)
        assert "if they are logits, pass --logits" in refuse(model, logits=False)
        assert "which has none; leave out --signature" in refuse(model, signature="x")
        assert "leave out --weights" in refuse(model, weights="x")
    with pytest.raises(UsageError, match="unknown color order 'rbg'; did you mean 'rgb'"):
        ExportOptions(color_order="rbg")
    assert "unknown signature 'predict'; known: serve, serving_default" in refuse(home / "saved", signature="predict")


def test_labels_that_do_not_fit_are_refused(home: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a\nb\n")
    for name in ("net.tflite", "net.onnx", "saved"):
        given = ExportOptions(labels=str(tmp_path / "two.txt"), pixels="0..1", logits=True, calibrate=str(data))
        with pytest.raises(UsageError, match="the model gives 3 scores per picture and there are 2 labels"):
            export(home / name, tmp_path / "out", given)
        with pytest.raises(UsageError, match=f"{name} does not say what its scores mean; give --labels FILE"):
            export(home / name, tmp_path / "out", ExportOptions(pixels="0..1"))


def test_calibration_pictures_show_more_than_one_label(
    refuse: Refuse, home: Path, data: Path, paint: Paint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = home / "net.onnx"
    assert refuse(model, calibration_pictures=1) == (
        "1 calibration picture shows one label of 3, and its ranges fit no other; --calibration-pictures takes at "
        "least 2, better 100"
    )
    alone = paint(tmp_path / "alone", {"ant": 9})
    (tmp_path / "empty").mkdir()
    for folder, message in ((alone, "holds one label only, 'ant'"), (tmp_path / "empty", "holds no folders")):
        with pytest.raises(DataError, match=message):
            export(
                model,
                tmp_path / "out",
                ExportOptions(labels=str(home / "labels.txt"), pixels="0..1", logits=True, calibrate=str(folder)),
            )
    export(model, tmp_path / "two", options(home, data, recipes=["float32"], calibration_pictures=2))
    assert "note: 2 calibration pictures show 2 of 3 labels" in capsys.readouterr().err


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with an operator that neither format has."""
    import tensorflow as tf

    kernels, matrix = weights()
    module = tf.Module()
    module.kernel = tf.Variable(kernels, name="features/kernel")

    def call(pixels: Any) -> Any:
        with tf.name_scope("features"):
            x = tf.math.erfinv(0.001 * tf.nn.conv2d(pixels, module.kernel, 1, "SAME"))
        return tf.reduce_mean(x, (1, 2)) @ matrix

    module.call = tf.function(call, input_signature=[tf.TensorSpec((None, HEIGHT, WIDTH, 3), tf.float32)])
    tf.saved_model.save(module, str(folder := tmp_path_factory.mktemp("odd")), signatures=module.call)
    return folder


@pytest.mark.parametrize(("format", "other"), [("tflite", "onnx"), ("onnx", "tflite")])
def test_an_operator_that_a_format_lacks_is_named(format: str, other: str, odd: Path, refuse: Refuse) -> None:
    message = refuse(odd, formats=[format], recipes=["float32"])
    assert message.startswith("layer 'features' computes Erfinv, which ")
    assert message.endswith(f"build it from other operations, or give --formats {other}")
    assert ("Select TF ops" in message) == (format == "tflite")


def test_a_ladder_without_a_file_says_why_once(command: Command, odd: Path, told: list[str], tmp_path: Path) -> None:
    done = command("export", odd, *told, "--formats", "onnx", "--out", "out", "--max-drop", "0.5")
    assert done.stderr.count("Erfinv") == 1
    assert "\nedgevision: error: no file can be made: int8, dynamic, float16: layer 'features' computes " in done.stderr
    assert (done.returncode, list((tmp_path / "out").iterdir())) == (2, [])


def test_a_model_that_guesses_is_told_so(command: Command, home: Path, told: list[str], tmp_path: Path) -> None:
    wrong = ["1000000:1" if each == "0..1" else each for each in told]  # all pictures are dark
    done = command("export", home / "net.tflite", *wrong, "--out", "out", "--recipes", "float32")
    line = (
        r"^net\.tflite is no better than guessing \(\d+\.\d % of 60 pictures, 3 labels\): check --pixels, --color-order"
    )
    assert re.search(line, done.stdout, re.MULTILINE), done.stdout + done.stderr
    done = command("export", home / "net.tflite", *told, "--out", "good", "--recipes", "float32")
    assert "guessing" not in done.stdout


def test_export_measures_pictures_that_it_has_seen_when_told_to(
    command: Command, home: Path, told: list[str], data: Path, tmp_path: Path
) -> None:
    line = ["export", home / "net.tflite", *told[:-1], str(tmp_path / "half"), "--out", "out", "--recipes", "int8"]
    for label in LABELS:  # of another folder, with some of the calibration's pictures
        (tmp_path / "half" / label).mkdir(parents=True)
        for place, path in enumerate(sorted((data / label).iterdir())):
            if place < 8:
                shutil.copy(path, tmp_path / "half" / label / path.name)
    done = command(*line)
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("or --whole to measure on them all the same")
    done = command(*line, "--whole")
    assert done.returncode == 0, done.stderr
    assert "pictures were seen in training or calibration" in done.stdout


@pytest.fixture
def told(home: Path, data: Path) -> list[str]:
    """What the documented example tells of a file, and not how its pictures got to its size."""
    labels = str(home / "labels.txt")
    return ["--labels", labels, "--pixels", "0..1", "--logits", "--calibrate", str(data), "--evaluate", str(data)]


@pytest.mark.parametrize("name", ["net.tflite", "net.onnx"])
def test_the_documented_study_of_a_file_ends_with_its_table(
    command: Command, home: Path, told: list[str], name: str
) -> None:
    done = command("export", home / name, *told, "--calibration-study", "seeds=1", "sizes=6")
    assert done.returncode == 0, done.stderr
    assert re.search(r"on 6 test pictures of .*insects; its own top-1 is 100\.0 %", done.stdout)


def test_a_file_is_exported_with_its_proof(command: Command, home: Path, told: list[str], tmp_path: Path) -> None:
    done = command("export", home / "net.tflite", *told, "--out", "out", "--recipes", "float32,int8", "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["recipe"] for record in records] == ["float32", "int8"]
    for record in records:
        (verified,) = record["verification"]["files"]
        assert verified["path"] == record["path"]
        assert record["verification"]["source"]["kind"] == ".tflite file"
        assert record["verification"]["part"] == "test"
    again = [tmp_path / "out" / f"net.{recipe}.tflite" for recipe in ("float32", "int8")]
    said = [*told[:5], "--against", home / "net.tflite", "--data", told[-1], "--json"]
    done = command("verify", *again, *said)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == records[0]["verification"]["source"]


@pytest.mark.parametrize("pixels", ["0..1", "1000000:1"])
def test_an_export_says_how_good_the_model_itself_is(
    command: Command, home: Path, told: list[str], tmp_path: Path, pixels: str
) -> None:
    """A file agrees with its model whatever --pixels says; only labels show that it is wrong."""
    said = [pixels if each == "0..1" else each for each in told[:-2]]
    done = command("export", home / "net.tflite", *said, "--out", "out", "--recipes", "float32")
    assert done.returncode == 0, done.stderr
    (line,) = (each for each in done.stdout.splitlines() if each.startswith("the model itself names "))
    right = "7 of these 7 pictures right, 100.0 %" if pixels == "0..1" else "2 of these 7 pictures right, 28.6 %"
    assert right in line
    assert line.endswith("look at --pixels, --color-order and the order of --labels")


def test_the_test_part_of_what_calibrates_judges_where_nothing_else_is_said(
    command: Command, home: Path, told: list[str], tmp_path: Path
) -> None:
    done = command("export", home / "net.tflite", *told[:-2], "--out", "out", "--max-drop", "0", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["verification"]
    assert (found["part"], found["source"]["kind"]) == ("test", ".tflite file")


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_file_climbs_the_ladder(command: Command, home: Path, told: list[str], tmp_path: Path, format: str) -> None:
    done = command("export", home / f"net.{format}", *told, "--out", "out", "--max-drop", "0", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [rung["failure"] for rung in record["rungs"]] == [None]
    (verified,) = record["verification"]["files"]
    assert Path(verified["path"]) == Path(record["path"]) == Path(f"out/net.int8.{format}")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"net.int8.{format}"]


def test_the_ending_of_a_name_may_be_in_capitals(command: Command, home: Path, told: list[str], tmp_path: Path) -> None:
    loud = tmp_path / "NET.TFLITE"
    loud.write_bytes((home / "net.tflite").read_bytes())
    done = command("export", loud, *told, "--out", "out", "--recipes", "float32", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verification"]["source"]["kind"] == ".tflite file"
    verified = command("verify", "out/NET.float32.tflite", "--against", loud, "--data", told[-1], *told[:5])
    assert verified.returncode == 0, verified.stderr
    assert "against NET.TFLITE (.tflite file)" in verified.stdout
