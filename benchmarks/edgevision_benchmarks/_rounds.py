"""Timing several files in turns, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable, Optional

__all__ = ["Rounds", "Settings", "take_rounds"]

#: Number of the round → the times of its runs, in milliseconds.
Rounds = dict[int, list[float]]


@dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
        warmup_runs, runs: at most so many.
        warmup_limit_s, runs_limit_s: stop earlier after so long; None: never.
        least_runs: but not before so many.
        rounds: about so many turns a file.
        seed: of the order of turns, and of the bootstrap.
    """

    warmup_runs: int
    warmup_limit_s: Optional[float]
    runs: int
    runs_limit_s: Optional[float]
    least_runs: int
    rounds: int = 20
    seed: int = 0


def take_rounds(
    expected_ms: Mapping[str, float],
    take_turn: Callable[[str, int], Optional[list[float]]],
    settings: Settings,
) -> dict[str, Rounds]:
    """Let each in turn time a few runs, in an order shuffled anew each round, until all have timed enough.

    Args:
        expected_ms: about how long a run of each takes, which says how many make a turn.
        take_turn: times so many runs; None if that failed, which ends the matter for this one.
        settings: how many runs, rounds and seconds, and the seed of the order.

    Returns:
        The rounds of each that never failed.
    """
    order = random.Random(settings.seed)
    turns = {name: _turn(each_ms, settings) for name, each_ms in expected_ms.items()}
    rounds: dict[str, Rounds] = {name: {} for name in expected_ms}
    done, spent_ms = dict.fromkeys(expected_ms, 0), dict.fromkeys(expected_ms, 0.0)
    left, number = list(expected_ms), 0
    while left:
        order.shuffle(left)
        for name in tuple(left):
            times_ms = take_turn(name, min(turns[name], settings.runs - done[name]))
            if times_ms is None:
                left.remove(name)
                del rounds[name]
                continue
            rounds[name][number] = times_ms
            done[name] += len(times_ms)
            spent_ms[name] += sum(times_ms)
            is_late = settings.runs_limit_s is not None and spent_ms[name] >= 1e3 * settings.runs_limit_s
            if done[name] >= settings.runs or (is_late and done[name] >= settings.least_runs):
                left.remove(name)
        number += 1
    return rounds


def _turn(each_ms: float, settings: Settings) -> int:
    """Return how many runs make a turn, so that there will be about `settings.rounds` of them."""
    runs = settings.runs
    if settings.runs_limit_s is not None:
        in_time = int(1e3 * settings.runs_limit_s / max(each_ms, 1e-3))
        runs = min(runs, max(in_time, settings.least_runs))
    return math.ceil(runs / settings.rounds)
