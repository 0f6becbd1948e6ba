"""The slim network: strides instead of pooling, dropout, depthwise-separable convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["slim"]

#: Mean 127 and std 128 put pixel 127 on 0 exactly, so that int8's zero point loses nothing.
_MEAN, _STD = 127.0, 128.0
_STEM, _FIRST, _WIDEST = 16, 32, 160


def slim(
    size_wh: tuple[int, int], classes: int, *, width: float = 1.0, depth: int = 1, dropout: float = 0.2
) -> keras.Model:
    """Build the network.

    Each stage halves height and width by a stride, until the shorter side is about 4; a depthwise convolution over what
    is left feeds the classifier. A depthwise-separable convolution needs `1 / channels + 1 / 9` of a full 3 × 3
    convolution's multiplications (Howard et al. 2017, https://arxiv.org/abs/1704.04861, section 3.1).

    Args:
        size_wh: input width and height.
        classes: softmax outputs.
        width: multiplier of channels.
        depth: depthwise-separable convolutions per stage.
        dropout: rate before the classifier; half of it between stages.

    Input shape:
        `(batch, height, width, 3)`, pixels 0..255. The first layer normalizes them.
    """
    import keras
    from keras import layers

    def channels(count: float) -> int:
        return max(8, round(count * width / 8) * 8)

    def separable(x: Any, filters: int, stride: int, name: str) -> Any:
        shortcut = x
        x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_depthwise_bn")(x)
        x = layers.ReLU(max_value=6, name=f"{name}_depthwise_relu6")(x)
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_pointwise_bn")(x)
        x = layers.ReLU(max_value=6, name=f"{name}_pointwise_relu6")(x)
        return layers.Add(name=f"{name}_add")([shortcut, x]) if shortcut.shape == x.shape else x

    stages = max(1, round(math.log2(min(size_wh) / 4)))
    inputs = keras.Input((size_wh[1], size_wh[0], 3), name="pixels")
    x = layers.Rescaling(1 / _STD, -_MEAN / _STD, name="normalization")(inputs)
    x = layers.Conv2D(channels(_STEM), 3, 2, "same", use_bias=False, name="stem_conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name="stem_bn")(x)
    x = layers.ReLU(max_value=6, name="stem_relu6")(x)
    for stage in range(stages):
        filters = channels(min(_FIRST * 2**stage, _WIDEST))
        for block in range(depth):
            stride = 2 if stage and not block else 1
            x = separable(x, filters, stride, f"stage{stage}_block{block}")
        x = layers.Dropout(dropout / 2, name=f"stage{stage}_dropout")(x)
    # One weight per place and channel instead of a mean: where a stroke is matters as much as that it is there.
    x = layers.DepthwiseConv2D(tuple(x.shape[1:3]), use_bias=False, name="gather_depthwise")(x)
    x = layers.BatchNormalization(momentum=0.9, name="gather_bn")(x)
    x = layers.Flatten(name="features")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, x, name="slim")
