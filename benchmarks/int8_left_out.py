"""Steps of int8 that do not pay, each added to what `edgevision export` does: EfficientNet-Lite0, 1,000 labels.

    python benchmarks/int8_left_out.py --stamps /usr/share/tuxpaint/stamps

Pictures and calibration are those of `benchmarks/int8_faithfulness.py`. The steps:

- percentile ranges: 0.01 % of a tensor's numbers on each side lie outside of its range;
- MSE ranges: of ranges from 0.5 to 1 times the widest, the one whose rounding and clipping cost least;
- even linear channels: where channels lie between linear layers (in inverted residual blocks: project, add, expand),
  each may be multiplied by a number if what reads it is divided, so that none is left with few of the 256 steps: this
  is cross-layer equalization (Nagel et al., 2019, https://arxiv.org/abs/1906.04721), for ranges of activations;
- even ReLU6 channels: the same behind ReLU6, up to 4 times, where a channel stays below 6 on the calibration pictures.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgevision._photos import CALIBRATION_PHOTOS, photo_crops
from edgevision_benchmarks import Accuracy
from edgevision_converters._correct import correct
from edgevision_converters._operators import Linear, computed_inputs, walk
from edgevision_converters._source import normalize
from edgevision_converters._tflite import pinned, take_bytes
from edgevision_converters._tflite_calibration import Calibrated
from edgevision_converters._tflite_edit import operator_name
from edgevision_converters._tflite_flatbuffer import pack, unpack
from edgevision_device import quiet_native
from int8_faithfulness import MODEL, answers, load_source, photographs, stamps

Ranges = dict[int, tuple[np.ndarray, np.ndarray]]
#: How much a linear channel is widened at most, against the widest of its tensor, and one behind ReLU6.
MOST_LINEAR, MOST_RELU6 = 10.0, 4.0
#: Numbers of a tensor that are kept of each picture, to choose its range by.
KEPT = 2000
#: Pictures that are run at a time; bounds memory.
BATCH = 16


def batches(model: bytes, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Run a model operator by operator on some pictures at a time; give the float activations, by tensor."""
    parsed = unpack(model)
    for start in range(0, len(numbers), BATCH):
        for operator, _, output in walk(parsed, numbers[start : start + BATCH]):
            if output.dtype == np.float32:
                yield int(operator.outputs[0]), output


def channel_ranges(model: bytes, numbers: np.ndarray) -> Ranges:
    """Return the range of every activation, channel by channel."""
    ranges: Ranges = {}
    given = int(unpack(model).subgraphs[0].inputs[0])
    for index, activation in itertools.chain([(given, numbers)], batches(model, numbers)):
        rows = activation.reshape(-1, activation.shape[-1])
        low, high = ranges.get(index, (np.float32(np.inf), np.float32(-np.inf)))
        ranges[index] = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    return ranges


def fused_activation(operator: Any) -> str:
    """Return what an operator ends with: `NONE`, `RELU`, `RELU6` or another of the schema's activations."""
    from ai_edge_litert import schema_py_generated as schema

    value = getattr(operator.builtinOptions, "fusedActivationFunction", 0) or 0
    return next(name for name, known in vars(schema.ActivationFunctionType).items() if known == value)


def samples(model: bytes, numbers: np.ndarray) -> dict[int, np.ndarray]:
    """Return some numbers of every activation, by tensor."""
    generator = np.random.default_rng(0)
    found: dict[int, list[np.ndarray]] = {}
    for index, output in batches(model, numbers):
        found.setdefault(index, []).append(generator.choice(output.reshape(-1), KEPT * len(output)))
    return {index: np.concatenate(parts) for index, parts in found.items()}


def percentile_range(values: np.ndarray) -> tuple[float, float]:
    """Return the range that leaves out 0.01 % on each side."""
    low, high = np.quantile(values, [1e-4, 1 - 1e-4])
    return float(low), float(high)


