"""Counting runs by time, and drawing the counts of several files on one axis."""

import dataclasses
import json

import numpy as np
import pytest

from edgevision_benchmarks import Histogram, read_report, render_html, write_report
from edgevision_benchmarks._histogram import draw_histograms
from edgevision_device import FileError, Percentiles


def test_every_run_is_counted_in_the_bin_that_holds_it():
    times = np.random.default_rng(0).lognormal(0, 1, 1000)
    found = Histogram.of_ms(times)
    assert sum(found.counts) == 1000
    for low, count in zip(found.low_ms, found.counts):
        assert count == sum(low * (1 - 1e-12) <= time < low * found.bin_ratio * (1 - 1e-12) for time in times)
    assert found.is_sound


@pytest.mark.parametrize(
    ("slow_ms", "log"), [pytest.param(3.0, False, id="alike"), pytest.param(40.0, True, id="far apart")]
)
def test_all_files_stand_on_one_axis(slow_ms, log):
    times = {"a": [1.0, 1.0, 1.1, 1.2], "b": [slow_ms, 1.01 * slow_ms]}
    plot = draw_histograms([(name, Percentiles.of_ms(each), Histogram.of_ms(each)) for name, each in times.items()])
    assert plot.log is log
    first, second = plot.smalls
    assert [name for name, _ in first.marks] == ["p50", "p90", "p99"]
    places = [at for small in plot.smalls for _, at in small.marks]
    assert 0 < min(places) < max(places) < 1
    assert max(left for left, _, _ in first.bars) < min(left for left, _, _ in second.bars)
    assert max(height for _, _, height in second.bars) == 1
    assert len(plot.ticks) >= 2
    assert all(0 <= tick.at <= 1 for tick in plot.ticks)


def test_the_page_draws_a_histogram_for_each_file_that_has_one(make_report, measurement):
    old = measurement({"red": {"red": 9}})
    new = dataclasses.replace(old, histogram=Histogram.of_ms([1.0, 1.2, 5.0]))
    text = render_html(make_report(("old.tflite", "tflite", "int8", 1, old), ("new.tflite", "tflite", "int8", 1, new)))
    assert "Latency of new.tflite" in text
    assert "Latency of old.tflite" not in text
    assert "How long single runs took" not in render_html(make_report(("old.tflite", "tflite", "int8", 1, old)))


@pytest.mark.parametrize(
    "change", [{"counts": [1]}, {"counts": [0, 1]}, {"low_ms": [2.0, 1.0]}, {"low_ms": [0, 1.0]}, {"bin_ratio": 1.0}]
)
def test_a_histogram_that_counts_nothing_is_refused(make_report, measurement, tmp_path, change):
    found = dataclasses.replace(measurement({"red": {"red": 9}}), histogram=Histogram.of_ms([1.0, 2.0]))
    path, _ = write_report(make_report(("a.tflite", "tflite", "int8", 1, found)), tmp_path)
    assert read_report(path).files[0].measured.histogram == found.histogram
    record = json.loads(path.read_text(encoding="utf-8"))
    record["files"][0]["measured"]["histogram"].update(change)
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(FileError, match=r"histogram must count runs"):
        read_report(path)
    del record["files"][0]["measured"]["histogram"]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert read_report(path).files[0].measured.histogram is None, "as in a report of an older version"
