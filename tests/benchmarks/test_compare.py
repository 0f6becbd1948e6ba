"""`report compare`: what reproduces, what does not and why, and what may differ."""

import dataclasses
import json

import pytest

from edgevision_benchmarks import compare_reports, main, write_report
from edgevision_device import UsageError

CONFUSION = {"red": {"red": 90, "blue": 10}, "blue": {"blue": 100}}
ONE_MORE = {"red": {"red": 91, "blue": 9}, "blue": {"blue": 100}}
MOVED = {"red": {"red": 91, "blue": 9}, "blue": {"blue": 99, "red": 1}}
WORSE = {"red": {"red": 50, "blue": 50}, "blue": {"blue": 100}}


@pytest.fixture
def run(make_report, measurement):
    """Build a report of one run of a.tflite, `p50_ms` and confusion of one's choice; a broken file beside it."""

    def make(confusion=CONFUSION, p50_ms=2.0, error=None, **measured):
        found = error or dataclasses.replace(measurement(confusion, p50_ms), **measured)
        report = make_report(
            ("a.tflite", "tflite", "int8", 1000, found), ("broken.onnx", "onnx", "int8", 90, "it crashed")
        )
        files = tuple(dataclasses.replace(file, sha256=f"{n:02}" * 32) for n, file in enumerate(report.files))
        return dataclasses.replace(report, files=files)

    return make


def change(report, **conditions):
    return dataclasses.replace(report, conditions=dataclasses.replace(report.conditions, **conditions))


@pytest.mark.parametrize("p50_ms", [2.0, 2.2, 2.0 / 1.1], ids=["same", "slower", "faster"])
def test_the_same_answers_within_the_tolerance_reproduce(run, p50_ms):
    comparison = compare_reports(run(), run(p50_ms=p50_ms))
    assert comparison.reproduced
    assert comparison.files[0].p50_ratio == pytest.approx(p50_ms / 2)
    assert comparison.files[1].notes == ("not measured in either: it crashed",)
    assert comparison.lines()[0].startswith("a.tflite: reproduced; 190 right, then 190; p50 \N{MULTIPLICATION SIGN} ")
    assert comparison.lines()[1] == "broken.onnx: nothing to reproduce; not measured in either: it crashed"
    assert comparison.lines()[-1] == "reproduced, at a tolerance of 10 % for times"


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        pytest.param({"p50_ms": 2.3}, "p50 2.00 ms, then 2.30 ms", id="slower"),
        pytest.param({"p50_ms": 1.7}, "p50 2.00 ms, then 1.70 ms", id="faster"),
        pytest.param({"confusion": ONE_MORE}, "other answers to the same pictures by the same runtime", id="right"),
        pytest.param({"confusion": MOVED}, "as many right, but other answers", id="moved"),
        pytest.param({"confusion": WORSE, "runtime_version": "9"}, " points (", id="worse"),
        pytest.param({"error": "killed"}, "not measured in the second run: killed", id="failed"),
    ],
)
def test_what_does_not_reproduce_says_why(run, second, problem):
    comparison = compare_reports(run(), run(**second))
    assert not comparison.reproduced
    assert problem in comparison.files[0].problems[0]
    assert problem in comparison.lines()[0]


@pytest.mark.parametrize(("reach", "reproduced"), [(1.01, False), (1.1, True)], ids=["narrow", "wide"])
def test_intervals_widen_the_tolerance(run, reach, reproduced):
    def timed(p50_ms):
        latency = run(p50_ms=p50_ms).files[0].measured.latency
        times = {key: value for key, value in dataclasses.asdict(latency).items() if key != "count"}
        return run(p50_ms=p50_ms, latency_intervals={key: (time / reach, time * reach) for key, time in times.items()})

    comparison = compare_reports(timed(2.0), timed(2.4))
    assert comparison.reproduced is reproduced
    file = comparison.files[0]
    told = file.notes[0] if reproduced else file.problems[0]
    assert told.startswith(
        "p50 2.00 ms, then 2.40 ms (0.99 to 1.45 times" if reproduced else "p50 2.00 ms, then 2.40 ms (1.18"
    )


