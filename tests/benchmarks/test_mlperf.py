"""A single stream, on clocks that were made up."""

import itertools

import pytest

from edgevision_benchmarks import SingleStream, StreamPass, _turns, benchmark, read_report, write_report
from edgevision_benchmarks._mlperf import time_stream
from edgevision_device import Percentiles


@pytest.mark.parametrize(
    ("each_ms", "runs", "duration_s"),
    [
        pytest.param(10, 6000, 60.0, id="fast: as long as it must"),
        pytest.param(100, 1024, 102.4, id="slow: as many as it must"),
    ],
)
def test_a_pass_is_long_enough_and_has_enough_runs(each_ms, runs, duration_s):
    now = [0]

    def run(pixels):
        now[0] += each_ms * 1_000_000

    found = time_stream(run, itertools.cycle("ab"), 1024, 60.0, lambda: now[0])
    assert found == StreamPass(Percentiles(runs, each_ms, each_ms, each_ms), duration_s)


@pytest.mark.parametrize(
    ("first", "second", "repeated"), [(10.0, 10.5, True), (10.5, 10.0, True), (10.0, 10.6, False), (10.6, 10.0, False)]
)
def test_two_passes_repeat_each_other_within_5_percent(first, second, repeated):
    stream = SingleStream(tuple(StreamPass(Percentiles(1024, 9.0, p90, 20.0), 60.0) for p90 in (first, second)))
    assert stream.repeated is repeated
    assert stream.to_record()["repeated"] is repeated
    assert ("NOT within" in stream.describe()) is not repeated


def test_a_file_is_streamed_twice_and_its_report_can_be_read(model, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(_turns, "LEAST_S", 0.0)
    report = benchmark([model()], pictures(), runs=1, warmup=0, mlperf=True)
    assert [each.latency.count for each in report.files[0].measured.mlperf.passes] == [1024, 1024]
    write_report(report, tmp_path / "report")
    assert read_report(tmp_path / "report") == report
