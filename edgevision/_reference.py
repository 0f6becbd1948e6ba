"""What exported files are held against: the model they came from, as a run, a Keras file, a network or another file."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_converters import (
    SourceModel,
    TfliteSource,
    is_saved_model,
    load_keras_model,
    load_saved_model,
)
from edgevision_device import (
    FORMATS,
    Classifier,
    FileError,
    ForeignFileError,
    UsageError,
    describe_foreign,
    quiet_native,
    read_labels,
    read_model_file,
    require_known,
)

from ._networks import NETWORKS, PRETRAINED, imagenet_labels
from ._progress import decoding_bar
from ._run import is_run, read_run

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import numpy.typing as npt

    from edgevision_converters import Source
    from edgevision_device import Metadata, ModelFile

    from ._pictures import Pictures
    from ._run import Run

__all__ = ["Description", "Reference", "check_reference", "load_reference", "open_file", "read_file", "scores_of"]

_BATCH = 64
_MODELS = (
    "a run folder, a .keras or .h5 file, a SavedModel folder, an exported .tflite or .onnx file, or a float one of "
    "somebody else"
)


@dataclass(frozen=True)
class Description:
    """What the user says of a model or file that does not describe itself.

    Attributes:
        labels: file with one label a line.
        resize, pixels, color_order, logits: see `describe_foreign` and `SourceModel.of`.
        signature: of a SavedModel with several.
        weights: file with the weights of a pretrained network.
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
            resize=self.resize or "stretch",
            pixels=self.pixels,
            color_order=self.color_order or "rgb",
            logits=self.logits,
        )

    def of_file(self, path: Path) -> Metadata | None:
        """Return it as the metadata of a file that edgevision did not write; None if nothing was said."""
        return describe_foreign(path.stem, self.labels, self.resize, self.pixels, self.color_order, self.logits)


@dataclass(frozen=True)
class Reference:
    """The model that files are held against.

    Attributes:
        name: for people.
        kind: `run`, `network`, `Keras model`, `SavedModel`, `.tflite file` or `.onnx file`.
        model: a float model, or an open file.
        run: where it is one.
        described: what it does not say itself.
    """

    name: str
    kind: str
    model: Source | Classifier
    run: Run | None = None
    described: Description = Description()

    @property
    def metadata(self) -> Metadata:
        """Its labels, size, resize mode and the rest."""
        return self.model.metadata

    @property
    def layers(self) -> Source | bytes | None:
        """What `layer_errors` can compare with; None for what it cannot."""
        if not isinstance(self.model, Classifier):
            return self.model
        file = self.model.file
        if file.format != "tflite":
            return None
        # The tensors of a file of somebody else get the names that they get in files that are made from it.
        return self.described.source(TfliteSource.read, file.path, file.path.stem) if file.foreign else file.model

    def scores(self, pictures: Pictures) -> npt.NDArray[np.float32]:
        """Return scores, float32 `(n, labels)`, without temperature."""
        if isinstance(self.model, Classifier):
            return scores_of(self.model, pictures, self.name)
        parts: list[npt.NDArray[np.float32]] = []
        with decoding_bar(f"pictures through {self.name}") as on_progress:
            for batch in pictures.batches(_BATCH):
                parts.append(self.model.scores(batch))
                on_progress(sum(map(len, parts)), len(pictures))
        return np.concatenate(parts)

    def temper(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Apply the temperature that a file may have, to `(n, labels)`."""
        return np.stack(list(map(self.model.temper, scores))) if isinstance(self.model, Classifier) else scores


def check_reference(model: str | os.PathLike[str], described: Description) -> None:
    """Raise before anything slow if `model` names nothing to hold files against.

    That it is described needlessly is no mistake: what was said may be about a file that is held against it.
    """
    path = Path(model)
    if is_run(path):
        read_run(path)
    elif not path.exists():
        if path.name != str(model) or path.suffix:
            raise FileError(f"no such model: {path}; give {_MODELS}")
        require_known("model", path.name, [*PRETRAINED, _MODELS])
        NETWORKS[path.name].check_weights(described.weights, top=True)
    elif path.is_dir() and not is_saved_model(path):
        raise FileError(f"{path} is neither a run folder nor a SavedModel; give {_MODELS}")
    elif described.labels is None and not (path.suffix[1:] in FORMATS and not read_file(path, described).foreign):
        raise UsageError(f"{path} does not say what its scores mean; give --labels FILE with one label a line")


def load_reference(model: str | os.PathLike[str], described: Description, threads: int | None = None) -> Reference:
    """Load what files are to be held against.

    Args:
        model: a run folder, a `.keras` or `.h5` file, a SavedModel folder, the name of a pretrained network, or a
            `.tflite` or `.onnx` file.
        described: what it does not say itself.
        threads: for the runtime of a file.

    Raises:
        FileError, UsageError, MissingPackageError: there is no such model, or it is no float classifier.
    """
    check_reference(model, described)
    path = Path(model)
    name = path.resolve().name
    format = path.suffix[1:]
    if format in FORMATS and path.is_file():
        return Reference(name, f".{format} file", open_file(path, described, threads), described=described)
    with quiet_native(keep=lambda line: False):  # the backend greets from C++ when it is first imported
        importlib.import_module("tensorflow")
    if is_run(path):
        run = read_run(path)
        loaded = load_keras_model(run.model_path)
        source = SourceModel.of(loaded, run.labels, name=name, resize=run.resize, trained_on=run.trained_on)
        return Reference(name, "run", source, run)
    if not path.exists():
        network = NETWORKS[path.name].classifier(described.weights)
        source = SourceModel.of(network, imagenet_labels(), name=path.name, resize=described.resize or "crop")
        return Reference(path.name, "network", source)
    if path.is_dir():
        loaded, kind = load_saved_model(path, described.signature), "SavedModel"
    else:
        loaded, kind = load_keras_model(path), "Keras model"
    return Reference(name, kind, described.source(SourceModel.of, loaded, path.stem))


def read_file(path: Path, described: Description) -> ModelFile:
    """Read a model file; what the user said counts only where the file does not describe itself."""
    try:
        return read_model_file(path)
    except ForeignFileError:
        given = described.of_file(path)
        if given is None:
            raise
        return read_model_file(path, given)


def open_file(path: Path, described: Description, threads: int | None = None) -> Classifier:
    """Open a model file; see `read_file`."""
    given = described.of_file(path) if read_file(path, described).foreign else None
    return Classifier(path, threads=threads, given=given)


def scores_of(classifier: Classifier, pictures: Pictures, name: str) -> npt.NDArray[np.float32]:
    """Run a file on pictures of its size; return scores, float32 `(n, labels)`, without temperature."""
    rows: list[npt.NDArray[np.float32]] = []
    with decoding_bar(f"pictures through {name}") as on_progress:
        for batch in pictures.batches(_BATCH):
            rows += [classifier.run(classifier.preprocess(picture)) for picture in batch]
            on_progress(len(rows), len(pictures))
    return np.stack(rows)
