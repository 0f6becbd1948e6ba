"""The arithmetic of layers: what size comes out, how many parameters it holds, how many multiplications it takes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevision_device import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras

__all__ = ["LayerCost", "Step", "layer_costs", "output_size", "require_room", "total_costs"]


def output_size(size: int, kernel: int, stride: int = 1, padding: int | str = 0, *, exact: bool = True) -> int:
    """Return how many places a window takes along one side: `(size - kernel + 2 * padding) / stride + 1`.

    Args:
        size: pixels along the side.
        kernel: width of the window; a convolution's kernel or a pooling's.
        stride: from one place to the next.
        padding: pixels added at each end, or Keras's rules: `"valid"` adds none and leaves out the pixels at the far
            end that no window reaches; `"same"` adds as many as let a window start at every `stride`-th pixel, so that
            `ceil(size / stride)` come out whatever the kernel.
        exact: with a number for `padding`, refuse where the division leaves a rest; else round down as Keras does.

    Raises:
        UsageError: the window is larger than the padded side, or `exact` and the division leaves a rest.

    Source: https://cs231n.github.io/convolutional-networks/ ("Spatial arrangement") and
    https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2 for the two rules.

    >>> output_size(28, 3), output_size(227, 11, 4), output_size(28, 3, 2, "same"), output_size(28, 2, 2, "valid")
    (26, 55, 14, 14)
    >>> output_size(10, 3, 2)
    Traceback (most recent call last):
        ...
    edgevision_device._errors.UsageError: (10 - 3 + 2 * 0) / 2 + 1 = 4.5 is no whole number; what fits: size 9 or 11, \
stride 1 or 7, or kernel 2 or 4
    >>> output_size(10, 3, 2, exact=False), output_size(10, 3, 2, "valid")
    (4, 4)
    """
    for name, value, least in (("size", size, 1), ("kernel", kernel, 1), ("stride", stride, 1)):
        if value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
    if isinstance(padding, str):
        exact = False
        if padding not in ("valid", "same"):
            raise UsageError(f"unknown padding {padding!r}; allowed: a number of pixels, valid, same")
        if padding == "same":
            return -(-size // stride)
        padding = 0
    if padding < 0:
        raise UsageError(f"padding must be at least 0, got {padding}")
    places = size - kernel + 2 * padding
    if places < 0:
        around = f" with {padding} added at each end" if padding else ""
        raise UsageError(
            f"a window of {kernel} does not fit on {size} pixels{around}; give at least {kernel - 2 * padding} pixels"
        )
    if exact and places % stride:
        raise UsageError(
            f"({size} - {kernel} + 2 * {padding}) / {stride} + 1 = {places / stride + 1:g} is no whole number; "
            f"what fits: {_fitting(size, kernel, stride, padding)}"
        )
    return places // stride + 1


def _fitting(size: int, kernel: int, stride: int, padding: int) -> str:
    """List the nearest values of each argument, the others kept, with which the division leaves no rest."""
    places = size - kernel + 2 * padding
    rest, least = places % stride, max(0, -(-(kernel - size) // 2))
    found = [
        ("size", [size - rest, size - rest + stride]),
        ("padding", [each for each in range(least, padding + stride) if (size - kernel + 2 * each) % stride == 0]),
        ("stride", [each for each in range(1, places + 1) if places % each == 0]),
        ("kernel", [kernel + rest - stride, kernel + rest]),
    ]
    given = {"size": size, "padding": padding, "stride": stride, "kernel": kernel}
    options: list[str] = []
    for name, values in found:
        possible = [value for value in values if value >= (0 if name == "padding" else 1)]
        below = [value for value in possible if value < given[name]][-1:]
        above = [value for value in possible if value > given[name]][:1]
        if below or above:
            options.append(f"{name} {' or '.join(map(str, below + above))}")
    return ", ".join(options[:-1]) + f", or {options[-1]}"


@dataclass(frozen=True)
class Step:
    """One layer that makes pictures smaller: a convolution or a pooling.

    Attributes:
        name: of the layer.
        kernel, stride, padding: see `output_size`.
    """

    name: str
    kernel: int
    stride: int = 1
    padding: int | str = "valid"


def require_room(network: str, size_wh: tuple[int, int], steps: Sequence[Step]) -> tuple[int, int]:
    """Return the width and height behind the steps, or raise UsageError if a layer has nothing left to look at.

    >>> require_room("conv-pool", (28, 20), [Step("conv1", 3), Step("pool1", 2, 2)])
    (13, 9)
    >>> require_room("conv-pool", (28, 2), [Step("conv1", 3), Step("pool1", 2, 2)])
    Traceback (most recent call last):
        ...
    edgevision_device._errors.UsageError: 28x2 is too small for conv-pool: its layer conv1 needs 3x3 and gets 28x2; \
