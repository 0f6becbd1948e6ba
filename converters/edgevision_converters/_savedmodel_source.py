"""A SavedModel folder as a Keras model: what TensorFlow 1 and 2, Keras 2 and converters from PyTorch leave behind."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgevision_device import FileError, UsageError, require_known

from ._source import first_line, input_layout

if TYPE_CHECKING:
    import keras

__all__ = ["is_saved_model", "load_saved_model"]

#: Signatures that TensorFlow itself writes, and that classify nothing.
_INITIALIZER = "__saved_model_init_op"


def is_saved_model(path: str | os.PathLike[str]) -> bool:
    """Say whether `path` is a folder that TensorFlow wrote a model to."""
    return any((Path(path) / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt"))


def load_saved_model(path: str | os.PathLike[str], signature: str | None = None) -> keras.Model:
    """Load one signature of a SavedModel as a Keras model with one layer.

    Args:
        path: the folder.
        signature: which one; None takes the only one, or `serving_default`.

    Returns:
        A model that takes channels last, whatever the signature takes, and float32 numbers.

    Raises:
        FileError: the folder cannot be loaded, or holds no signature.
        UsageError: no such signature, or it is none of a color classifier.
    """
    import keras
    import tensorflow as tf

    path = Path(path)
    if not is_saved_model(path):
        raise FileError(f"{path} is no SavedModel; give a folder that holds saved_model.pb")
    try:
        loaded: Any = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises whatever its file system or an op raised
        raise FileError(f"TensorFlow cannot load {path}: {first_line(error)}") from error
    function = _choose(loaded, path, signature)
    given: dict[str, Any] = function.structured_input_signature[1]
    outputs: dict[str, Any] = function.structured_outputs
    if len(given) != 1 or len(outputs) != 1:
        raise UsageError(
            f"a classifier has one input and one output, this signature has {len(given)} ({', '.join(sorted(given))}) "
            f"and {len(outputs)} ({', '.join(sorted(outputs))}); save one that has, or name another with --signature"
        )
    ((input_name, spec),) = given.items()
    if spec.shape.rank is None:
        raise UsageError("the signature's input has no shape; save it with (None, height, width, 3)")
    (width, height), channels_first = input_layout(spec.shape.as_list())
    _require_finite(loaded)
    layer = _layer(loaded, function, input_name, spec.dtype, next(iter(outputs.values())), channels_first)
    inputs = keras.Input((height, width, 3), batch_size=spec.shape[0], name="numbers")
    return keras.Model(inputs, layer(inputs), name="core")


def _choose(loaded: Any, path: Path, signature: str | None) -> Any:
    signatures = {name: each for name, each in loaded.signatures.items() if name != _INITIALIZER}
    if not signatures:
        raise FileError(
            f"{path} holds no signature, so that nothing says what to call; write it with "
            "model.export(FOLDER), or tf.saved_model.save(…, signatures=…)"
        )
    if signature is not None:
        return signatures[require_known("signature", signature, sorted(signatures))]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    if "serving_default" in signatures:
        return signatures["serving_default"]
    raise UsageError(f"{path} holds several signatures; choose with --signature {', '.join(sorted(signatures))}")


def _require_finite(loaded: Any) -> None:
    for variable in _variables(loaded):
        values = variable.numpy()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UsageError(f"the model holds NaN or infinite weights, first in {variable.name!r}; train it again")


def _variables(loaded: Any) -> list[Any]:
    # Keras writes `variables`; a plain tf.Module keeps them where its signatures captured them.
    captured = [each for function in loaded.signatures.values() for each in function.graph.variables]
    found = [*getattr(loaded, "variables", ()), *captured]
    return list({each.handle._id: each for each in found if hasattr(each, "handle")}.values())


def _layers_of(loaded: Any) -> dict[str, bool]:
    """Return the layers that the variables are named after → whether one has two or more axes."""
    found: dict[str, bool] = {}
    for variable in _variables(loaded):
        layer = variable.name.split(":")[0].split("/")[-2:][0]
        found[layer] = found.get(layer, False) or len(variable.shape) >= 2
    return found


def _layer(loaded: Any, function: Any, input_name: str, dtype: Any, output: Any, channels_first: bool) -> Any:
    import keras
    import tensorflow as tf

    sizes: list[int | None] = output.shape.as_list()[1:] if output.shape.rank else [None]
    count = None if None in sizes else math.prod(cast("list[int]", sizes))

    class Signature(keras.layers.Layer):
        """Calls a signature; keeps alive what it belongs to."""

        def __init__(self) -> None:
            super().__init__(name="signature", dtype="float32", trainable=False)
            self.loaded = loaded
            self.inner_layers = _layers_of(loaded)

        def call(self, numbers: Any) -> Any:
            given = tf.transpose(numbers, (0, 3, 1, 2)) if channels_first else numbers
            if dtype.is_integer:
                given = tf.round(given)
            (scores,) = function(**{input_name: tf.cast(given, dtype)}).values()
            return tf.cast(tf.reshape(scores, (tf.shape(scores)[0], -1)) if len(sizes) > 1 else scores, tf.float32)

        def compute_output_spec(self, numbers: Any) -> Any:
            return keras.KerasTensor((numbers.shape[0], count), "float32")

    return Signature()
