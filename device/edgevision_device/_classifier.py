"""From a picture to labels: a verified file, its runtime and its preprocessing in one object."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Optional

import numpy as np
import numpy.typing as npt

from ._errors import FileError
from ._file import ModelFile, read_model_file
from ._foreign import scores_of, size_wh, to_input
from ._metadata import Metadata
from ._preprocess import preprocess
from ._runtimes import Runtime, open_runtime

__all__ = ["Classifier", "Prediction"]

#: A small normal float32. Where a runtime has switched subnormal numbers off, as tflite-runtime does on ARM, the very
#: smallest becomes 0.
_TINY = 1e-37


@dataclass(frozen=True)
class Prediction:
    """A label, its place among the file's labels, and its score between 0 and 1."""

    label: str
    index: int
    score: float


class Classifier:
    """A model file, ready to run.

    Args:
        path: a `.tflite` or `.onnx` file. Every byte is verified before the runtime sees it.
        threads: for the runtime; default: the cores this process may use, at most 4.
        runtime: `litert`, `tflite-runtime` or `onnxruntime`; default: the first one installed that reads the file.
        delegate: see `open_runtime`.
        given: what the user says of a file that edgevision did not write.

    Attributes:
        file: the verified file.
        metadata: its labels, size, resize mode and the rest.
        runtime: the open interpreter.
        known: the labels, to look one up.

    Raises:
        FileError, MissingPackageError: see `read_model_file` and `open_runtime`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: Optional[int] = None,
        runtime: Optional[str] = None,
        delegate: Optional[str] = None,
        given: Optional[Metadata] = None,
    ) -> None:
        self.file: ModelFile = read_model_file(path, given)
        if self.file.foreign:
            from ._probe import try_model  # starts processes: not needed for our own files

            try_model(self.file, runtime)
        self.runtime: Runtime = open_runtime(
            self.file.content, self.file.format, runtime=runtime, threads=threads, delegate=delegate
        )
        self.metadata: Metadata = self.file.metadata
        if self.file.foreign:
            self.metadata = dataclasses.replace(self.metadata, size_wh=size_wh(self.runtime))
        else:
            self._check_input(path)
        self.known: frozenset[str] = frozenset(self.metadata.labels)
        scores = math.prod(self.runtime.output.shape)
        if scores != len(self.metadata.labels):
            raise FileError(f"{path} gives {scores} scores, and there are {len(self.metadata.labels)} labels")

    def _check_input(self, path: str | os.PathLike[str]) -> None:
        width, height = self.metadata.size_wh
        takes = self.runtime.input
        if takes.shape != (1, height, width, 3) or takes.dtype != np.uint8:
            raise FileError(
                f"{path} says that its input is uint8 (1, {height}, {width}, 3), and the model in it takes "
                f"{takes.dtype} {takes.shape}; export it again"
            )

    def preprocess(self, picture: npt.NDArray[np.uint8], picture_order: str = "rgb") -> npt.NDArray[np.uint8]:
        """Resize a uint8 picture `(height, width, 3)` to the file's input, `(1, height, width, 3)`."""
        return preprocess(
            picture,
            self.metadata.size_wh,
            self.metadata.resize,
            picture_order=picture_order,
            network_order=self.metadata.color_order,
        )

    def run(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the file on preprocessed pixels; return float32 scores, shape `(labels,)`, as the file gives them.

        Raises FileError if the runtime fails, or if the scores of a file that edgevision did not write are none.
        """
        if self.file.foreign:
            given = to_input(pixels_nhwc, self.runtime, self.metadata.normalization)
            return scores_of(self.runtime.run(given), self.runtime, logits=self.metadata.logits)
        return self.runtime.run(pixels_nhwc).reshape(-1)

    def scores(self, picture: npt.NDArray[np.uint8], picture_order: str = "rgb") -> npt.NDArray[np.float32]:
        """Return one float32 score per label, shape `(labels,)`, with the file's temperature applied."""
        return self.temper(self.run(self.preprocess(picture, picture_order)))

    def temper(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Apply the file's temperature: `score ** (1 / temperature)`, renormalized to sum 1."""
        if self.metadata.temperature == 1.0:
            return scores
        powered = np.clip(scores, 0, None) ** np.float32(1 / self.metadata.temperature)
        return powered / max(float(powered.sum()), _TINY)

    def classify(self, picture: npt.NDArray[np.uint8], top: int = 1) -> list[Prediction]:
        """Return the `top` best labels of a uint8 RGB picture `(height, width, 3)`, best first."""
        return self.rank(self.scores(picture), top)

    def rank(self, scores: npt.NDArray[np.float32], top: int = 1) -> list[Prediction]:
        """Return the `top` best labels of a row of scores, best first; equal scores keep the order of the labels."""
        order = np.argsort(-scores, kind="stable")[:top]
        return [Prediction(self.metadata.labels[index], int(index), float(scores[index])) for index in order]
