"""Cutting networks where frozen layers end, and putting heads on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import UsageError

if TYPE_CHECKING:
    import keras

__all__ = ["as_classifier", "freeze_before", "make_head", "split_before"]


def make_head(kind: str, classes: int) -> keras.layers.Layer:
    """Return the last layer as it is trained: `softmax`, `logits`, or `sigmoid` for two labels.

    Raises:
        UsageError: sigmoid, and there are not two labels.
    """
    import keras

    if kind == "sigmoid":
        if classes != 2:
            raise UsageError(f"a sigmoid head tells two labels apart, the data has {classes}; use --head softmax")
        return keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="scores")
    # float32 whatever the precision of the rest: scores near 0 and 1 need it.
    if kind == "logits":
        return keras.layers.Dense(classes, dtype="float32", name="logits")
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="scores")


def as_classifier(model: keras.Model, name: str) -> keras.Model:
    """Return the same function as a float32 model that ends in one softmax score per label.

    Args:
        model: from pixels to the output of a head that `make_head` made.
        name: of the new model.
    """
    import keras

    made = _in_float32(model)
    last = made.layers[-1]
    x = made.outputs[0]
    if last.name == "logits":
        x = keras.layers.Softmax(name="scores")(x)
    elif last.output.shape[-1] == 1:
        # sigmoid(z) is the second score of softmax(0, z).
        kernel, bias = last.get_weights()
        scores = keras.layers.Dense(2, activation="softmax", name="scores")
        x = scores(last.input)
        scores.set_weights([np.concatenate([0 * kernel, kernel], axis=1), np.concatenate([0 * bias, bias])])
    return keras.Model(made.inputs[0], x, name=name)


def _in_float32(model: keras.Model) -> keras.Model:
    """Return a copy whose layers compute in float32, whatever they were trained in."""
    import keras

    def remake(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    # Of the same layers, not compiled: a clone would want to make the loss and the metrics again from their names.
    plain = keras.Model(model.inputs[0], model.outputs[0])
    copy: keras.Model = keras.models.clone_model(plain, clone_function=remake)
    copy.set_weights(model.get_weights())
    return copy


def freeze_before(model: keras.Model, name: str) -> None:
    """Let only the layers from `name` on be trained, and batch normalization stay in inference mode everywhere.

    A layer's batch statistics are those of millions of pictures; a folder's few would replace them by noise
    (https://keras.io/guides/transfer_learning/, "Important notes about BatchNormalization layer").

    Raises:
        UsageError: no layer is called so.
    """
    import keras

    from ._looking._layers import find_known

    names = [layer.name for layer in model.layers]
    find_known("layer", name, names)
    for place, layer in enumerate(model.layers):
        frozen = place < names.index(name) or isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not frozen


def split_before(model: keras.Model, name: str) -> tuple[keras.Model | None, keras.Model]:
    """Cut a model in two at the last place before a layer that a single tensor crosses.

    Args:
        model: one input, one output.
        name: of a layer, all of whose weights and those behind it end up in the second part.

    Returns:
        from the input to that tensor, and from it to the output; None and the model if there is no such place.
    """
    import keras

    place = [layer.name for layer in model.layers].index(name)
    for layer in reversed(model.layers[1:place]):  # the first is the input
        back = _behind(model, layer)
        if back is not None:
            return keras.Model(model.inputs[0], layer.output), back
    return None, model


def _behind(model: keras.Model, layer: Any) -> keras.Model | None:
    import keras

    try:
        back: keras.Model = keras.Model(layer.output, model.outputs[0])
    except ValueError:  # another way leads around this layer
        return None
    return back
