"""Fitting an int8 TFLite file to the float model that it was made from, layer by layer, on calibration pictures.

Both run side by side, the quantized one by the kernels of the device. Each convolution or dense layer is fitted to what
reaches it in the quantized file, the errors of the layers before included:

1. Weights are rounded so that the layer's outputs change least, see `_rounding`.
2. The bias takes up the mean error that is left: bias correction (Nagel et al., 2019,
   https://arxiv.org/abs/1906.04721), here by the means of real activations.

Nothing else changes: same operators, same size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._operators import Flow, Linear, UnknownGraphError
from ._rounding import best_steps, covariance, damped
from ._tflite_calibration import spread
from ._tflite_edit import operator_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy.typing as npt

__all__ = ["STEPS", "correct"]

#: The two steps above, each of which can be left out, so that a benchmark can say what it brings.
STEPS = ("rounded", "bias")

#: Largest activation of all pictures together, in bytes, and the most pictures.
_MEMORY, _PICTURES = 320 * 2**20, 64
#: Places in a picture whose windows are looked at. A depthwise layer has few taps to fit.
_PLACES, _DEPTHWISE_PLACES = 48, 16
#: Layers with more taps are only rounded to nearest; their covariance alone would take 100 MB and more.
_MOST_TAPS = 4608
#: How much of the mean variance is added to the diagonal. Found on EfficientNet-Lite0 with 64 pictures: with less,
#: weights fit these pictures and lose on others.
_DAMPING = 1.0


def correct(
    quantized: Any,
    reference: Any,
    pixels: npt.NDArray[np.uint8] | None,
    numbers: npt.NDArray[np.float32],
    steps: Collection[str] = STEPS,
) -> int:
    """Fit weights and biases of a quantized model, in place.

    Args:
        quantized: `ModelT`: int8 weights, int8 or int16 activations.
        reference: `ModelT`, float32, with the same operators in the same order.
        pixels: uint8 `(n, …)`, for `quantized`; at most 64 of them are used. None takes its activations to be exact,
            which they nearly are in 16 bits, and whose kernels would take a minute.
        numbers: the same pictures for `reference`.
        steps: of `STEPS`, those to take.

    Returns:
        How many layers were fitted.

    Raises:
        UnknownGraphError: the graphs differ by more than QUANTIZE and DEQUANTIZE, or an operator cannot be run alone.
    """
    pairs = list(_pairs(quantized, reference))
    chosen = spread(len(numbers), _affordable(reference))
    low = None if pixels is None else Flow(quantized, pixels[chosen])
    high = Flow(reference, numbers[chosen])
    generator = np.random.default_rng(0)
    fitted = 0
    for operator, original in pairs:
        if original is not None:
            layer, target = Linear.of(quantized, operator), Linear.of(reference, original)
            if layer is not None and target is not None and _fit(quantized, layer, target, low, high, generator, steps):
                fitted += 1
            high.advance(original)
        if low is not None:
            low.advance(operator)
    return fitted


def _pairs(quantized: Any, reference: Any) -> Iterator[tuple[Any, Any]]:
    """Give each operator of the quantized graph with its original, None for a QUANTIZE or DEQUANTIZE."""
    left = list(reference.subgraphs[0].operators)
    for operator in quantized.subgraphs[0].operators:
        name = operator_name(quantized, operator)
        if left and operator_name(reference, left[0]) == name:
            yield operator, left.pop(0)
        elif name in ("QUANTIZE", "DEQUANTIZE"):
            yield operator, None
        else:
            raise UnknownGraphError(name)
    if left:
        raise UnknownGraphError(operator_name(reference, left[0]))


def _affordable(reference: Any) -> int:
    sizes = [int(np.prod(tensor.shape)) for tensor in reference.subgraphs[0].tensors if tensor.shape is not None]
    return int(min(_PICTURES, max(8, _MEMORY // (4 * max(sizes)))))


def _fit(
    quantized: Any,
    layer: Linear,
    target: Linear,
    low: Flow | None,
    high: Flow,
    generator: np.random.Generator,
    steps: Collection[str],
) -> bool:
    """Fit one layer. Return False where it is left as it is."""
    matrix = target.matrix.astype(np.float64)
    tensors = quantized.subgraphs[0].tensors
    quantization = tensors[layer.input].quantization
    if layer.weights.dtype != np.int8 or target.weights.dtype != np.float32 or quantization is None:
        return False
    if layer.bias is None or target.bias is None:
        return False
    if len(matrix) > _MOST_TAPS or len(np.atleast_1d(quantization.scale)) != 1:
        return False
    step, zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    places = _places(layer, tensors, high.known[target.input], generator)
    true = target.windows(high.known[target.input], *places, 0)
    got = true
    if low is not None:
        got = layer.windows(low.known[layer.input], *places, zero_point).astype(np.float32)
        got = (got - np.float32(zero_point)) * np.float32(step)
    got, true = (each.reshape(-1, *each.shape[2:]) for each in (got, true))
    mean_got, mean_true = got.mean(axis=0, dtype=np.float64), true.mean(axis=0, dtype=np.float64)
    inputs = covariance(got, mean_got)
    scale = _scale(matrix, target.bias, step, layer.bias.dtype).astype(np.float64)
    found = (
        best_steps(matrix, scale, damped(inputs, _DAMPING))
        if "rounded" in steps
        else np.rint(matrix / scale).clip(-127, 127)
    )
    missing = _means(mean_true, matrix) - _means(mean_got, found * scale) if "bias" in steps else 0
    bias_scale = (step * scale).astype(np.float32)
    # In float64, which holds no larger whole number exactly.
    most = min(np.iinfo(layer.bias.dtype).max, 2**53)
    bias = np.rint((target.bias + missing) / bias_scale).clip(-most, most)
    layer.put(quantized, layer.stored(found), bias)
    for index, values in zip(layer.operator.inputs[1:], (scale.astype(np.float32), bias_scale), strict=True):
        stored = tensors[index].quantization
        stored.scale, stored.zeroPoint = values, np.zeros(len(values), np.int64)
    return True


def _places(
    layer: Linear, tensors: Any, inputs: npt.NDArray[Any], generator: np.random.Generator
) -> tuple[npt.NDArray[np.intp], tuple[int, int]]:
    """Choose where in each picture to look, among the layer's outputs; return it with their height and width."""
    shape = tuple(int(size) for size in tensors[layer.output].shape)
    height_width = shape[1:3] if len(shape) == 4 else (1, 1)
    area = height_width[0] * height_width[1]
    count = min(area, _DEPTHWISE_PLACES if layer.depthwise else _PLACES)
    return np.stack([generator.choice(area, count, replace=False) for _ in range(len(inputs))]), height_width


def _scale(
    matrix: npt.NDArray[np.float64], bias: npt.NDArray[np.float32], input_scale: float, stored: np.dtype[Any]
) -> npt.NDArray[np.float32]:
    """Return the size of a step of each channel's weights.

    A channel whose weights are all near zero needs steps in which its bias still fits the type that it is stored in.
    """
    largest = np.abs(matrix).max(axis=0)
    floor = np.maximum(
        1e-5 * max(float(largest.max()), 1e-30), np.abs(bias) / (input_scale * 2.0 ** (8 * stored.itemsize - 8))
    )
    return (np.maximum(largest, floor) / 127).astype(np.float32)


def _means(inputs: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean output for mean inputs `(taps,)` or `(taps, channels)`."""
    return inputs @ matrix if inputs.ndim == 1 else (inputs * matrix).sum(axis=0)
