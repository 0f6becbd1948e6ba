"""The Keras model to convert, taken apart: its normalization, and the network behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError, Metadata, Normalization, UsageError, __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    import numpy.typing as npt

__all__ = ["SourceModel", "load_keras_model"]

#: Pictures per call of the Keras model; bounds its memory, not its answers.
_BATCH = 64


@dataclass(frozen=True)
class SourceModel:
    """A Keras classifier and everything that its files will say about themselves.

    Attributes:
        model: takes float32 pixels 0..255, `(batch, height, width, 3)`; gives scores, `(batch, labels)`.
        core: the part of `model` behind its normalization; takes normalized numbers.
        metadata: labels, size and the rest; recipe and calibration are filled in per file.
    """

    model: keras.Model
    core: keras.Model
    metadata: Metadata

    @classmethod
    def of(
        cls,
        model: keras.Model,
        labels: Sequence[str],
        *,
        name: str,
        resize: str = "stretch",
        pixels: str | None = None,
        logits: bool = False,
        **more: Any,
    ) -> SourceModel:
        """Take a model apart and check that it is a classifier with these labels.

        Args:
            model: one input, `(batch, height, width, 3)` with fixed height and width; one output, `(batch, labels)`.
            labels: one per output, in order.
            name: for the files.
            resize: how pictures reach the input size.
            pixels: what numbers the model takes (see `Normalization.parse`); None if it starts with a Rescaling layer.
            logits: the model ends without softmax; one is added.
            more: further fields of `Metadata`.

        Raises:
            UsageError: the model is no such classifier, or `pixels` is missing or in conflict with the model.
        """
        import keras

        if keras.backend.backend() != "tensorflow":
            raise UsageError(
                f"models are converted by TensorFlow and Keras runs on {keras.backend.backend()} here; "
                "set KERAS_BACKEND=tensorflow (a .keras file does not depend on what trained it)"
            )
        size_wh = _input_size(model)
        outputs = tuple(model.outputs[0].shape)
        if len(outputs) != 2 or outputs[1] != len(labels):
            raise UsageError(
                f"the model gives {outputs[1:]} numbers per picture and there are {len(labels)} labels; "
                "give one label per score"
            )
        if not np.isfinite(sum(float(np.abs(weight).max(initial=0)) for weight in model.get_weights())):
            broken = [layer.name for layer in model.layers if not all(map(_finite, layer.get_weights()))]
            raise UsageError(f"the model holds NaN or infinite weights, first in layer {broken[0]!r}; train it again")
        found = _leading_normalization(model)
        if found is not None and pixels is not None:
            raise UsageError(f"the model normalizes pixels itself, in layer {found[1].name!r}; leave out --pixels")
        if found is None and pixels is None:
            raise UsageError(
                "the model does not start with a Rescaling layer, so say what numbers it takes: "
                "--pixels 0..255, 0..1, -1..1, imagenet, or MEAN:STD such as 127:128"
            )
        if found is not None:
            normalization, _, core = found
        else:
            normalization = Normalization.parse(pixels or "")
            core = model
        if logits:
            if _are_scores(np.asarray(model(_noise(size_wh).astype(np.float32), training=False))):
                raise UsageError("the model gives scores already, not logits; leave out --logits")
            core = keras.Sequential([keras.Input(core.inputs[0].shape[1:]), core, keras.layers.Softmax()], name="core")
        if found is None or logits:
            inputs = keras.Input((size_wh[1], size_wh[0], 3), name="pixels")
            model = keras.Model(inputs, core(_rescaling(normalization)(inputs)))
        metadata = Metadata(
            name=name,
            labels=tuple(labels),
            size_wh=size_wh,
            resize=resize,
            normalization=normalization,
            edgevision=__version__,
            **more,
        )
        source = cls(model, core, metadata)
        source.check_scores()
        return source

    def scores(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the Keras model on uint8 pixels `(n, height, width, 3)`; return scores `(n, labels)`."""
        batches = [
            np.asarray(self.model(pixels_nhwc[start : start + _BATCH].astype(np.float32), training=False))
            for start in range(0, len(pixels_nhwc), _BATCH)
        ]
        return np.concatenate(batches).astype(np.float32)

    def check_scores(self) -> None:
        """Raise UsageError unless the outputs are scores between 0 and 1 that sum to 1."""
        scores = self.scores(_noise(self.metadata.size_wh))
        if not np.isfinite(scores).all():
            raise UsageError("the model gives NaN or infinite scores for ordinary pixels; train it again")
        if not _are_scores(scores):
            raise UsageError(
                f"the model's outputs are no scores (sum {scores.sum(1)[0]:.3g}, smallest {scores.min():.3g}); "
                "if they are logits, pass --logits"
            )


