"""Intervals for shares: how far a measured accuracy can be from the true one."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["wilson_interval"]


def wilson_interval(right: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
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
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = right / total
    shrink = 1 + z * z / total
    middle = (share + z * z / (2 * total)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # At 0 and at `total` the formula is exact but for rounding, which must not leave the range.
    return (0.0 if right == 0 else max(0.0, middle - half)), (1.0 if right == total else min(1.0, middle + half))
