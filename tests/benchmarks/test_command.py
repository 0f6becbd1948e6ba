"""`edgevision-benchmark`: exit codes, and what goes where."""

import json
import subprocess
import sys

import pytest

from edgevision_benchmarks import command, main

FAST = ("--runs", "2", "--warmup", "0")


def test_the_table_goes_to_stdout_and_the_report_to_files(model, pictures, tmp_path, capsys):
    out = tmp_path / "report"
    assert main([str(model()), "--data", str(pictures()), "--out", str(out), *FAST]) == 0
    captured = capsys.readouterr()
    assert "colors.float32.tflite" in captured.out
    assert "92.3" in captured.out
    assert "colors.float32.tflite: measured" in captured.err
    record = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert record["command"].startswith("edgevision-benchmark ")
    assert record["files"][0]["measured"]["latency"]["count"] == 2
    assert "edgevision-benchmark" in (out / "report.html").read_text(encoding="utf-8")


def test_json_is_the_record_of_the_report(model, pictures, tmp_path, capsys):
    out = tmp_path / "report"
    assert main([str(model()), "--data", str(pictures()), "--out", str(out), "--json", *FAST]) == 0
    assert capsys.readouterr().out == (out / "report.json").read_text(encoding="utf-8")


def test_a_file_that_failed_among_others_is_exit_1(model, pictures, tmp_path, capsys):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"broken")
    assert main([str(model()), str(broken), "--data", str(pictures()), *FAST]) == 1
    assert "failed: broken.tflite" in capsys.readouterr().out


def test_skipped_pictures_are_named_on_stderr(model, pictures, capsys):
    folder = pictures()
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    assert main([str(model()), "--data", str(folder), *FAST]) == 0
    captured = capsys.readouterr()
    assert "skipped: " in captured.err
    assert "1 of 14 pictures skipped" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["{model}", "--data", "{tmp}/nowhere"], "no such folder", id="no such folder"),
        pytest.param(["{model}", "--data", "{tmp}/empty"], "holds no folders", id="no pictures"),
        pytest.param(["{model}", "--data", "{tmp}/hollow"], "label 'green' is empty", id="empty label"),
        pytest.param(["{model}", "--data", "{tmp}/strange"], "does not know", id="unknown label"),
        pytest.param(["{model}", "--data", "{tmp}/train_only"], "no test", id="no test split"),
        pytest.param(["{model}", "--data", "{tmp}/undecodable"], "none of the 2 pictures", id="undecodable"),
        pytest.param(["{model}", "--data", "{data}", "--runs", "0"], "at least 1, got 0", id="zero runs"),
        pytest.param(
            ["{model}", "--data", "{data}", "--warmup", "-1"], "at least 0, got -1", id="less than no warm-up"
        ),
        pytest.param(["{model}", "--data", "{data}", "--seed", "-1"], "0 and 4294967295, got -1", id="seed below 0"),
        pytest.param(["{model}", "--data", "{data}", "--seed", "4294967296"], "got 4294967296", id="absurd seed"),
        pytest.param(["{model}", "--data", "{data}", "--threads", "0"], "between 1 and 256", id="no threads"),
        pytest.param(["{model}", "--data", "{data}", "--threads", "9999"], "between 1 and 256", id="absurd threads"),
        pytest.param(["{model}", "--data", "{data}", "--runtime", "litter"], "did you mean 'litert'", id="runtime"),
        pytest.param(["{model}", "--data", "{data}", "--runtime", "onnxruntime"], "does not read", id="other runtime"),
        pytest.param(["{model}", "{model}", "--data", "{data}"], "given twice", id="duplicate"),
        pytest.param(["{tmp}/absent.tflite", "--data", "{data}"], "No such file", id="absent file"),
        pytest.param(["{tmp}/broken.tflite", "--data", "{data}"], "is no TFLite file", id="only a broken file"),
        pytest.param(["{model}", "--data", "{data}", "--out", "{tmp}/taken"], "--overwrite", id="report exists"),
        pytest.param(["{model}", "--data", "{data}", "--labels", "x"], "needs all of", id="half of what is missing"),
        pytest.param(["{model}", "--data", "{data}", "--color-order", "bgr"], "needs all of", id="color order alone"),
        pytest.param([], "are required: FILE, --data", id="nothing"),
        pytest.param(["{model}"], "are required: --data", id="no data"),
        pytest.param(["--data", "{data}"], "are required: FILE", id="no file"),
        pytest.param(["--purge"], "--purge is about another device: name it with --host", id="purge without host"),
        pytest.param(["--purge", "--host", "a b"], "'a b' is no host; give what ssh takes", id="no host"),
        pytest.param(["--purge", "--host=-oProxyCommand=x"], "is no host; give what ssh takes", id="an option as host"),
        pytest.param(
            ["{model}", "--data", "{data}", "--host", "x", "--wheels", "{tmp}"], "holds no wheels", id="no wheels"
        ),
        pytest.param(["{model}", "--data", "{tmp}/nowhere", "--host", "x"], "no such folder", id="host, no folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(model, pictures, tmp_path, capsys, arguments, message):
    places = {"model": str(model()), "tmp": str(tmp_path), "data": str(pictures())}
    folders = "empty hollow/red hollow/green strange/zebra train_only/train/red undecodable/red taken"
    for folder in folders.split():
        (tmp_path / folder).mkdir(parents=True)
    for name in ("strange/zebra/a.png", "undecodable/red/a.png", "undecodable/red/b.png", "taken/report.json"):
        (tmp_path / name).write_bytes(b"no picture")
    (tmp_path / "broken.tflite").write_bytes(b"broken")
    assert main([argument.format(**places) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if not line.endswith(": failed")]
    assert message in line
    assert (tmp_path / "taken" / "report.json").read_bytes() == b"no picture"


@pytest.mark.parametrize(
    "arguments",
    [
        ["x.tflite", "--data", "x", "--run", "3"],
        ["x.tflite", "--data", "x", "--thread-sweep", "1;2"],
    ],
)
def test_wrong_usage_is_exit_2(arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_the_command_can_be_part_of_another(model, pictures, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args([str(model()), "--data", str(pictures()), "--json", *FAST])
    args.command_line = ["edgevision", "benchmark", "--data", "colors"]
    assert command.run(args, data_name="colors") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["command"], record["pictures"]["name"]) == ("edgevision benchmark --data colors", "colors")


def test_help_loads_neither_rich_nor_a_runtime():
    code = (
        "import sys, edgevision_benchmarks as b\n"
        "try: b.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'jinja2', 'cv2', 'ai_edge_litert', 'onnxruntime', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--data FOLDER" in done.stdout
