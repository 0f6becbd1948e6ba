"""Runs without a pause, the end against the beginning."""

import dataclasses
import itertools
import tracemalloc

import pytest

from edgevision_benchmarks import _turns, benchmark, read_report, write_report
from edgevision_benchmarks._processes import Process
from edgevision_benchmarks._sustained import COOLING_S, WINDOWS, Spells, compare_windows, cool_down, run_spells
from edgevision_device import UsageError


@pytest.mark.parametrize(
    ("last_ms", "differs", "words"),
    [
        pytest.param(2.4, True, "p50 2.00 ms in the first third, 2.40 ms in the last, 20% slower", id="hot"),
        pytest.param(1.6, True, "1.60 ms in the last, 20% faster", id="it wakes up"),
        pytest.param(2.02, False, "no difference", id="within the noise"),
    ],
)
def test_the_end_is_compared_with_the_beginning(measurement, last_ms, differs, words):
    found = compare_windows(Spells(60.0, (2.0,) * 10 + (5.0,) * 10 + (last_ms,) * 10), 0, 1.03)
    assert found.differs is differs
    assert words in found.describe()
    row = dataclasses.replace(measurement({"red": {"red": 1}}), sustained=found)
    assert bool(row.disturbed) is differs


def test_a_file_runs_without_a_pause(model, pictures, tmp_path):
    report = benchmark([model()], pictures(), runs=1, warmup=0, sustained_s=0.1)
    found = report.files[0].measured.sustained
    assert found.duration_s >= 0.1, "as measured, not as asked"
    assert found.time.rounds == WINDOWS // 3
    write_report(report, tmp_path / "out")
    assert read_report(tmp_path / "out") == report
    with pytest.raises(UsageError, match="more than 0"):
        benchmark([model()], tmp_path, sustained_s=0)


def ticking(each_ns):
    """Return a run that takes as long as the next of `each_ns`, and its clock."""
    now, left = [0], iter(each_ns)

    def run(pixels):
        now[0] += next(left)

    return run, lambda: now[0]


def test_what_was_measured_is_recorded_with_temperature_and_clock():
    run, clock = ticking(itertools.chain([2_000_000_000] * 10, itertools.repeat(3_000_000_000)))
    found = run_spells(run, itertools.repeat(0), 30.0, clock, iter([45.0, 78.0]).__next__, iter([2400, 1500]).__next__)
    assert found.duration_s == 80.0, "a run of two or three seconds does not end after one"
    assert found.windows_p50_ms == (2000.0,) * 10 + (3000.0,) * 20
    line = compare_windows(found, 0, 1.03).describe()
    assert line.startswith("without a pause for 80 s: ")
    assert line.endswith(", 50% slower; 45 to 78 °C; 2,400 to 1,500 MHz")


def test_a_fast_file_takes_no_memory_by_its_runs():
    """600,000 runs, whose times would take 14 MB as they come."""
    run, clock = ticking(itertools.cycle([1_000, 2_000, 3_000, 4_000, 5_000] + [3_000] * 7))
    tracemalloc.start()
    try:
        found = run_spells(run, itertools.repeat(0), 1.8, clock, lambda: None, lambda: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.windows_p50_ms == (0.003,) * WINDOWS
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("target_c", "read_c", "slept"),
    [
        pytest.param(50.0, [70.0, 60.0, 51.9], 2, id="until it is near"),
        pytest.param(50.0, [49.0], 0, id="cool already"),
        pytest.param(50.0, [None], 0, id="no sensor"),
        pytest.param(None, [70.0], 0, id="not known before"),
        pytest.param(50.0, [70.0] * COOLING_S, COOLING_S, id="not for ever"),
    ],
)
def test_it_waits_until_the_processor_is_as_cool_as_before(monkeypatch, target_c, read_c, slept):
    monkeypatch.undo()  # the fixture that lets no test wait
    waits = []
    cool_down(target_c, iter(read_c).__next__, waits.append)
    assert len(waits) == slept


def test_each_file_runs_without_a_pause_before_all_cores_classify(model, pictures, monkeypatch):
    order = []

    def record(home, name):
        real = getattr(home, name)

        def recorded(*args):
            order.append(name)
            return real(*args)

        monkeypatch.setattr(home, name, recorded)

    record(_turns, "cool_down")
    for name in ("sustain", "finish"):
        record(Process, name)
    benchmark([model("a.tflite"), model("b.tflite")], pictures(), runs=1, warmup=0, sustained_s=0.1)
    assert order == ["cool_down", "sustain", "finish"] * 2