def load_keras_model(path: str | os.PathLike[str]) -> keras.Model:
    """Load a `.keras` or `.h5` file. Raises FileError that says what is wrong with it.

    Custom code inside the file is not run (`safe_mode`).
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"no such model file: {path}; give a .keras or .h5 file, or a run folder")
    import keras

    try:
        model: Any = keras.models.load_model(path, compile=False, safe_mode=True)
        return model
    except Exception as error:  # Keras raises whatever the layer that failed raised
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileError(f"Keras cannot load {path}: {reason}") from error


def _input_size(model: keras.Model) -> tuple[int, int]:
    # A subclass of keras.Model has none, and a Sequential model refuses to say until it knows its input's shape.
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise UsageError("the model does not declare its input; build it from a keras.Input")
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(f"a classifier has one input and one output, this model has {len(inputs)} and {len(outputs)}")
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] != 3:
        raise UsageError(
            f"the model's input has shape {shape}; a classifier of color pictures has (None, height, width, 3)"
        )
    if shape[1] is None or shape[2] is None:
        raise UsageError(f"the model's input has no fixed height and width: {shape}; build it with a fixed size")
    return int(shape[2]), int(shape[1])


def _leading_normalization(model: keras.Model) -> tuple[Normalization, Any, keras.Model] | None:
    """Find a scalar Rescaling as the first layer: `x * scale + offset` is `(x - mean) / std`.

    Returns:
        what it does, the layer, and the network behind it.
    """
    import keras

    computing = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    first = computing[0] if computing else None
    if not isinstance(first, keras.layers.Rescaling):
        return None
    scale, offset = np.asarray(first.scale, np.float64), np.asarray(first.offset, np.float64)
    if scale.size != 1 or offset.size != 1 or not scale > 0:
        return None
    if isinstance(model, keras.Sequential):
        # A loaded Sequential has rebuilt its graph layer by layer; `first.output` belongs to the first of these.
        core = keras.Sequential([keras.Input(model.inputs[0].shape[1:]), *computing[1:]], name="core")
    else:
        try:
            core = keras.Model(first.output, model.outputs[0], name="core")
        except ValueError:  # another branch of the network takes the pixels as they are
            return None
    std = 1 / float(scale)
    return Normalization((round(0.0 - float(offset) * std, 6),), (round(std, 6),)), first, core


def _rescaling(normalization: Normalization) -> Any:
    import keras

    mean, std = np.asarray(normalization.mean), np.asarray(normalization.std)
    scale, offset = 1 / std, -mean / std
    if scale.size == 1:
        return keras.layers.Rescaling(float(scale[0]), float(offset[0]), name="normalization")
    return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="normalization")


def _noise(size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (4, size_wh[1], size_wh[0], 3), np.uint8)


def _are_scores(outputs: npt.NDArray[np.float32]) -> bool:
    return bool(outputs.min() >= 0 and np.abs(outputs.sum(1) - 1).max() <= 1e-3)


def _finite(weights: npt.NDArray[Any]) -> bool:
    return bool(np.isfinite(weights).all())
