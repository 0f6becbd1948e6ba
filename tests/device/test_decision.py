"""When a label is shown, and when it gives way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgevision_device import Decider, DecisionRule, UsageError


def shown(rule: DecisionRule, *rows: list[float]) -> list[int | None]:
    """Return, frame after frame, the place of the label that is shown."""
    decider = Decider(rule)
    decisions = [decider.decide(np.array(row, np.float32)) for row in rows]
    return [decision.index if decision.accepted else None for decision in decisions]


def test_without_a_rule_each_frame_speaks_for_itself() -> None:
    assert shown(DecisionRule(), [0.4, 0.6], [0.6, 0.4], [0.49, 0.51]) == [1, 0, 1]
    assert shown(DecisionRule(threshold=0.55), [0.4, 0.6], [0.5, 0.5], [0.6, 0.4]) == [1, None, 0]


def test_hysteresis_holds_the_label_through_a_tie() -> None:
    wobbling = [[0.52, 0.48], [0.48, 0.52], [0.51, 0.49], [0.47, 0.53]]
    assert shown(DecisionRule(), *wobbling) == [0, 1, 0, 1]
    assert shown(DecisionRule(hysteresis=0.1), *wobbling) == [0, 0, 0, 0]
    assert shown(DecisionRule(hysteresis=0.1), *wobbling, [0.4, 0.6]) == [0, 0, 0, 0, 1]


def test_hysteresis_at_the_threshold() -> None:
    rule = DecisionRule(threshold=0.5, hysteresis=0.2)
    # In at the threshold, out only well below it.
    assert shown(rule, [0.49, 0], [0.5, 0], [0.35, 0], [0.29, 0], [0.45, 0]) == [None, 0, 0, None, None]
    # A label that has fallen out gives way to one that suffices, whatever its lead.
    assert shown(rule, [0.6, 0.1], [0.29, 0.5]) == [0, 1]


def test_smoothing_is_the_mean_of_the_last_frames() -> None:
    rows = [[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    decider = Decider(DecisionRule(smooth=3))
    decisions = [decider.decide(np.array(row, np.float32)) for row in rows]
    assert [decision.index for decision in decisions] == [0, 0, 0, 1, 1]
    assert decisions[3].score == pytest.approx((0.8 + 0.1 + 0.9) / 3)
    assert decisions[4].score == pytest.approx((0.1 + 0.9 + 0.9) / 3)


def test_a_new_label_is_late_by_the_frames_that_are_averaged_at_most() -> None:
    rule = DecisionRule(smooth=5)
    frames = shown(rule, *[[1.0, 0.0]] * 20, *[[0.0, 1.0]] * 20)
    assert frames.index(1) - 20 <= 2  # more than half of the five
    assert frames[25:] == [1] * 15


@pytest.mark.parametrize("rule", [DecisionRule(), DecisionRule(smooth=4), DecisionRule(hysteresis=0.3)], ids=str)
def test_scores_that_are_no_numbers_show_nothing_and_leave_no_trace(rule: DecisionRule) -> None:
    before, broken, after = [0.3, 0.7], [math.nan, 0.7], [0.3, 0.7]
    found = shown(rule, before, [math.nan] * 2, after)
    assert found == [1, None, 1]
    assert shown(rule, before, broken, after)[2] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.1},
        {"threshold": math.nan},
        {"smooth": 0},
        {"smooth": 1001},
        {"hysteresis": -0.1},
        {"hysteresis": 1.0},
        {"hysteresis": math.nan},
    ],
    ids=str,
)
def test_a_rule_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="got"):
        DecisionRule(**wrong)
