"""Comparing an exported file with the Keras model it came from, in the runtime that the device uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import CheckError, Classifier

from ._recipes import FLOAT_RECIPES

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["Agreement", "compare", "require_agreement"]

#: How far scores of a float file may lie from the Keras model's. float32 differs by the order of sums; float16 rounds
#: each weight by up to 2**-11 of itself.
_LARGEST_DIFFERENCE = {"float32": 1e-3, "float16": 2e-2}


@dataclass(frozen=True)
class Agreement:
    """How a file's answers compare with the Keras model's on the same pictures.

    Attributes:
        pictures: how many were compared.
        same_top1: share with the same best label, 0 to 1.
        largest_difference: largest difference of any score.
        runtime: that ran the file, with its version.
    """

    pictures: int
    same_top1: float
    largest_difference: float
    runtime: str


def compare(path: Path, pixels_nhwc: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> Agreement:
    """Run a file on preprocessed pictures and compare with the scores that the Keras model gave them.

    Args:
        path: the file.
        pixels_nhwc: uint8, `(n, height, width, 3)`.
        expected: float32 scores, `(n, labels)`.
    """
    classifier = Classifier(path)
    scores = np.stack([classifier.run(pixels[np.newaxis]) for pixels in pixels_nhwc])
    return Agreement(
        pictures=len(scores),
        same_top1=float((expected.argmax(1) == scores.argmax(1)).mean()),
        largest_difference=float(np.abs(scores - expected).max()),
        runtime=f"{classifier.runtime.name} {classifier.runtime.version}",
    )


def require_agreement(name: str, recipe: str, agreement: Agreement) -> None:
    """Raise CheckError if a float file disagrees with the Keras model by more than its rounding explains."""
    if recipe not in FLOAT_RECIPES:
        return
    tolerance = _LARGEST_DIFFERENCE[recipe]
    if not agreement.largest_difference <= tolerance:
        raise CheckError(
            f"{name} disagrees with the Keras model: scores differ by up to {agreement.largest_difference:.2g} "
            f"(allowed {tolerance:g}), {100 * agreement.same_top1:.2f} % same top-1 on {agreement.pictures} pictures; "
            "the file was not kept. This is a converter's fault: try another format, and report it"
        )