give at least 4x4 pixels
    """
    width, height = size_wh
    for step in steps:
        before = width, height
        try:
            width, height = (_shrunk(side, step) for side in before)
        except UsageError:
            needed, least = _least_side([step]), _least_side(steps)
            raise UsageError(
                f"{size_wh[0]}x{size_wh[1]} is too small for {network}: its layer {step.name} needs {needed}x{needed} "
                f"and gets {before[0]}x{before[1]}; give at least {least}x{least} pixels"
            ) from None
    return width, height


def _least_side(steps: Sequence[Step]) -> int:
    side = 1
    while True:
        try:
            functools.reduce(_shrunk, steps, side)
        except UsageError:
            side += 1
        else:
            return side


def _shrunk(side: int, step: Step) -> int:
    if step.padding == "same" and step.stride > side:
        raise UsageError("a stride that reaches past the last pixel makes nothing smaller")
    return output_size(side, step.kernel, step.stride, step.padding, exact=False)


@dataclass(frozen=True)
class LayerCost:
    """What one layer of a Keras model costs.

    Attributes:
        name: of the layer; inside of a nested model, behind that model's name and a slash.
        kind: the layer's class.
        output_shape: without the batch, `(height, width, channels)` for pictures.
        parameters: numbers that it holds, trained or not.
        macs: multiplications with an addition for one picture; None for a kind of layer that is not counted here.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int | None


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """List what each layer costs, in the order of computation; a layer that is used twice is counted once.

    Counted is what the tables of the MobileNet papers count: the products of convolutions and dense layers,
    `places * kernel height * kernel width * channels in * channels out` for a convolution (Howard et al. 2017,
    https://arxiv.org/abs/1704.04861, section 3.1). Batch normalization is none, since a converter folds it into the
    convolution before it; nor are biases, activations, poolings, additions and products of two activations.

    So counted MobileNetV1 has 568.7 M (its paper: 569), MobileNetV2 300.8 M (300, https://arxiv.org/abs/1801.04381),
    MobileNetV3 216.6 M and 56.5 M (219 and 56, https://arxiv.org/abs/1905.02244), VGG16 15.5 G, ResNet50 3.86 G (3.8,
    https://arxiv.org/abs/1512.03385). The table of EfficientNet-Lite (README.md of models/official/efficientnet/lite in
    https://github.com/tensorflow/tpu) counts otherwise: 407, 631 and 899 M for Lite0, 1 and 2, where their
    convolutions and dense layers have 385.2, 600.2 and 859.7 M. The difference is 3.0 to 3.2 for every number that a
    batch normalization puts out, which a profiler that sees it unfolded would add. EfficientNet-B0, whose convolutions
    are the same, has 0.39 G in its own paper (https://arxiv.org/abs/1905.11946).

    Raises:
        UsageError: the model has no fixed sizes, or is no graph of layers.
    """
    return list(_layer_costs(model, ""))


def total_costs(costs: Sequence[LayerCost]) -> tuple[int, int]:
    """Return the parameters and the MACs of all layers; those that are not counted add none."""
    return sum(cost.parameters for cost in costs), sum(cost.macs or 0 for cost in costs)


def _layer_costs(model: Any, prefix: str) -> Iterator[LayerCost]:
    import keras

    for layer in model.layers:
        name = prefix + layer.name
        if isinstance(layer, keras.Model):
            yield from _layer_costs(layer, f"{name}/")
            continue
        try:
            output: Any = layer.output
        except (AttributeError, ValueError):  # a subclass of Model called it on numbers only
            raise UsageError(
                f"layer {name!r} is no part of a graph of layers; build the model from a keras.Input"
            ) from None
        shape = tuple(keras.tree.flatten(output)[0].shape[1:])
        if None in shape:
            raise UsageError(
                f"layer {name!r} has no fixed output size, {shape}; build the model with a fixed input size"
            )
        sizes = [math.prod(weight.shape) for weight in layer.weights]
        yield LayerCost(name, type(layer).__name__, shape, sum(sizes), _macs(layer, shape) if sizes else 0)


def _macs(layer: Any, shape: tuple[int, ...]) -> int | None:
    """Count the products of a layer with weights: every number of a kernel takes part once at each place."""
    from keras import layers

    # A bias has one dimension only.
    products: int = sum(math.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1)
    if isinstance(layer, (layers.BatchNormalization, layers.Normalization)):
        return 0
    transposed = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
    depthwise = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D, layers.SeparableConv2D)
    if not isinstance(layer, (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense, *depthwise, *transposed)):
        return None
    if isinstance(layer, transposed):  # it is its input's places that meet the kernel
        taken: Any = layer.input
        shape = tuple(taken.shape[1:])
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    places = math.prod(shape[1:] if channels_first else shape[:-1])
    return places * products
