"""ONNX files as other tools see them: the checker, shape inference, ONNX Runtime, and where int8 quantizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision_converters import Calibration, ExportedFile, SourceModel, export_model, load_saved_model
from edgevision_device import Classifier, open_runtime, read_model_file

LABELS = ("red", "green", "blue", "yellow stripe")


def load(path: Path) -> Any:
    import onnx

    return onnx.load(path)


@pytest.fixture(params=["float32", "dynamic", "int8"])
def path(request: pytest.FixtureRequest, exported: dict[str, ExportedFile]) -> Path:
    return exported[f"patches.{request.param}.onnx"].path


def test_the_checker_accepts_the_file(path: Path) -> None:
    import onnx

    onnx.checker.check_model(path, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(load(path), strict_mode=True, check_type=True, data_prop=True)
    shapes = {value.name: value.type.tensor_type.shape for value in inferred.graph.value_info}
    produced = {name for node in inferred.graph.node for name in node.output} - {"scores"}
    assert produced
    if not any(node.domain for node in inferred.graph.node):  # shapes of other domains are not onnx's to infer
        assert produced == set(shapes)
        assert all(dim.HasField("dim_value") for shape in shapes.values() for dim in shape.dim)


def test_the_interface_is_named_and_fixed(path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ((pixels,), (scores,)) = (session.get_inputs(), session.get_outputs())
    assert (pixels.name, pixels.type, pixels.shape) == ("pixels", "tensor(uint8)", [1, 20, 28, 3])
    assert (scores.name, scores.type, scores.shape) == ("scores", "tensor(float)", [1, len(LABELS)])


def test_it_multiplies_as_often_as_the_tflite_file_of_the_same_network(
    path: Path, exported: dict[str, ExportedFile]
) -> None:
    from edgevision_benchmarks._cost import read_cost
    from edgevision_benchmarks._onnx_cost import read_onnx_cost

    onnx, tflite = (read_model_file(each).model for each in (path, exported["patches.float32.tflite"].path))
    counted, expected = read_onnx_cost(onnx), read_cost(tflite, "litert")
    assert counted is not None
    assert expected is not None
    assert counted.macs == expected.macs > 0


def test_the_opset_is_eighteen(path: Path) -> None:
    versions = {entry.domain: entry.version for entry in load(path).opset_import}
    assert versions[""] == 18
    assert set(versions) == {node.domain for node in load(path).graph.node}


def test_names_are_for_people(path: Path) -> None:
    graph = load(path).graph
    names = [node.name for node in graph.node if node.name]
    assert len(set(names)) == len(names)
    assert graph.name == "patches"
    assert any("third" in name for name in names)
    assert all("__" not in constant.name for constant in graph.initializer if "third" in constant.name)
    assert load(path).producer_name == "edgevision"


def test_only_the_layout_of_the_bytes_comes_before_dequantizing(exported: dict[str, ExportedFile]) -> None:
    graph = load(exported["patches.int8.onnx"].path).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds[: kinds.index("DequantizeLinear") + 1].count("QuantizeLinear") == 0
    (transpose,) = [node for node in graph.node if "pixels" in node.input]
    assert transpose.op_type == "Transpose"
    (first,) = [node for node in graph.node if transpose.output[0] in node.input]
    constants = constants_of(graph)
    assert first.op_type == "DequantizeLinear"
    assert constants[first.input[1]] == pytest.approx(1 / 128)
    assert (constants[first.input[2]], constants[first.input[2]].dtype) == (127, np.uint8)


def test_every_product_takes_quantized_numbers(exported: dict[str, ExportedFile]) -> None:
    graph = load(exported["patches.int8.onnx"].path).graph
    producers = {name: node for node in graph.node for name in node.output}
    constants = constants_of(graph)
    products = [node for node in graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    assert [node.op_type for node in products].count("Conv") == 3
    assert len(products) == 4
    for node in products:
        for name in node.input[:2]:
            assert producers[name].op_type == "DequantizeLinear", (node.name, name)
        weights, scale = (constants[name] for name in producers[node.input[1]].input[:2])
        assert weights.dtype == np.int8
        assert scale.size > 1, f"{node.name} is not quantized per channel"


def constants_of(graph: Any) -> dict[str, np.ndarray]:
    from onnx import numpy_helper

    return {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}


def test_dynamic_weights_are_eight_bit(exported: dict[str, ExportedFile]) -> None:
    graph = load(exported["patches.dynamic.onnx"].path).graph
    assert {"ConvInteger", "MatMulInteger"} <= {node.op_type for node in graph.node}
    largest = max(constants_of(graph).values(), key=lambda array: array.size)
    assert largest.dtype == np.uint8


def flat(keras: Any) -> Any:
    """No convolution: the bytes reach a layer that only moves them first."""
    inputs = keras.Input((20, 28, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, -127 / 128)(inputs))
    return keras.Model(inputs, keras.layers.Dense(len(LABELS), activation="softmax", kernel_initializer="zeros")(x))


def branching(keras: Any) -> Any:
    """The normalized pixels reach two layers."""
    inputs = keras.Input((20, 28, 3))
    x = keras.layers.Rescaling(1 / 128, -127 / 128)(inputs)
    x = keras.layers.Add()([keras.layers.Conv2D(3, 3, padding="same")(x), x])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(len(LABELS), activation="softmax")(x))


def augmented(keras: Any) -> Any:
    """Augmentation layers stand before the Rescaling, as Keras's guides put them."""
    inputs = keras.Input((20, 28, 3))
    x = keras.layers.Rescaling(1 / 255)(keras.layers.RandomFlip()(inputs))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(x))
    return keras.Model(inputs, keras.layers.Dense(len(LABELS), activation="softmax")(x))


