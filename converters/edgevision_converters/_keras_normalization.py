"""What a Keras model does to pixels before anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import Normalization

if TYPE_CHECKING:
    import keras

__all__ = ["leading_normalization", "rescaling"]


def leading_normalization(model: keras.Model) -> tuple[Normalization, Any, keras.Model] | None:
    """Find a Rescaling or Normalization as the first layer.

    Returns:
        what it does, the layer, and the network behind it.
    """
    import keras

    computing = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    first = computing[0] if computing else None
    normalization = None if first is None else _normalization_of(first)
    if first is None or normalization is None:
        return None
    # An operation that is no layer, such as a slice, is not among the layers, and the normalization may come behind it.
    if not isinstance(model, keras.Sequential) and first.input is not model.inputs[0]:
        return None
    if isinstance(model, keras.Sequential):
        # A loaded Sequential has rebuilt its graph layer by layer; `first.output` belongs to the first of these.
        core = keras.Sequential([keras.Input(model.inputs[0].shape[1:]), *computing[1:]], name="core")
    else:
        try:
            core = keras.Model(first.output, model.outputs[0], name="core")
        except ValueError:  # another branch of the network takes the pixels as they are
            return None
    return normalization, first, core


def _normalization_of(layer: Any) -> Normalization | None:
    """Return what a layer does to pixels, if it does the same to all of a channel; None if it does anything else."""
    import keras

    if isinstance(layer, keras.layers.Rescaling):
        # `x * scale + offset` is `(x - mean) / std`.
        scale, offset = np.broadcast_arrays(np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64))
        if not (scale > 0).all():
            return None
        std = 1 / scale
        mean = -offset * std
    elif isinstance(layer, keras.layers.Normalization) and not layer.invert:
        # It divides by at least Keras's epsilon.
        variance = np.asarray(layer.variance, np.float64)
        std = np.maximum(np.sqrt(variance), keras.backend.epsilon())
        mean, std = np.broadcast_arrays(np.asarray(layer.mean, np.float64), std)
    else:
        return None
    if mean.size != 1 and (mean.size != 3 or mean.shape[-1] != 3):
        return None
    # 1 / (1 / 255) is not 255, nor 0 ± 1e-17 a mean that anybody chose.
    return Normalization(
        tuple(round(0.0 + float(each), 6) for each in mean.flat), tuple(float(f"{each:.9g}") for each in std.flat)
    )


def rescaling(normalization: Normalization) -> Any:
    """Return a Rescaling layer that normalizes."""
    import keras

    mean, std = np.asarray(normalization.mean), np.asarray(normalization.std)
    scale, offset = 1 / std, -mean / std
    if scale.size == 1:
        return keras.layers.Rescaling(float(scale[0]), float(offset[0]), name="normalization")
    return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="normalization")
