"""Rounds and what is made of them, on times that were made up."""

import math

import numpy as np
import pytest

from edgevision_benchmarks import Settings, ThreadSweep, TimeRatio
from edgevision_benchmarks._rounds import take_rounds
from edgevision_benchmarks._speed import LEAST_ROUNDS, beyond, drift_of, judge, percentile_intervals, time_ratio
from edgevision_benchmarks._threads import recommend


def settings(runs=200, limit_s=8.0, least=30, rounds=20, seed=0):
    return Settings(20, 2.0, runs, limit_s, least, rounds, seed)


def recording(each_ms):
    """Return a log of turns, and a `take_turn` for it."""
    log = []

    def take_turn(name, runs):
        log.append((name, runs))
        return [each_ms[name]] * runs

    return log, take_turn


@pytest.mark.parametrize(
    ("each_ms", "runs", "rounds"),
    [
        pytest.param(1.0, 200, 20, id="fast: as many as asked"),
        pytest.param(100.0, 80, 20, id="slow: until time is up"),
        pytest.param(2000.0, 30, 15, id="very slow: the least that gives a percentile"),
    ],
)
def test_runs_are_bounded_by_time(each_ms, runs, rounds):
    _, take_turn = recording({"a": each_ms})
    found = take_rounds({"a": each_ms}, take_turn, settings())["a"]
    assert sum(len(times) for times in found.values()) == runs
    assert len(found) == rounds


def test_a_file_that_turns_out_slower_than_expected_stops_in_time():
    _, take_turn = recording({"a": 400.0})
    found = take_rounds({"a": 1.0}, take_turn, settings())["a"]
    assert sum(len(times) for times in found.values()) == 30


def test_runs_without_limit_are_exact():
    _, take_turn = recording({"a": 60_000.0})
    found = take_rounds({"a": 60_000.0}, take_turn, settings(runs=45, limit_s=None, least=45))["a"]
    assert sum(len(times) for times in found.values()) == 45


def test_every_round_has_every_file_in_an_order_of_the_seed():
    each_ms = {name: 1.0 for name in "abcd"}
    logs = []
    for seed in (1, 1, 2):
        log, take_turn = recording(each_ms)
        take_rounds(each_ms, take_turn, settings(seed=seed))
        logs.append([name for name, _ in log])
    assert logs[0] == logs[1] != logs[2]
    orders = [tuple(logs[0][start : start + 4]) for start in range(0, 80, 4)]
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 5


def test_a_file_that_fails_leaves_the_others_in_their_rounds():
    turns = []

    def take_turn(name, runs):
        turns.append(name)
        return None if name == "b" and turns.count("b") == 3 else [1.0] * runs

    found = take_rounds(dict.fromkeys("abc", 1.0), take_turn, settings())
    assert set(found) == {"a", "c"}
    assert turns.count("b") == 3
    assert len(found["a"]) == 20


def loaded(rng, each_ms, rounds=20, runs=10):
    """Times of each file under a load that comes and goes from round to round."""
    load = 1 + rng.choice([0, 3], rounds) * rng.random(rounds)
    return [
        {number: list(each * load[number] * rng.lognormal(0, 0.05, runs)) for number in range(rounds)}
        for each in each_ms
    ]


def test_a_ratio_is_of_the_same_rounds_whatever_the_load():
    reference, other = loaded(np.random.default_rng(3), (4.0, 6.0))
    ratio = time_ratio(other, reference)
    assert ratio.low < 1.5 < ratio.high
    assert ratio.high / ratio.low < 1.1
    reverse = time_ratio(reference, other)
    assert (reverse.ratio, reverse.low) == pytest.approx((1 / ratio.ratio, 1 / ratio.high), rel=0.02)


def test_only_rounds_of_both_count():
    reference = {0: [1.0], 1: [1.0], 2: [1.0]}
    assert time_ratio({1: [2.0], 2: [2.0], 7: [9.0]}, reference) == TimeRatio(*[pytest.approx(2.0)] * 3, rounds=2)


def test_equal_files_are_seldom_told_apart_and_unequal_ones_always():
    rng = np.random.default_rng(5)
    told = {"same": 0, "20 % slower": 0, "20 % faster": 0}
    for _ in range(100):
        first, twin, same, slower, faster = loaded(rng, (5.0, 5.0, 5.0, 6.0, 4.0))
        floor = time_ratio(twin, first)
        told["same"] += judge(time_ratio(same, first), floor) != "no difference"
        told["20 % slower"] += judge(time_ratio(slower, first), floor) == "slower"
        told["20 % faster"] += judge(time_ratio(faster, first), floor) == "faster"
    assert told["same"] <= 2
    assert (told["20 % slower"], told["20 % faster"]) == (100, 100)