@pytest.mark.parametrize("build", [flat, branching, augmented])
def test_int8_takes_bytes_whatever_layer_comes_first(
    build: Callable[[Any], Any], calibration: Calibration, held_out: Any, tmp_path: Path
) -> None:
    import keras

    keras.utils.set_random_seed(5)
    model = build(keras)
    if build is flat:
        kernel = np.random.default_rng(5).normal(0, 0.05, model.layers[-1].kernel.shape)
        model.layers[-1].set_weights([kernel, np.zeros(len(LABELS))])
    source = SourceModel.of(model, LABELS, name="x", pixels="0..255" if build is augmented else None)
    (file,) = export_model(
        source, tmp_path, verification=held_out.pixels, calibration=calibration, formats=["onnx"], recipes=["int8"]
    )
    expected = source.scores(held_out.pixels)
    assert expected.std(0).max() > 0.002, "answers that never change prove nothing"
    scores = np.stack([Classifier(file.path).run(pixels[np.newaxis]) for pixels in held_out.pixels])
    assert np.abs(scores - expected).max() < 0.04
    assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.98


def of_products(nodes: list[Any], constants: dict[str, Any], *, signed: bool, shape: tuple[int, ...]) -> bytes:
    """Return a model of 8 bytes `pixels` and 4 `scores`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    given, out = (TensorProto.INT8, TensorProto.INT8) if signed else (TensorProto.UINT8, TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("pixels", given, shape)],
        [helper.make_tensor_value_info("scores", out, (1, 4, *shape[2:]))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@pytest.mark.parametrize(("operator", "sides"), [("MatMul", ()), ("Conv", (1, 1))])
def test_sums_of_large_products_are_whole_on_every_processor(operator: str, sides: tuple[int, ...]) -> None:
    """255 times 127 twice is more than 16 bits hold, in which x86-64 without VNNI adds pairs of them."""
    from onnx import helper

    taps = 8
    constants: dict[str, Any] = {
        "one": np.float32(1),
        "step": np.float32(taps * 127),
        "zero": np.uint8(0),
        "signed_zero": np.int8(0),
        "weights": np.full((4, taps, *sides) if sides else (taps, 4), 127, np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["pixels", "one", "zero"], ["real"]),
        helper.make_node("DequantizeLinear", ["weights", "one", "signed_zero"], ["real_weights"]),
        helper.make_node(operator, ["real", "real_weights"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "step", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "step", "zero"], ["scores"]),
    ]
    shape = (1, taps, *sides)
    runtime = open_runtime(of_products(nodes, constants, signed=False, shape=shape), "onnx", threads=1)
    assert runtime.run(np.full(shape, 255, np.uint8)) == pytest.approx(taps * 255 * 127)


def test_signed_bytes_times_signed_weights_open_too() -> None:
    """As ONNX Runtime's own quantizer writes them; its option for whole sums has no kernels for that."""
    from onnx import helper

    taps = 8
    constants: dict[str, Any] = {
        "one": np.float32(1),
        "step": np.float32(taps * 127),
        "signed_zero": np.int8(0),
        "weights": np.full((taps, 4), 127, np.int8),
    }
    names = ["pixels", "one", "signed_zero", "weights", "one", "signed_zero", "step", "signed_zero"]
    node = helper.make_node("QLinearMatMul", names, ["scores"])
    runtime = open_runtime(of_products([node], constants, signed=True, shape=(1, taps)), "onnx", threads=1)
    assert (runtime.run(np.full((1, taps), 127, np.int8)) == 127).all()


