"""Whether scores mean what they say: of the answers with score 0.9, are nine in ten right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

__all__ = ["CalibrationError", "ScoreBin", "calibration_error", "chance_error"]

#: At most so many bins, and so many pictures in each at least: of fewer, its share of right answers says little.
_BINS, _PICTURES = 15, 20
#: How often chance is tried.
_DRAWS = 100


@dataclass(frozen=True)
class ScoreBin:
    """Answers of about the same score.

    Attributes:
        pictures: how many.
        mean_score: of the best labels, 0 to 1.
        right_share: of the answers, 0 to 1.
    """

    pictures: int
    mean_score: float
    right_share: float


@dataclass(frozen=True)
class CalibrationError:
    """How far scores lie from the share of answers that are right.

    Attributes:
        error: the expected calibration error, 0 to 1: over all pictures, the mean distance of a bin's mean score from
            its share of right answers. Chance alone makes it larger than 0, more so the fewer the pictures.
        mean_score, right_share: of all pictures. Where the former is larger, scores promise too much.
        bins: from the lowest scores to the highest; of about the same number of pictures each.
    """

    error: float
    mean_score: float
    right_share: float
    bins: tuple[ScoreBin, ...]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "error_share": self.error,
            "binning": "equal mass",
            "mean_score": self.mean_score,
            "right_share": self.right_share,
            "bins": [dict(each.__dict__) for each in self.bins],
        }


def calibration_error(
    scores: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_], bins: Optional[int] = None
) -> CalibrationError:
    """Return the expected calibration error of a classifier's best labels, in bins of equal mass.

    M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI
    2015; 15 bins as in C. Guo and others, "On calibration of modern neural networks", ICML 2017. Bins of equal mass and
    not of equal width, because most scores of a trained network lie near 1 and would share one bin: J. Nixon and
    others, "Measuring calibration in deep learning", CVPR workshops 2019; they are the less biased ones too: R. Roelofs
    and others, "Mitigating bias in calibration error estimation", AISTATS 2022. Equal scores stay in one bin, so that
    the order of the pictures does not matter.

    Args:
        scores: of each picture's best label, `(n,)`.
        right: whether that label is right, bool `(n,)`.
        bins: at least 1; None takes 15, or fewer so that each has 20 pictures. A bin that equal scores leave empty is
            not among the result's.

    >>> found = calibration_error(np.array([0.6, 0.6, 0.9, 0.9]), np.array([True, False, True, True]), bins=2)
    >>> round(found.error, 3), round(found.mean_score - found.right_share, 3)
    (0.1, 0.0)
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(right)
    if bins is None:
        bins = max(1, min(_BINS, len(values) // _PICTURES))
    if truth.dtype != np.bool_ or values.ndim != 1 or values.shape != truth.shape or not len(values) or bins < 1:
        raise ValueError(
            f"scores and bools of one shape (n,) and at least one bin are needed, got {values.shape}, {truth.dtype} "
            f"{truth.shape} and {bins}"
        )
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    # The middle of a group of equal scores, among all scores in order, says which bin the whole group belongs to.
    middles = np.cumsum(sizes) - sizes / 2
    bin_of = np.minimum((middles * bins / len(values)).astype(np.int64), bins - 1)[group.reshape(-1)]
    found = [
        ScoreBin(int(own.sum()), float(values[own].mean()), float(truth[own].mean()))
        for own in (bin_of == place for place in np.unique(bin_of))
    ]
    error = sum(each.pictures * abs(each.mean_score - each.right_share) for each in found) / len(values)
    return CalibrationError(error, float(values.mean()), float(truth.mean()), tuple(found))


def chance_error(scores: npt.NDArray[np.floating[Any]], bins: Optional[int] = None) -> float:
    """Return the calibration error that these scores have on average if each is right as often as it says.

    It is what chance alone makes of it on so few pictures: an error near it is no sign of bad scores. From 100 draws of
    which answers are right, the same for the same scores.

    Args:
        scores, bins: see `calibration_error`.

    >>> scores = np.full(30, 0.8)
    >>> 0.04 < chance_error(scores) < 0.08
    True
    """
    values = np.asarray(scores, np.float64)
    generator = np.random.default_rng(0)
    errors = [calibration_error(values, generator.random(len(values)) < values, bins).error for _ in range(_DRAWS)]
    return float(np.mean(errors))
