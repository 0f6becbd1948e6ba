"""What may differ between two processors in the layers of an int8 file: what rounds otherwise there, and nothing else.

Two kernels do. Of each the exact value is computed here, and both processors must give it rounded:

- SOFTMAX with 8-bit scores, in LiteRT. Built by clang for arm64 it adds exponentials in steps of 1/65535, elsewhere in
  float32 (`TFLITE_SOFTMAX_USE_UINT16_LUT` in tflite/kernels/internal/optimized/optimized_ops.h). A score that lies as
  good as halfway between two steps comes out as either. 16-bit scores, which exported files have, are made with
  integers everywhere.
- DEPTHWISE_CONV_2D in tflite-runtime. It multiplies the sum with a fixed-point number, rounds, then shifts right and
  rounds again; halves go up on arm64 (`vrshlq_s32`, in `Quantize` of the same file) and away from zero elsewhere
  (gemmlowp's `RoundingDivideByPOT`). So negative halves come out a step apart; before a ReLU that is never seen.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

Arrays = dict[str, np.ndarray]
#: Kind, inputs and output of a layer, as numbers of tensors.
Layer = tuple[str, list[int], int]


def compare_layers(
    arm: Arrays, native: Arrays, file: str, layers: list[Layer], runtime: str
) -> tuple[Counter[str], int]:
    """Return how many outputs differ by a known rounding, by kind of layer, and how many for no known reason.

    A picture is left at the first layer that differs: those behind it were given something else.
    """
    known: Counter[str] = Counter()
    unknown = 0
    same: np.ndarray | None = None
    for kind, inputs, output in layers:
        ours, theirs = (made[f"tensors/{file}/{output}"] for made in (arm, native))
        if same is None:
            same = np.ones(len(ours), np.bool_)
        differ = ours != theirs
        allowed = bounds(native, file, (kind, inputs, output), runtime)
        wrong = differ
        if allowed is not None:
            lowest, highest = allowed
            wrong = (np.minimum(ours, theirs) < lowest) | (np.maximum(ours, theirs) > highest)
        unknown += int(wrong[same].sum())
        if (differ & ~wrong)[same].any():
            known[kind] += int((differ & ~wrong)[same].sum())
        same &= ~differ.reshape(len(differ), -1).any(1)
    return known, unknown


def bounds(made: Arrays, file: str, layer: Layer, runtime: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the lowest and the highest output that a layer may give, or None if there is but one."""
    kind, inputs, output = layer
    values = made[f"tensors/{file}/{output}"]
    scale, zero = (made[f"{name}/{file}/{output}"] for name in ("scales", "zeros"))
    if values.dtype != np.int8:
        return None
    if kind == "SOFTMAX" and runtime == "litert":
        logits = made[f"tensors/{file}/{inputs[0]}"]
        lowest, highest = softmax_bounds(logits, float(made[f"scales/{file}/{inputs[0]}"][0]), float(scale[0]))
    elif kind == "DEPTHWISE_CONV_2D" and runtime == "tflite-runtime":
        pixels, weights = made[f"tensors/{file}/{inputs[0]}"], made[f"constants/{file}/{inputs[1]}"][0]
        if pixels.shape[1:] != weights.shape:  # slides over its input; those here have a ReLU behind them
            return None
        products = (pixels.astype(np.int64) - made[f"zeros/{file}/{inputs[0]}"]) * weights
        sums = products.sum((1, 2)).reshape(values.shape) + made[f"constants/{file}/{inputs[2]}"]
        of_input, of_weights = (made[f"scales/{file}/{index}"].astype(np.float64) for index in inputs[:2])
        lowest, highest = halves(sums, of_input * of_weights / scale.astype(np.float64))
    else:
        return None
    return tuple(np.clip(steps + zero, -128, 127) for steps in (lowest, highest))  # type: ignore[return-value]


def softmax_bounds(logits: np.ndarray, scale: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what the softmax of `(pictures, labels)` may be in steps: its exact value rounded, a half to either side.

    On arm64 each exponential is off by at most half of 1/65535 and the largest is not, nor is their sum less than it;
    then the product is rounded to 1/128 of a step before it is rounded to a step. Errors add up with the labels: to
    0.012 steps of 1/256 with four of them, to 0.395 with 200. Raises ValueError where it comes to half a step.
    """
    exponentials = np.exp((logits.astype(np.float64) - logits.max(-1, keepdims=True)) * scale)
    exact = exponentials / exponentials.sum(-1, keepdims=True) / step
    margin = 0.5 * logits.shape[-1] / 65535 / step + 0.5 / 128
    if margin >= 0.5:
        raise ValueError(f"the softmax of {logits.shape[-1]} labels may be {margin:.2f} steps off: too many to judge")
    return np.floor(exact + 0.5 - margin).astype(np.int64), np.floor(exact + 0.5 + margin).astype(np.int64)


def halves(sums: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `sums * factors` in fixed point, `(..., channels)` each: halves away from zero, and halves up."""
    away, up = np.empty_like(sums), np.empty_like(sums)
    for channel, factor in enumerate(factors):
        fraction, exponent = math.frexp(factor)
        if exponent > 0:
            raise ValueError(f"a factor of at least 1 is not shifted right: {factor}")
        product = sums[..., channel] * math.floor(fraction * 2**31 + 0.5)
        # To the nearest integer, as `sqrdmulh` does, and by the shift after it.
        high, shift = (product + 2**30) >> 31, -exponent
        half = (1 << shift) >> 1
        away[..., channel] = np.sign(high) * ((np.abs(high) + half) >> shift)
        up[..., channel] = (high + half) >> shift
    return away, up
