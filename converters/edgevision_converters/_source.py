"""What files are made from: the common face of a Keras model, a SavedModel, a `.tflite` and an `.onnx` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edgevision_device import Metadata, Normalization, UsageError, __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = [
    "Source",
    "Takes",
    "describe",
    "first_line",
    "folded",
    "input_layout",
    "noise",
    "normalize",
    "require_label_count",
    "require_logits",
    "require_scores",
    "reverse_order",
]


#: What the input `pixels` of a float model takes, always RGB: `bytes`, uint8, as every file does, with cast and
#: normalization inside; `pixels`, the same in float32; or `numbers`, float32, of which int8 is made: pixels mapped by
#: the normalization where one scale serves all channels, so that it becomes the input's quantization, else `pixels`.
Takes = Literal["bytes", "pixels", "numbers"]


class Source(Protocol):
    """A float classifier, whatever it came in.

    Recipes start from one of its float models, see `Takes`. Their output is `scores`, float32 `(1, labels)`.
    """

    @property
    def metadata(self) -> Metadata:
        """Labels, size and the rest; recipe and calibration are filled in per file."""
        ...

    @property
    def formats(self) -> tuple[str, ...]:
        """File formats that it can become."""
        ...

    @property
    def layers(self) -> Mapping[str, bool]:
        """Names of its layers, as far as known → whether one has weights of two or more axes."""
        ...

    def scores(self, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run it as it came, on uint8 RGB pixels `(n, height, width, 3)`; return scores `(n, labels)`."""
        ...

    def float_tflite(self, takes: Takes) -> bytes:
        """Return it as a float32 `.tflite` without metadata, with an input `(1, height, width, 3)`."""
        ...

    def float_onnx(self, takes: Takes) -> Any:
        """Return it as a float32 `onnx.ModelProto`: bytes are `(1, height, width, 3)`, others NCHW."""
        ...


def first_line(error: Exception) -> str:
    """Return the start of the first line of somebody else's message, which may be empty or long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def folded(metadata: Metadata) -> bool:
    """Say whether the numbers of a source are normalized: one mean and one deviation serve all channels."""
    return len(metadata.normalization.mean) == 1


def normalize(metadata: Metadata, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Map uint8 pixels `(n, height, width, 3)` to the numbers that a source's int8 files are calibrated on."""
    mapped = pixels_nhwc.astype(np.float32)
    if not folded(metadata):
        return mapped
    return (mapped - np.float32(metadata.normalization.mean[0])) / np.float32(metadata.normalization.std[0])


def reverse_order(normalization: Normalization) -> Normalization:
    """Give means and deviations of BGR channels as those of RGB channels."""
    return Normalization(normalization.mean[::-1], normalization.std[::-1])


def describe(
    name: str,
    labels: Sequence[str],
    size_wh: tuple[int, int],
    resize: str,
    normalization: Normalization,
    **more: Any,
) -> Metadata:
    """Return what the files of a source will say about themselves."""
    return Metadata(
        name=name,
        labels=tuple(labels),
        size_wh=size_wh,
        resize=resize,
        normalization=normalization,
        edgevision=__version__,
        **more,
    )


def input_layout(shape: Sequence[int | None], fix: str = "export it with a fixed size") -> tuple[tuple[int, int], bool]:
    """Read the input's size from its shape, `(batch, height, width, 3)` or `(batch, 3, height, width)`.

    Args:
        shape: None stands for a size that is not fixed.
        fix: what to do about that.

    Returns:
        Width and height, and whether the channels come first.

    Raises:
        UsageError: this is no input of a color classifier that takes one picture at a time, of one size.
    """
    shown = f"({', '.join('free' if size is None else str(size) for size in shape)})"
    wanted = "a classifier of color pictures takes (1, height, width, 3) or (1, 3, height, width)"
    if len(shape) != 4:
        raise UsageError(f"the model's input has shape {shown}; {wanted}")
    if 3 not in (shape[1], shape[3]):
        if 1 in (shape[1], shape[3]):
            raise UsageError(
                f"the model takes grey pictures, {shown}; {wanted}: put a layer in front that makes one channel of 3"
            )
        if None in (shape[1], shape[3]):
            raise UsageError(f"the model's input has no fixed channels: {shown}; {wanted}")
        raise UsageError(f"the model's input has shape {shown}; {wanted}")
    first = shape[3] != 3
    height, width = shape[2:4] if first else shape[1:3]
    if height is None or width is None:
        raise UsageError(f"the model's input has no fixed height and width: {shown}; {fix}")
    if shape[0] not in (None, 1):
        raise UsageError(f"the model takes {shape[0]} pictures at a time, {shown}; export it with a batch of 1")
    return (width, height), first


def require_label_count(shape: Sequence[int | None], labels: Sequence[str]) -> None:
    """Raise UsageError unless a model whose output has this shape, `(batch, scores)`, gives one score per label."""
    if tuple(shape[1:]) != (len(labels),):
        given = f"{shape[1]} scores" if len(shape) == 2 else f"{tuple(shape[1:])} numbers"
        raise UsageError(
            f"the model gives {given} per picture and there are {len(labels)} labels; give one label per score"
        )


def noise(size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return four pictures of noise, always the same: uint8 `(4, height, width, 3)`."""
    return np.random.default_rng(0).integers(0, 256, (4, size_wh[1], size_wh[0], 3), np.uint8)


def require_logits(outputs: npt.NDArray[np.float32]) -> None:
    """Raise UsageError if outputs that are said to be logits are scores already."""
    if _are_scores(outputs):
        raise UsageError("the model gives scores already, not logits; leave out --logits")


def require_scores(scores: npt.NDArray[np.float32]) -> None:
    """Raise UsageError unless rows of outputs are scores between 0 and 1 that sum to 1."""
    if not np.isfinite(scores).all():
        raise UsageError("the model gives NaN or infinite scores for ordinary pixels; train it again")
    if not _are_scores(scores):
        raise UsageError(
            f"the model's outputs are no scores (sum {scores.sum(1)[0]:.3g}, smallest {scores.min():.3g}); "
            "if they are logits, pass --logits"
        )


def _are_scores(outputs: npt.NDArray[np.float32]) -> bool:
    return bool(outputs.min() >= 0 and np.abs(outputs.sum(1) - 1).max() <= 1e-3)
