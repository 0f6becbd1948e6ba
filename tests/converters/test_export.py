"""Every format in every recipe: what the file takes and gives, how it agrees, what it says, and how exports fail."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import RECIPES, Calibration, ExportedFile, SourceModel, compare, export_model
from edgevision_converters._tflite import TfliteConversion
from edgevision_converters._tflite_calibration import spread
from edgevision_device import CheckError, Classifier, DataOrigin, FileError, Metadata, UsageError, read_model_file

if TYPE_CHECKING:
    import keras

WIDTH, HEIGHT = 28, 20
LABELS = ("red", "green", "blue", "yellow stripe")

#: Largest size of each file in bytes. The network has 5,700 parameters; the metadata takes about 1,300 bytes.
CEILINGS = {
    "patches.float32.tflite": 31_000,
    "patches.float16.tflite": 20_000,
    "patches.dynamic.tflite": 15_000,
    "patches.int8.tflite": 14_500,
    "patches.int8-selective.tflite": 16_500,
    "patches.int8x16.tflite": 17_500,
    "patches.float32.onnx": 29_000,
    "patches.float16.onnx": 19_000,
    "patches.dynamic.onnx": 16_000,
    "patches.int8.onnx": 18_000,
}
#: How far scores may lie from the Keras model's: rounding of 24, 11 and 8 bits.
TOLERANCES = {
    "float32": 1e-5,
    "float16": 5e-3,
    "dynamic": 0.05,
    "int8": 0.1,
    "int8-selective": 0.1,
    "int8x16": 0.05,
}

Network = Callable[..., "keras.Model"]


@pytest.fixture(params=CEILINGS)
def file(request: pytest.FixtureRequest, exported: dict[str, ExportedFile]) -> ExportedFile:
    return exported[request.param]


def left_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def test_all_files_are_written_in_the_order_of_recipes(exported: dict[str, ExportedFile], folder: Path) -> None:
    assert list(exported) == list(CEILINGS) == [f"patches.{r}.{f}" for f in RECIPES for r in RECIPES[f]]
    assert left_in(folder) == sorted(CEILINGS)


def test_a_file_takes_bytes_and_gives_scores(file: ExportedFile) -> None:
    runtime = Classifier(file.path).runtime
    assert (runtime.input.dtype, tuple(runtime.input.shape)) == (np.uint8, (1, HEIGHT, WIDTH, 3))
    assert (runtime.output.dtype, tuple(runtime.output.shape)) == (np.float32, (1, len(LABELS)))


def test_a_file_agrees_with_keras_and_is_small(file: ExportedFile, model: keras.Model, held_out: Any) -> None:
    expected = np.asarray(model(held_out.pixels.astype(np.float32), training=False))
    classifier = Classifier(file.path)
    scores = np.stack([classifier.run(pixels[np.newaxis]) for pixels in held_out.pixels])
    assert np.abs(scores - expected).max() <= TOLERANCES[file.recipe]
    assert (scores.argmax(1) == held_out.targets).mean() >= 0.95
    assert np.allclose(scores.sum(1), 1, atol=1e-3)
    assert file.size_bytes == file.path.stat().st_size <= CEILINGS[file.path.name]

    compared = spread(len(held_out.pixels), 32 if file.recipe == "int8x16" else len(held_out.pixels))
    scores, expected = scores[compared], expected[compared]
    assert file.agreement.pictures == len(compared)
    assert file.agreement.largest_difference == pytest.approx(np.abs(scores - expected).max())
    assert file.agreement.same_top1 == (scores.argmax(1) == expected.argmax(1)).mean()
    runtime = {"tflite": "litert", "onnx": "onnxruntime"}[file.format]
    assert file.agreement.runtime == f"{runtime} {classifier.runtime.version}"


def test_fewer_bits_make_smaller_files_of_tflite(exported: dict[str, ExportedFile]) -> None:
    recipes = ("float32", "float16", "dynamic", "int8")
    sizes = [exported[f"patches.{recipe}.tflite"].size_bytes for recipe in recipes]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 2


def test_a_file_says_everything_about_itself(file: ExportedFile, source: SourceModel, calibration: Calibration) -> None:
    read = read_model_file(file.path)
    assert (read.format, read.foreign) == (file.format, False)
    calibrated_on = calibration.origin if file.recipe.startswith("int8") else None
    meaning = RECIPES[file.format][file.recipe].describe()
    assert read.metadata == dataclasses.replace(
        source.metadata, recipe=file.recipe, recipe_meaning=meaning, calibrated_on=calibrated_on
    )
    assert f"Image classifier, {file.recipe} ({meaning})".encode() in read.model  # for whoever reads no JSON of ours
    assert read.metadata.trained_on == DataOrigin("patches", "ab" * 32, 640)
    assert (read.metadata.labels, read.metadata.resize) == (LABELS, "letterbox")
    assert read.metadata.size_wh == (WIDTH, HEIGHT)
    unset = Metadata("", LABELS, (1, 1), "stretch", read.metadata.normalization)
    assert (read.metadata.temperature, read.metadata.reject_threshold) == (unset.temperature, unset.reject_threshold)


def test_the_same_model_gives_the_same_bytes_again(
    source: SourceModel,
    calibration: Calibration,
    held_out: Any,
    exported: dict[str, ExportedFile],
    folder: Path,
    tmp_path: Path,
) -> None:
    again = export_model(source, tmp_path, verification=held_out.pixels[:1], calibration=calibration)
    assert [file.path.name for file in again] == list(exported)
    different = [
        file.path.name for file in again if file.path.read_bytes() != exported[file.path.name].path.read_bytes()
    ]
    assert not different


EXPORT = """
import sys
import numpy as np
from edgevision_converters import Calibration, SourceModel, export_model, load_keras_model
from edgevision_device import DataOrigin
folder, sha256, *labels = sys.argv[1:]
pixels = np.load(folder + "/pixels.npy")
source = SourceModel.of(
    load_keras_model(folder + "/model.keras"), labels, name="patches", resize="letterbox",
    trained_on=DataOrigin("patches", "ab" * 32, 640),
)
calibration = Calibration(pixels, DataOrigin("patches", sha256, len(pixels)))
export_model(source, folder + "/out", verification=pixels[:1], calibration=calibration)
"""


def test_another_process_gives_the_same_bytes(
    model: keras.Model, calibration: Calibration, exported: dict[str, ExportedFile], tmp_path: Path
) -> None:
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "pixels.npy", calibration.pixels_nhwc)
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, str(tmp_path), calibration.origin.sha256, *LABELS],
        # Sums of another number of threads end in other bits, which must not reach the file.
        env={**os.environ, "PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    different = [name for name, file in exported.items() if written[name] != file.path.read_bytes()]
    assert not different


def test_files_that_exist_are_not_replaced_unasked(
    source: SourceModel, calibration: Calibration, held_out: Any, tmp_path: Path
) -> None:
    old = tmp_path / "patches.int8.onnx"
    old.write_bytes(b"mine")
    options: dict[str, Any] = {"verification": held_out.pixels[:2], "calibration": calibration, "formats": ["onnx"]}
    with pytest.raises(UsageError, match=r"patches\.int8\.onnx exists already; choose another --out, or pass --overw"):
        export_model(source, tmp_path, **options)
    assert left_in(tmp_path) == ["patches.int8.onnx"]
    assert old.read_bytes() == b"mine"
    export_model(source, tmp_path, **options, recipes=["int8"], overwrite=True)
    assert read_model_file(old).metadata.recipe == "int8"


@pytest.mark.parametrize("pictures", [None, 0], ids=["not given", "none in it"])
def test_int8_needs_calibration_pictures(
    source: SourceModel, held_out: Any, tmp_path: Path, pictures: int | None
) -> None:
    empty = Calibration(held_out.pixels[:0], DataOrigin("nothing", "", 0)) if pictures == 0 else None
    with pytest.raises(UsageError, match="int8 needs calibration pictures; give --calibrate DATA, or leave it out"):
        export_model(source, tmp_path / "out", verification=held_out.pixels, calibration=empty)
    assert left_in(tmp_path) == []


def test_pictures_of_another_size_or_type_are_refused(source: SourceModel, held_out: Any, tmp_path: Path) -> None:
    turned = held_out.pixels.transpose(0, 2, 1, 3)
    for wrong, shape in ((turned, "uint8 (60, 28, 20, 3)"), (held_out.pixels / 255, "float64 (60, 20, 28, 3)")):
        with pytest.raises(UsageError) as raised:
            export_model(source, tmp_path / "out", verification=wrong, recipes=["float32"])
        assert str(raised.value) == f"verification takes uint8 pixels (n, 20, 28, 3), got {shape}"
        calibration = Calibration(wrong, DataOrigin("wrong", "", len(wrong)))
        with pytest.raises(UsageError, match=r"calibration takes uint8 pixels \(n, 20, 28, 3\)"):
            export_model(source, tmp_path / "out", verification=held_out.pixels, calibration=calibration)
    with pytest.raises(UsageError, match="no pictures to verify"):
        export_model(source, tmp_path / "out", verification=held_out.pixels[:0], recipes=["float32"])
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["", "../patches", "a/b", "."])
def test_a_name_cannot_leave_the_folder(source: SourceModel, held_out: Any, tmp_path: Path, name: str) -> None:
    named = dataclasses.replace(source, metadata=dataclasses.replace(source.metadata, name=name))
    with pytest.raises(UsageError, match="--name takes a name without slashes"):
        export_model(named, tmp_path / "out", verification=held_out.pixels, recipes=["float32"])
    assert left_in(tmp_path) == []


def test_a_float_file_that_disagrees_is_not_kept(held_out: Any, tmp_path: Path) -> None:
    import keras

    # 2049 has no float16: it becomes 2048, and a difference of two filters that means something becomes 0.
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Rescaling(1 / 256)(inputs)
    filters = np.repeat(np.float32([2049, 2048] * 32), 27).reshape(64, 3, 3, 3).transpose(1, 2, 3, 0)
    x = keras.layers.Conv2D(64, 3, kernel_initializer=lambda shape, dtype: filters)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    matrix = np.zeros((64, 4), np.float32)
    matrix[:2, 0] = 1, -1
    x = keras.layers.Dense(4, kernel_initializer=lambda shape, dtype: matrix)(x)
    huge = keras.Model(inputs, keras.layers.Softmax()(x))
    source = SourceModel.of(huge, LABELS, name="huge")
    with pytest.raises(CheckError) as raised:
        export_model(source, tmp_path, verification=held_out.pixels, formats=["tflite"], recipes=["float32", "float16"])
    message = str(raised.value)
    assert message.startswith("huge.float16.tflite disagrees with the model: scores differ by up to ")
    assert "\n" not in message
    assert left_in(tmp_path) == ["huge.float32.tflite"]


def test_the_file_before_one_that_cannot_be_made_is_verified_and_kept(
    source: SourceModel, held_out: Any, tmp_path: Path
) -> None:
    class Broken(TfliteConversion):
        def convert(self, recipe: str) -> bytes:
            if recipe == "float16":
                raise RuntimeError("no half numbers today")
            return super().convert(recipe)

    with pytest.raises(FileError, match=r"^patches\.float16\.tflite cannot be made from this model: no half numbers"):
        export_model(
            source,
            tmp_path,
            verification=held_out.pixels,
            formats=["tflite"],
            recipes=["float32", "float16", "dynamic"],
            conversion=Broken(source, None),
        )
    assert left_in(tmp_path) == ["patches.float32.tflite"]
    assert not read_model_file(tmp_path / "patches.float32.tflite").foreign


def test_a_comparison_counts_flips(exported: dict[str, ExportedFile], held_out: Any) -> None:
    path = exported["patches.float32.tflite"].path
    scores = np.stack([Classifier(path).run(pixels[np.newaxis]) for pixels in held_out.pixels[:10]])
    expected = scores.copy()
    best = int(scores[3].argmax())
    expected[3] = np.where(np.arange(len(LABELS)) == (best + 1) % len(LABELS), 0.7, 0.1)
    agreement = compare(path, held_out.pixels[:10], expected)
    assert (agreement.pictures, agreement.same_top1) == (10, 0.9)
    assert agreement.largest_difference == pytest.approx(np.abs(scores[3] - expected[3]).max())


def test_a_network_that_cannot_be_converted_is_one_line(held_out: Any, tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((HEIGHT, WIDTH, 3))
    waves = keras.ops.fft2((inputs, 0 * inputs))[0]
    outputs = keras.layers.Dense(len(LABELS), activation="softmax")(keras.layers.Flatten()(waves))
    source = SourceModel.of(keras.Model(inputs, outputs), LABELS, name="waves", pixels="0..1")
    for format in RECIPES:
        with pytest.raises(FileError) as raised:
            export_model(source, tmp_path / "out", verification=held_out.pixels, formats=[format], recipes=["float32"])
        message = str(raised.value)
        assert " computes Complex, which " in message
        assert f"give --formats {({*RECIPES} - {format}).pop()}" in message
        assert "\n" not in message
    assert left_in(tmp_path) == []


def test_a_file_is_verified_while_the_next_is_converted(source: SourceModel, held_out: Any, tmp_path: Path) -> None:
    class Waiting(TfliteConversion):
        def convert(self, recipe: str) -> bytes:
            if recipe == "dynamic":
                waited_s = 0.0
                while not (tmp_path / "patches.float32.tflite").exists():
                    assert waited_s < 60, "nothing verified the file before"
                    time.sleep(0.01)
                    waited_s += 0.01
            return super().convert(recipe)

    files = export_model(
        source,
        tmp_path,
        verification=held_out.pixels,
        formats=["tflite"],
        recipes=["float32", "dynamic"],
        conversion=Waiting(source, None),
    )
    assert [file.recipe for file in files] == ["float32", "dynamic"]


@pytest.mark.parametrize("at", ["the start of a file", "a conversion"])
def test_an_interrupt_leaves_whole_files_only(source: SourceModel, held_out: Any, tmp_path: Path, at: str) -> None:
    class Interrupted(TfliteConversion):
        def convert(self, recipe: str) -> bytes:
            if at == "a conversion" and recipe == "dynamic":
                signal.raise_signal(signal.SIGINT)
            return super().convert(recipe)

    def interrupt(name: str) -> None:
        if at == "the start of a file" and "dynamic" in name:
            signal.raise_signal(signal.SIGINT)

    # The file before is being verified, or about to be: not on all of so many pictures any more.
    slow = np.concatenate([held_out.pixels] * 500)
    with pytest.raises(KeyboardInterrupt):
        export_model(
            source,
            tmp_path,
            verification=slow,
            recipes=["float32", "float16", "dynamic"],
            formats=["tflite"],
            on_start=interrupt,
            conversion=Interrupted(source, None),
        )
    assert left_in(tmp_path) == ["patches.float32.tflite"]
    assert not read_model_file(tmp_path / "patches.float32.tflite").foreign


@contextmanager
def disk_full_at(size_bytes: int) -> Generator[None]:
    """Let no file grow further, as on a full disk. Python ignores the signal, so that the write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_half_written(source: SourceModel, held_out: Any, tmp_path: Path) -> None:
    with disk_full_at(8_000), pytest.raises(OSError, match="File too large"):
        export_model(source, tmp_path, verification=held_out.pixels, formats=["onnx"], recipes=["float32"])
    assert left_in(tmp_path) == []
