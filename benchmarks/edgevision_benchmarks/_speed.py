"""Which of two files is faster, from runs that took turns; and how far two timings of one file lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ._statistics import CONFIDENCE

__all__ = ["LEAST_ROUNDS", "Speed", "TimeRatio", "beyond", "drift_of", "judge", "percentile_intervals", "time_ratio"]

#: Of fewer rounds, no interval of a median holds 95 %: the smallest and the largest of five hold 94.
LEAST_ROUNDS = 6
#: How often the rounds are drawn anew.
_DRAWS = 2000
_PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class TimeRatio:
    """How many times as long one takes as the other.

    Attributes:
        ratio: median, over the rounds, of the ratio of their two median times.
        low, high: interval of it, at `CONFIDENCE`, from drawing the rounds anew (percentile bootstrap).
        rounds: in which both were timed.
    """

    ratio: float
    low: float
    high: float
    rounds: int

    @property
    def span(self) -> float:
        """The factor, at least 1, that the interval reaches from 1 to either side."""
        return math.exp(max(abs(math.log(self.low)), abs(math.log(self.high))))

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"ratio": self.ratio, "ratio_low": self.low, "ratio_high": self.high, "rounds": self.rounds}


@dataclass(frozen=True)
class Speed:
    """A file's time against that of the reference.

    Attributes:
        reference: its name.
        time: ratio to its time; below 1 is faster.
        verdict: `faster` or `slower`, if the whole interval lies farther from 1 than two timings of the reference
            itself did; else `no difference`; None if there were fewer than `LEAST_ROUNDS` rounds, or no such timings.
    """

    reference: str
    time: TimeRatio
    verdict: Optional[str]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"reference": self.reference, **self.time.to_record(), "verdict": self.verdict}


def time_ratio(
    rounds: Mapping[int, Sequence[float]], reference: Mapping[int, Sequence[float]], seed: int = 0
) -> TimeRatio:
    """Compare two by the rounds that both took part in.

    Args:
        rounds, reference: number of the round → times.
        seed: of the bootstrap.
    """
    shared = sorted(rounds.keys() & reference.keys())
    logs = np.log([np.median(rounds[number]) / np.median(reference[number]) for number in shared])
    low, high = np.quantile(_bootstrap_medians(logs, seed), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    middle, low, high = (math.exp(float(value)) for value in (np.median(logs), low, high))
    return TimeRatio(middle, low, high, len(shared))


def judge(time: TimeRatio, floor: Optional[TimeRatio]) -> Optional[str]:
    """Return the verdict of `Speed`, given what two timings of one file made of it."""
    return None if floor is None or time.rounds < LEAST_ROUNDS else beyond(time, floor.span)


def beyond(time: TimeRatio, span: float) -> str:
    """Return `faster` or `slower` if the whole interval lies farther from 1 than the factor `span`."""
    if time.high < 1 / span:
        return "faster"
    return "slower" if time.low > span else "no difference"


def drift_of(rounds: Mapping[int, Sequence[float]], seed: int = 0) -> Optional[TimeRatio]:
    """Compare the last third of the rounds with the first; None if a third has fewer than `LEAST_ROUNDS`."""
    third = len(rounds) // 3
    if third < LEAST_ROUNDS:
        return None
    logs = np.log([np.median(rounds[number]) for number in sorted(rounds)])
    first, last = logs[:third], logs[-third:]
    drawn = _bootstrap_medians(last, seed) - _bootstrap_medians(first, seed + 1)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    middle = float(np.median(last) - np.median(first))
    return TimeRatio(math.exp(middle), math.exp(float(low)), math.exp(float(high)), third)


def percentile_intervals(rounds: Mapping[int, Sequence[float]], seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the intervals of p50, p90 and p99, by nearest rank, from drawing the rounds anew.

    Rounds, not runs: the runs of one turn are more alike than those of two.
    """
    times = np.concatenate([np.asarray(each, np.float64) for each in rounds.values()])
    owner = np.repeat(np.arange(len(rounds)), [len(each) for each in rounds.values()])
    order = np.argsort(times, kind="stable")
    times, owner = times[order], owner[order]
    rng = np.random.default_rng(seed)
    drawn = np.empty((_DRAWS, len(_PERCENTILES)))
    for row in drawn:
        # A run counts as often as its round was drawn.
        below = np.cumsum(np.bincount(rng.integers(0, len(rounds), len(rounds)), minlength=len(rounds))[owner])
        ranks = np.maximum(1, np.ceil(below[-1] * np.asarray(_PERCENTILES) / 100))
        row[:] = times[np.searchsorted(below, ranks)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return {f"p{percent}_ms": (float(a), float(b)) for percent, a, b in zip(_PERCENTILES, low, high)}


def _bootstrap_medians(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the medians of `values` drawn anew with replacement, `_DRAWS` of them."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (_DRAWS, len(values)))
    return np.median(values[drawn], axis=1)
