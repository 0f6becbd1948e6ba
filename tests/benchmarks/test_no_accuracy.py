"""Files without an accuracy: no pictures were given, or their weights are random."""

import json

import pytest

from edgevision_benchmarks import (
    Budget,
    benchmark,
    choose,
    compare_reports,
    judge,
    main,
    merge,
    parse_gate,
    read_report,
)
from edgevision_benchmarks import render_html as render
from edgevision_device import Metadata, read_model_file

FAST = ("--runs", "12", "--warmup", "0")


def test_without_pictures_all_but_accuracy_is_measured(model, tmp_path, capsys):
    files = [str(model("a.float32.tflite")), str(model("a.int8.tflite", "int8"))]
    out = tmp_path / "report"
    assert main([*files, "--no-accuracy", "--out", str(out), "--gate", "top1>=0.1", "p90_ms<=10000", *FAST]) == 1
    printed = capsys.readouterr().out
    assert printed.count("not measured  ") >= 2
    assert "accuracy not measured: no pictures were given; timed on pixels drawn at random" in printed
    assert "macro-F1" not in printed
    assert "a.int8.tflite: top1>=0.1: not measured: no pictures were given" in printed
    assert "gates: 2 of 4 passed" in printed
    record = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (record["pictures"]["name"], record["pictures"]["count"]) == ("random pixels", 0)
    for file in record["files"]:
        found = file["measured"]
        assert (found["pictures"], found["right"], found["confusion"]) == (0, 0, {})
        wanted = ("top1_share", "top1_low_share", "top1_high_share", "top5", "macro_f1_share", "paired")
        assert [found[name] for name in wanted] == [None] * len(wanted)
        assert found["latency"]["count"] == 12
        assert found["preprocess"]["count"] == found["decide"]["count"] > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Accuracy was not measured: no pictures were given." in page
    assert "Accuracy against" not in page
    assert "label by label" not in page
    report = read_report(out)
    assert (json.loads(json.dumps(report.to_record())), report.judged) == (record, [])
    choice = choose(report, Budget(max_ms=1e6))
    assert choice.chosen is None
    assert [each.reasons for each in choice.excluded] == [("accuracy not measured: no pictures were given",)] * 2


def test_reports_without_accuracy_compare_and_merge(model, tmp_path, capsys):
    first, second = (benchmark([model()], None, runs=12, warmup=0) for _ in range(2))
    (compared,) = compare_reports(first, second, tolerance=50).files
    assert (compared.right_a, compared.right_b) == (None, None)
    assert not [problem for problem in compared.problems if "answers" in problem]
    assert merge([first, second]).tables[0].rows[0].right == ()
    for name, report in (("1", first), ("2", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report.to_record()), encoding="utf-8")
    line = ["report", "merge", str(tmp_path / "1"), str(tmp_path / "2"), "--out", str(tmp_path / "both")]
    assert main(line) == 0
    assert "not measured" in capsys.readouterr().out
    page = (tmp_path / "both" / "merged.html").read_text(encoding="utf-8")
    assert "Without pictures: accuracy was not measured" in page
    assert "accuracy not measured" in page


def test_a_file_of_random_weights_is_timed_and_not_judged(model, pictures):
    random = model("random.tflite", random_weights=True)
    assert read_model_file(random).metadata.random_weights
    others = [model("b.float32.tflite"), model("b.int8.tflite", "int8")]
    folder = pictures()
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    report = benchmark([random, *others], folder, runs=12, warmup=0)
    assert [file.random_weights for file in report.files] == [True, False, False]
    first, second, third = (found for _, found in report.measured)
    assert (first.judged, first.paired, first.top1.pictures) == (False, None, 0)
    assert second.top1.describe().startswith("92.3 %")
    # Times are against the first file, answers against the first one that has any.
    assert second.speed is not None
    assert second.speed.reference == "random.tflite"
    assert second.paired is None
    assert third.paired is not None
    assert third.paired.reference == "b.float32.tflite"
    assert len(report.pictures.skipped) == 1
    gates = [parse_gate("top1>=0.9"), parse_gate("worst_recall>=0.1")]
    assert [(each.value, each.reason) for each in judge(report, gates)][:2] == [(None, "its weights are random")] * 2
    choice = choose(report, Budget())
    assert choice.chosen is not None
    assert choice.chosen[0].name.startswith("b.")
    page = render(report)
    assert page.count(">not measured<") == 1
    assert "92.3" in page


def test_what_is_not_random_does_not_say_so(model):
    plain, random = (read_model_file(model(f"{n}.tflite", random_weights=bool(n))).metadata for n in range(2))
    texts = [each.to_json(sha256="", size_bytes=1) for each in (plain, random)]
    assert ["random_weights" in text for text in texts] == [False, True]
    assert [Metadata.from_record(json.loads(text)).random_weights for text in texts] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "--no-accuracy", "--data", "{data}"], "got --data {data}; leave out one of them"),
        (["--no-accuracy"], "are required: FILE"),
    ],
)
def test_what_does_not_go_together_is_one_line(model, pictures, capsys, arguments, message):
    places = {"model": str(model()), "data": str(pictures())}
    assert main([each.format(**places) for each in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message.format(**places) in line
