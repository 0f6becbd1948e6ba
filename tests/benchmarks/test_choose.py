"""`choose`: accuracy first as far as these pictures tell, then latency; every other file with its reason."""

import dataclasses
import json

import pytest

from edgevision_benchmarks import (
    Budget,
    Flip,
    Paired,
    PairedDifference,
    TimeRatio,
    choose,
    main,
    merge,
    write_merged,
    write_report,
)
from edgevision_benchmarks._pairs import paired_difference
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
    assert (
        "not distinguishable in top-1 on these 1000 pictures; slower than the fastest of these, or no smaller than the "
        "chosen:\n  middle.tflite: +0.3 points ("
    ) in text


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
        "large.onnx": ("p90 44.0 ms is over 30 ms", "4000 kB is over 3000 kB"),
        "huge.onnx": ("p90 99.0 ms is over 30 ms", "9000 kB is over 3000 kB"),
        "tiny.tflite": ("its top-1 drops by 36.0 points, more than 15",),
        "broken.onnx": ("not measured: it crashed",),
    }


def test_a_size_just_over_the_limit_reads_so(make_report, measurement):
    report = make_report(("a.tflite", "tflite", "int8", 4_000_800, measurement(confusion(900))))
    (excluded,) = choose(report, Budget(max_kb=4000)).excluded
    assert excluded.reasons == ("4000.8 kB is over 4000 kB",)


def test_a_merge_cannot_be_chosen_from(report, tmp_path, capsys):
    write_merged(merge([report, dataclasses.replace(report, created="later")]), tmp_path)
    for path in (tmp_path, tmp_path / "merged.json"):
        assert main(["choose", str(path)]) == 2
        message = f"{tmp_path / 'merged.json'} is several reports side by side; give one of them"
        assert message in capsys.readouterr().err
    assert main(["choose", str(tmp_path / "absent")]) == 2
    assert "cannot read the report" in capsys.readouterr().err


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
    report = make_report(("a.tflite", "tflite", "int8", 1000, measurement(confusion(950))))
    files = tuple(dataclasses.replace(file, warnings=("it was trained on these",)) for file in report.files)
    assert "warning: it was trained on these" in choose(dataclasses.replace(report, files=files), Budget()).lines()


def disturb(report, *names):
    files = [
        dataclasses.replace(file, measured=dataclasses.replace(file.measured, others_share=0.48))
        if file.name in names
        else file
        for file in report.files
    ]
    return dataclasses.replace(report, files=tuple(files))


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        pytest.param(Budget(max_kb=1000), [], id="accuracy alone"),
        pytest.param(Budget(max_kb=3000), ["middle.tflite", "small.tflite"], id="the fastest of equals"),
        pytest.param(Budget(max_ms=30), ["large.onnx", "middle.tflite", "small.tflite"], id="over the limit"),
        pytest.param(Budget(max_ms=0.5), ["large.onnx", "middle.tflite", "small.tflite", "tiny.tflite"], id="none"),
        pytest.param(Budget(max_kb=200), [], id="bytes left one"),
        pytest.param(Budget(max_kb=200, max_ms=30), ["large.onnx", "tiny.tflite"], id="one, and a limit"),
    ],
)
def test_where_a_disturbed_time_decided_the_files_are_named(report, budget, named):
    everyone = [file.name for file, _ in report.measured if file.name != "huge.onnx"]
    assert list(choose(disturb(report, *everyone), budget).disturbed) == named
    assert choose(report, budget).disturbed == {}


def test_a_disturbed_choice_is_said_and_stays(report, tmp_path, capsys):
    write_report(disturb(report, "small.tflite"), tmp_path)
    line = ["choose", str(tmp_path), "--max-ms", "30", "--max-kb", "3000"]
    assert main(line) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("chosen: small.tflite")
    assert captured.err == "warning: small.tflite: a disturbed time decided: others used 48% of the machine\n"
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["disturbed"] == {"small.tflite": ["others used 48% of the machine"]}


def flips(*pictures):
    """Flips of a file that is wrong where the first is right (`-n`), or the other way round (`n`)."""
    said = {True: ("red", "blue"), False: ("blue", "red")}
    return tuple(Flip(f"{abs(n)}.png", "", "red", said[n < 0][0], 0.9, said[n < 0][1], 0.9) for n in pictures)


