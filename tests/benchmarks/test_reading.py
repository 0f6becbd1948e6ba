"""Reading `report.json` back: what was written comes back, and what is no report is one clear line."""

import dataclasses
import itertools
import json
import re
from typing import Union, get_args, get_origin, get_type_hints

import pytest

from edgevision_benchmarks import (
    Budget,
    Histogram,
    Report,
    TimeRatio,
    benchmark,
    choose,
    compare_reports,
    read_report,
    write_report,
)
from edgevision_device import FileError


@pytest.fixture
def whole_report():
    """A report in which no field is None, empty or what another one holds."""
    count = itertools.count(1)

    def fill(kind):
        origin, inner, n = get_origin(kind), get_args(kind), next(count)
        made = {
            str: f"text {n}",
            int: n,
            float: n / 1000,
            bool: True,
            Histogram: Histogram((n / 1000, n / 500), (n, n + 1), 1.01),
            TimeRatio: TimeRatio(n / 1000, n / 1001, n / 999, n),
            dict[str, tuple[float, float]]: {f"p{each}_ms": (n / 1000, n / 999) for each in (50, 90, 99)},
        }
        if kind in made:
            return made[kind]
        if origin is Union:
            return fill(next(each for each in inner if each is not type(None)))
        if origin is dict:
            return {fill(inner[0]): fill(inner[1])}
        if origin in (list, tuple):
            return origin(fill(each) for each in inner if each is not Ellipsis)
        hints = get_type_hints(kind)
        return kind(**{each.name: fill(hints[each.name]) for each in dataclasses.fields(kind) if each.compare})

    return fill(Report)


def test_a_report_that_holds_all_it_can_comes_back_as_it_was(whole_report, tmp_path):
    path, _ = write_report(whole_report, tmp_path)
    assert read_report(path) == whole_report


def test_a_report_comes_back_as_it_was(report, tmp_path):
    path, _ = write_report(report, tmp_path)
    assert read_report(path) == report
    assert read_report(tmp_path) == report, "the folder does as well"


