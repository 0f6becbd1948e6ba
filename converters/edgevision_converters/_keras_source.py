"""A Keras model as a source, taken apart: its normalization, and the network behind it."""

from __future__ import annotations

import copy
import json
import os
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgevision_device import FileError, Metadata, Normalization, UsageError

from ._fronts import begin_onnx, begin_tflite
from ._keras_normalization import leading_normalization, rescaling
from ._source import (
    Takes,
    describe,
    first_line,
    folded,
    input_layout,
    noise,
    require_label_count,
    require_logits,
    require_scores,
    reverse_order,
)
from ._tensorflow_graph import float_onnx, float_tflite
from ._tflite_flatbuffer import compact, pack, unpack
from ._tflite_names import layers_with_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import keras
    import numpy.typing as npt

__all__ = ["SourceModel", "check_keras_file", "load_keras_model", "pictures_per_call"]

#: What an HDF5 file begins with.
_HDF5 = b"\x89HDF\r\n\x1a\n"
#: Per call of a Keras model.
_PIXELS, _PICTURES = 400_000, 64

_NO_PIXELS = (
    "the model does not start with a Rescaling or Normalization layer, so say what numbers it takes: "
    "--pixels 0..255, 0..1, -1..1, imagenet, or MEAN:STD such as 127:128"
)


@dataclass(frozen=True)
class SourceModel:
    """A Keras classifier and everything that its files will say about themselves; see `Source`.

    Attributes:
        model: takes float32 pixels 0..255, `(batch, height, width, 3)`; gives scores, `(batch, labels)`.
        core: the part of `model` behind its normalization; takes normalized numbers.
        metadata: labels, size and the rest; recipe and calibration are filled in per file.
        layers: name → whether it has weights of two or more axes.
        batch: pictures per call of `model`.
    """

    model: keras.Model
    core: keras.Model
    metadata: Metadata
    layers: Mapping[str, bool]
    batch: int
    formats: tuple[str, ...] = ("tflite", "onnx")

    @classmethod
    def of(
        cls,
        model: keras.Model,
        labels: Sequence[str],
        *,
        name: str,
        resize: str = "stretch",
        pixels: str | None = None,
        color_order: str = "rgb",
        logits: bool = False,
        **more: Any,
    ) -> SourceModel:
        """Take a model apart and check that it is a classifier with these labels.

        Args:
            model: one input, `(batch, height, width, 3)` with fixed height and width; one output, `(batch, labels)`.
            labels: one per output, in order.
            name: for the files.
            resize: how pictures reach the input size.
            pixels: what numbers the model takes (see `Normalization.parse`); None if it starts with a Rescaling
                or Normalization layer.
            color_order: of the channels that the model takes: `rgb` or `bgr`.
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
        size_wh, batch = _input_size(model)
        # A SavedModel is one layer to Keras, and knows the names of those that it was made of.
        layers = getattr(model.layers[-1], "inner_layers", None) or layers_with_matrix(model)
        require_label_count(tuple(model.outputs[0].shape), labels)
        _require_finite(model)
        found = leading_normalization(model)
        if found is not None and pixels is not None:
            raise UsageError(f"the model normalizes pixels itself, in layer {found[1].name!r}; leave out --pixels")
        if found is None and pixels is None:
            raise UsageError(_NO_PIXELS)
        normalization, _, core = found or (Normalization.parse(pixels or ""), None, model)
        if logits:
            require_logits(np.asarray(model(noise(size_wh)[:1].astype(np.float32), training=False)))
            core = _chain(core, core, keras.layers.Softmax())
        if color_order == "bgr":
            normalization = reverse_order(normalization)
            core = _chain(core, _reverse, core)
        if found is None or logits or color_order == "bgr":
            model = _chain(core, rescaling(normalization), core, name="classifier")
        metadata = describe(name, labels, size_wh, resize, normalization, **more)
        source = cls(model, core, metadata, layers, batch)
        require_scores(source.scores(noise(size_wh)))
        return source

    def scores(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the Keras model on uint8 pixels `(n, height, width, 3)`; return scores `(n, labels)`."""
        batches = [
            np.asarray(self.model(pixels_nhwc[start : start + self.batch].astype(np.float32), training=False))
            for start in range(0, len(pixels_nhwc), self.batch)
        ]
        return np.concatenate(batches).astype(np.float32)

    def float_tflite(self, takes: Takes) -> bytes:
        """Convert to a float32 `.tflite`; see `Source`."""
        parsed = unpack(self._core_tflite)
        begin_tflite(parsed, takes, self.metadata.size_wh, self._normalization(takes))
        compact(parsed)
        return pack(parsed)

    def float_onnx(self, takes: Takes) -> Any:
        """Convert to a float32 ONNX model; see `Source`."""
        proto = copy.deepcopy(self._core_onnx)
        begin_onnx(proto, takes, self.metadata.size_wh, self._normalization(takes))
        return proto

    def _normalization(self, takes: Takes) -> Normalization | None:
        """Return what stands before `core`; None where the numbers behind it are taken."""
        return None if takes == "numbers" and folded(self.metadata) else self.metadata.normalization

    # Conversion takes seconds, and every recipe begins with it.
    @cached_property
    def _core_tflite(self) -> bytes:
        return float_tflite(_function(self.core), self.metadata, self.layers)

    @cached_property
    def _core_onnx(self) -> Any:
        return float_onnx(_function(self.core), self.metadata, self.layers)