def paired(found, *pictures):
    lost, gained = sum(n < 0 for n in pictures), sum(n > 0 for n in pictures)
    difference = PairedDifference(900 - lost, lost, gained, 100 - gained)
    return dataclasses.replace(found, paired=Paired("a.tflite", difference, len(pictures), flips(*pictures)))


def test_files_are_compared_picture_by_picture_whichever_is_the_first(make_report, measurement):
    """20 of 1,000 pictures may be chance, but not where one is right wherever the other is."""
    lost = [-n for n in range(1, 21)]
    report = make_report(
        ("a.tflite", "tflite", "float32", 3000, measurement(confusion(900), 9.0)),
        ("b.tflite", "tflite", "float16", 2000, paired(measurement(confusion(901), 8.0), 30)),
        ("c.tflite", "tflite", "int8", 1000, paired(measurement(confusion(880), 1.0), *lost)),
    )
    choice = choose(report, Budget())
    assert choice.chosen[0].name == "b.tflite"
    assert [each.file.name for each in choice.equal] == ["a.tflite"], "c is told from both"
    a, b, c = report.measured
    both = paired_difference(b, c)
    assert (both.both, both.only_a, both.only_b, both.neither) == (880, 21, 0, 99)
    assert paired_difference(a, c).only_a == 20
    assert paired_difference(c, a).only_b == 20
    old = dataclasses.replace(c[1], paired=dataclasses.replace(c[1].paired, flipped=()))
    assert paired_difference(b, (c[0], old)) is None, "an older report says only how many flip"


def test_the_verdict_is_that_of_the_report(make_report, measurement):
    """The interval of 5 pictures lost and none gained leaves out 0, and chance gives that in 1 of 16."""
    lost = [-n for n in range(1, 6)]
    report = make_report(
        ("a.tflite", "tflite", "float32", 3000, measurement(confusion(900), 9.0)),
        ("b.tflite", "tflite", "int8", 1000, paired(measurement(confusion(895), 1.0), *lost)),
    )
    difference = report.files[1].measured.paired.difference
    assert difference.interval[1] < 0
    assert not difference.distinguishable
    choice = choose(report, Budget())
    assert choice.chosen[0].name == "b.tflite"
    (other,) = choice.equal
    assert (other.paired.only_a, other.paired.only_b) == (0, 5)
    assert not other.to_record()["distinguishable"]


def test_of_files_as_fast_as_the_fastest_the_smallest_is_chosen(make_report, measurement):
    def timed(each_ms, factor=1.0):
        rounds = tuple(factor * each_ms * (1 + 0.01 * (n % 3)) for n in range(20))
        return dataclasses.replace(measurement(confusion(900), each_ms), round_p50_ms=rounds)

    report = make_report(
        ("a.tflite", "tflite", "float32", 3000, timed(1.0)),
        ("b.tflite", "tflite", "float16", 2000, timed(1.01)),
        ("c.tflite", "tflite", "int8", 1000, timed(1.5)),
    )
    assert choose(report, Budget()).chosen[0].name == "a.tflite", "without a noise floor the figures count"
    report = dataclasses.replace(report, noise_floor=TimeRatio(1.0, 0.97, 1.03, 20))
    choice = choose(report, Budget())
    assert choice.chosen[0].name == "b.tflite"
    assert [(each.file.name, each.as_fast) for each in choice.equal] == [("a.tflite", True), ("c.tflite", False)]
    assert choice.equal[0].describe().endswith(", as fast")


def test_the_fastest_in_turns_is_the_fastest_whatever_its_p90_is(make_report, measurement):
    def timed(each_ms, p90_ms):
        rounds = tuple(each_ms * (1 + 0.01 * (n % 3)) for n in range(20))
        return dataclasses.replace(measurement(confusion(900), p90_ms), round_p50_ms=rounds)

    report = make_report(
        ("small.tflite", "tflite", "int8", 1000, timed(1.0, 3.1)),
        ("large.onnx", "onnx", "float32", 3000, timed(1.5, 3.0)),
    )
    report = dataclasses.replace(report, noise_floor=TimeRatio(1.0, 0.97, 1.03, 20))
    assert choose(report, Budget()).chosen[0].name == "small.tflite"
