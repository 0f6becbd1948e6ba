"""`edgevision` as a shell sees it: one line and exit code 2 for what cannot be, and the whole way on a folder."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from edgevision import Run, __version__
from edgevision._commands._training_flags import add_training_flags, training_options
from edgevision._commands.layers import parse_knobs
from edgevision._options import parse_size
from edgevision._sweep_axes import read_axes
from edgevision_device import UsageError

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Paint = Callable[..., Path]


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the only line on stderr, after the program's name."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("edgevision: error: ")
    return done.stderr[len("edgevision: error: ") : -1]


@pytest.fixture
def places(root: Path, paint: Paint, run: Run, exports: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Good and bad input, by name."""
    photos = paint(tmp_path / "photos", {"ant": 4, "bee": 4})
    whole = exports["three.int8.tflite"].read_bytes()
    damaged, cut = tmp_path / "damaged.tflite", tmp_path / "cut.onnx"
    damaged.write_bytes(whole[:2000] + bytes([whole[2000] ^ 4]) + whole[2001:])
    cut.write_bytes(exports["three.int8.onnx"].read_bytes()[:-100])
    shutil.copy(root / "tests" / "device" / "data" / "foreign.float32.tflite", tmp_path / "foreign.tflite")
    keras_file = tmp_path / "model.keras"
    shutil.copy(run.model_path, keras_file)
    (tmp_path / "one" / "ant").mkdir(parents=True)
    (tmp_path / "hollow" / "ant").mkdir(parents=True)
    shutil.copy(photos / "ant" / "00.png", tmp_path / "hollow" / "ant")
    (tmp_path / "hollow" / "bee").mkdir()
    (tmp_path / "strict" / "ant").mkdir(parents=True)
    (tmp_path / "strict" / "bee").mkdir()
    for number in range(4):
        shutil.copy(photos / "ant" / "00.png", tmp_path / "strict" / "ant" / f"{number}.png")
        (tmp_path / "strict" / "bee" / f"{number}.png").write_bytes(b"no picture")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "three.float16.tflite").write_bytes(b"mine")
    good = exports["three.int8.tflite"]
    return {"tmp": tmp_path, "photos": photos, "run": run.folder, "good": good, "onnx": exports["three.int8.onnx"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train {photos} --model slimm --out a", "unknown model 'slimm'; did you mean 'slim'?"),
        ("train {photos} --model efficientnet-lite --out a", "did you mean 'efficientnet-lite"),
        ("train {tmp}/absent --model slim --out a", "no such folder: {tmp}/absent; expected"),
        (
            "train absent --model slim --out a",
            "no data 'absent': neither a data set (digits, fashion-mnist) nor a fold",
        ),
        ("train {tmp}/hollow --model slim --out a", "label 'bee' is empty: no pictures in"),
        ("train {tmp}/one --model slim --out a", "holds one label only, 'ant'; a classifier needs at least two"),
        ("train {tmp}/strict --model slim --strict --out a", "0.png: not a picture"),
        ("train {photos} --model slim --out {run}", "exists already; choose another --out, or pass --overwrite"),
        ("train {photos} --model slim --out {photos} --overwrite", "is no run folder; choose another --out"),
        ("train {photos} --model slim --out a --size big", "cannot read the size 'big'; allowed: WIDTHxHEIGHT"),
        ("train {photos} --model slim --out a --size 1x2x3", "cannot read the size '1x2x3'"),
        ("train {photos} --model slim --out a --size 0", "the input size 0x0 is out of range; width and height must"),
        ("layers slim --size 0", "between 8 and 2048 pixels: give another --size, such as 96x96"),
        ("train {photos} --model slim --out a --epochs 0", "epochs must lie between 1 and 100000, got 0"),
        ("train {photos} --model slim --out a --learning-rate 0", "learning rate must lie between"),
        (
            "train {photos} --model slim --out a --resize strech",
            "unknown resize mode 'strech'; did you mean 'stretch'?",
        ),
        ("train {photos} --model slim --out a --zoom 2", "zoom must lie between 0 and 0.9, got 2.0"),
        ("export {run} --out a --recipes int9", "unknown recipe 'int9'; did you mean 'int8'?"),
        ("export {run} --out a --formats onxx", "unknown format 'onxx'; did you mean 'onnx'?"),
        (
            "export {run} --out a --recipes int8x16 --formats onnx",
            "int8x16 exists for .tflite only",
        ),
        ("export efficientnet-lte0 --out a", "unknown model 'efficientnet-lte0'; did you mean 'efficientnet-lite0'?"),
        ("export {tmp}/absent.keras --out a", "no such model: {tmp}/absent.keras; give a run folder, a .keras or .h5"),
        ("export {tmp}/model.keras --out a", "does not say what its scores mean; give --labels FILE"),
        ("export {photos} --out a", "is neither a run folder nor a SavedModel; give a run folder, a .keras"),
        ("export {run} --out {tmp}/taken", "three.float16.tflite exists already; choose another --out, or pass"),
        ("export {run} --out a --calibration-pictures 0", "calibration pictures must number 1 to 100000, got 0"),
        (
            "classify {tmp}/damaged.tflite {photos}",
            "is damaged: the model does not match its SHA-256; copy or export it",
        ),
        ("classify {tmp}/cut.onnx {photos}", "was written by edgevision and is damaged; copy or export it again"),
        (
            "classify {tmp}/foreign.tflite {photos}",
            "cut short: export it again, or say what it lacks with --labels FILE",
        ),
        ("classify {tmp}/absent.tflite {photos}", "cannot read the model file {tmp}/absent.tflite: No such file"),
        ("classify {good} {tmp}/absent.jpg", "cannot read the picture {tmp}/absent.jpg: No such file or directory"),
        ("stream {good} --source {tmp}/absent.mp4", "absent.mp4"),
        ("stream {good} --source {photos} --out {tmp}/damaged.tflite", "exists already"),
        ("benchmark {good} --data {photos}", "holds the label 'ant', which the model does not know"),
        ("benchmark {good} --data {tmp}/absent", "no such folder: {tmp}/absent"),
        ("demo --out {tmp}/damaged.tflite", "is a file; give a folder with --out"),
        ("demo --out a --epochs 0", "epochs must lie between 1 and 100000, got 0"),
    ],
    ids=lambda value: (
        value if value.split()[0] in ("train", "export", "classify", "stream", "benchmark", "demo") else ""
    ),
)
def test_bad_input_is_one_line_and_exit_code_2(
    command: Command, places: dict[str, Path], line: str, message: str
) -> None:
    named = {name: str(path) for name, path in places.items()}
    before = sorted(places["tmp"].rglob("*"))
    assert message.format(**named) in one_error(command(*(part.format(**named) for part in line.split())))
    assert sorted(places["tmp"].rglob("*")) == before


