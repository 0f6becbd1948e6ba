"""Gates: what can be asked for, what fails, and that a bad one costs no measurement."""

import dataclasses
import json

import pytest

from edgevision_benchmarks import judge, main, parse_gate, write_report
from edgevision_device import UsageError


@pytest.mark.parametrize(
    ("text", "value", "passed"),
    [
        ("top1>=0.95", 0.95, True),
        ("top1>0.95", 0.95, False),
        ("top1_low >= 0.8", 0.7639, False),
        ("worst_recall>=.9", 0.9, True),
        ("macro_f1>=0.96", 0.9499, False),
        ("p50_ms<10", 10.0, False),
        ("p50_ms<=1e1", 10.0, True),
        ("p90_ms<=30", 11.0, True),
        ("p99_ms<=14", 15.0, False),
        ("first_ms<=20", 20.0, True),
        ("open_ms<=4", 5.0, False),
        ("preprocess_ms<=1", 0.1, True),
        ("size_kb<=110", 110.0, True),
        ("memory_mb<=69", 70.0, False),
        ("file_memory_mb<=10", 10.0, True),
        ("top1>=1", 0.95, False),
        ("top1<1", 0.95, True),
        ("file_memory_mb<=0", 10.0, False),
    ],
)
def test_a_file_is_held_against_a_gate(report, text, value, passed):
    verdict = judge(report, [parse_gate(text)])[0]
    assert verdict.value == pytest.approx(value, abs=1e-4)
    assert verdict.passed is passed
    assert verdict.describe().startswith(f"a.int8.tflite: {parse_gate(text)}: {'passed' if passed else 'failed'} with ")


def test_what_was_not_measured_has_not_passed(report):
    verdicts = judge(report, [parse_gate("top1>0"), parse_gate("size_kb<=110")])
    assert [verdict.passed for verdict in verdicts] == [True, True, False, False]
    assert judge(report, [parse_gate("top5>=0.9")])[0].reason == "the file has no more than five labels"
    assert verdicts[2].describe() == "broken.onnx: top1>0: not measured: it crashed"
    assert verdicts[3].describe() == "broken.onnx: size_kb<=110: not measured: it crashed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top1", "cannot read the gate 'top1'; write 'top1>=0.9'"),
        ("top1=0.9", "cannot read the gate"),
        ("top1>=high", "cannot read the gate"),
        ("top1>=nan", "cannot read the gate"),
        ("top1>=0.9 p90_ms<=30", "cannot read the gate"),
        ("photos.tflite", "cannot read the gate"),
        ("", "cannot read the gate"),
        ("p95_ms<=30", "unknown figure 'p95_ms'; did you mean 'p99_ms'?"),
        ("top1>=90", "top1 is a share between 0 and 1, got the gate 'top1>=90'; 90 % is 0.9"),
        ("size_kb<=-1", "no size_kb is below 0"),
        ("top1>1", "no file can pass the gate 'top1>1'"),
        ("top1>=0", "no file can fail the gate 'top1>=0'"),
        ("top1<=1.0", "no file can fail the gate 'top1<=1.0'"),
        ("macro_f1<0", "no file can pass the gate 'macro_f1<0'"),
        ("p90_ms>=0", "no file can fail the gate 'p90_ms>=0'"),
        ("size_kb<0", "no file can pass the gate 'size_kb<0'"),
        ("p90_ms<=1e999", "no file can fail the gate 'p90_ms<=1e999'"),
        ("p90_ms>=1e999", "no file can pass the gate 'p90_ms>=1e999'"),
    ],
)
def test_a_bad_gate_says_what_is_wrong(text, message):
    with pytest.raises(UsageError) as refused:
        parse_gate(text)
    assert message in str(refused.value)


def test_a_bad_gate_is_refused_before_the_pictures_are_looked_for(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["absent.tflite", "--data", "nowhere", "--gate", "top1>=0.9", "p91_ms<=30"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown figure 'p91_ms'; did you mean 'p" in line


def test_a_benchmark_that_misses_its_gate_is_exit_1(model, pictures, capsys):
    line = [str(model()), "--data", str(pictures()), "--runs", "2", "--warmup", "0", "--gate", "size_kb<=5000"]
    assert main(line) == 0
    assert "gates: 1 of 1 passed" in capsys.readouterr().out
    assert main([*line, "top1>=0.99", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["format"] == 1
    assert "gate: colors.float32.tflite: top1>=0.99: failed with 0.923077" in captured.err
    assert "gates: 1 of 2 passed" in captured.err


def test_a_finished_report_is_judged(report, tmp_path, capsys):
    write_report(report, tmp_path)
    assert main(["report", "gate", str(tmp_path), "--gate", "size_kb<=200"]) == 1
    assert capsys.readouterr().out == (
        "gate: broken.onnx: size_kb<=200: not measured: it crashed\ngates: 1 of 2 passed\n"
    )
    assert main(["report", "gate", str(tmp_path), "--gate", "p90_ms<=10", "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["file"], first["gate"], first["limit"], first["passed"]) == ("a.int8.tflite", "p90_ms<=10", 10, False)
    assert first["value"] == pytest.approx(11)
    assert (second["value"], second["reason"], second["passed"]) == (None, "it crashed", False)
    assert main(["report", "gate", str(tmp_path / "absent"), "--gate", "p90_ms<=10"]) == 2


def test_a_time_that_decided_and_was_disturbed_is_named(report, tmp_path, capsys):
    measured = dataclasses.replace(report.files[0].measured, others_share=0.48, throttled=True)
    rows = (dataclasses.replace(report.files[0], measured=measured),)
    write_report(dataclasses.replace(report, files=rows), tmp_path)
    line = ["report", "gate", str(tmp_path), "--gate", "top1>=0.9"]
    assert main(line) == 0
    assert capsys.readouterr().err == "", "no time decided"
    assert main([*line, "p90_ms<=30", "p50_ms<=30"]) == 0, "the verdict stays"
    captured = capsys.readouterr()
    assert captured.out == "gates: 3 of 3 passed\n"
    reasons = ["others used 48% of the machine", "the processor was throttled"]
    assert captured.err == f"warning: a.int8.tflite: a disturbed time decided: {'; '.join(reasons)}\n"
    assert main([*line, "p90_ms<=30", "--json"]) == 0
    captured = capsys.readouterr()
    assert [each["disturbed"] for each in json.loads(captured.out)] == [[], reasons]
    assert captured.err == ""


def test_a_traceback_can_be_asked_for_on_either_side(tmp_path):
    with pytest.raises(Exception, match="cannot read the report"):
        main(["report", "gate", str(tmp_path), "--gate", "p90_ms<=10", "--traceback"])
