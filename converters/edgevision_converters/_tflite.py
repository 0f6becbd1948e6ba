"""Keras to TFLite, by TensorFlow's converter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import CheckError

from ._tflite_flatbuffer import builtin_code, compact, pack, unpack
from ._tflite_names import layers_with_matrix, name_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from edgevision_device import Normalization

    from ._source import SourceModel

__all__ = ["convert_tflite", "float_operators", "pinned", "require_raw_bytes"]


def convert_tflite(source: SourceModel, recipe: str, calibration: npt.NDArray[np.uint8] | None) -> bytes:
    """Convert a model.

    Args:
        source: the model.
        recipe: one of `RECIPES["tflite"]`.
        calibration: uint8 pixels `(n, height, width, 3)`, for int8.

    Returns:
        A TFLite flatbuffer without metadata: uint8 input `pixels`, float32 output `scores`.
    """
    if recipe == "int8":
        assert calibration is not None
        return _int8(source, calibration)
    import tensorflow as tf

    def scores(pixels: Any) -> Any:
        return {"scores": source.model(tf.cast(pixels, tf.float32), training=False)}

    converter = _converter(scores, source, tf.uint8)
    if recipe != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if recipe == "dynamic":
        # Per channel, FULLY_CONNECTED would be of version 12, which tflite-runtime 2.14 does not know.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return pack(_tidy(converter.convert(), source))


def _int8(source: SourceModel, calibration: npt.NDArray[np.uint8]) -> bytes:
    """Quantize the network behind the normalization, and let the input's own quantization be the normalization.

    With pixels mapped by `(pixel - 127) / 128`, the input gets scale 1/128 and zero point 127: the bytes go straight
    in. Left in the graph, MUL and ADD would be two more roundings.
    """
    import tensorflow as tf

    normalization = source.metadata.normalization
    # One scale serves all three channels; a normalization per channel has to stay inside the graph.
    folded = len(normalization.mean) == 1
    network = source.core if folded else source.model
    mapped = pinned(calibration).astype(np.float32)
    if folded:
        mapped = (mapped - np.float32(normalization.mean[0])) / np.float32(normalization.std[0])

    def scores(pixels: Any) -> Any:
        return {"scores": network(pixels, training=False)}

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        for picture in mapped:
            yield [picture[np.newaxis]]

    converter = _converter(scores, source, tf.float32)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    parsed = _tidy(converter.convert(), source)
    _fine_scores(parsed)
    graph = parsed.subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    require_raw_bytes(float(quantization.scale[0]), int(quantization.zeroPoint[0]), normalization if folded else None)
    model = pack(parsed)
    floats = float_operators(model)
    if floats:
        raise CheckError(f"the int8 file would compute in float32 at {floats[0]!r}; this network has no int8 form")
    return model


def pinned(calibration: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put one black and one white pixel into the first picture, so that the input's range is 0..255 exactly."""
    pinned = calibration.copy()
    pinned[0, 0, 0], pinned[0, 0, 1] = 0, 255
    return pinned


def _converter(function: Any, source: SourceModel, dtype: Any) -> Any:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (  # pyright: ignore[reportMissingImports]
        convert_variables_to_constants_v2,
    )

    width, height = source.metadata.size_wh
    pixels = tf.TensorSpec((1, height, width, 3), dtype, name="pixels")
    concrete = tf.function(function, input_signature=[pixels]).get_concrete_function()
    # Keras 3 variables that stay variables end in READ_VARIABLE ops, which the calibrator cannot run.
    frozen = convert_variables_to_constants_v2(concrete)
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], source.model)


def _tidy(model: bytes, source: SourceModel) -> Any:
    """Parse what the converter wrote, name its tensors and drop what nobody reads."""
    parsed = unpack(model)
    name_tensors(parsed, layers_with_matrix(source.model))
    compact(parsed)
    return parsed


def _fine_scores(parsed: Any) -> None:
    """Let the final softmax write 16-bit integers instead of 8-bit ones.

    The int8 kernel's output step is 1/256, so that most of 1,000 scores are 0 and the best two often tie. The same
    kernel writes int16 with scale 1/32768 (tensorflow/lite/kernels/activations.cc, SoftmaxPrepare), from the same int8
    input, with no float op.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    made_by = {operator.outputs[0]: operator for operator in graph.operators}
    last = made_by[graph.outputs[0]]
    softmax = made_by.get(last.inputs[0])
    # Only where nobody but the final DEQUANTIZE reads it: softmax inside the network feeds operators that want int8.
    codes = schema.BuiltinOperator
    readers = sum(last.inputs[0] in operator.inputs for operator in graph.operators)
    if softmax is None or readers != 1:
        return
    if (builtin_code(parsed, softmax), builtin_code(parsed, last)) != (codes.SOFTMAX, codes.DEQUANTIZE):
        return
    output = graph.tensors[softmax.outputs[0]]
    output.type = schema.TensorType.INT16
    output.quantization.scale = np.array([1 / 32768], np.float32)
    output.quantization.zeroPoint = np.array([0], np.int64)


def require_raw_bytes(scale: float, zero_point: int, normalization: Normalization | None) -> None:
    """Raise CheckError unless an input with this scale and zero point does to bytes what the normalization does.

    It does not where `mean` lies outside 0..255: quantized ranges always include zero.
    """
    mean, std = (normalization.mean[0], normalization.std[0]) if normalization else (0.0, 1.0)
    if abs(scale * std - 1) > 1e-4 or abs(zero_point - mean) > 0.5001:
        raise CheckError(
            f"the int8 input has scale {scale} and zero point {zero_point}, the normalization ({mean}, {std}) needs "
            f"{1 / std} and {mean}; this model cannot take raw bytes"
        )


def float_operators(model: bytes) -> list[str]:
    """List the operators of a TFLite model that compute in floating point, except the final DEQUANTIZE.

    An operator counts as floating point when one of its inputs or outputs is.
    """
    from ai_edge_litert import schema_py_generated as schema

    parsed = unpack(model)
    graph = parsed.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    floats = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64}
    found: list[str] = []
    for operator in graph.operators:
        code = builtin_code(parsed, operator)
        last = code == schema.BuiltinOperator.DEQUANTIZE and operator.outputs[0] == graph.outputs[0]
        tensors = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
        if not last and any(graph.tensors[index].type in floats for index in tensors):
            found.append(f"{names[code]} {graph.tensors[operator.outputs[0]].name.decode()}")
    return found
