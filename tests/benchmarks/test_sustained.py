"""Runs without a pause, the end against the beginning."""

import dataclasses

import pytest

from edgevision_benchmarks import benchmark, read_report, write_report
from edgevision_benchmarks._sustained import WINDOWS, compare_windows
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
    found = compare_windows(60.0, [2.0] * 10 + [5.0] * 10 + [last_ms] * 10, 0, 1.03)
    assert found.differs is differs
    assert words in found.describe()
    row = dataclasses.replace(measurement({"red": {"red": 1}}), sustained=found)
    assert bool(row.disturbed) is differs


def test_a_file_runs_without_a_pause(model, pictures, tmp_path):
    report = benchmark([model()], pictures(), runs=1, warmup=0, sustained_s=0.1)
    found = report.files[0].measured.sustained
    assert (found.duration_s, found.time.rounds) == (0.1, WINDOWS // 3)
    write_report(report, tmp_path / "out")
    assert read_report(tmp_path / "out") == report
    with pytest.raises(UsageError, match="more than 0"):
        benchmark([model()], tmp_path, sustained_s=0)
