"""What is inside a Keras model: its layers by name, their filters, and what they answer to a picture."""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import UsageError, require_known

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import keras
    import numpy.typing as npt

__all__ = [
    "Filters",
    "Passed",
    "answer_of",
    "convolutions",
    "find_known",
    "find_layer",
    "first_filters",
    "layers_of",
    "run_watched",
]

_LISTED = 40


@dataclass(frozen=True)
class Passed:
    """What went through a layer.

    Attributes:
        before: its input, float32.
        after: its output, float32; both start with the batch.
    """

    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Filters:
    """The filters of a convolution.

    Attributes:
        layer: its name.
        weights: float32, `(filters, height, width, channels)`; channels is 3, or 1 after a mean over more or fewer.
        averaged: how many channels that mean was taken over; 0 if none was.
    """

    layer: str
    weights: npt.NDArray[np.float32]
    averaged: int


def layers_of(model: keras.Model) -> dict[str, Any]:
    """Return all layers in order; those of a model inside the model are called `outer/inner`."""
    import keras

    found: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= {f"{layer.name}/{name}": inner for name, inner in layers_of(layer).items()}
        elif not isinstance(layer, keras.layers.InputLayer):
            found[layer.name] = layer
    return found


def find_layer(model: keras.Model, name: str) -> str:
    """Return a layer's full name; the inner one will do where there is one such. Raises UsageError with the closest."""
    full = list(layers_of(model))
    inner = [each.rpartition("/")[2] for each in full]
    short = {each if inner.count(each) == 1 else path: path for path, each in zip(full, inner, strict=True)}
    return name if name in full else short[find_known("layer", name, list(short))]


def find_known(kind: str, got: str, names: Sequence[str]) -> str:
    """Do what `require_known` does, for names so many that nobody wants to read them all."""
    if got in names or len(names) <= _LISTED:
        return require_known(kind, got, names)
    close = difflib.get_close_matches(got, names, n=5, cutoff=0.3)
    hint = f"did you mean {', '.join(map(repr, close))}? " if close else ""
    raise UsageError(f"unknown {kind} {got!r}; {hint}{len(names)} are known")


def convolutions(model: keras.Model) -> list[str]:
    """Return the names of all convolution layers over height and width, in order."""
    import keras

    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return [name for name, layer in layers_of(model).items() if isinstance(layer, kinds)]


def first_filters(model: keras.Model, layer: str | None = None) -> Filters:
    """Return the filters of the first convolution, or of the layer with this name.

    Raises:
        UsageError: there is no such layer, it is no convolution, or its weights are not finite.
    """
    import keras

    known = convolutions(model)
    if not known:
        raise UsageError("the model has no convolution over height and width, and so no filters to look at")
    name = known[0] if layer is None else find_layer(model, layer)
    if name not in known:
        raise UsageError(f"the layer {name!r} is no convolution; its convolutions: {', '.join(known)}")
    found = layers_of(model)[name]
    weights = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(found.weights[0], "float32")))
    check_finite(weights, f"the weights of {name}")
    if not isinstance(found, keras.layers.Conv2D):
        # (height, width, channels, multiplier): each channel has filters of its own, that see nothing else.
        weights = weights.reshape(*weights.shape[:2], 1, -1)
    channels = weights.shape[2]
    weights = weights.transpose(3, 0, 1, 2)
    averaged = 0 if channels in (1, 3) else channels
    return Filters(name, weights.mean(3, keepdims=True) if averaged else weights, averaged)


def check_finite(numbers: npt.NDArray[Any], what: str) -> None:
    """Raise UsageError if there is a number that cannot be drawn."""
    if not np.isfinite(numbers).all():
        raise UsageError(f"{what} are NaN or infinite in part; train the model again")


def run_watched(model: keras.Model, inputs: Any, names: Sequence[str]) -> tuple[npt.NDArray[Any], dict[str, Passed]]:
    """Run a model once and keep what went through some of its layers.

    The layers are called as they stand, so it does not matter how the model was put together, nor which backend runs
    it. Of a layer that is used more than once, the first time counts.

    Args:
        model: any.
        inputs: float32, `(batch, height, width, 3)`.
        names: of layers, as `layers_of` has them.

    Returns:
        the model's outputs as float32, and what passed each layer.
    """
    layers = layers_of(model)
    kept: dict[str, tuple[Any, Any]] = {}
    with contextlib.ExitStack() as watching:
        for name in dict.fromkeys(names):
            watching.enter_context(_watched(layers[name], name, kept))
        outputs = answer_of(model, inputs)
    return outputs, {name: Passed(_plain(before), _plain(after)) for name, (before, after) in kept.items()}


def answer_of(model: keras.Model, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Run a model with one input and one output, however it holds them: alone, in a list or by name."""
    import keras

    try:
        fed: Any = keras.tree.pack_sequence_as(model.input, [inputs])
    except (AttributeError, ValueError):  # a subclass of keras.Model does not say
        fed = inputs
    return _plain(model(fed, training=False))


@contextlib.contextmanager
def _watched(layer: Any, name: str, kept: dict[str, tuple[Any, Any]]) -> Generator[None]:
    """Stand between a layer and its callers: keras.Model(inputs, layer.output) does not reach into inner models."""
    call = layer.call

    def watching(*args: Any, **more: Any) -> Any:
        outputs = call(*args, **more)
        kept.setdefault(name, (args[0] if args else next(iter(more.values())), outputs))
        return outputs

    layer.call = watching
    try:
        yield
    finally:
        del layer.call  # the one of its class is seen again


def _plain(tensor: Any) -> npt.NDArray[np.float32]:
    import keras

    tensor = keras.tree.flatten(tensor)[0]
    # numpy knows no bfloat16.
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")), np.float32)
