"""What makes an int8 file integer: its operators, its input, its output, whatever the model's normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import Calibration, ExportedFile, SourceModel, export_model, float_operators
from edgevision_device import CheckError, Classifier, read_model_file

if TYPE_CHECKING:
    from pathlib import Path

    import keras

LABELS = ("red", "green", "blue", "yellow stripe")

Network = Callable[..., "keras.Model"]


def graph_of(path: Path) -> tuple[Any, Any]:
    """Return the parsed flatbuffer and its only graph."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = schema.ModelT.InitFromPackedBuf(read_model_file(path).model, 0)
    (graph,) = parsed.subgraphs
    return parsed, graph


def operators_with_floats(path: Path) -> list[str]:
    """Name the operators that read or write a floating-point tensor."""
    from ai_edge_litert import schema_py_generated as schema

    parsed, graph = graph_of(path)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    floats = (schema.TensorType.FLOAT16, schema.TensorType.FLOAT32, schema.TensorType.FLOAT64)
    return [
        names[parsed.operatorCodes[operator.opcodeIndex].builtinCode]
        for operator in graph.operators
        if any(graph.tensors[index].type in floats for index in (*operator.inputs, *operator.outputs) if index >= 0)
    ]


def test_the_only_float_operator_is_the_final_dequantize(exported: dict[str, ExportedFile]) -> None:
    path = exported["patches.int8.tflite"].path
    assert operators_with_floats(path) == ["DEQUANTIZE"]
    _, graph = graph_of(path)
    assert len(graph.operators) > 5
    assert list(graph.operators[-1].outputs) == list(graph.outputs)


def test_float_operators_are_found(exported: dict[str, ExportedFile]) -> None:
    assert float_operators(read_model_file(exported["patches.int8.tflite"].path).model) == []
    for recipe in ("float32", "float16", "dynamic"):
        path = exported[f"patches.{recipe}.tflite"].path
        found = float_operators(read_model_file(path).model)
        # A last DEQUANTIZE would not count; these files have none.
        assert [name.split()[0] for name in found] == operators_with_floats(path)
        assert any(name.startswith("CONV_2D ") for name in found)


def test_the_input_is_the_normalization(exported: dict[str, ExportedFile]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    _, graph = graph_of(exported["patches.int8.tflite"].path)
    pixels = graph.tensors[graph.inputs[0]]
    assert pixels.type == schema.TensorType.UINT8
    assert list(pixels.quantization.scale) == pytest.approx([1 / 128], rel=1e-6)
    assert list(pixels.quantization.zeroPoint) == [127]


def test_scores_are_finer_than_eight_bits(exported: dict[str, ExportedFile], held_out: Any) -> None:
    classifier = Classifier(exported["patches.int8.tflite"].path)
    scores = np.stack([classifier.run(pixels[np.newaxis]) for pixels in held_out.pixels])
    assert np.allclose(scores * 32768, np.rint(scores * 32768), atol=1e-2)
    assert not np.allclose(scores * 256, np.rint(scores * 256), atol=1e-2)


RANGES = {
    "0..255": ((0.0,), (1.0,)),
    "0..1": ((0.0,), (255.0,)),
    "-1..1": ((127.5,), (127.5,)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


def with_range(model: keras.Model, pixels: str) -> keras.Model:
    """Return the classifier for numbers of another range, as somebody else might have trained it."""
    import keras

    mean, std = RANGES[pixels]
    inputs = keras.Input((20, 28, 3))
    # A 1 x 1 convolution undoes the range, so that the network starts with a convolution, as they do.
    undo = keras.layers.Conv2D(3, 1, name="undo")
    x = model(undo(inputs))
    undo.set_weights([np.diag(np.broadcast_to(std, 3))[np.newaxis, np.newaxis], np.broadcast_to(mean, 3)])
    return keras.Model(inputs, x)


@pytest.mark.parametrize("pixels", ["0..255", "0..1", "-1..1", "imagenet"])
@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_any_pixel_range_takes_bytes(
    model: keras.Model,
    calibration: Calibration,
    held_out: Any,
    tmp_path: Path,
    pixels: str,
    format: str,
) -> None:
    source = SourceModel.of(with_range(model, pixels), LABELS, name="ranged", pixels=pixels)
    assert (source.scores(held_out.pixels).argmax(1) == held_out.targets).mean() > 0.9
    (file,) = export_model(
        source, tmp_path, verification=held_out.pixels, calibration=calibration, formats=[format], recipes=["int8"]
    )
    assert file.agreement.same_top1 >= 0.95
    classifier = Classifier(file.path)
    scores = np.stack([classifier.run(picture[np.newaxis]) for picture in held_out.pixels])
    assert np.abs(scores - source.scores(held_out.pixels)).mean() < 0.02
    assert (scores.argmax(1) == held_out.targets).mean() > 0.9
    if format == "tflite":
        assert operators_with_floats(file.path) == ["DEQUANTIZE"]


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_range_without_zero_is_refused(
    network: Network, calibration: Calibration, held_out: Any, tmp_path: Path, format: str
) -> None:
    source = SourceModel.of(network(normalization=None), LABELS, name="shifted", pixels="-20:128")
    with pytest.raises(CheckError, match=r"needs 0\.0078125 and -20\.0; this model cannot take raw bytes"):
        export_model(
            source, tmp_path, verification=held_out.pixels, calibration=calibration, formats=[format], recipes=["int8"]
        )
    assert list(tmp_path.iterdir()) == []
