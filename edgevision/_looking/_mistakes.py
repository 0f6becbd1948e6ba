"""What a classifier got wrong, and how often it takes one label for another."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgevision_benchmarks import Accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .._pictures import Pictures

__all__ = ["Mistake", "confusion_csv", "confusion_of", "find_mistakes", "recalls_of"]


@dataclass(frozen=True)
class Mistake:
    """A picture that got another label than its own.

    Attributes:
        place: of the picture among those that were classified.
        file: where it came from.
        true, predicted: labels.
        score: of the predicted label, 0 to 1.
        true_score: of the right one.
    """

    place: int
    file: str
    true: str
    predicted: str
    score: float
    true_score: float


def find_mistakes(scores: npt.NDArray[np.float32], pictures: Pictures, count: int) -> list[Mistake]:
    """Return the mistakes that the network was surest of, at most `count`, the surest first.

    Args:
        scores: `(n, labels)` of these pictures.
        pictures: n of them.
        count: at most.
    """
    predicted = scores.argmax(1)
    wrong = np.flatnonzero(predicted != pictures.targets)
    # Stable, so that equal scores keep the order of the pictures.
    order = np.argsort(-scores[wrong, predicted[wrong]], kind="stable")
    return [
        Mistake(
            place=int(place),
            file=pictures.names[place],
            true=pictures.labels[pictures.targets[place]],
            predicted=pictures.labels[predicted[place]],
            score=float(scores[place, predicted[place]]),
            true_score=float(scores[place, pictures.targets[place]]),
        )
        for place in wrong[order[:count]]
    ]


def confusion_of(scores: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count pictures, `(true label, predicted label)`."""
    labels = scores.shape[1]
    return np.bincount(targets * labels + scores.argmax(1), minlength=labels * labels).reshape(labels, labels)


def recalls_of(confusion: npt.NDArray[np.int64], labels: Sequence[str]) -> dict[str, Accuracy]:
    """Return how many of each label's pictures were recognized, in the labels' order."""
    return {
        label: Accuracy(int(row[place]), int(row.sum()))
        for place, (label, row) in enumerate(zip(labels, confusion, strict=True))
    }


def confusion_csv(confusion: npt.NDArray[np.int64], labels: Sequence[str]) -> str:
    r"""Write a confusion matrix as CSV: a row for each true label, a column for each predicted one.

    >>> confusion_csv(np.array([[3, 1], [0, 2]]), ["a", "b"])
    'true \\ predicted,a,b\na,3,1\nb,0,2\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true \\ predicted", *labels])
    writer.writerows([label, *row.tolist()] for label, row in zip(labels, confusion, strict=True))
    return text.getvalue()
