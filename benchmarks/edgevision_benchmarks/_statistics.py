"""Intervals for shares and for their differences: how far what was measured can be from what is true."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from ._text import points_text

__all__ = [
    "CONFIDENCE",
    "Accuracy",
    "PairedDifference",
    "compare_paired",
    "mcnemar_p",
    "paired_interval",
    "unpaired_interval",
    "wilson_interval",
]

#: Of every interval, unless another is asked for.
CONFIDENCE = 0.95


def wilson_interval(right: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a share, as two numbers between 0 and 1.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927), 209-212. Unlike share ± z · standard error it stays inside 0..1 and keeps its
    width when nothing, or everything, is right.

    Args:
        right: how many were right, 0 to `total`.
        total: how many were tried; 0 gives the whole range.
        confidence: how often such an interval covers the true share, between 0 and 1.

    >>> low, high = wilson_interval(486, 500)
    >>> f"{low:.4f} {high:.4f}"
    '0.9536 0.9832'
    >>> wilson_interval(0, 0)
    (0.0, 1.0)
    """
    if not 0 <= right <= total:
        raise ValueError(f"right must lie between 0 and total, got {right} of {total}")
    z = _quantile(confidence)
    if total == 0:
        return 0.0, 1.0
    share = right / total
    shrink = 1 + z * z / total
    middle = (share + z * z / (2 * total)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # At 0 and at `total` the formula is exact but for rounding, which must not leave the range.
    return (0.0 if right == 0 else max(0.0, middle - half)), (1.0 if right == total else min(1.0, middle + half))


def unpaired_interval(
    right_a: int, total_a: int, right_b: int, total_b: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of the difference of two shares on different pictures, b's share minus a's.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
    (1998), 873-890, method 10: the two Wilson intervals, squared and added.

    Args:
        right_a, total_a, right_b, total_b: see `wilson_interval`; no pictures on either side give the whole range.
        confidence: how often such an interval covers the true difference, between 0 and 1.

    >>> low, high = unpaired_interval(48, 80, 56, 70)
    >>> f"{low:.4f} {high:.4f}"
    '0.0524 0.3339'
    """
    low_a, high_a = wilson_interval(right_a, total_a, confidence)
    low_b, high_b = wilson_interval(right_b, total_b, confidence)
    if not total_a or not total_b:
        return -1.0, 1.0
    a, b = right_a / total_a, right_b / total_b
    return b - a - math.hypot(b - low_b, high_a - a), b - a + math.hypot(high_b - b, a - low_a)


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return McNemar's exact p: how often chance alone would part two equal classifiers at least as unevenly.

    Only the pictures on which one of the two is right say anything: of these, twice the smaller tail of the binomial
    distribution with share 1/2, at most 1. Q. McNemar, "Note on the sampling error of the difference between
    correlated proportions or percentages", Psychometrika 12 (1947), 153-157.

    Args:
        only_a, only_b: pictures on which the first, or the second, alone is right.

    >>> round(mcnemar_p(1, 7), 4)
    0.0703
    """
    fewer, apart = min(only_a, only_b), only_a + only_b
    if fewer < 0:
        raise ValueError(f"counts must be at least 0, got {only_a} and {only_b}")
    # In logarithms, because 2 ** apart leaves the range of a float at 1,024 pictures.
    log_term = math.lgamma(apart + 1) - math.lgamma(fewer + 1) - math.lgamma(apart - fewer + 1) - apart * math.log(2)
    # The tail as a multiple of its largest term; each term follows from the one before, and soon they count no more.
    tail = term = 1.0
    for count in range(fewer, 0, -1):
        term *= count / (apart - count + 1)
        tail += term
        if term < 1e-17 * tail:
            break
    return min(1.0, 2 * math.exp(log_term) * tail)


def paired_interval(only_a: int, only_b: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of the difference of two shares on the same pictures, b's share minus a's.

    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998), 891-908. It stays inside -1..1 and keeps its width where the two never
    differ, and depends, as McNemar's test does, only on where they differ.

    Args:
        only_a, only_b: pictures on which the first, or the second, alone is right.
        total: pictures; 0 gives the whole range.
        confidence: how often such an interval covers the true difference, between 0 and 1.

    >>> low, high = paired_interval(7, 1, 21)
    >>> f"{low:.3f} {high:.3f}"
    '-0.517 -0.026'
    """
    if min(only_a, only_b) < 0 or only_a + only_b > total:
        raise ValueError(f"counts must lie between 0 and total, got {only_a} and {only_b} of {total}")
    z = _quantile(confidence)
    if total == 0:
        return -1.0, 1.0

    def distance(true: float) -> float:
        """Return by how many standard errors what was measured lies above a true difference."""
        # The most likely share of "only a" under that difference: the larger root of 2 n q² + linear q + constant.
        linear = (2 * total - only_b + only_a) * true - only_a - only_b
        constant = -only_a * true * (1 - true)
        root = math.sqrt(max(0.0, linear * linear - 8 * total * constant))
        only = -2 * constant / (linear + root) if linear > 0 else (root - linear) / (4 * total)
        variance = total * (2 * only + true * (1 - true))
        above = only_b - only_a - total * true
        return above / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, above)

    measured = (only_b - only_a) / total
    low = -1.0 if only_a == total else _bisect(lambda true: distance(true) < z, measured, -1.0)
    high = 1.0 if only_b == total else _bisect(lambda true: distance(true) > -z, measured, 1.0)
    return low, high


@dataclass(frozen=True)
class Accuracy:
    """How many pictures were named right: of all, or of one label (its recall).

    >>> Accuracy(486, 500).describe()
    '97.2 % (95.4 to 98.3)'
    """

    right: int
    pictures: int

    @classmethod
    def of(cls, right: npt.NDArray[np.bool_]) -> Accuracy:
        """Count which pictures were right: bool, `(pictures,)`.

        >>> Accuracy.of(np.array([True, True, False]))
        Accuracy(right=2, pictures=3)
        """
        return cls(int(np.count_nonzero(right)), len(right))

    @property
    def share(self) -> float:
        """Between 0 and 1; 0 where there are no pictures."""
        return self.right / self.pictures if self.pictures else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share, see `wilson_interval`, at `CONFIDENCE`."""
        return wilson_interval(self.right, self.pictures)

    def describe(self) -> str:
        """Return it in per cent, with its interval."""
        return f"{100 * self.share:.1f} % ({self.describe_interval()})"

    def describe_interval(self) -> str:
        """Return the interval in per cent, without the sign."""
        low, high = self.interval
        return f"{100 * low:.1f} to {100 * high:.1f}"

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types; shares, not per cent."""
        low, high = self.interval
        return {
            "right": self.right,
            "pictures": self.pictures,
            "accuracy_share": self.share,
            "accuracy_low_share": low,
            "accuracy_high_share": high,
        }


@dataclass(frozen=True)
class PairedDifference:
    """How much more often b is right than a, on the same pictures.

    Attributes:
        both, only_a, only_b, neither: pictures on which they are right.
        confidence: of the interval and the verdict.

    >>> PairedDifference(both=470, only_a=5, only_b=9, neither=16).describe()
    '+0.8 points on 500 pictures (−0.8 to +2.5), p = 0.42: not distinguishable from 0'
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    confidence: float = CONFIDENCE

    @property
    def pictures(self) -> int:
        """All of them."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Share that b has right minus share that a has right, -1 to 1; 0 where there are no pictures."""
        return (self.only_b - self.only_a) / self.pictures if self.pictures else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Of the difference, see `paired_interval`."""
        return paired_interval(self.only_a, self.only_b, self.pictures, self.confidence)

    @property
    def p(self) -> float:
        """See `mcnemar_p`."""
        return mcnemar_p(self.only_a, self.only_b)

    @property
    def distinguishable(self) -> bool:
        """Whether this is more than chance: 0 lies outside the interval, and p is small enough.

        Both, because on few pictures the interval, which is an approximation, leaves 0 out before the exact test does.
        """
        low, high = self.interval
        return not low <= 0 <= high and self.p < 1 - self.confidence

    def describe(self) -> str:
        """Return one line with the verdict."""
        if not self.pictures:
            return "no pictures in common: nothing to compare"
        p = self.p
        written = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
        verdict = "distinguishable from 0" if self.distinguishable else "not distinguishable from 0"
        return (
            f"{points_text(self.difference)} points on {self.pictures:,} pictures "
            f"({' to '.join(map(points_text, self.interval))}), {written}: {verdict}"
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types; shares, not points."""
        low, high = self.interval
        return {
            "pictures": self.pictures,
            "both_right": self.both,
            "only_a_right": self.only_a,
            "only_b_right": self.only_b,
            "neither_right": self.neither,
            "difference_share": self.difference,
            "difference_low_share": low,
            "difference_high_share": high,
            "confidence": self.confidence,
            "p": self.p,
            "distinguishable": self.distinguishable,
            "verdict": self.describe(),
        }


def compare_paired(
    right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_], confidence: float = CONFIDENCE
) -> PairedDifference:
    """Compare two classifiers by which pictures each has right.

    Args:
        right_a, right_b: bool, `(pictures,)`; the same pictures in the same order.
        confidence: of the interval and the verdict.

    >>> compare_paired(np.array([True, True, False]), np.array([True, False, False])).difference
    -0.3333333333333333
    """
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.dtype != np.bool_ or b.dtype != np.bool_ or a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"two bool arrays of one shape (n,) are needed, got {a.dtype} {a.shape} and {b.dtype} {b.shape}"
        )
    counts = (a & b, a & ~b, ~a & b, ~a & ~b)
    return PairedDifference(*(int(np.count_nonzero(count)) for count in counts), confidence=confidence)


def _quantile(confidence: float) -> float:
    """Return how many standard errors to either side hold so much of a normal distribution."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _bisect(inside: Callable[[float], bool], start: float, end: float) -> float:
    """Return where `inside` ends between `start`, where it holds, and `end`."""
    for _ in range(60):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return start
