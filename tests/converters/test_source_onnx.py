"""`.onnx` files that somebody else made, as PyTorch and tf2onnx write them: built here operator by operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision_converters import OnnxSource
from edgevision_device import EdgevisionError, Normalization, open_runtime, seal

WIDTH, HEIGHT = 28, 20
LABELS = ("red", "green", "blue", "yellow stripe")
MEAN, STD = np.float32([103.939, 116.779, 123.68]), np.float32([58.0, 57.0, 59.0])
PER_CHANNEL = "103.939,116.779,123.68:58,57,59"

Shape = tuple[int | str, ...]


def build(
    shape: Shape = ("batch", 3, HEIGHT, WIDTH),
    *,
    softmax: bool = True,
    opset: int = 17,
    names: tuple[str, str] = ("input", "output"),
    kind: int = TensorProto.FLOAT,
    spread: bool = False,
) -> onnx.ModelProto:
    """Build a classifier as an exporter does: a convolution, global pooling, a matrix.

    Args:
        shape: of the input; channels last are transposed first, as tf2onnx does it.
        softmax: it ends in one.
        opset, names, kind: of the model, of its input and output, of their numbers.
        spread: scores come as `(1, labels, 1, 1)`.
    """
    generator = np.random.default_rng(1)
    given, result = names
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    kernel = generator.normal(size=(32, 3, 3, 3)).astype(dtype) / 5
    matrix = generator.normal(size=(32, len(LABELS))).astype(dtype)
    constants = [numpy_helper.from_array(kernel, "conv.weight"), numpy_helper.from_array(matrix, "fc.weight")]
    nodes: list[Any] = []
    at = given
    if shape[-1] == 3:
        nodes.append(helper.make_node("Transpose", [at], ["nchw"], "to_nchw", perm=[0, 3, 1, 2]))
        at = "nchw"
    nodes += [
        helper.make_node("Conv", [at, "conv.weight"], ["c"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["pixels"], "relu"),  # called as the input will be
        helper.make_node("GlobalAveragePool", ["pixels"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten", axis=1),
        helper.make_node("MatMul", ["f", "fc.weight"], ["logits"], "fc"),
    ]
    at = "logits"
    if softmax:
        nodes.append(helper.make_node("Softmax", [at], ["scores"], "softmax", axis=1))
        at = "scores"
    if spread:
        constants.append(numpy_helper.from_array(np.array([-1, len(LABELS), 1, 1]), "wide"))
        nodes.append(helper.make_node("Reshape", [at, "wide"], ["spread"], "spread"))
    nodes[-1].output[0] = result
    out = (shape[0], len(LABELS), 1, 1) if spread else (shape[0], len(LABELS))
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info(given, kind, shape)],
        [helper.make_tensor_value_info(result, kind, out)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def file(model: onnx.ModelProto | bytes) -> Path:
        path = tmp_path / "theirs.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return path

    return file


def read(path: Path, **options: Any) -> OnnxSource:
    return OnnxSource.read(path, LABELS, **{"name": "x", "pixels": "-1..1", **options})


def refusal(path: Path, labels: tuple[str, ...] = LABELS, **options: Any) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(EdgevisionError) as raised:
        OnnxSource.read(path, labels, **{"name": "x", "pixels": "-1..1", **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def run(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    runtime = open_runtime(model.SerializeToString(), "onnx")
    assert (runtime.input.shape[1:], runtime.input.dtype) == (inputs.shape[1:], inputs.dtype)
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("pixels", "scores")
    return np.concatenate([runtime.run(each[np.newaxis]) for each in inputs])


@pytest.mark.parametrize(
    ("model", "pixels", "options"),
    [
        ({}, PER_CHANNEL, {}),
        ({"shape": (1, 3, HEIGHT, WIDTH), "names": ("scores", "pixels.1")}, "-1..1", {"color_order": "bgr"}),
        ({"shape": (1, HEIGHT, WIDTH, 3), "softmax": False}, PER_CHANNEL, {"logits": True, "color_order": "bgr"}),
        ({"shape": ("n", HEIGHT, WIDTH, 3), "opset": 13, "spread": True}, "0..1", {}),
        ({"opset": 11, "spread": True, "softmax": False}, "-1..1", {"logits": True}),
        ({"kind": TensorProto.FLOAT16}, "-1..1", {}),
    ],
    ids=["torch", "fixed", "tf2onnx", "spread", "old", "float16"],
)
def test_every_float_model_gives_the_scores_of_the_file(
    model: Any, pixels: str, options: Any, write: Any, held_out: Any
) -> None:
    proto = build(**model)
    source = read(write(proto), pixels=pixels, **options)
    bytes_rgb = held_out.pixels[:8]
    mean, std = {"-1..1": (127.5, 127.5), "0..1": (0, 255), PER_CHANNEL: (MEAN, STD)}[pixels]
    own = bytes_rgb[..., ::-1] if "color_order" in options else bytes_rgb
    numbers = (own.astype(np.float32) - mean) / std
    if model.get("shape", (0, 3))[1] == 3:
        numbers = numbers.transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    half = model.get("kind") == TensorProto.FLOAT16
    numbers = numbers.astype(np.float16 if half else np.float32)
    outputs = [session.run(None, {given.name: each[np.newaxis]})[0].reshape(-1) for each in numbers]
    expected = np.stack(outputs).astype(np.float32)
    if "logits" in options:
        expected = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
    within = 5e-3 if half else 1e-5
    scores = source.scores(bytes_rgb)
    assert np.allclose(scores, expected, atol=within)
    assert np.allclose(run(source.float_onnx("bytes"), bytes_rgb), scores, atol=within)
    nchw = bytes_rgb.transpose(0, 3, 1, 2).astype(np.float32)
    assert np.allclose(run(source.float_onnx("pixels"), nchw), scores, atol=within)
    if pixels != PER_CHANNEL:
        nchw = ((nchw - np.float32(mean)) / np.float32(std)).astype(np.float32)
    assert np.allclose(run(source.float_onnx("numbers"), nchw), scores, atol=within)
    (opset,) = source.float_onnx("bytes").opset_import
    assert opset.version == max(13, {11: 18}.get(model.get("opset"), model.get("opset", 17)))


def test_what_a_source_says_of_itself(write: Any) -> None:
    path = write(build())
    source = read(path, pixels="1,2,3:4,5,6", color_order="bgr", resize="letterbox")
    assert (source.metadata.labels, source.metadata.size_wh) == (LABELS, (WIDTH, HEIGHT))
    assert (source.metadata.resize, source.metadata.color_order) == ("letterbox", "rgb")
    assert source.metadata.normalization == Normalization((3, 2, 1), (6, 5, 4))
    assert source.formats == ("onnx",)
    with pytest.raises(EdgevisionError, match=r"from \.onnx only \.onnx files are made: give --formats onnx"):
        source.float_tflite("bytes")
    assert source.float_onnx("bytes") == read(path, pixels="1,2,3:4,5,6", color_order="bgr").float_onnx("bytes")


def test_weights_in_a_file_beside_it_are_read(tmp_path: Path, held_out: Any) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(build(), path, save_as_external_data=True, location="theirs.data", size_threshold=0)
    assert read(path).scores(held_out.pixels).shape == (60, len(LABELS))
    (tmp_path / "theirs.data").unlink()
    message = refusal(path)
    assert "theirs.onnx" in message
    assert "theirs.data" in message


def test_inputs_and_outputs_of_another_kind_are_refused(write: Any) -> None:
    path = write(build())
    assert "the model gives 4 scores per picture and there are 2 labels" in refusal(path, ("a", "b"))
    assert "does not say what numbers it takes; give --pixels 0..255" in refusal(path, pixels=None)
    assert "gives scores already, not logits; leave out --logits" in refusal(path, logits=True)
    assert "if they are logits, pass --logits" in refusal(write(build(softmax=False)))
    free = refusal(write(build(("n", 3, "height", "width"))))
    assert free == (
        "the model's input has no fixed height and width: (free, 3, free, free); fix it with python -m "
        "onnxruntime.tools.make_dynamic_shape_fixed --input_name NAME --input_shape 1,3,HEIGHT,WIDTH in.onnx out.onnx"
    )
    assert "takes 8 pictures at a time, (8, 3, 20, 28); export it with a batch of 1" in refusal(
        write(build((8, 3, HEIGHT, WIDTH)))
    )
    grey = build((1, HEIGHT, WIDTH, 3))
    grey.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1
    assert "takes grey pictures, (1, 20, 28, 1)" in refusal(write(grey))


def test_two_inputs_and_two_outputs_are_named(write: Any) -> None:
    two = build()
    two.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1,)))
    two.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, ("batch", 32)))
    message = refusal(write(two))
    assert "has 2 (input, mask) and 2 (output, f); export the model with one of each" in message


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_weights_name_their_operator(write: Any, broken: float) -> None:
    model = build()
    kernel = numpy_helper.to_array(model.graph.initializer[0]).copy()
    kernel[1, 2, 1, 1] = broken
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(kernel, "conv.weight"))
    message = refusal(write(model))
    assert "holds NaN or infinite weights, first in 'conv.weight' of Conv 'conv'; train the model again" in message


def test_a_quantized_file_is_refused_and_told_where_it_runs(write: Any) -> None:
    model = build()
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    zero = numpy_helper.from_array(np.uint8(128), "zero")
    model.graph.initializer.extend([scale, zero])
    model.graph.node[0].input[0] = "back"
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"], "q"))
    model.graph.node.insert(1, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["back"], "dq"))
    message = refusal(write(model))
    assert "theirs.onnx is quantized already (QuantizeLinear 'q'); give the float model" in message
    assert "edgevision classify, benchmark or stream with --labels FILE" in message


def test_operators_that_the_runtime_lacks_are_named(write: Any) -> None:
    model = build()
    model.opset_import.append(helper.make_opsetid("their.own", 1))
    model.graph.node[1].domain, model.graph.node[1].op_type = "their.own", "Swirl"
    message = refusal(write(model))
    assert "theirs.onnx computes 'relu' by Swirl of 'their.own', which ONNX Runtime lacks; " in message
    model = build()
    model.graph.node[2].op_type = "Relu7"
    assert "computes 'pool' by Relu7, which ONNX Runtime lacks; " in refusal(write(model))


def test_an_opset_that_old_devices_do_not_read_is_refused(write: Any) -> None:
    model = build()
    model.opset_import[0].version = 23
    assert "is of opset 23, which ONNX Runtime on older devices does not read" in refusal(write(model))


def test_what_is_no_foreign_onnx_file_is_refused(source: Any, write: Any) -> None:
    path = write(b"no model at all")
    assert f"{path} is no ONNX file that can be read" in refusal(path)
    assert f"{path} is no ONNX file that can be read" in refusal(write(b""))
    assert "cannot read the model file" in refusal(path.with_name("absent.onnx"))
    sealed = seal(build().SerializeToString(), source.metadata, "onnx")
    assert refusal(write(sealed)) == f"{path} was written by edgevision; export the model that it was made from"
    whole = build().SerializeToString()
    for keep in (0.3, 0.99):
        assert str(path) in refusal(write(whole[: int(keep * len(whole))]))