def test_what_could_not_be_read_again_is_not_written(report, tmp_path):
    found = dataclasses.replace(report.files[0].measured, open_ms=float("nan"))
    files = (dataclasses.replace(report.files[0], measured=found),)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(dataclasses.replace(report, files=files), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_keys_are_left_out_and_missing_ones_that_may_be_null_are_none(report, tmp_path):
    record = report.to_record()
    record["mood"] = record["files"][0]["measured"]["energy"] = {"joules": 1}
    del record["command"], record["conditions"]["governor"], record["files"][0]["warnings"]
    (tmp_path / "report.json").write_text(json.dumps(record), encoding="utf-8")
    assert read_report(tmp_path) == dataclasses.replace(report, command=None)


def change(record, path, value):
    *parents, last = path
    for key in parents:
        record = record[key]
    if value is ...:
        del record[last]
    else:
        record[last] = value


def test_what_was_measured_comes_back_and_reproduces_itself(model, pictures, tmp_path):
    files = [model(), model("colors.float16.tflite", "float16")]
    report = benchmark(files, pictures(), runs=12, warmup=1, thread_sweep=(1, 2))
    write_report(report, tmp_path / "report")
    again = read_report(tmp_path / "report")
    assert again == report
    second = again.files[1].measured
    assert None not in (again.noise_floor, again.before, second.speed, second.paired, second.thread_sweep)
    assert compare_reports(report, again).reproduced
    assert choose(again, Budget(max_kb=5000)).chosen is not None


def ratio(low, middle, high):
    return {"ratio": middle, "ratio_low": low, "ratio_high": high, "rounds": 6}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], 2, "has format 2, and this edgevision reads up to 1; update edgevision"),
        (["format"], ..., "is no report: it has no format number"),
        (["settings", "seed"], -1, "settings.seed must be at least 0, got -1"),
        (["format"], True, "is no report: it has no format number"),
        (["pictures"], ..., "is no report: it lacks pictures"),
        (["files"], {}, "files must be a list, got {}"),
        (["files"], [], "files must hold one file at least"),
        (["files", 0, "measured", "open_ms"], ..., "it lacks files[0].measured.open_ms"),
        (["files", 0, "measured", "open_ms"], True, "files[0].measured.open_ms must be a number, got true"),
        (["files", 0, "measured", "latency", "p50_ms"], 0, "latency must be more than 1e-09 ms, got 0"),
        (["files", 0, "measured", "confusion", "red", "red"], -1, "confusion must count pictures"),
        (["files", 0, "measured", "confusion", "red", "red"], 1.5, "confusion.red.red must be a whole number"),
        (["files", 0, "size_bytes"], 0, "files[0].size_bytes must be more than 0, got 0"),
        (["files", 0, "size_bytes"], "1", 'files[0].size_bytes must be a whole number, got "1"'),
        (["files", 0, "measured", "open_ms"], 10**400, "files[0].measured.open_ms is too large"),
        (["files", 0, "measured", "first_ms"], float("inf"), "Infinity is no number"),
        (["files", 0, "measured", "confusion", "red", "red"], 10**400, "confusion.red.red is too large"),
        (
            ["files", 0, "measured", "round_p50_ms"],
            [0],
            "files[0].measured.round_p50_ms must be more than 1e-09 ms, got 0",
        ),
        (["files", 0, "measured", "round_p50_ms"], [2, -1], "round_p50_ms must be more than 1e-09 ms, got -1"),
        (
            ["noise_floor"],
            ratio(0, 1, 2),
            "noise_floor: ratio_low, ratio and ratio_high must be more than 0 and ascend",
        ),
        (["noise_floor"], ratio(-1, 1, 2), "noise_floor: ratio_low, ratio and ratio_high must be more than 0"),
        (["noise_floor"], ratio(0.9, 0.8, 2), "must be more than 0 and ascend, got 0.9, 0.8, 2"),
        (["noise_floor"], ratio(0.9, 1, 0.95), "must be more than 0 and ascend, got 0.9, 1, 0.95"),
        (["files", 0, "measured", "drift"], ratio(0, 1, 2), "files[0].measured.drift: ratio_low"),
        (["pictures", "labels"], [1], "pictures.labels[0] must be a text, got 1"),
    ],
)
def test_what_is_no_report_is_one_line(report, tmp_path, path, value, message):
    record = json.loads(json.dumps(report.to_record()))
    change(record, path, value)
    file = tmp_path / "report.json"
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(FileError) as refused:
        read_report(file)
    assert message in str(refused.value)
    assert str(refused.value).startswith(str(file))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["latency", "p50_ms"], 1e-300, "latency must be more than 1e-09 ms, got 1e-300"),
        (["latency_intervals"], {}, "latency_intervals must hold p50_ms, p90_ms and p99_ms"),
        (["latency_intervals", "p90_ms", 0], 0, "latency_intervals.p90_ms must be more than 1e-09 ms, got 0"),
        (["confusion"], {"red": {"red": 1}, "blue": {}}, "confusion must count pictures"),
        (["confusion"], {"red": {"red": 1}, "blue": {"red": 0}}, "confusion must count pictures"),
        (["top5", "right"], -1, "top5.right must lie between 0 and its pictures, got -1"),
        (["top5", "pictures"], 1, "top5.right must lie between 0 and its pictures, got "),
        (["paired", "both_right"], -1, "paired must count pictures"),
        (["paired", "only_a_right"], -1, "paired must count pictures"),
        (["paired", "only_b_right"], -1, "paired must count pictures"),
        (["paired", "neither_right"], -1, "paired must count pictures"),
        (["paired", "confidence"], 0, "paired.confidence must lie between 0 and 1, got 0"),
        (["paired", "confidence"], 95, "paired.confidence must lie between 0 and 1, got 95"),
        (["mlperf", "passes", 0, "p90_ms"], 0, "mlperf.passes[0] must be more than 1e-09 ms, got 0"),
        (["mlperf", "passes"], [], "mlperf.passes must hold 2 values, got 0"),
        (["operator_times", "operators", 0, "ms"], 0, "operator_times must take more than 0 ms, got 0"),
    ],
)
def test_what_was_not_always_measured_is_checked_too(whole_report, tmp_path, path, value, message):
    record = json.loads(json.dumps(whole_report.to_record()))
    change(record["files"][0]["measured"], path, value)
    (tmp_path / "report.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(FileError, match=rf"is no report: files\[0\]\.measured\.{re.escape(message)}"):
        read_report(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no report: it is no JSON"),
        (b"\xff\xfe", "is no report: it is no JSON"),
        (b"[" * 100_000, "is no report: it is no JSON"),
        (b'{"format": NaN}', "NaN is no number"),
        (b'{"format": 1e999}', "it has no format number"),
        (b"[1]", "it has no format number"),
        (b'{"format": 1, "calls": []}', "is no report: it lacks edgevision"),
    ],
    ids=["empty", "no text", "deep", "NaN", "infinity", "a list", "another record"],
)
def test_other_files_are_refused(tmp_path, content, message):
    file = tmp_path / "report.json"
    file.write_bytes(content)
    with pytest.raises(FileError) as refused:
        read_report(file)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileError, match=r"cannot read the report .*report\.json: No such file"):
        read_report(tmp_path)