def test_another_runtime_may_differ_as_much_as_chance(run):
    comparison = compare_reports(run(), run(ONE_MORE, runtime_version="2.4.0", threads=4))
    assert comparison.reproduced
    points, version, threads = comparison.files[0].notes
    assert points.startswith("+0.5 points (")
    assert points.endswith("by another runtime, OpenCV or processor: not distinguishable")
    assert (version, threads) == ("runtime version 2.3.0, then 2.4.0", "threads 2, then 4")
    assert compare_reports(run(), change(run(ONE_MORE), architecture="x86_64")).reproduced


def test_another_opencv_may_resize_otherwise_and_a_disturbed_run_is_named(run):
    comparison = compare_reports(run(opencv="4.8.1"), run(ONE_MORE, opencv="4.12.0", throttled=True))
    assert comparison.reproduced
    assert comparison.files[0].notes[1:] == (
        "opencv 4.8.1, then 4.12.0",
        "the second run was disturbed: the processor was throttled",
    )


def test_conditions_and_settings_that_differ_are_listed(run):
    second = change(run(), governor="ondemand", cores=2)
    second = dataclasses.replace(second, edgevision="0.2.0", settings=dataclasses.replace(second.settings, runs=9))
    comparison = compare_reports(run(), second)
    assert comparison.reproduced
    assert comparison.differences == (
        ("edgevision", "0.1.0", "0.2.0"),
        ("cores", 4, 2),
        ("governor", None, "ondemand"),
        ("runs", 200, 9),
    )
    assert "differs: governor: not known, then ondemand" in comparison.lines()


def test_another_file_of_the_same_name_is_not_the_same(run):
    second = run()
    second = dataclasses.replace(second, files=(dataclasses.replace(second.files[0], sha256="ee" * 32),))
    comparison = compare_reports(run(), second)
    assert "a.tflite is another file there: SHA-256 eeeeeeeeeeee… instead of 000000000000…" in comparison.lines()[0]
    assert comparison.problems == ("no file was measured in both",)
    assert not comparison.reproduced


def test_other_pictures_do_not_reproduce(run):
    second = run(WORSE)
    second = dataclasses.replace(second, pictures=dataclasses.replace(second.pictures, sha256="ee" * 32))
    comparison = compare_reports(run(), second)
    assert not comparison.reproduced
    assert comparison.problems[0].startswith("not the same pictures, by their SHA-256: cdcdcdcdcdcd… and eeeeeeeeeeee…")
    assert comparison.files[0].problems == ()


def test_what_only_the_second_report_holds_is_no_matter(run):
    first = run()
    assert compare_reports(dataclasses.replace(first, files=first.files[:1]), run()).reproduced


def test_the_command(run, tmp_path, capsys):
    write_report(run(), tmp_path / "a")
    write_report(run(p50_ms=2.4), tmp_path / "b")
    line = ["report", "compare", str(tmp_path / "a"), str(tmp_path / "b" / "report.json")]
    assert main(line) == 1
    assert capsys.readouterr().out.endswith("not reproduced, at a tolerance of 10 % for times\n")
    assert main([*line, "--tolerance", "25", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["reproduced"], record["tolerance_share"]) == (True, 0.25)
    assert record["files"][0]["p50_ratio"] == pytest.approx(1.2)
    assert main([*line, "--tolerance", "-1"]) == 2
    assert "tolerance must be more than 0" in capsys.readouterr().err


def test_a_tolerance_that_is_none_is_refused(run):
    with pytest.raises(UsageError, match="tolerance"):
        compare_reports(run(), run(), float("nan"))


def test_a_run_that_was_resumed_is_said_and_no_problem(run):
    resumed = dataclasses.replace(run(), resumed=True)
    for reports, which in (((run(), resumed), ["second"]), ((resumed, resumed), ["first", "second"])):
        comparison = compare_reports(*reports)
        assert comparison.reproduced
        assert [note.split(" run was killed")[0] for note in comparison.notes] == [f"the {each}" for each in which]
        assert set(comparison.notes) <= set(comparison.lines())
        assert comparison.to_record()["notes"] == list(comparison.notes)
    assert compare_reports(run(), run()).notes == ()
