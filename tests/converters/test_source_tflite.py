"""Float `.tflite` files that somebody else made: what is accepted, what is put in front, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import SourceModel, TfliteSource
from edgevision_converters._tflite_calibration import Calibrated
from edgevision_converters._tflite_edit import add_constant, add_tensor, make_operator, operator_name
from edgevision_converters._tflite_flatbuffer import builtin_code, pack, unpack
from edgevision_converters._tflite_weights import to_dynamic, to_float16
from edgevision_device import EdgevisionError, Normalization, open_runtime, seal

if TYPE_CHECKING:
    import keras

WIDTH, HEIGHT = 28, 20
LABELS = ("red", "green", "blue", "yellow stripe")
MEAN, STD = np.float32([103.939, 116.779, 123.68]), np.float32([58.0, 57.0, 59.0])
PER_CHANNEL = "103.939,116.779,123.68:58,57,59"


def wide(*, softmax: bool = True, channels_first: bool = False) -> keras.Model:
    """A classifier with weights that are large enough to be stored in 8 bits."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    inputs = x = keras.Input((3, HEIGHT, WIDTH) if channels_first else (HEIGHT, WIDTH, 3))
    x = layers.Permute((2, 3, 1))(x) if channels_first else x
    x = layers.Conv2D(128, 3, 2, "same", activation="relu", name="first")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="second")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="third")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(64, activation="relu", name="fourth")(x)
    return keras.Model(inputs, layers.Dense(len(LABELS), activation="softmax" if softmax else None, name="last")(x))