def inside(keras: Any, *layers: Any) -> Any:
    """Hide layers in one, which is no normalization that a model starts with."""
    return keras.Sequential([keras.Input((20, 28, 3)), *layers])


def normalized_by_lists(keras: Any) -> Any:
    return inside(keras, keras.layers.Normalization(mean=[110.0, 120.0, 130.0], variance=[900.0, 1600.0, 2500.0]))


def normalized_as_a_whole(keras: Any) -> Any:
    return inside(keras, keras.layers.Normalization(axis=None, mean=120.0, variance=1600.0))


def normalized_behind_a_rescaling(keras: Any) -> Any:
    adapted = keras.layers.Normalization()
    adapted.adapt(np.random.default_rng(4).uniform(0, 1, (8, 20, 28, 3)).astype(np.float32))
    return inside(keras, keras.layers.Rescaling(1 / 255), adapted)


@pytest.mark.parametrize("build", [normalized_by_lists, normalized_as_a_whole, normalized_behind_a_rescaling])
@pytest.mark.parametrize("saved", [False, True], ids=["Keras", "SavedModel"])
def test_the_constants_of_a_layer_are_no_inputs(
    build: Callable[[Any], Any], saved: bool, calibration: Calibration, held_out: Any, tmp_path: Path
) -> None:
    import keras
    import onnx

    keras.utils.set_random_seed(5)
    inputs = keras.Input((20, 28, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(build(keras)(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(len(LABELS), activation="softmax")(x))
    expected = np.asarray(model(held_out.pixels.astype(np.float32), training=False))
    assert expected.std(0).max() > 0.002, "answers that never change prove nothing"
    if saved:
        model.export(tmp_path / "saved", verbose=False)
        model = load_saved_model(tmp_path / "saved")
    source = SourceModel.of(model, LABELS, name="x", pixels="0..255")
    files = export_model(
        source, tmp_path, verification=held_out.pixels, calibration=calibration, recipes=["float32", "int8"]
    )
    for file in files:
        scores = np.stack([Classifier(file.path).run(pixels[np.newaxis]) for pixels in held_out.pixels])
        assert np.abs(scores - expected).max() < (1e-5 if file.recipe == "float32" else 0.04)
        if file.format == "onnx":
            proto = load(file.path)
            onnx.checker.check_model(proto, full_check=True)
            assert [value.name for value in proto.graph.input] == ["pixels"]