@pytest.mark.parametrize(
    ("low", "high", "floor", "rounds", "verdict"),
    [
        pytest.param(0.5, 0.6, (0.98, 1.02), 20, "faster", id="faster"),
        pytest.param(1.1, 1.3, (0.98, 1.02), 20, "slower", id="slower"),
        pytest.param(0.9, 1.1, (0.98, 1.02), 20, "no difference", id="holds 1"),
        pytest.param(1.05, 1.3, (0.9, 1.02), 20, "no difference", id="below the noise, which was the other way round"),
        pytest.param(1.1, 1.3, None, 20, None, id="no noise floor"),
        pytest.param(1.1, 1.3, (0.98, 1.02), 5, None, id="too few rounds"),
    ],
)
def test_the_verdict_asks_the_interval_and_the_noise(low, high, floor, rounds, verdict):
    noise = floor and TimeRatio(1.0, *floor, 20)
    assert judge(TimeRatio(math.sqrt(low * high), low, high, rounds), noise) == verdict


def test_a_machine_that_slows_down_is_a_drift():
    rng = np.random.default_rng(7)
    steady = {number: list(rng.lognormal(0, 0.03, 10)) for number in range(20)}
    slowing = {number: list((1 + 0.02 * number) * rng.lognormal(0, 0.03, 10)) for number in range(20)}
    assert beyond(drift_of(steady), 1.05) == "no difference"
    assert beyond(drift_of(slowing), 1.05) == "slower"
    assert drift_of(slowing).rounds == 6


def test_a_drift_takes_as_many_rounds_in_a_third_as_an_interval_does():
    """Of two rounds against two, a third of the intervals leaves out a drift of none."""
    assert drift_of({number: [1.0] for number in range(3 * LEAST_ROUNDS - 1)}) is None
    assert drift_of({number: [1.0] for number in range(3 * LEAST_ROUNDS)}).rounds == LEAST_ROUNDS


def test_intervals_of_percentiles_cover_as_often_as_they_say():
    """Of a normal distribution; turns differ among themselves, or it would not matter that rounds are drawn."""
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(100):
        shift = rng.normal(0, 1, 20)
        low, high = percentile_intervals({n: list(10 + shift[n] + rng.normal(0, 1, 10)) for n in range(20)})["p50_ms"]
        inside += low <= 10 <= high
    assert 88 <= inside <= 100


def test_percentiles_lie_inside_their_intervals():
    rng = np.random.default_rng(13)
    rounds = {number: list(rng.lognormal(0, 0.3, 5 + number)) for number in range(12)}
    times = np.concatenate(list(rounds.values()))
    for percent in (50, 90, 99):
        low, high = percentile_intervals(rounds)[f"p{percent}_ms"]
        assert low <= np.percentile(times, percent, method="inverted_cdf") <= high
        assert {low, high} <= {*times} or low < high


def test_too_few_rounds_recommend_no_number_of_threads():
    rounds = {count: {number: [each_ms] for number in range(5)} for count, each_ms in {1: 4.0, 2: 2.0}.items()}
    found = recommend(rounds, 0, 1.02)
    assert found.recommended is None
    assert [each.latency.p50_ms for each in found.counts] == [4.0, 2.0]
    assert ThreadSweep.to_record(found)["recommended_threads"] is None


@pytest.mark.parametrize(
    ("each_ms", "recommended"),
    [
        pytest.param({1: 4.0, 2: 2.0, 4: 2.01}, 2, id="the fewest of two alike"),
        pytest.param({1: 4.0, 2: 2.0, 4: 1.0}, 4, id="the fastest by far"),
        pytest.param({4: 1.0, 1: 1.0, 2: 1.3}, 1, id="in any order"),
    ],
)
def test_the_fewest_threads_that_are_as_fast_are_recommended(each_ms, recommended):
    rng = np.random.default_rng(17)
    rounds = dict(zip(each_ms, loaded(rng, each_ms.values())))
    found = recommend(rounds, 0, 1.02)
    assert found.recommended == recommended
    assert [each.threads for each in found.counts] == list(each_ms)
    assert 1.0 in [each.time.ratio for each in found.counts]