def _function(network: keras.Model) -> Callable[[Any], Any]:
    def scores(pixels: Any) -> Any:
        return {"scores": network(pixels, training=False)}

    return scores


def pictures_per_call(size_wh: tuple[int, int]) -> int:
    """Return how many pictures to give a Keras model at once: until it is done, the outputs of all layers are kept."""
    return max(1, min(_PICTURES, _PIXELS // (size_wh[0] * size_wh[1])))


def load_keras_model(path: str | os.PathLike[str]) -> keras.Model:
    """Load a `.keras` or `.h5` file. Raises FileError that says what is wrong with it.

    Custom code inside the file is not run (`safe_mode`).
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"no such model file: {path}; give a .keras or .h5 file, or a run folder")
    _require_whole(path)
    import keras

    try:
        model: Any = keras.models.load_model(path, compile=False, safe_mode=True)
        return model
    except Exception as error:  # Keras raises whatever the layer that failed raised
        raise FileError(_own_code(path, str(error)) or f"Keras cannot load {path}: {first_line(error)}") from error


def check_keras_file(path: str | os.PathLike[str], labels: Sequence[str], pixels: str | None) -> None:
    """Raise what `SourceModel.of` would, as far as the configuration inside a file says it; TensorFlow stays asleep.

    Args:
        path: a `.keras` or `.h5` file.
        labels, pixels: see `SourceModel.of`.

    Raises:
        FileError: it was cut short.
        UsageError: the model ends in a dense layer that gives other than one score per label, or nothing in it
            normalizes pixels and `pixels` is missing.
    """
    _require_whole(Path(path))
    config = _config_of(Path(path))
    units = _last_units(config)
    if units is not None:
        require_label_count((None, units), labels)
    kinds = [kind for _, kind in _layers_in(config)]
    if kinds and pixels is None and not {"Rescaling", "Normalization"} & set(kinds):
        raise UsageError(_NO_PIXELS)


def _require_whole(path: Path) -> None:
    """Raise FileError for a file that begins as it should and was cut short, of which Keras says that it is missing."""
    with path.open("rb") as file:
        start = file.read(8)
    try:
        if start.startswith(b"PK"):
            zipfile.ZipFile(path).close()
        elif start == _HDF5:
            import h5py

            h5py.File(path).close()
    except (OSError, zipfile.BadZipFile) as error:
        raise FileError(f"{path} was cut short or is damaged; copy it again, or save the model again") from error


def _last_units(config: Any) -> int | None:
    """Return how many numbers a model gives whose last layer is a dense one; None where that is not plain to see."""
    try:
        layers = config["config"]["layers"]
        if config["class_name"] == "Sequential":
            last = layers[-1]
        else:
            output = config["config"]["output_layers"]
            name = output[0] if isinstance(output[0], str) else output[0][0]
            (last,) = (each for each in layers if each["config"]["name"] == name)
        return int(last["config"]["units"]) if last["class_name"] == "Dense" else None
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _own_code(path: Path, message: str) -> str | None:
    """Name the layer of a file whose class is not Keras's own, if that is why Keras does not load it."""
    found = re.search(r"Could not locate (?:class|function) '([^']+)'|Unknown (?:layer|object)[^']*'([^']+)'", message)
    is_lambda = "Lambda" in message and found is None
    if not found and not is_lambda:
        return None
    wanted = "Lambda" if is_lambda else next(filter(None, cast("re.Match[str]", found).groups())).split(">")[-1]
    layers = [name for name, kind in _layers_in(_config_of(path)) if kind == wanted]
    which = f"layer {layers[0]!r} of {path}" if layers else f"{path}"
    what = "is a Lambda layer" if is_lambda else f"is of the class {wanted!r}, which Keras does not have"
    return (
        f"{which} {what if layers else what.replace('is', 'holds something that is', 1)}; no code from a model file is "
        "run: load the model where that code is, write it with model.export(FOLDER), and give that folder"
    )


def _config_of(path: Path) -> Any:
    """Return the configuration inside a `.keras` or `.h5` file; None where there is none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path) as file:
            return json.loads(cast("Any", file.attrs["model_config"]))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _layers_in(config: Any) -> list[tuple[str, str]]:
    """Return name and class of every layer that a configuration lists."""
    found: list[tuple[str, str]] = []
    open_ends: list[Any] = [config]
    while open_ends:
        each = open_ends.pop(0)
        if isinstance(each, dict):
            inner = each.get("config")
            if isinstance(inner, dict) and "class_name" in each:
                kind = str(each["class_name"]).split(">")[-1]  # "package>Class" in an .h5 file
                found.append((str(each.get("name") or inner.get("name") or ""), kind))
            open_ends.extend(each.values())
        elif isinstance(each, list):
            open_ends.extend(each)
    return [(name, kind) for name, kind in found if name]


def _input_size(model: keras.Model) -> tuple[tuple[int, int], int]:
    """Return width and height of the input, and how many pictures one call takes."""
    # A subclass of keras.Model has none, and a Sequential model refuses to say until it knows its input's shape.
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise UsageError("the model does not declare its input; build it from a keras.Input")
    if len(inputs) != 1 or len(outputs) != 1:
        names = [
            ", ".join(tensor._keras_history.operation.name for tensor in tensors or ()) for tensors in (inputs, outputs)
        ]
        raise UsageError(
            f"a classifier has one input and one output, this model has {len(inputs)} ({names[0]}) and {len(outputs)} "
            f"({names[1]}); export the model with one of each"
        )
    shape = tuple(inputs[0].shape)
    size_wh, channels_first = input_layout(shape)
    if channels_first:
        raise UsageError(f"the model takes channels first, {shape}; Keras on a CPU computes with channels last only")
    return size_wh, shape[0] or pictures_per_call(size_wh)


def _require_finite(model: keras.Model) -> None:
    if np.isfinite(sum(float(np.abs(weight).max(initial=0)) for weight in model.get_weights())):
        return
    broken = [layer.name for layer in model.layers if not all(map(_finite, layer.get_weights()))]
    raise UsageError(f"the model holds NaN or infinite weights, first in layer {broken[0]!r}; train it again")


def _chain(like: keras.Model, *steps: Callable[[Any], Any], name: str = "core") -> keras.Model:
    """Build a model that does one step after the other, with an input as `like` has."""
    import keras

    batch, *shape = like.inputs[0].shape
    inputs = x = keras.Input(tuple(shape), batch_size=batch, name="pixels")
    for step in steps:
        x = step(x)
    return keras.Model(inputs, x, name=name)


def _reverse(pixels: Any) -> Any:
    return pixels[..., ::-1]


def _finite(weights: npt.NDArray[Any]) -> bool:
    return bool(np.isfinite(weights).all())
