"""What a `.tflite` and an `.onnx` file that somebody else made have in common as sources."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from edgevision_device import (
    COLOR_ORDERS,
    Classifier,
    FileError,
    ForeignFileError,
    Metadata,
    Normalization,
    Runtime,
    UsageError,
    read_model_file,
    require_known,
)

from ._source import (
    Takes,
    describe,
    folded,
    input_layout,
    noise,
    require_label_count,
    require_logits,
    require_scores,
    reverse_order,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

__all__ = ["AS_IT_IS", "ForeignSource", "Tensors"]

#: What to do with a file that is quantized already: nothing can be quantized better than from float.
AS_IT_IS = (
    "give the float model that it was made from. To run it as it is: edgevision classify, benchmark or stream with "
    "--labels FILE --resize MODE --pixels RANGE"
)


@dataclass(frozen=True)
class Tensors:
    """A checked model, and the shapes of its one input and one output; None stands for a size that is not fixed."""

    model: bytes
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ForeignSource:
    """A float model file and everything that its files will say about themselves; see `Source`.

    Attributes:
        model: the bytes, as they came as far as that is possible.
        metadata: labels, size and the rest; recipe and calibration are filled in per file.
        channels_first: the input is `(1, 3, height, width)`.
        reversed: the model takes BGR.
        logits: the model ends without softmax.
        runtime: has the model open.
    """

    format: ClassVar[str]
    #: What to do about an input without a fixed size.
    fix: ClassVar[str] = "export it with a fixed size"
    model: bytes
    metadata: Metadata
    channels_first: bool
    reversed: bool
    logits: bool
    runtime: Runtime

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        labels: Sequence[str],
        *,
        name: str,
        pixels: str | None,
        resize: str = "stretch",
        color_order: str = "rgb",
        logits: bool = False,
        **more: Any,
    ) -> Self:
        """Read a file and check that it is a float classifier with these labels.

        Args:
            path: the file.
            labels: one per output, in order.
            name: for the files that it becomes.
            pixels: what numbers the model takes (see `Normalization.parse`), in the order of its channels.
            resize: how pictures reach the input size.
            color_order: of the channels that the model takes: `rgb` or `bgr`.
            logits: the model ends without softmax; one is added.
            more: further fields of `Metadata`.

        Raises:
            FileError: it is no such file, or edgevision wrote it.
            UsageError: it is quantized, no such classifier, or holds what the runtimes lack; or `pixels` is missing.
        """
        require_known("color order", color_order, COLOR_ORDERS)
        path = Path(path)
        tensors = cls._check(path, _read(path))
        size_wh, channels_first = input_layout(tensors.input_shape, cls.fix)
        # (1, 1, 1, 1000) are 1000 scores too; a single label is told from none by its place.
        batch, *sizes = tensors.output_shape or (None,)
        require_label_count((batch, *([size for size in sizes if size != 1] or sizes[:1])), labels)
        if pixels is None:
            raise UsageError(
                f"{path} does not say what numbers it takes; give --pixels 0..255, 0..1, -1..1, imagenet, or MEAN:STD "
                "such as 127:128"
            )
        reversed = color_order == "bgr"
        normalization = Normalization.parse(pixels)
        if reversed:
            normalization = reverse_order(normalization)
        metadata = describe(name, labels, size_wh, resize, normalization, **more)
        source = cls(tensors.model, metadata, channels_first, reversed, logits, cls._open(tensors.model, metadata))
        example = noise(size_wh)
        if logits:
            require_logits(source._outputs(example))
        require_scores(source.scores(example))
        return source

    @classmethod
    def _open(cls, model: bytes, metadata: Metadata) -> Runtime:
        """Open the model as the device opens a file that edgevision did not write: first where a crash does no harm."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{metadata.name}.{cls.format}"
            path.write_bytes(model)
            try:
                return Classifier(path, given=metadata).runtime
            except FileError as error:
                raise FileError(str(error).replace(str(path), "the model")) from error

    @classmethod
    def _check(cls, path: Path, content: bytes) -> Tensors:
        """Refuse what is no float model with one input and one output."""
        raise NotImplementedError

    @property
    def formats(self) -> tuple[str, ...]:
        """Its own: nothing translates one format into another as faithfully as exporting the original model."""
        return (self.format,)

    @property
    def layers(self) -> Mapping[str, bool]:
        """None: such files name tensors and operators, and these names stay."""
        return {}

    def scores(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the model as it came on uint8 pixels `(n, height, width, 3)`; return scores `(n, labels)`."""
        outputs = self._outputs(pixels_nhwc)
        if not self.logits:
            return outputs
        powers = np.exp(outputs - outputs.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def _outputs(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        mean, std = (np.array(each, np.float32) for each in vars(self.metadata.normalization).values())
        dtype = self.runtime.input.dtype
        rows: list[npt.NDArray[np.float32]] = []
        for pixels in pixels_nhwc:
            numbers = (pixels[np.newaxis].astype(np.float32) - mean) / std
            if self.reversed:
                numbers = numbers[..., ::-1]
            if self.channels_first:
                numbers = numbers.transpose(0, 3, 1, 2)
            if dtype.kind in "iu":
                numbers = np.rint(numbers)
            rows.append(self.runtime.run(np.ascontiguousarray(numbers.astype(dtype))).reshape(-1).astype(np.float32))
        return np.stack(rows)

    def float_tflite(self, takes: Takes) -> bytes:
        """Return it as a float32 `.tflite`; see `Source`."""
        raise self._other_format()

    def float_onnx(self, takes: Takes) -> Any:
        """Return it as a float32 ONNX model; see `Source`."""
        raise self._other_format()

    def _begin(self, begin: Callable[..., None], model: Any, takes: Takes) -> None:
        """Put in front of the model what it needs; see `begin_tflite`."""
        inside = takes == "numbers" and folded(self.metadata)
        begin(
            model,
            takes,
            self.metadata.size_wh,
            None if inside else self.metadata.normalization,
            reversed=self.reversed,
            channels_first=self.channels_first,
        )

    def _other_format(self) -> UsageError:
        return UsageError(
            f"from .{self.format} only .{self.format} files are made: give --formats {self.format}, or export the "
            "model that the file was made from"
        )


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read the model file {path}: {error.strerror}") from error
    try:
        read_model_file(path)
    except ForeignFileError:
        return content
    raise FileError(f"{path} was written by edgevision; export the model that it was made from")
