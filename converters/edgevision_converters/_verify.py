"""Comparing an exported file with the model it came from, in the runtime that the device uses."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import CheckError, Classifier, default_threads

from ._recipes import find_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["Agreement", "LabelAgreement", "compare", "compare_scores", "require_agreement"]

#: Bytes of a file, all of its copies together, that are held at once.
_COPIES = 256 * 2**20


@dataclass(frozen=True)
class LabelAgreement:
    """How the answers for the pictures of one label compare.

    Attributes:
        label: what the pictures show; where that is not known, what the source calls them.
        pictures: how many these are.
        same_top1, largest_difference, mean_difference: see `Agreement`.
    """

    label: str
    pictures: int
    same_top1: float
    largest_difference: float
    mean_difference: float

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "label": self.label,
            "pictures": self.pictures,
            "same_top1_share": self.same_top1,
            "largest_score_difference": self.largest_difference,
            "mean_score_difference": self.mean_difference,
        }


@dataclass(frozen=True)
class Agreement:
    """How a file's answers compare with those of the model it came from, on the same pictures.

    Attributes:
        pictures: how many were compared.
        same_top1: share with the same best label, 0 to 1.
        largest_difference: largest difference of any score.
        runtime: that ran the file, with its version.
        mean_difference: of each picture the largest difference of a score; the mean of these. A mean over all scores
            would shrink with the number of labels, of which most score nothing.
        labels: the same for each label that has pictures, in the order of the labels.
        source_right: how many of the pictures the source names right; None where nobody said what they show.
    """

    pictures: int
    same_top1: float
    largest_difference: float
    runtime: str
    mean_difference: float
    labels: tuple[LabelAgreement, ...]
    source_right: int | None = None

    @property
    def worst_labels(self) -> list[LabelAgreement]:
        """The labels with pictures that changed their best label, the largest share first."""
        return sorted((each for each in self.labels if each.same_top1 < 1), key=lambda each: each.same_top1)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "pictures": self.pictures,
            "same_top1_share": self.same_top1,
            "largest_score_difference": self.largest_difference,
            "mean_score_difference": self.mean_difference,
            "labels": [each.to_record() for each in self.labels],
        }


def compare(
    path: Path,
    pixels_nhwc: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    targets: npt.NDArray[np.integer[Any]] | None = None,
    *,
    stop: threading.Event | None = None,
) -> Agreement:
    """Run a file on preprocessed pictures and compare with the scores that its source gave them.

    Args:
        path: the file.
        pixels_nhwc: uint8, `(n, height, width, 3)`.
        expected: float32 scores, `(n, labels)`.
        targets: index of what each picture shows, `(n,)`; None counts a picture to the label that the source gave it.
        stop: to end before all pictures are compared.

    Raises:
        CancelledError: `stop` was set.
    """
    stop = stop or threading.Event()
    # A core each: kernels that use one only, as those of int8x16 do, then take half the time on two.
    cores = default_threads()
    workers = max(1, min(cores, len(pixels_nhwc), _COPIES // path.stat().st_size))
    classifier, *more = (Classifier(path, threads=cores // workers) for _ in range(workers))
    with ThreadPoolExecutor(workers) as pool:
        try:
            parts = list(pool.map(partial(_run, stop), (classifier, *more), np.array_split(pixels_nhwc, workers)))
        except KeyboardInterrupt:
            stop.set()
            raise
    scores = np.concatenate(parts)
    runtime = f"{classifier.runtime.name} {classifier.runtime.version}"
    return compare_scores(expected, scores, classifier.metadata.labels, targets, runtime=runtime)


def _run(stop: threading.Event, classifier: Classifier, pixels_nhwc: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    scores: list[npt.NDArray[np.float32]] = []
    for pixels in pixels_nhwc:
        if stop.is_set():
            raise CancelledError
        scores.append(classifier.run(pixels[np.newaxis]))
    return np.array(scores, np.float32).reshape(len(scores), len(classifier.metadata.labels))


def compare_scores(
    expected: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: Sequence[str],
    targets: npt.NDArray[np.integer[Any]] | None = None,
    *,
    runtime: str = "",
) -> Agreement:
    """Compare scores with those that were expected.

    Args:
        expected, scores: float32, `(n, labels)`, of the same pictures in the same order.
        labels: one per score.
        targets: see `compare`.
        runtime: that gave the scores, with its version.

    >>> expected = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    >>> scores = np.array([[0.8, 0.2], [0.3, 0.7]], np.float32)
    >>> found = compare_scores(expected, scores, ("cat", "dog"))
    >>> found.same_top1, round(found.largest_difference, 3), round(found.mean_difference, 3)
    (0.5, 0.3, 0.2)
    """
    if expected.shape != scores.shape or expected.ndim != 2 or expected.shape[1] != len(labels) or not len(expected):
        raise ValueError(
            f"two arrays (n, {len(labels)}) of at least one picture are needed, got {expected.shape} and {scores.shape}"
        )
    same = expected.argmax(1) == scores.argmax(1)
    apart = np.abs(scores - expected).max(1)
    shown = expected.argmax(1) if targets is None else np.asarray(targets)
    by_label: list[LabelAgreement] = []
    for target in np.unique(shown):
        own = shown == target
        by_label.append(
            LabelAgreement(
                label=labels[int(target)],
                pictures=int(own.sum()),
                same_top1=float(same[own].mean()),
                largest_difference=float(apart[own].max()),
                mean_difference=float(apart[own].mean()),
            )
        )
    return Agreement(
        pictures=len(scores),
        same_top1=float(same.mean()),
        largest_difference=float(apart.max()),
        runtime=runtime,
        mean_difference=float(apart.mean()),
        labels=tuple(by_label),
        source_right=None if targets is None else int((expected.argmax(1) == shown).sum()),
    )


def require_agreement(name: str, recipe: str, agreement: Agreement) -> None:
    """Raise CheckError if a file, `NAME.RECIPE.FORMAT`, lies farther from its source than its recipe tolerates."""
    tolerance = find_recipe(name.rpartition(".")[2], recipe).tolerance
    if tolerance is not None and not agreement.largest_difference <= tolerance:
        raise CheckError(
            f"{name} disagrees with the model: scores differ by up to {agreement.largest_difference:.2g} "
            f"(allowed {tolerance:g}), {100 * agreement.same_top1:.2f} % same top-1 on {agreement.pictures} pictures; "
            "the file was not kept. This is a converter's fault: try another format, and report it"
        )