@pytest.mark.parametrize("source", ["97", "/dev/video97"])
def test_an_absent_camera_is_one_line(exports: dict[str, Path], source: str) -> None:
    # In a process of its own: OpenCV learns when it is imported what it may print.
    program = Path(sys.executable).with_name("edgevision")
    line = [str(program), "stream", str(exports["three.int8.tflite"]), "--source", source]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert one_error(done).startswith("camera /dev/video97 cannot be opened: there is no such device")


def test_the_demo_deletes_nobodys_pictures(command: Command, tmp_path: Path) -> None:
    precious = tmp_path / "data" / "test" / "me" / "only copy.jpg"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"...")
    assert "exists already" in one_error(command("demo", "--out", tmp_path))
    assert "data holds other files than a demo's pictures" in one_error(
        command("demo", "--out", tmp_path, "--overwrite")
    )
    assert precious.exists()


def test_a_full_disk_is_one_line(
    command: Command, run: Run, tmp_path: Path, disk_full_at: Callable[[int], AbstractContextManager[None]]
) -> None:
    with disk_full_at(3000):
        done = command("export", run.folder, "--out", tmp_path / "out", "--formats", "onnx", "--recipes", "float32")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("edgevision: error: ")
    assert "File too large" in done.stderr.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_wrong_usage_and_help(command: Command) -> None:
    assert command("train").returncode == command().returncode == command("trian").returncode == 2
    assert command("train", "x", "--model", "slim", "--out", "y", "--epoch", "3").returncode == 2, "no abbreviations"
    assert command("--version").stdout == f"edgevision {__version__}\n"
    for name in ("demo", "train", "sweep", "look", "models", "layers", "export", "benchmark", "classify", "stream"):
        done = command(name, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: edgevision {name} ")


def test_the_traceback_is_there_for_the_asking(command: Command) -> None:
    with pytest.raises(UsageError, match="unknown model"):
        command("train", "x", "--model", "slimm", "--out", "y", "--traceback")


@pytest.mark.parametrize(("text", "size_wh"), [("96x64", (96, 64)), ("96X64", (96, 64)), ("96", (96, 96))])
def test_sizes_are_read(text: str, size_wh: tuple[int, int]) -> None:
    assert parse_size(text) == size_wh


@pytest.mark.parametrize("text", ["", "96x", "1x2x3", "-96", "9.5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"cannot read the size {text!r}; allowed: WIDTHxHEIGHT in pixels")):
        parse_size(text)


def test_strides_are_read_alike_everywhere() -> None:
    """Whatever command takes them."""
    assert parse_knobs(["strides=1,2,2"]) == parse_knobs(["strides=1x2x2"]) == {"strides": (1, 2, 2)}
    assert read_axes(["strides=1x2x2,2x1"]) == {"strides": [(1, 2, 2), (2, 1)]}
    parser = argparse.ArgumentParser()
    add_training_flags(parser)
    args = parser.parse_args(["--strides", "1,2,2"])
    assert training_options(args)[0].strides == (1, 2, 2)
    for read in (lambda: parse_knobs(["strides=two"]), lambda: read_axes(["strides=two"])):
        with pytest.raises(UsageError, match="cannot read the strides 'two'; give 1s and 2s, the stem's first, such"):
            read()


def test_the_program_is_installed() -> None:
    program = Path(sys.executable).with_name("edgevision")
    for line in ([str(program)], [sys.executable, "-m", "edgevision"]):
        done = subprocess.run([*line, "--version"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"edgevision {__version__}\n", "")


def test_a_report_needs_the_labels_of_its_run(command: Command, run: Run, tmp_path: Path) -> None:
    data, mine = tmp_path / "data", tmp_path / "run"
    shutil.copytree(run.data, data)
    shutil.copytree(run.folder, mine)
    record = (mine / "run.json").read_text()
    (mine / "run.json").write_text(record.replace(run.data, str(data)))
    shutil.copytree(data / "ace", data / "twelve")
    done = command("look", "report", mine, "--overwrite")
    assert (done.returncode, done.stdout) == (2, "")
    *notes, line = done.stderr.splitlines()
    assert line == (
        "edgevision: error: the pictures have the label 'twelve', which the model does not know; it knows 3: ace, "
        "naught, seven"
    )
    assert all(note.startswith("note: ") for note in notes), done.stderr


def test_the_whole_way_on_a_folder_of_pictures(command: Command, paint: Paint, tmp_path: Path) -> None:
    photos = paint(tmp_path / "photos", {"red": 24, "green": 24, "blue": 24})
    (photos / "red" / "broken.png").write_bytes(b"no picture")

    options = ["--model", "slim", "--size", "24x16", "--epochs", "6", "--batch-size", "4", "--width", "0.5"]
    done = command("train", photos, *options, "--out", "runs/a", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["labels"] == ["blue", "green", "red"]
    assert record["size_wh"] == [24, 16]
    parts = record["pictures"]
    assert sum(parts.values()) == 72
    assert record["skipped"] == [f"{photos}/red/broken.png: not a picture that can be decoded (10 bytes)"]
    assert "epoch 6/6" in done.stderr
    assert f"skipped: {photos}/red/broken.png" in done.stderr
    assert "1 picture skipped; --strict refuses them" in done.stderr

    done = command("export", "runs/a", "--out", "exports", "--recipes", "int8", "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    files = [each["path"] for each in records]
    assert files == ["exports/a.int8.tflite", "exports/a.int8.onnx"]
    for each in records:
        assert each["size_bytes"] == (tmp_path / each["path"]).stat().st_size
        assert (each["recipe"], each["verified_pictures"]) == ("int8", parts["val"])
        assert each["same_top1_share"] >= 5 / 6

    unseen = paint(tmp_path / "unseen", {"first": 1, "second": 1})
    for file in files:
        done = command("classify", file, unseen, "--top", 2, "--json")
        assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["red", "green"]

    done = command("benchmark", *files, "--data", photos, "--runs", 30, "--warmup", 1, "--json", "--out", "report")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "report" / "report.json").read_text())
    assert [each["name"] for each in report["files"]] == ["a.int8.tflite", "a.int8.onnx"]
    assert all(each["measured"]["top1_share"] > 0.9 for each in report["files"])
    # Of a folder that trained the files, the pictures that trained nothing: what is measured is what is new.
    assert (report["pictures"]["split"], report["pictures"]["count"]) == ("test", parts["test"])
    assert [each["warnings"] for each in report["files"]] == [[], []]
    done = command("benchmark", *files, "--data", photos, "--runs", 30, "--warmup", 1, "--json", "--whole")
    whole = json.loads(done.stdout)["pictures"]
    assert (whole["split"], whole["count"], len(whole["skipped"])) == (None, 73, 1)

    done = command("stream", files[0], "--source", photos / "blue", "--json", "--out", "labels.jsonl")
    assert done.returncode == 0, done.stderr
    *frames, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(frames) == last["summary"]["frames"] == 24
    assert np.mean([frame["label"] == "blue" for frame in frames]) > 0.9
    assert [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()] == frames


def test_data_sets_with_a_name_can_be_benchmarked(
    command: Command, exports: dict[str, Path], own_cache: Path, tmp_path: Path
) -> None:
    # A folder that happens to be called like one is not taken for it, here as in training.
    (tmp_path / "digits").mkdir()
    message = "holds the label '0', which the model does not know"
    for _ in range(2):
        done = command("benchmark", exports["three.int8.tflite"], "--data", "digits")
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]
    assert len(list((own_cache / "held out").glob("digits-*/test/*/*.png"))) == 500


def test_check_prints_records(command: Command) -> None:
    done = command("check", "--json")
    assert done.returncode == 0, done.stdout
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"litert", "onnxruntime"} <= {record["name"] for record in records}
