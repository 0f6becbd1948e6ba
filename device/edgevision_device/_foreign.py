"""Feeding a model file that edgevision did not write: what it wants is read from its tensors, never from its name."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ._errors import DataError, FileError, UsageError
from ._metadata import Metadata, Normalization
from ._runtimes import Runtime

__all__ = ["describe_foreign", "read_labels", "scores_of", "size_wh", "to_input"]


#: How far scores of a softmax in float16 or in an approximation may be from shares of 1.
_SLACK = 1e-2


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read one label a line. Raises DataError when the file is missing, empty or not UTF-8, or repeats a label."""
    try:
        # Windows editors begin a file with a byte order mark, which is not part of the first label.
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise DataError(f"cannot read the label file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the label file {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise DataError(f"the label file {path} is empty; it needs one label a line")
    repeated, count = Counter(labels).most_common(1)[0]
    if count > 1:
        raise DataError(f"label {repeated!r} stands {count} times in the label file {path}; make each one unique")
    return labels


def describe_foreign(
    name: str,
    labels: Optional[str],
    resize: Optional[str],
    pixels: Optional[str],
    color_order: Optional[str] = None,
    logits: bool = False,
) -> Optional[Metadata]:
    """Turn the flags of `add_foreign_arguments` into metadata; None when none of them was given.

    The size is left at 1 × 1: `Classifier` reads it from the model's input.
    """
    flags = {"--labels": labels, "--resize": resize, "--pixels": pixels}
    if not any((*flags.values(), color_order, logits)):
        return None
    if labels is None or resize is None or pixels is None:
        missing = ", ".join(flag for flag, value in flags.items() if value is None)
        raise UsageError(
            f"a file that edgevision did not write needs all of {', '.join(flags)}; missing: {missing}; "
            "one that it wrote needs none of them"
        )
    return Metadata(
        name=name,
        labels=read_labels(labels),
        size_wh=(1, 1),
        resize=resize,
        color_order=color_order or "rgb",
        normalization=Normalization.parse(pixels),
        recipe="unknown",
        logits=logits,
    )


def size_wh(runtime: Runtime) -> tuple[int, int]:
    """Read width and height from the input's shape, `(1, height, width, 3)` or `(1, 3, height, width)`."""
    shape = runtime.input.shape
    if len(shape) == 4 and shape[3] == 3:
        height, width = shape[1:3]
    elif len(shape) == 4 and shape[1] == 3:
        height, width = shape[2:4]
    else:
        raise FileError(
            f"the model's input has shape {shape}; a classifier of color pictures has (1, height, width, 3)"
        )
    if height < 1 or width < 1:
        raise FileError(f"the model's input has no fixed height and width: {shape}; export it with a fixed size")
    return int(width), int(height)


def to_input(pixels_nhwc: npt.NDArray[np.uint8], runtime: Runtime, normalization: Normalization) -> npt.NDArray[Any]:
    """Normalize pixels and give them the dtype, quantization and layout of the model's input."""
    mean = np.asarray(normalization.mean, np.float32)
    std = np.asarray(normalization.std, np.float32)
    real = (pixels_nhwc.astype(np.float32) - mean) / std
    tensor = runtime.input
    if np.issubdtype(tensor.dtype, np.integer):
        limits = np.iinfo(tensor.dtype)
        # ONNX keeps the quantization of an integer input in the graph, so there is none to apply.
        scaled = np.rint(real / tensor.scale) + tensor.zero_point if tensor.scale else np.rint(real)
        real = np.clip(scaled, limits.min, limits.max)
    if tensor.shape[3] != 3:
        real = real.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(real.astype(tensor.dtype))


def scores_of(output: npt.NDArray[Any], runtime: Runtime, *, logits: bool) -> npt.NDArray[np.float32]:
    """Dequantize the model's output to float32 scores, shape `(labels,)`, and apply a softmax to `logits`.

    Raises FileError unless the scores are shares of 1.
    """
    tensor = runtime.output
    scores = output.astype(np.float32).reshape(-1)
    if np.issubdtype(tensor.dtype, np.integer) and tensor.scale:
        scores = (scores - tensor.zero_point) * np.float32(tensor.scale)
    if logits:
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()
    least, most, total = float(scores.min()), float(scores.max()), float(scores.sum())
    # Each score of an integer output may be off by a step. Written so that what is not a number fails.
    slack = max(_SLACK, scores.size * tensor.scale)
    if not (least >= -_SLACK and most <= 1 + _SLACK and abs(total - 1) <= slack):
        raise FileError(
            f"the model's scores should lie between 0 and 1 and add up to 1, and are {least:.4g} to {most:.4g} and "
            f"{total:.4g} in all; --logits applies the softmax that it may lack"
        )
    return scores
