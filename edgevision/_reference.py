"""What exported files are held against: the model they came from, as a run, a Keras file, a network or another file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_converters import TfliteSource
from edgevision_device import Classifier, ForeignFileError, UsageError, read_labels, read_model_file

from ._models import Description, kind_of, load_source
from ._networks import NETWORKS, imagenet_labels
from ._progress import decoding_bar
from ._run import read_run

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from edgevision_converters import Source
    from edgevision_device import Metadata, ModelFile

    from ._models import Loaded
    from ._pictures import Pictures
    from ._run import Run

__all__ = ["Reference", "check_reference", "load_reference", "open_file", "read_file", "scores_of"]

_BATCH = 64
_MODELS = (
    "a run folder, a .keras or .h5 file, a SavedModel folder, an exported .tflite or .onnx file, or a float one of "
    "somebody else"
)
#: Kinds that a runtime opens as they are.
_FILES = (".tflite file", ".onnx file")


@dataclass(frozen=True)
class Reference:
    """The model that files are held against.

    Attributes:
        name: for people.
        kind: see `kind_of`.
        model: a float model, or an open file.
        run: where it is one.
        described: what it does not say itself.
    """

    name: str
    kind: str
    model: Source | Classifier
    run: Run | None = None
    described: Description = field(default_factory=Description)

    @classmethod
    def of(cls, loaded: Loaded) -> Reference:
        """Hold files against a model that is loaded already."""
        return cls(loaded.name, loaded.kind, loaded.source, loaded.run)

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
        return (
            self.described.source(TfliteSource.read, Path(file.path), Path(file.path).stem)
            if file.foreign
            else file.model
        )

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


def check_reference(model: str | os.PathLike[str], described: Description) -> tuple[str, ...]:
    """Return the labels of what files are to be held against. Raise before anything slow if it is nothing of the kind.

    That it is described needlessly is no mistake: what was said may be about a file that is held against it.
    """
    path, kind = Path(model), kind_of(model, _MODELS)
    if kind == "run":
        return read_run(path).labels
    if kind == "network":
        NETWORKS[path.name].check_weights(described.weights, top=True)
        return imagenet_labels()
    if kind in _FILES:
        return read_file(path, described).metadata.labels
    if described.labels is None:
        raise UsageError(f"{path} does not say what its scores mean; give --labels FILE with one label a line")
    return read_labels(described.labels)


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
    kind = kind_of(model, _MODELS)
    if kind in _FILES:
        path = Path(model)
        return Reference(path.resolve().name, kind, open_file(path, described, threads), described=described)
    return Reference.of(load_source(model, kind, described))


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
