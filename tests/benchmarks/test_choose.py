"""`choose`: accuracy first as far as these pictures tell, then latency; every other file with its reason."""

import json

import pytest

from edgevision_benchmarks import Budget, choose, main, write_report
from edgevision_device import UsageError


def confusion(right, pictures=1000):
    return {"red": {"red": right - 1, "blue": pictures - right}, "blue": {"blue": 1}}


@pytest.fixture
def report(make_report, measurement):
    """p90 is 1.1 p50; 3 of 1,000 pictures are chance, 100 are not."""
    return make_report(
        ("large.onnx", "onnx", "float32", 4_000_000, measurement(confusion(951), 40.0)),
        ("huge.onnx", "onnx", "float32", 9_000_000, measurement(confusion(960), 90.0)),
        ("middle.tflite", "tflite", "float32", 2_000_000, measurement(confusion(853), 20.0)),
        ("small.tflite", "tflite", "int8", 500_000, measurement(confusion(850), 10.0)),
        ("tiny.tflite", "tflite", "int8", 100_000, measurement(confusion(600), 1.0)),
        ("broken.onnx", "onnx", "int8", 90_000, "it crashed"),
    )


def test_of_files_that_chance_may_have_parted_the_fastest_is_chosen(report):
    choice = choose(report, Budget(max_ms=30, max_kb=3000))
    assert choice.chosen[0].name == "small.tflite"
    assert [each.file.name for each in choice.equal] == ["middle.tflite"]
    text = "\n".join(choice.lines())
    assert text.startswith("chosen: small.tflite: top-1 85.0 % (82.7 to 87.1), p90 11.0 ms, 500 kB\n")
    assert "not distinguishable in top-1 on these 1000 pictures, and no faster:\n  middle.tflite: +0.3 points (" in text


def test_the_next_better_is_the_most_affordable_one(report):
    better = choose(report, Budget(max_ms=30, max_kb=3000)).next_better
    assert (better.file.name, better.distinguishable) == ("large.onnx", True)
    assert better.difference == pytest.approx(0.101)
    assert better.describe().startswith("large.onnx: +10.1 points (+7.5 to +12.7), p90 44.0 ms, 4.00 MB")
    worse = choose(report, Budget(max_ms=15)).next_better
    assert (worse.file.name, worse.distinguishable) == ("large.onnx", True), "not middle, which may be no better"
    assert choose(report, Budget()).next_better is None


def test_a_better_one_that_may_be_chance_is_called_so(make_report, measurement):
    report = make_report(
        ("a.tflite", "tflite", "int8", 1000, measurement(confusion(950), 1.0)),
        ("b.tflite", "tflite", "float32", 1000, measurement(confusion(953), 9.0)),
    )
    choice = choose(report, Budget(max_ms=5))
    assert choice.next_better is not None
    assert not choice.next_better.distinguishable
    assert "not distinguishable on these pictures" in "\n".join(choice.lines())


def test_every_limit_names_what_it_excludes(report):
    excluded = {each.file.name: each.reasons for each in choose(report, Budget(30, 3000, 15)).excluded}
    assert excluded == {
        "large.onnx": ("p90 44.0 ms is over 30 ms", "4.00 MB is over 3.00 MB"),
        "huge.onnx": ("p90 99.0 ms is over 30 ms", "9.00 MB is over 3.00 MB"),
        "tiny.tflite": ("its top-1 drops by 36.0 points, more than 15",),
        "broken.onnx": ("not measured: it crashed",),
    }


def test_a_drop_of_exactly_the_limit_is_within_it(make_report, measurement):
    rows = [(f"{right}.tflite", "tflite", "int8", 1000, measurement(confusion(right))) for right in (980, 970)]
    assert choose(make_report(*rows), Budget(max_drop_points=1)).excluded == ()


def test_the_command_prints_and_says_so_where_none_fits(report, tmp_path, capsys):
    write_report(report, tmp_path)
    assert main(["choose", str(tmp_path), "--max-ms", "30", "--max-kb", "3000", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["chosen"]["name"], record["next_better"]["name"]) == ("small.tflite", "large.onnx")
    assert [each["name"] for each in record["equal"]] == ["middle.tflite"]
    assert main(["choose", str(tmp_path), "--max-ms", "30", "--max-kb", "10"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("no file fits, of 6")
    assert "nearest: tiny.tflite" in out
    assert "  broken.onnx: not measured: it crashed" in out
    assert main(["choose", str(tmp_path), "--max-ms", "30", "--max-drop", "1"]) == 1
    assert "nearest: large.onnx" in capsys.readouterr().out, "the smaller ones lose too much"


@pytest.mark.parametrize("limits", [{"max_ms": 0}, {"max_kb": -1}, {"max_drop_points": 101}, {"max_ms": float("nan")}])
def test_a_limit_that_no_file_can_keep_is_refused(limits):
    with pytest.raises(UsageError, match=r"must (be more than 0|lie between 0 and 100)"):
        Budget(**limits)


def test_what_misleads_about_the_chosen_file_is_said(make_report, measurement):
    import dataclasses

    report = make_report(("a.tflite", "tflite", "int8", 1000, measurement(confusion(950))))
    files = tuple(dataclasses.replace(file, warnings=("it was trained on these",)) for file in report.files)
    assert "warning: it was trained on these" in choose(dataclasses.replace(report, files=files), Budget()).lines()