def mse_range(values: np.ndarray) -> tuple[float, float]:
    """Return, of ranges from 0.5 to 1 times the widest, the one with the least mean squared error."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    errors: dict[float, float] = {}
    for share in np.linspace(0.5, 1, 26):
        step = max((high - low) * share / 255, 1e-12)
        rounded = np.clip(np.rint((values - low * share) / step), 0, 255) * step + low * share
        errors[float(share)] = float(((rounded - values) ** 2).mean())
    best = min(errors, key=lambda share: errors[share])
    return low * best, high * best


def linear_scale(widths: list[np.ndarray]) -> np.ndarray:
    """Return what to multiply the channels of tensors by that share a scale, so that all are about as wide."""
    relative = np.mean([np.maximum(width / width.max(), 1 / MOST_LINEAR) for width in widths], axis=0)
    return (1 / relative) / np.exp(np.log(1 / relative).mean())


def relu6_scale(widths: list[np.ndarray]) -> np.ndarray:
    """Return what to multiply channels behind ReLU6 by, so that they reach 6."""
    return np.clip(6 / np.maximum(widths[0], 1e-6), 1, MOST_RELU6)


def equalize(parsed: Any, ranges: Ranges, activation: str) -> int:
    """Scale channels of a float model in place, and their ranges; return of how many tensors.

    Args:
        parsed: `ModelT`; with `NONE` its function stays, with `RELU6` it stays on what the ranges come from.
        ranges: of its activations, by channel.
        activation: `NONE` for linear channels, `RELU6` for those behind it.
    """
    scales: dict[int, np.ndarray] = {}
    for group in groups(parsed, activation):
        if all(index in ranges for index in group):
            widths = [np.maximum(-ranges[index][0], ranges[index][1]).astype(np.float64) for index in group]
            if all(width.max() > 0 for width in widths):
                scale = linear_scale(widths) if activation == "NONE" else relu6_scale(widths)
                scales.update(dict.fromkeys(group, scale))
    for index, scale in scales.items():
        low, high = ranges[index]
        ranges[index] = low * scale, high * scale
    for operator in parsed.subgraphs[0].operators:
        layer = Linear.of(parsed, operator)
        if layer is None:
            continue
        weights, bias = layer.weights.astype(np.float64), layer.bias
        if layer.input in scales:
            # Depthwise weights are (1, height, width, channels), all others have the channels that they read last.
            weights = weights / scales[layer.input]
        if layer.output in scales:
            scale = scales[layer.output]
            bias = None if bias is None else bias * scale
            weights = weights * (scale if layer.depthwise else scale.reshape(-1, *[1] * (weights.ndim - 1)))
        layer.put(parsed, weights, bias)
    return len(scales)


def groups(parsed: Any, activation: str) -> list[list[int]]:
    """List activations that must share a scale by channel: ADD, MEAN and PAD tie them, linear layers free them."""
    graph = parsed.subgraphs[0]
    parent: dict[int, int] = {}
    bound = {int(index) for index in (*graph.inputs, *graph.outputs)}

    def root(index: int) -> int:
        while parent.setdefault(index, index) != index:
            index = parent[index]
        return index

    for operator in graph.operators:
        read, written = computed_inputs(parsed, operator), [int(index) for index in operator.outputs]
        layer, ends = Linear.of(parsed, operator), fused_activation(operator)
        tied = operator_name(parsed, operator) in ("ADD", "MEAN", "PAD") and ends == activation == "NONE"
        if layer is not None:
            for index in (layer.input, layer.output):
                root(index)
            if ends != activation:
                bound.update(written)
        elif tied:
            for index in read:
                parent[root(index)] = root(written[0])
        else:
            bound.update((*read, *written))
    found: dict[int, list[int]] = {}
    for index in list(parent):
        found.setdefault(root(index), []).append(index)
    taken = {root(index) for index in bound if index in parent}
    return [group for top, group in found.items() if top not in taken]


def fitted(model: bytes, numbers: np.ndarray, pixels: np.ndarray, ranges: dict[int, tuple[float, float]]) -> bytes:
    """Quantize within ranges and fit, as `edgevision export` does."""
    parsed = unpack(Calibrated.within(model, numbers, ranges).quantize())
    correct(parsed, unpack(model), pixels, numbers)
    return pack(parsed)


def widest(ranges: Ranges) -> dict[int, tuple[float, float]]:
    """Return the ranges of tensors from those of their channels."""
    return {index: (float(low.min()), float(high.max())) for index, (low, high) in ranges.items()}


def files(model: bytes, numbers: np.ndarray, pixels: np.ndarray) -> dict[str, bytes]:
    """Quantize a model with each of the steps."""
    by_channel = channel_ranges(model, numbers)
    tensors, kept = widest(by_channel), samples(model, numbers)
    made = {"as exported": fitted(model, numbers, pixels, tensors)}
    for name, choose in (("percentile ranges", percentile_range), ("MSE ranges", mse_range)):
        chosen = {**tensors, **{index: choose(values) for index, values in kept.items()}}
        made[name] = fitted(model, numbers, pixels, chosen)
    for name, activation in (("even linear channels", "NONE"), ("even ReLU6 channels", "RELU6")):
        changed, ranges = unpack(model), dict(by_channel)
        equalize(changed, ranges, activation)
        made[name] = fitted(pack(changed), numbers, pixels, widest(ranges))
    return made


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, metavar="DIR", help="see int8_faithfulness.py")
    parser.add_argument("--most", type=int, default=400, metavar="N", help="stamps of a kind (default: 400)")
    parser.add_argument("--calibration-pictures", type=int, default=100, metavar="N", help="(default: 100)")
    args = parser.parse_args()
    source = load_source()
    size_wh = source.metadata.size_wh
    pictures = {"photographs": photographs(size_wh)}
    if args.stamps is not None:
        pictures |= stamps(args.stamps, size_wh, args.most)
    pixels = pinned(photo_crops(CALIBRATION_PHOTOS, args.calibration_pictures, size_wh, 0))
    with quiet_native(keep=lambda line: False):
        made = files(source.float_tflite("numbers"), normalize(source.metadata, pixels), pixels)
        truth = answers(source.float_tflite("bytes"), pictures, source).scores
        found = {name: answers(take_bytes(file, source), pictures, source).scores for name, file in made.items()}
    print(f"{MODEL}, same top-1 as float32 on {', '.join(f'{len(each)} {kind}' for kind, each in pictures.items())}:")
    for name, scores in found.items():
        same = {kind: truth[kind].argmax(1) == scores[kind].argmax(1) for kind in pictures}
        same["all"] = np.concatenate(list(same.values()))
        print(f"{name:22}" + "".join(f"{Accuracy.of(right).describe():>26}" for right in same.values()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
