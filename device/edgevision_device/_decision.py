"""From the scores of frame after frame to a label that a person can live with."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from typing import Optional

import numpy as np
import numpy.typing as npt

from ._errors import UsageError

__all__ = ["Decider", "Deciders", "Decision", "DecisionRule"]

#: The most frames that are averaged: with a thousand labels this takes 0.1 ms.
_MOST_SMOOTHED = 1000


@dataclass(frozen=True)
class DecisionRule:
    """When a label is shown, and when it gives way to another.

    Attributes:
        threshold: a best score below it is no label; None: what the file's metadata says.
        smooth: scores are averaged over so many frames, the newest among them; 1: each frame speaks for itself. A label
            that appears is shown at most so many frames late.
        hysteresis: another label must lead by so much before it takes over, and the label that is shown must fall so
            far below the threshold before there is none.

    Raises:
        UsageError: a number is out of range.
    """

    threshold: Optional[float] = None
    smooth: int = 1
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"the threshold must lie between 0 and 1, got {self.threshold:g}")
        if not 1 <= self.smooth <= _MOST_SMOOTHED:
            raise UsageError(f"smoothing takes 1 to {_MOST_SMOOTHED} frames, got {self.smooth}")
        if not 0 <= self.hysteresis < 1:
            raise UsageError(f"the hysteresis must lie from 0 to below 1, got {self.hysteresis:g}")


@dataclass(frozen=True)
class Decision:
    """What a `Decider` says.

    Attributes:
        index: place of the label that is shown or, where none is, of the best one.
        score: of that label: averaged where the rule smooths.
        accepted: whether the label is shown; otherwise it is unknown what the frame shows.
    """

    index: int
    score: float
    accepted: bool


class Decider:
    """Decides frame after frame of one source.

    >>> decider = Decider(DecisionRule(threshold=0.5, hysteresis=0.2))
    >>> for scores in ([0.8, 0.2], [0.45, 0.55], [0.35, 0.65], [0.65, 0.35], [0.1, 0.2]):
    ...     decision = decider.decide(np.array(scores, np.float32))
    ...     print(decision.index, decision.accepted)
    0 True
    0 True
    1 True
    0 True
    1 False

    Args:
        rule: see there; a threshold of None counts as 0.
    """

    def __init__(self, rule: DecisionRule) -> None:
        self._rule = rule
        self._threshold = rule.threshold or 0.0
        self._recent: deque[npt.NDArray[np.float32]] = deque(maxlen=rule.smooth)
        self._shown: Optional[int] = None

    def decide(self, scores: npt.NDArray[np.float32]) -> Decision:
        """Take the float32 scores of the next frame, shape `(labels,)`; scores that are not numbers show nothing."""
        smoothed = self._smoothed(scores)
        best = int(smoothed.argmax())
        self._shown = shown = self._choose(smoothed, best)
        index = best if shown is None else shown
        return Decision(index, float(smoothed[index]), shown is not None)

    def _smoothed(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._rule.smooth == 1 or not np.isfinite(scores).all():
            return scores
        self._recent.append(scores)
        return np.mean(self._recent, axis=0)

    def _choose(self, scores: npt.NDArray[np.float32], best: int) -> Optional[int]:
        # Written so that a score that is not a number is rejected.
        margin = self._rule.hysteresis
        held = self._shown
        if held is not None and scores[held] >= self._threshold - margin and not scores[best] >= scores[held] + margin:
            return held
        return best if scores[best] >= self._threshold else None


class Deciders:
    """One `Decider` for each source, all by the same rule.

    Args:
        rule: see there.
        threshold: where the rule has none.
    """

    def __init__(self, rule: DecisionRule, threshold: float) -> None:
        self._rule = rule if rule.threshold is not None else dataclasses.replace(rule, threshold=threshold)
        self._deciders: dict[Optional[str], Decider] = {}

    def decide(self, source: Optional[str], scores: npt.NDArray[np.float32]) -> Decision:
        """Decide on the next frame of a source."""
        decider = self._deciders.get(source)
        if decider is None:
            decider = self._deciders[source] = Decider(self._rule)
        return decider.decide(scores)

    def accepts(self, score: float) -> bool:
        """Return whether the score of a single frame suffices for a label."""
        return bool(score >= (self._rule.threshold or 0.0))
