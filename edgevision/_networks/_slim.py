"""The slim network: strides instead of pooling, dropout, depthwise-separable convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgevision_device import UsageError, require_known

from .._arithmetic import Step, require_room
from ._scratch import MEAN, STD

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

__all__ = ["CONVOLUTIONS", "slim_body"]

#: Depthwise-separable everywhere, full 3 x 3 everywhere, or full in the first stage and separable behind it.
CONVOLUTIONS = ("separable", "full", "mixed")
_STEM, _FIRST, _WIDEST = 16, 32, 160


def slim_body(
    size_wh: tuple[int, int],
    *,
    width: float = 1.0,
    depth: int = 1,
    dropout: float = 0.2,
    strides: Sequence[int] | None = None,
    convolution: str = "separable",
) -> keras.Model:
    """Build the network without its head.

    Each stage halves height and width by a stride, until the shorter side is about 4; a depthwise convolution over what
    is left feeds the classifier. A depthwise-separable convolution needs `1 / channels + 1 / 9` of a full 3 × 3
    convolution's multiplications (Howard et al. 2017, https://arxiv.org/abs/1704.04861, section 3.1). On a
    workstation's CPU, whose routines for it are better tuned, the full one trains no slower all the same.

    Args:
        size_wh: input width and height.
        width: multiplier of channels.
        depth: convolutions per stage.
        dropout: rate before the classifier; half of it between stages.
        strides: 1 or 2 for the stem and then for each stage, which decides how many stages there are.
        convolution: one of `CONVOLUTIONS`.

    Input shape:
        `(batch, height, width, 3)`, pixels 0..255. The first layer normalizes them.

    Raises:
        UsageError: unknown convolution, strides that are neither 1 nor 2, or more of them than the pictures can take.
    """
    require_known("convolution", convolution, CONVOLUTIONS)
    if strides is None:
        stages = max(1, round(math.log2(min(size_wh) / 4)))
        strides = (2, 1, *[2] * (stages - 1))
    if len(strides) < 2 or not set(strides) <= {1, 2}:
        raise UsageError(
            f"strides must be 1 or 2, one for the stem and one for each stage, at least two; got {tuple(strides)}"
        )
    names = ["stem", *(f"stage{stage}" for stage in range(len(strides) - 1))]
    steps = [Step(name, 3, stride, "same") for name, stride in zip(names, strides, strict=True)]
    require_room("slim with these strides", size_wh, steps)
    import keras
    from keras import layers

    def channels(count: float) -> int:
        return max(8, round(count * width / 8) * 8)

    def norm_relu6(x: Any, name: str) -> Any:
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return layers.ReLU(max_value=6, name=f"{name}_relu6")(x)

    def block(x: Any, filters: int, stride: int, name: str, *, full: bool) -> Any:
        shortcut = x
        if not full:
            x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
            x = norm_relu6(x, f"{name}_depthwise")
            x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
            x = norm_relu6(x, f"{name}_pointwise")
        else:
            x = layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=f"{name}_conv")(x)
            x = norm_relu6(x, f"{name}_conv")
        return layers.Add(name=f"{name}_add")([shortcut, x]) if shortcut.shape == x.shape else x

    inputs = keras.Input((size_wh[1], size_wh[0], 3), name="pixels")
    x = layers.Rescaling(1 / STD, -MEAN / STD, name="normalization")(inputs)
    x = layers.Conv2D(channels(_STEM), 3, strides[0], "same", use_bias=False, name="stem_conv")(x)
    x = norm_relu6(x, "stem")
    for stage, first_stride in enumerate(strides[1:]):
        filters = channels(min(_FIRST * 2**stage, _WIDEST))
        full = convolution == "full" or (convolution == "mixed" and stage == 0)
        for number in range(depth):
            x = block(x, filters, 1 if number else first_stride, f"stage{stage}_block{number}", full=full)
        x = layers.Dropout(dropout / 2, name=f"stage{stage}_dropout")(x)
    # One weight per place and channel instead of a mean: where a stroke is matters as much as that it is there.
    x = layers.DepthwiseConv2D(tuple(x.shape[1:3]), use_bias=False, name="gather_depthwise")(x)
    x = layers.BatchNormalization(momentum=0.9, name="gather_bn")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Flatten(name="features")(x)
    return keras.Model(inputs, x, name="slim")
