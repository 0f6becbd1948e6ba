"""Recipes for `.tflite` files, each made from a float model."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import CheckError

from ._fronts import begin_tflite
from ._layer_error import layer_errors, worst_layers
from ._source import folded, normalize
from ._tflite_calibration import spread
from ._tflite_edit import operator_name
from ._tflite_flatbuffer import builtin_code, compact, pack, unpack
from ._tflite_int8 import Int8Quantizer, quantize_16_fitted
from ._tflite_names import name_tensors
from ._tflite_weights import to_dynamic, to_float16

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgevision_device import Normalization

    from ._source import Source

__all__ = ["TfliteConversion", "float_operators", "pinned", "require_raw_bytes", "take_bytes"]

#: `int8-selective` computes this share of the layers with weights in float32: those of the lowest own signal-to-noise
#: ratio on so many calibration pictures.
_FLOAT_SHARE = 0.1
_WATCHED = 16
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


class TfliteConversion:
    """The recipes of one model, which share what takes long: the float models, the ranges and the fitted int8 file."""

    def __init__(self, source: Source, calibration: npt.NDArray[np.uint8] | None, *, fitted: bool = True) -> None:
        """Do nothing yet.

        Args:
            source: the model.
            calibration: uint8 pixels `(n, height, width, 3)`, for the recipes that take ranges from pictures.
            fitted: of int8: see `Int8Quantizer.quantize`; of random weights there is nothing to keep.
        """
        self._source = source
        self._calibration = calibration
        self._fitted = fitted

    def convert(self, recipe: str) -> bytes:
        """Convert the model.

        Args:
            recipe: one of `RECIPES["tflite"]`.

        Returns:
            A TFLite flatbuffer without metadata: uint8 input `pixels`, float32 output `scores`.
        """
        makers = {
            "float32": lambda: self._float,
            "float16": lambda: to_float16(self._float),
            "dynamic": lambda: to_dynamic(self._float),
            "int8": self._make_int8,
            "int8-selective": self._make_selective,
            "int8x16": self._make_int8x16,
        }
        return makers[recipe]()

    @cached_property
    def _float(self) -> bytes:
        return self._source.float_tflite("bytes")

    @property
    def _pixels(self) -> npt.NDArray[np.uint8]:
        assert self._calibration is not None
        return pinned(self._calibration)

    @cached_property
    def _quantizer(self) -> Int8Quantizer:
        """Of the network behind the normalization: the input's own quantization is to be the normalization.

        With pixels mapped by `(pixel - 127) / 128`, the input gets scale 1/128 and zero point 127: the bytes go
        straight in. Left in the graph, MUL and ADD would be two more roundings.
        """
        pixels = self._pixels
        return Int8Quantizer.of(self._source.float_tflite("numbers"), normalize(self._source.metadata, pixels), pixels)

    @cached_property
    def _int8(self) -> bytes:
        return take_bytes(self._quantizer.quantize(fitted=self._fitted), self._source)

    def _make_int8(self) -> bytes:
        floats = float_operators(self._int8)
        if floats:
            raise CheckError(f"the int8 file would compute in float32 at {floats[0]!r}; this network has no int8 form")
        return self._int8

    def _make_selective(self) -> bytes:
        assert self._calibration is not None
        # On these files, of all layers, errors differ by more than pictures do.
        errors = layer_errors(self._int8, self._float, self._calibration[spread(len(self._calibration), _WATCHED)])
        computing = [each for each in errors.layers if each.operator in _WEIGHTED]
        worst = worst_layers(computing, math.ceil(_FLOAT_SHARE * len(computing)))
        return take_bytes(self._quantizer.quantize([each.layer for each in worst]), self._source)

    def _make_int8x16(self) -> bytes:
        """Quantize weights to 8 bits and activations to 16, the normalization included: that costs no accuracy here."""
        parsed = unpack(quantize_16_fitted(self._source.float_tflite("pixels"), self._pixels.astype(np.float32)))
        name_tensors(parsed, self._source.layers)
        compact(parsed)
        begin_tflite(parsed, "bytes", self._source.metadata.size_wh)
        return pack(parsed)


def take_bytes(model: bytes, source: Source) -> bytes:
    """Name tensors, refine the scores, and make sure that the input takes raw bytes."""
    parsed = unpack(model)
    name_tensors(parsed, source.layers)
    compact(parsed)
    _fine_scores(parsed)
    graph = parsed.subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    normalization = source.metadata.normalization if folded(source.metadata) else None
    require_raw_bytes(float(quantization.scale[0]), int(quantization.zeroPoint[0]), normalization)
    return pack(parsed)


def pinned(calibration: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put one black and one white pixel into the first picture, so that the input's range is 0..255 exactly."""
    pinned = calibration.copy()
    pinned[0, 0, 0], pinned[0, 0, 1] = 0, 255
    return pinned


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
    floats = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64}
    found: list[str] = []
    for operator in graph.operators:
        name = operator_name(parsed, operator)
        last = name == "DEQUANTIZE" and operator.outputs[0] == graph.outputs[0]
        tensors = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
        if not last and any(graph.tensors[index].type in floats for index in tensors):
            found.append(f"{name} {graph.tensors[operator.outputs[0]].name.decode()}")
    return found
