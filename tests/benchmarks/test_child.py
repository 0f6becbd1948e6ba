"""The parts of the measuring process that need no model."""

import itertools

import pytest

from edgevision_benchmarks import benchmark, read_report, write_report
from edgevision_benchmarks._child import settle, spread, time_runs
from edgevision_benchmarks._measure import prepare


def ticking(*durations_s):
    """Return a clock, and a run that moves it on by the next of `durations_s`, the last one for ever."""
    now = [0]
    left = itertools.chain(durations_s, itertools.repeat(durations_s[-1]))

    def run(pixels):
        now[0] += round(next(left) * 1e9)

    return run, lambda: now[0]


def test_each_run_is_timed_in_milliseconds():
    run, clock = ticking(0.001, 0.005, 0.002)
    assert time_runs(run, itertools.cycle(["picture"]), 3, clock_ns=clock) == pytest.approx([1, 5, 2])


@pytest.mark.parametrize(
    ("each_s", "expected"),
    [pytest.param(0.001, 20, id="fast: as many as asked"), pytest.param(0.3, 7, id="slow: until time is up")],
)
def test_warming_up_is_bounded_by_time(each_s, expected):
    run, clock = ticking(each_s)
    assert len(time_runs(run, itertools.cycle(["picture"]), 20, 2.0, clock)) == expected


def test_runs_without_limit_are_exact():
    run, clock = ticking(60.0)
    assert len(time_runs(run, itertools.cycle(["picture"]), 40, None, clock)) == 40


def test_runs_take_turns_with_the_pictures():
    seen = []
    time_runs(seen.append, itertools.cycle(["a", "b", "c"]), 5)
    assert seen == ["a", "b", "c", "a", "b"]


@pytest.mark.parametrize(
    ("spinning_s", "steps"),
    [
        pytest.param(0.0, 1, id="at rest"),
        pytest.param(0.032, 8, id="until it rests"),
        pytest.param(1e9, 100, id="not for ever"),
    ],
)
def test_a_turn_ends_when_the_runtime_rests(spinning_s, steps):
    """On two threads that spin for so long."""
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    settle(lambda: 2 * min(now[0], spinning_s), sleep)
    assert len(slept) == steps


@pytest.mark.parametrize("total", [1, 2, 31, 32, 33, 63, 64, 199, 1000])
def test_a_few_pictures_are_from_all_over_the_list(total):
    """It is sorted by label: its first pictures are of the first labels."""
    chosen = spread(range(total), 32)
    assert len(chosen) == len(set(chosen)) == min(total, 32)
    assert (chosen[0], chosen[-1]) == (0, total - 1)
    steps = [b - a for a, b in zip(chosen, chosen[1:])]
    assert not steps or max(steps) - min(steps) <= 1
    assert spread([], 32) == []


def test_if_few_pictures_can_be_decoded_what_happens_around_a_run_is_timed_all_the_same(model, pictures, tmp_path):
    """The only one of 121 that can be is none of the 100 that are tried first."""
    file, folder = model(), pictures(shown=30)
    names = prepare([file], folder).names
    kept = max(set(range(len(names))) - set(spread(range(len(names)), 100)))
    for place, name in enumerate(names):
        if place != kept:
            (folder / name).write_bytes(b"no picture")
    report = benchmark([file], folder, runs=1, warmup=0)
    found = report.files[0].measured
    assert (found.preprocess.count, found.decide.count, found.top1.pictures) == (1, 1, 1)
    write_report(report, tmp_path / "report")
    assert read_report(tmp_path / "report") == report
