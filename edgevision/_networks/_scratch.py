"""Small networks that are trained from scratch: dense layers, convolutions with pooling, convolutions with strides.

They are kept plain, so that accuracy, size and speed can be compared with those of slim. All take pixels 0..255,
`(batch, height, width, 3)`, and give features `(batch, units)`; the head is not theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._arithmetic import Step, require_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

__all__ = ["MEAN", "STD", "binary", "conv_pool", "dense", "plain", "stride_dropout"]

#: Mean 127 and std 128 put pixel 127 on 0 exactly, so that int8's zero point loses nothing.
MEAN, STD = 127.0, 128.0


class _Conv(NamedTuple):
    """A 3 x 3 convolution without padding, then ReLU."""

    name: str
    filters: int
    stride: int = 1


class _Pool(NamedTuple):
    """The maximum of each 2 x 2 pixels."""

    name: str


class _Dropout(NamedTuple):
    name: str
    rate: float


_Part = _Conv | _Pool | _Dropout


def dense(size_wh: tuple[int, int], *, units: int = 128) -> keras.Model:
    """Build one hidden layer of `units` on all pixels; which of them are neighbours it does not know."""
    return _body("dense", size_wh, [], units)


def conv_pool(size_wh: tuple[int, int], *, filters: int = 32, depth: int = 2, units: int = 128) -> keras.Model:
    """Build `depth` pairs of a 3 x 3 convolution and a 2 x 2 max pooling, then a hidden layer of `units`.

    Raises:
        UsageError: the pictures are too small; so for every network here with a convolution.
    """
    return _body("conv-pool", size_wh, _conv_pools([filters] * depth), units)


def plain(size_wh: tuple[int, int], *, filters: int = 20, units: int = 128) -> keras.Model:
    """Build two 3 x 3 convolutions and a hidden layer of `units`; nothing is pooled."""
    return _body("plain", size_wh, [_Conv("conv1", filters), _Conv("conv2", filters)], units)


def stride_dropout(
    size_wh: tuple[int, int], *, filters: int = 30, units: int = 128, dropout: float = 0.5
) -> keras.Model:
    """Build two 3 x 3 convolutions with stride 2, a dropout behind each, and a hidden layer of `units`."""
    parts: list[_Part] = [_Conv("conv1", filters, 2), _Dropout("dropout1", dropout)]
    parts += [_Conv("conv2", filters, 2), _Dropout("dropout2", dropout)]
    return _body("stride-dropout", size_wh, parts, units)


def binary(size_wh: tuple[int, int], *, units: int = 512) -> keras.Model:
    """Build three pairs of a 3 x 3 convolution and a max pooling, 16, 32 and 64 channels, and a layer of `units`."""
    return _body("binary", size_wh, _conv_pools([16, 32, 64]), units)


def _conv_pools(filters: Sequence[int]) -> list[_Part]:
    parts: list[_Part] = []
    for number, count in enumerate(filters, 1):
        parts += [_Conv(f"conv{number}", count), _Pool(f"pool{number}")]
    return parts


def _body(name: str, size_wh: tuple[int, int], parts: Sequence[_Part], units: int) -> keras.Model:
    steps = [
        Step(part.name, 3, part.stride) if isinstance(part, _Conv) else Step(part.name, 2, 2)
        for part in parts
        if not isinstance(part, _Dropout)
    ]
    require_room(name, size_wh, steps)
    import keras
    from keras import layers

    inputs = keras.Input((size_wh[1], size_wh[0], 3), name="pixels")
    x: Any = layers.Rescaling(1 / STD, -MEAN / STD, name="normalization")(inputs)
    for part in parts:
        if isinstance(part, _Conv):
            x = layers.Conv2D(part.filters, 3, part.stride, activation="relu", name=part.name)(x)
        elif isinstance(part, _Pool):
            x = layers.MaxPooling2D(2, name=part.name)(x)
        else:
            x = layers.Dropout(part.rate, name=part.name)(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="relu", name="features")(x)
    return keras.Model(inputs, x, name=name)