def convert(model: keras.Model, *, float16: bool = False) -> bytes:
    """Convert as people do, without anything of edgevision."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if float16:
        converter.optimizations, converter.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]
    return converter.convert()


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    """Files by what is special about them."""
    return {
        "plain": convert(wide()),
        "logits": convert(wide(softmax=False)),
        "channels first": convert(wide(channels_first=True)),
        "float16": convert(wide(), float16=True),
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def file(model: bytes) -> Path:
        path = tmp_path / "theirs.tflite"
        path.write_bytes(model)
        return path

    return file


def read(path: Path, **options: Any) -> TfliteSource:
    return TfliteSource.read(path, LABELS, **{"name": "x", "pixels": "-1..1", **options})


def refusal(path: Path, labels: tuple[str, ...] = LABELS, **options: Any) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(EdgevisionError) as raised:
        TfliteSource.read(path, labels, **{"name": "x", "pixels": "-1..1", **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def run(model: bytes, inputs: np.ndarray) -> np.ndarray:
    runtime = open_runtime(model, "tflite")
    assert runtime.input.shape == (1, HEIGHT, WIDTH, 3)
    assert runtime.input.dtype == inputs.dtype
    return np.stack([runtime.run(each[np.newaxis])[0] for each in inputs])


@pytest.mark.parametrize(
    ("kind", "pixels", "options"),
    [
        ("plain", "-1..1", {}),
        ("plain", "0..255", {"color_order": "bgr"}),
        ("logits", PER_CHANNEL, {"logits": True}),
        ("channels first", "0..255", {}),
        ("channels first", PER_CHANNEL, {"color_order": "bgr"}),
        ("float16", "-1..1", {}),
    ],
)
def test_every_float_model_gives_the_scores_of_the_file(
    models: dict[str, bytes], kind: str, options: Any, pixels: str, write: Any, held_out: Any
) -> None:
    source = read(write(models[kind]), pixels=pixels, **options)
    mean, std = {"-1..1": (127.5, 127.5), "0..255": (0, 1), PER_CHANNEL: (MEAN, STD)}[pixels]
    bytes_rgb = held_out.pixels[:8]
    own = bytes_rgb[..., ::-1] if "color_order" in options else bytes_rgb
    model = wide(softmax=kind != "logits")
    expected = np.asarray(model((own.astype(np.float32) - mean) / std, training=False))
    if kind == "logits":
        expected = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
    within = 2e-2 if kind == "float16" else 1e-5
    assert np.allclose(source.scores(bytes_rgb), expected, atol=within)
    scores = source.scores(bytes_rgb)
    assert np.allclose(run(source.float_tflite("bytes"), bytes_rgb), scores, atol=1e-5)
    assert np.allclose(run(source.float_tflite("pixels"), bytes_rgb.astype(np.float32)), scores, atol=1e-5)
    numbers = bytes_rgb.astype(np.float32)
    if pixels != PER_CHANNEL:
        numbers = (numbers - np.float32(mean)) / np.float32(std)
    assert np.allclose(run(source.float_tflite("numbers"), numbers), scores, atol=1e-5)


def test_what_a_source_says_of_itself(models: dict[str, bytes], write: Any) -> None:
    source = read(write(models["plain"]), pixels="1,2,3:4,5,6", color_order="bgr", resize="crop")
    assert (source.metadata.labels, source.metadata.size_wh) == (LABELS, (WIDTH, HEIGHT))
    assert (source.metadata.resize, source.metadata.color_order) == ("crop", "rgb")
    assert source.metadata.normalization == Normalization((3, 2, 1), (6, 5, 4))
    assert source.formats == ("tflite",)
    with pytest.raises(EdgevisionError, match=r"from \.tflite only \.tflite files are made: give --formats tflite"):
        source.float_onnx("bytes")
    graph = unpack(source.float_tflite("bytes")).subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    assert (names[graph.inputs[0]], names[graph.outputs[0]]) == ("pixels", "scores")
    assert not any(";" in name for name in names)


def test_the_same_file_gives_the_same_bytes(models: dict[str, bytes], write: Any) -> None:
    path = write(models["channels first"])
    assert read(path).float_tflite("bytes") == read(path).float_tflite("bytes")


def test_smaller_weights_keep_the_answers(models: dict[str, bytes], write: Any, held_out: Any) -> None:
    source, pixels = read(write(models["plain"])), held_out.pixels[:20]
    whole = source.float_tflite("bytes")
    expected = source.scores(pixels)
    half, eighth = to_float16(whole), to_dynamic(whole)
    assert len(half) < 0.6 * len(whole)
    assert len(eighth) < 0.5 * len(whole)
    assert np.abs(run(half, pixels) - expected).max() < 1e-3
    assert 0 < np.abs(run(eighth, pixels) - expected).max() < 1e-2
    numbers = (pixels.astype(np.float32) - 127.5) / 127.5
    static = Calibrated.of(source.float_tflite("numbers"), numbers).quantize()
    assert len(static) < 0.5 * len(whole)
    assert np.abs(run(static, pixels) - expected).max() < 5e-2
    assert (to_float16(whole), to_dynamic(whole)) == (half, eighth)


def test_dynamic_weights_are_those_of_tensorflows_converter(held_out: Any) -> None:
    import keras
    import tensorflow as tf

    source = SourceModel.of(wide(), LABELS, name="x", pixels="-1..1")
    ours = to_dynamic(source.float_tflite("bytes"))
    pixels = keras.Input((HEIGHT, WIDTH, 3), batch_size=1, dtype="uint8")
    model = keras.Model(pixels, source.model(keras.ops.cast(pixels, "float32")))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    theirs = converter.convert()
    assert np.array_equal(run(ours, held_out.pixels[:20]), run(theirs, held_out.pixels[:20]))
    assert versions(ours) == versions(theirs)


def versions(model: bytes) -> dict[int, int]:
    """Return operator → highest version in a model."""
    parsed = unpack(model)
    found = [(builtin_code(parsed, each), each.opcodeIndex) for each in parsed.subgraphs[0].operators]
    return {
        code: max(parsed.operatorCodes[index].version for each, index in found if each == code) for code, _ in found
    }


def test_weights_beyond_float16_stay_as_they_are(models: dict[str, bytes]) -> None:
    parsed = unpack(models["plain"])
    for buffer in parsed.buffers:
        if buffer.data is not None and len(buffer.data) == 4 * 3 * 3 * 3 * 128:
            buffer.data = (buffer.data.view(np.float32) + 1e5).view(np.uint8)
    half = unpack(to_float16(pack(parsed)))
    kinds = [tensor.type for tensor in half.subgraphs[0].tensors if list(tensor.shape) == [128, 3, 3, 3]]
    assert kinds == [0]  # TensorType.FLOAT32, without a float16 twin


def test_inputs_and_outputs_of_another_kind_are_refused(models: dict[str, bytes], write: Any) -> None:
    import keras

    layers = keras.layers
    path = write(models["plain"])
    assert "the model gives 4 scores per picture and there are 2 labels" in refusal(path, ("a", "b"))
    assert "does not say what numbers it takes; give --pixels 0..255" in refusal(path, pixels=None)
    assert "unknown color order 'grb'" in refusal(path, color_order="grb")
    assert "gives scores already, not logits; leave out --logits" in refusal(path, logits=True)
    assert "if they are logits, pass --logits" in refusal(write(models["logits"]))
    grey = keras.Input((HEIGHT, WIDTH, 1))
    one = keras.Model(grey, layers.Dense(4, activation="softmax")(layers.Flatten()(grey)))
    assert "takes grey pictures, (free, 20, 28, 1)" in refusal(write(convert(one)))
    free = keras.Input((None, None, 3))
    any_size = keras.Model(free, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(free)))
    assert "no fixed height and width: (free, free, free, 3)" in refusal(write(convert(any_size)))


def test_two_inputs_are_refused(models: dict[str, bytes], write: Any) -> None:
    parsed = unpack(models["plain"])
    graph = parsed.subgraphs[0]
    graph.inputs = np.array([graph.inputs[0], add_tensor(parsed, "second", (1,), 0)], np.int32)
    assert "one input and one output" in refusal(write(pack(parsed)))
    assert re.search(r"has 2 \(\S+, second\) and 1 \(", refusal(write(pack(parsed))))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_weights_name_their_tensor(models: dict[str, bytes], write: Any, broken: float) -> None:
    parsed = unpack(models["plain"])
    graph = parsed.subgraphs[0]
    (tensor,) = [each for each in graph.tensors if list(each.shape) == [128, 3, 3, 3]]
    content = parsed.buffers[tensor.buffer].data.view(np.float32).copy()
    content[100] = broken
    parsed.buffers[tensor.buffer].data = content.view(np.uint8)
    message = refusal(write(pack(parsed)))
    assert f"holds NaN or infinite weights, first in {tensor.name.decode()!r}; train the model again" in message


def test_a_quantized_file_is_refused_and_told_where_it_runs(
    models: dict[str, bytes], write: Any, held_out: Any
) -> None:
    numbers = (held_out.pixels.astype(np.float32) - 127.5) / 127.5
    static = Calibrated.of(models["plain"], numbers).quantize()
    message = refusal(write(static))
    assert "theirs.tflite is quantized already (" in message
    assert "give the float model that it was made from" in message
    assert "To run it as it is: edgevision classify, benchmark or stream with --labels FILE" in message
    assert "is quantized already (int8 at " in refusal(write(to_dynamic(models["plain"])))


@pytest.mark.parametrize(
    ("custom", "named"),
    [
        (b"FlexErfinv", "TensorFlow's own operator Erfinv (Select TF ops)"),
        (b"MyOwnOp", "'odd' by MyOwnOp, which TFLite runtimes on devices lack"),
    ],
)
def test_operators_that_devices_lack_are_named(models: dict[str, bytes], write: Any, custom: bytes, named: str) -> None:
    parsed = unpack(models["plain"])
    graph = parsed.subgraphs[0]
    odd = add_tensor(parsed, "odd", (1, 4), 0)
    operator = make_operator(parsed, "CUSTOM", [graph.outputs[0]], [odd])
    parsed.operatorCodes[operator.opcodeIndex].customCode = custom
    graph.operators.append(operator)
    graph.outputs = np.array([odd], np.int32)
    message = refusal(write(pack(parsed)))
    assert named in message
    assert "computes 'odd' by" in message
    assert message.endswith("build the model without it")


def test_what_is_no_foreign_tflite_file_is_refused(source: Any, write: Any, models: dict[str, bytes]) -> None:
    path = write(b"no model at all")
    assert "is no TFLite file" in refusal(path)
    assert "cannot read the model file" in refusal(path.with_name("absent.tflite"))
    sealed = seal(models["plain"], source.metadata, "tflite")
    assert refusal(write(sealed)) == f"{path} was written by edgevision; export the model that it was made from"
    for keep in (0.5, 0.9):
        cut = models["plain"][: int(keep * len(models["plain"]))]
        assert refusal(write(cut)) == f"{path} is no TFLite file that can be read; copy it again"


def test_constants_and_operators_are_added(models: dict[str, bytes], held_out: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    parsed = unpack(models["plain"])
    graph = parsed.subgraphs[0]
    inputs = [int(graph.outputs[0]), add_constant(parsed, "two", np.array([2.0], np.float32))]
    doubled = add_tensor(parsed, "doubled", (1, 4), schema.TensorType.FLOAT32)
    graph.operators.append(make_operator(parsed, "MUL", inputs, [doubled], options=schema.MulOptionsT()))
    graph.outputs = np.array([doubled], np.int32)
    assert operator_name(parsed, graph.operators[-1]) == "MUL"
    numbers = (held_out.pixels[:3].astype(np.float32) - 127.5) / 127.5
    assert np.allclose(run(pack(parsed), numbers), 2 * run(models["plain"], numbers))
