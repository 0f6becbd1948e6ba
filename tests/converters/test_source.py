"""Keras models as people have them: what is accepted, and the one line that says why another is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import SourceModel, check_keras_file, export_model, load_keras_model
from edgevision_converters._keras_source import pictures_per_call
from edgevision_device import FileError, Normalization, UsageError, __version__

if TYPE_CHECKING:
    import keras

WIDTH, HEIGHT = 28, 20
LABELS = ("red", "green", "blue", "yellow stripe")

Network = Callable[..., "keras.Model"]


def refusal(model: Any, labels: tuple[str, ...] = LABELS, **options: Any) -> str:
    """Return the one line with which a model is refused."""
    with pytest.raises(UsageError) as raised:
        SourceModel.of(model, labels, name="x", **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def classifier(*inputs: Any, behind: Any) -> keras.Model:
    import keras

    x = keras.layers.Dense(len(LABELS), activation="softmax")(keras.layers.Flatten()(behind))
    return keras.Model(list(inputs), x)


def test_a_model_is_taken_apart(source: SourceModel, model: keras.Model, held_out: Any) -> None:
    metadata = source.metadata
    assert metadata.labels == LABELS
    assert metadata.size_wh == (WIDTH, HEIGHT)
    assert metadata.normalization == Normalization((127.0,), (128.0,))
    assert metadata.edgevision == __version__
    mapped = (held_out.pixels.astype(np.float32) - 127) / 128
    scores = source.scores(held_out.pixels)
    assert scores.dtype == np.float32
    assert scores.shape == (60, len(LABELS))
    assert np.allclose(source.core(mapped, training=False), scores, atol=1e-5)
    assert np.allclose(model(held_out.pixels.astype(np.float32), training=False), scores, atol=1e-5)


@pytest.mark.parametrize(
    ("pixels", "mean", "std"),
    [
        ("0..255", 0, 1),
        ("0..1", 0, 255),
        ("-1..1", 127.5, 127.5),
        ("127:128", 127, 128),
        ("imagenet", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ],
)
def test_a_model_without_normalization_gets_one(
    network: Network, pixels: str, mean: Any, std: Any, held_out: Any
) -> None:
    bare = network(normalization=None)
    source = SourceModel.of(bare, LABELS, name="x", pixels=pixels)
    assert source.metadata.normalization == Normalization.parse(pixels)
    mapped = (held_out.pixels - np.float32(mean)) / np.float32(std)
    assert np.allclose(source.scores(held_out.pixels), bare(mapped, training=False), atol=1e-5)


def test_a_rescaling_that_the_model_starts_with_is_found(network: Network, held_out: Any) -> None:
    source = SourceModel.of(network(normalization=(1 / 127.5, -1)), LABELS, name="x")
    assert source.metadata.normalization == Normalization((127.5,), (127.5,))


def test_a_rescaling_beside_another_branch_stays_inside() -> None:
    import keras

    inputs = keras.Input((HEIGHT, WIDTH, 3))
    both = keras.layers.Concatenate()([keras.layers.Rescaling(1 / 255)(inputs), inputs])
    model = classifier(inputs, behind=both)
    assert "does not start with a Rescaling or Normalization layer" in refusal(model)
    assert SourceModel.of(model, LABELS, name="x", pixels="0..255").metadata.normalization.std == (1.0,)


@pytest.mark.parametrize(
    ("kind", "options", "mean", "std"),
    [
        ("Rescaling", {"scale": [1 / 58, 1 / 57, 1 / 50], "offset": [-2, -2, -1.5]}, (116, 114, 75), (58, 57, 50)),
        ("Rescaling", {"scale": 1 / 64, "offset": [-2, -1, 0]}, (128, 64, 0), (64, 64, 64)),
        ("Normalization", {"mean": [100, 110, 120], "variance": [400, 900, 1600]}, (100, 110, 120), (20, 30, 40)),
        ("Normalization", {"mean": 127, "variance": 16384, "axis": None}, (127,), (128,)),
    ],
)
def test_other_normalizations_that_the_model_starts_with_are_found(
    kind: str, options: dict[str, Any], mean: tuple[float, ...], std: tuple[float, ...], held_out: Any, tmp_path: Path
) -> None:
    import keras

    path = tmp_path / "model.keras"
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Flatten()(getattr(keras.layers, kind)(**options)(inputs))
    keras.Model(inputs, keras.layers.Dense(len(LABELS), activation="softmax")(x)).save(path)
    check_keras_file(path, LABELS, None)
    model = load_keras_model(path)
    source = SourceModel.of(model, LABELS, name="x")
    assert source.metadata.normalization == Normalization(mean, std)
    numbers = (held_out.pixels - np.float32(mean)) / np.float32(std)
    assert np.allclose(source.scores(held_out.pixels), source.core(numbers, training=False), atol=1e-5)
    assert "leave out --pixels" in refusal(model, pixels="0..1")


def test_a_normalization_by_place_stays_inside() -> None:
    import keras

    layers = keras.layers
    for layer in (layers.Normalization(axis=(1, 3), mean=np.ones((HEIGHT, 3)), variance=np.ones((HEIGHT, 3))),
                  layers.Normalization(mean=0, variance=1, axis=None, invert=True),
                  layers.Rescaling([[[1.0]], [[2.0]], [[3.0]]])):  # fmt: skip
        size = (3 if isinstance(layer, layers.Rescaling) else HEIGHT, WIDTH, 3)
        inputs = keras.Input(size)
        x = layers.Dense(len(LABELS), activation="softmax")(layers.Flatten()(layer(inputs)))
        assert "does not start with a Rescaling or Normalization layer" in refusal(keras.Model(inputs, x))


@pytest.mark.parametrize(
    "operation", [lambda pixels: pixels[..., ::-1], lambda pixels: pixels - 127, lambda pixels: 255 - pixels]
)
def test_a_rescaling_behind_an_operation_stays_inside(operation: Callable[[Any], Any], held_out: Any) -> None:
    import keras

    inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(operation(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(len(LABELS), activation="softmax")(x))
    assert "does not start with a Rescaling or Normalization layer" in refusal(model)
    source = SourceModel.of(model, LABELS, name="x", pixels="0..255")
    inside = source.core(held_out.pixels.astype(np.float32), training=False)
    assert np.allclose(model(held_out.pixels.astype(np.float32), training=False), inside, atol=1e-5)


def test_logits_get_a_softmax(network: Network, held_out: Any) -> None:
    for options in ({}, {"pixels": "127:128"}):
        bare = network(None if options else (1 / 128, -127 / 128), softmax=False)
        assert "are no scores" in refusal(bare, **options)
        assert "pass --logits" in refusal(bare, **options)
        scores = SourceModel.of(bare, LABELS, name="x", logits=True, **options).scores(held_out.pixels)
        inputs = held_out.pixels.astype(np.float32)
        powers = np.exp(bare((inputs - 127) / 128 if options else inputs, training=False))
        assert np.allclose(scores, powers / powers.sum(1, keepdims=True), atol=1e-5)


def test_scores_are_not_taken_for_logits(model: keras.Model) -> None:
    assert refusal(model, logits=True) == "the model gives scores already, not logits; leave out --logits"


def test_missing_and_contradicting_pixels_are_refused(network: Network, model: keras.Model) -> None:
    missing = refusal(network(normalization=None))
    assert "--pixels 0..255, 0..1, -1..1, imagenet, or MEAN:STD" in missing
    assert refusal(model, pixels="0..1") == (
        "the model normalizes pixels itself, in layer 'normalization'; leave out --pixels"
    )
    assert "cannot read the pixel range '0-255'" in refusal(network(normalization=None), pixels="0-255")


def test_inputs_of_another_kind_are_refused() -> None:
    import keras

    first, second = (keras.Input((HEIGHT, WIDTH, 3), name=name) for name in ("image", "mask"))
    two = classifier(first, second, behind=keras.layers.Add()([first, second]))
    assert "this model has 2 (image, mask) and 1 (" in refusal(two, pixels="0..1")
    free = keras.Input((None, None, 3))
    any_size = classifier(free, behind=keras.layers.GlobalAveragePooling2D()(free))
    assert "no fixed height and width: (free, free, free, 3)" in refusal(any_size, pixels="0..1")
    grey = keras.Input((HEIGHT, WIDTH, 1))
    one = refusal(classifier(grey, behind=grey), pixels="0..1")
    assert "takes grey pictures, (free, 20, 28, 1); a classifier of color pictures" in one
    several = keras.Input((HEIGHT, WIDTH, 3), batch_size=8)
    eight = refusal(classifier(several, behind=several), pixels="0..1")
    assert "takes 8 pictures at a time, (8, 20, 28, 3); export it with a batch of 1" in eight
    flat = keras.Input((100,))
    assert "has shape (free, 100)" in refusal(classifier(flat, behind=flat), pixels="0..1")


def test_outputs_of_another_kind_are_refused(model: keras.Model) -> None:
    import keras

    inputs = keras.Input((HEIGHT, WIDTH, 3))
    maps = keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="softmax")(inputs))
    assert "gives (18, 26, 4) numbers per picture" in refusal(maps, pixels="0..1")
    assert "4 scores per picture and there are 3 labels" in refusal(model, ("a", "b", "c"))
    assert "'a' stands 2 times" in refusal(model, ("a", "b", "a", "c"))
    assert "unknown resize mode 'strech'; did you mean 'stretch'?" in refusal(model, resize="strech")
    sigmoid = keras.Model(inputs, keras.layers.Dense(4, activation="sigmoid")(keras.layers.Flatten()(inputs)))
    assert "are no scores" in refusal(sigmoid, pixels="0..1")


def test_models_that_do_not_declare_their_input_are_refused() -> None:
    import keras

    class Subclass(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flatten, self.scores = keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")

        def call(self, pixels: Any) -> Any:
            return self.scores(self.flatten(pixels))

    unbuilt = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")])
    for undeclared in (Subclass(), unbuilt):
        assert refusal(undeclared, pixels="0..1") == (
            "the model does not declare its input; build it from a keras.Input"
        )


@pytest.mark.parametrize("broken", [np.nan, np.inf], ids=["NaN", "infinite"])
def test_broken_weights_name_their_layer(network: Network, broken: float) -> None:
    model = network()
    kernel, bias = model.get_layer("third").get_weights()
    kernel[1, 2, 3, 4] = broken
    model.get_layer("third").set_weights([kernel, bias])
    assert refusal(model) == "the model holds NaN or infinite weights, first in layer 'third'; train it again"


def test_scores_that_overflow_are_refused(network: Network) -> None:
    model = network()
    kernel, bias = model.get_layer("third").get_weights()
    model.get_layer("third").set_weights([kernel + 3e38, bias])
    assert refusal(model) == "the model gives NaN or infinite scores for ordinary pixels; train it again"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_is_loaded(model: keras.Model, held_out: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    model.save(path)
    source = SourceModel.of(load_keras_model(path), LABELS, name="x")
    assert np.array_equal(
        source.scores(held_out.pixels), SourceModel.of(model, LABELS, name="x").scores(held_out.pixels)
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_inside_a_file_is_not_run(tmp_path: Path, suffix: str) -> None:
    import keras

    trap = tmp_path / "trap"
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    saved = tmp_path / f"model{suffix}"
    run = keras.layers.Lambda(lambda x, path=str(trap): (open(path, "w").close(), x)[1], output_shape=(20, 28, 3))
    classifier(inputs, behind=run(inputs)).save(saved)
    run(np.zeros((1, HEIGHT, WIDTH, 3), np.float32))
    trap.unlink()  # the code does run where somebody calls it
    message = load_error(saved)
    assert "layer 'lambda" in message
    assert "is a Lambda layer; no code from a model file is run" in message
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_class_of_ones_own_is_named_with_its_layer(tmp_path: Path, suffix: str) -> None:
    import keras

    @keras.saving.register_keras_serializable(package="mine")
    class Swirl(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs[:, ::-1]

    inputs = keras.Input((HEIGHT, WIDTH, 3))
    inner = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), Swirl(name="second_turn")])
    saved = tmp_path / f"model{suffix}"
    classifier(inputs, behind=inner(inputs)).save(saved)
    keras.saving.get_custom_objects().clear()  # as in a program that does not have the class
    message = load_error(saved)
    assert message.startswith(f"layer 'second_turn' of {saved} is of the class 'Swirl', which Keras does not have")
    assert message.endswith("write it with model.export(FOLDER), and give that folder")


@pytest.mark.parametrize("logits", [False, True])
def test_a_model_that_takes_bgr_gets_rgb(network: Network, held_out: Any, logits: bool) -> None:
    bare = network(normalization=None, softmax=not logits)
    means, stds = "103.939,116.779,123.68", "1,2,3"
    source = SourceModel.of(bare, LABELS, name="x", pixels=f"{means}:{stds}", color_order="bgr", logits=logits)
    # What the files say of themselves is in the order of the pixels that they take.
    assert source.metadata.normalization == Normalization((123.68, 116.779, 103.939), (3, 2, 1))
    assert source.metadata.color_order == "rgb"
    bgr = held_out.pixels[..., ::-1].astype(np.float32)
    expected = np.asarray(bare((bgr - np.float32([103.939, 116.779, 123.68])) / np.float32([1, 2, 3]), training=False))
    if logits:
        expected = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
    assert np.allclose(source.scores(held_out.pixels), expected, atol=1e-5)


def load_error(path: Path) -> str:
    with pytest.raises(FileError) as raised:
        load_keras_model(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_what_is_no_model_file_is_refused(model: keras.Model, tmp_path: Path) -> None:
    assert "no such model file" in load_error(tmp_path / "absent.keras")
    assert "no such model file" in load_error(tmp_path)
    for suffix in (".keras", ".h5", ".pb"):
        garbage = tmp_path / f"garbage{suffix}"
        garbage.write_bytes(b"no model at all")
        assert "Keras cannot load" in load_error(garbage)
    whole = tmp_path / "whole.keras"
    model.save(whole)
    for share in (0.3, 0.99):
        cut = tmp_path / "cut.keras"
        cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
        assert "was cut short or is damaged; copy it again" in load_error(cut)


def test_another_backend_is_refused(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    # Of the other backends none is installed here; the check comes before any use of one.
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert "Keras runs on jax here; set KERAS_BACKEND=tensorflow" in refusal(model)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_loaded_sequential_is_known_by_its_rescaling(suffix: str, tmp_path: Path) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(LABELS), activation="softmax"),
        ]
    )
    model.save(tmp_path / f"mine{suffix}")
    loaded = load_keras_model(tmp_path / f"mine{suffix}")
    source = SourceModel.of(loaded, LABELS, name="mine")
    assert source.metadata.normalization == Normalization((0.0,), (255.0,))
    pixels = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), np.uint8)
    behind = np.asarray(source.core(pixels.astype(np.float32) / 255))
    assert source.scores(pixels) == pytest.approx(behind, abs=1e-6)
    with pytest.raises(UsageError, match="leave out --pixels"):
        SourceModel.of(loaded, LABELS, name="mine", pixels="0..1")


def test_scores_do_not_depend_on_how_many_pictures_are_given() -> None:
    """Large pictures go through the model a few at a time: Keras keeps every layer's output until a call ends."""
    import keras

    given: list[int] = []

    class Counting(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            given.append(x.shape[0])
            return x

    inputs = keras.Input((200, 160, 3))
    x = Counting()(keras.layers.Conv2D(4, 5, 8)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(keras.layers.GlobalMaxPooling2D()(x)))
    source = SourceModel.of(model, LABELS, name="x", pixels="0..1")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 200, 160, 3), np.uint8)
    given.clear()
    together = source.scores(pixels)
    assert given == [12, 12, 6]
    assert together.shape == (30, 4)
    alone = np.concatenate([source.scores(each[np.newaxis]) for each in pixels])
    assert np.allclose(together, alone, atol=1e-6)


def test_a_call_has_fewer_pictures_the_larger_they_are() -> None:
    assert [pictures_per_call(size) for size in ((28, 28), (160, 200), (224, 224), (2000, 1000))] == [64, 12, 7, 1]


def test_a_network_is_converted_once_for_all_recipes_of_a_format(
    model: keras.Model, calibration: Any, held_out: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf
    import tf2onnx

    made: list[str] = []

    def counted(name: str, convert: Callable[..., Any]) -> Callable[..., Any]:
        def convert_and_count(*args: Any, **options: Any) -> Any:
            made.append(name)
            return convert(*args, **options)

        return convert_and_count

    converter = tf.lite.TFLiteConverter
    monkeypatch.setattr(converter, "from_concrete_functions", counted("tflite", converter.from_concrete_functions))
    monkeypatch.setattr(tf2onnx.convert, "from_graph_def", counted("onnx", tf2onnx.convert.from_graph_def))
    source = SourceModel.of(model, LABELS, name="once")
    files = export_model(source, tmp_path, verification=held_out.pixels[:4], calibration=calibration)
    assert len(files) == 10
    assert sorted(made) == ["onnx", "tflite"]
