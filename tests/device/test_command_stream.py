"""`edgevision-device stream`, as it is typed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional

import fakes
import numpy as np
import pytest

from edgevision_device import JsonLines

pytestmark = pytest.mark.usefixtures("cv2")

Command = Callable[..., "subprocess.CompletedProcess[str]"]
LABELS = ("red upright", "red flat", "blue upright", "blue flat")


@pytest.fixture
def model(data: Path, require: Callable[[str], None]) -> Path:
    require("tflite")
    return data / "tiny.int8.tflite"


@pytest.fixture
def photos(tmp_path: Path, cv2: Any, bar: Callable[..., np.ndarray]) -> Path:
    """Five pictures of each label, in a folder per label."""
    folder = tmp_path / "photos"
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for number in range(5):
            cv2.imwrite(str(folder / label / f"{number}.png"), bar(*label.split(), enlarged=2 + number)[..., ::-1])
    return folder


@pytest.fixture
def clip(tmp_path: Path, cv2: Any, bar: Callable[..., np.ndarray]) -> Path:
    """Eight hundred frames of a blue flat bar."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 32))
    for _ in range(800):
        writer.write(bar("blue", "flat", 4)[..., ::-1])
    writer.release()
    return path


def records_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_labelled_folder_is_named_and_counted(command: Command, model: Path, photos: Path) -> None:
    done = command("stream", model, "--source", photos)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) == 20
    assert lines[0].startswith("0  blue flat  ")
    assert "20 frames in" in done.stderr
    assert "0 dropped" in done.stderr
    assert "100.0 % right: 20 of 20 with a true label" in done.stderr


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["summary"]


def test_what_stays_still_to_the_end_is_counted(
    command: Command, model: Path, tmp_path: Path, cv2: Any, bar: Callable[..., np.ndarray]
) -> None:
    sources: list[object] = []
    for place in ("yard", "door"):
        (tmp_path / place).mkdir()
        for number in range(9):
            picture = bar("red" if number < 3 else "blue", "flat", 4)
            cv2.imwrite(str(tmp_path / place / f"{number}.png"), picture[..., ::-1])
        sources += ["--source", tmp_path / place]
    for given in (sources[:2], sources):
        summary = summary_of(command("stream", model, *given, "--motion", "--json"))
        several = len(given) // 2
        assert (summary["frames"], summary["still"], summary["dropped"]) == (2 * several, 7 * several, 0)


@pytest.mark.parametrize(
    ("flags", "clip_seconds"),
    [([], 1.96), (["--motion"], 1.96), (["--fps", "200"], None)],
    ids=["clip", "motion", "camera"],
)
def test_flicker_of_a_clip_counts_by_its_own_time(
    command: Command,
    model: Path,
    tmp_path: Path,
    cv2: Any,
    bar: Callable[..., np.ndarray],
    flags: list[str],
    clip_seconds: Optional[float],
) -> None:
    """Fifty frames, 25 a second: the label changes four times in what takes two seconds, however fast it is read."""
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 32))
    for number in range(50):
        writer.write(bar("red" if number // 10 % 2 else "blue", "flat", 4)[..., ::-1])
    writer.release()
    summary = summary_of(command("stream", model, "--source", tmp_path / "in.avi", "--json", *flags))
    assert summary["clip_seconds"] == (clip_seconds and pytest.approx(clip_seconds, abs=0.002))
    seconds = clip_seconds or summary["seconds"]
    assert summary["flicker_per_minute"] == pytest.approx(60 * summary["changes"] / seconds, rel=0.01)
    assert summary["changes"] == 4 or clip_seconds is None
    # What is read on after the last label that was asked for is not counted.
    summary = summary_of(
        command("stream", model, "--source", tmp_path / "in.avi", "--json", *flags, "--motion", "--frames", 3)
    )
    assert (summary["frames"], summary["still"]) == (3, 18) or clip_seconds is None


def test_flicker_of_a_clip_without_times_is_a_number(command: Command, model: Path, tmp_path: Path) -> None:
    red, blue = (75, 100, 220), (50, 220, 110)
    (tmp_path / "in.h264").write_bytes(fakes.raw_h264([blue if number // 10 % 2 else red for number in range(50)]))
    summary = summary_of(command("stream", model, "--source", tmp_path / "in.h264", "--json"))
    assert (summary["frames"], summary["changes"], summary["clip_seconds"]) == (50, 4, None)
    assert summary["flicker_per_minute"] == pytest.approx(60 * 4 / summary["seconds"], rel=0.1)
    summary = summary_of(command("stream", model, "--source", tmp_path / "in.h264", "--json", "--motion"))
    assert (summary["still"], summary["clip_seconds"]) == (45, None)


@pytest.mark.parametrize(
    ("fps", "flags", "expected"),
    [(12, [], 12), (12, ["--video-fps", "30"], 30), (12, ["--fps", "50"], 50), (1000, [], 25)],
)
def test_a_video_runs_as_fast_as_its_clip(
    command: Command, model: Path, tmp_path: Path, cv2: Any, fps: float, flags: list[str], expected: float
) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), fps, (48, 32))
    for _ in range(5):
        writer.write(np.zeros((32, 48, 3), np.uint8))
    writer.release()
    command("stream", model, "--source", tmp_path / "in.avi", "--video", tmp_path / "out.avi", *flags)
    written = cv2.VideoCapture(str(tmp_path / "out.avi"))
    assert written.get(cv2.CAP_PROP_FPS) == expected
    written.release()


def test_json_ends_with_the_summary(command: Command, model: Path, photos: Path) -> None:
    done = command("stream", model, "--source", photos, "--json")
    *records, last = records_of(done.stdout)
    assert [record["frame"] for record in records] == list(range(20))
    assert all(record["label"] == record["true_label"] for record in records)
    assert all(Path(record["name"]).is_file() for record in records)
    summary = last["summary"]
    assert (summary["frames"], summary["dropped"], summary["right_share"], summary["stopped_by"]) == (20, 0, 1, None)
    assert summary["age_ms"]["p50"] <= summary["age_ms"]["p99"]
    assert summary["threads"] >= 1


def test_a_replay_is_a_camera(command: Command, model: Path, photos: Path) -> None:
    done = command("stream", model, "--source", photos, "--fps", 100, "--json")
    *records, last = records_of(done.stdout)
    assert last["summary"]["frames"] == len(records)
    assert last["summary"]["frames"] + last["summary"]["dropped"] == 20
    assert [record["frame"] for record in records] == sorted({record["frame"] for record in records})


def test_out_takes_the_records_instead_of_stdout(command: Command, model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "stream.jsonl"
    done = command("stream", model, "--source", photos, "--out", out)
    assert (done.returncode, done.stdout) == (0, "")
    assert [record["frame"] for record in records_of(out.read_text())] == list(range(20))
    refused = command("stream", model, "--source", photos, "--out", out)
    assert refused.returncode == 2
    assert "pass --overwrite" in refused.stderr
    assert command("stream", model, "--source", photos, "--frames", 3, "--out", out, "--overwrite").returncode == 0
    assert len(records_of(out.read_text())) == 3


def test_it_stops_where_it_is_told(command: Command, model: Path, clip: Path) -> None:
    done = command("stream", model, "--source", clip, "--frames", 4)
    assert len(done.stdout.splitlines()) == 4
    done = command("stream", model, "--source", clip, "--fps", 50, "--seconds", "0.2", "--json")
    *records, last = records_of(done.stdout)
    assert 0 < len(records) < 800
    assert {record["label"] for record in records} == {"blue flat"}
    assert last["summary"]["frames"] == len(records)


def test_an_address_can_stand_in_a_variable(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVISION_YARD", "test://?frames=3&size=64x48")
    assert len(command("stream", model, "--source", "$EDGEVISION_YARD").stdout.splitlines()) == 3
    done = command("stream", model, "--source", "$EDGEVISION_BARN")
    assert done.returncode == 2
    assert "there is no such environment variable; export EDGEVISION_BARN=" in done.stderr


def test_a_broken_picture_is_named_and_left_out(command: Command, model: Path, photos: Path) -> None:
    (photos / "red flat/broken.png").write_bytes(b"no picture")
    done = command("stream", model, "--source", photos, "--json")
    assert done.returncode == 0
    assert "broken.png" in done.stderr
    summary = records_of(done.stdout)[-1]["summary"]
    assert (summary["frames"], summary["dropped"], summary["skipped"]) == (20, 0, 1)


def test_the_summary_says_whether_the_source_ended(command: Command, model: Path, photos: Path) -> None:
    def ended(*arguments: object) -> bool:
        done = command("stream", model, "--source", photos, "--fps", 500, *arguments)
        summary = records_of(command("stream", model, "--source", photos, "--fps", 500, "--json", *arguments).stdout)[
            -1
        ]
        assert ("the source has ended" in done.stderr) is summary["summary"]["source_ended"]
        return summary["summary"]["source_ended"]

    assert ended()
    assert not ended("--frames", 1)
    assert not ended("--seconds", "0.000001")


def test_a_source_that_ended_in_time_has_ended_however_long_its_sinks_take(
    command: Command, model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_s = 0.0

    class Slow(JsonLines):
        def close(self) -> None:
            nonlocal late_s
            late_s = 1000.0

    monkeypatch.setattr(
        "edgevision_device._commands.stream.time", SimpleNamespace(monotonic=lambda: time.monotonic() + late_s)
    )
    monkeypatch.setattr("edgevision_device._commands.stream.open_sinks", lambda args, context: [Slow()])
    done = command("stream", model, "--source", photos, "--seconds", 900, "--json")
    assert late_s
    assert records_of(done.stdout)[-1]["summary"]["source_ended"]


def test_seconds_end_a_stream_that_has_stalled(command: Command, model: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = command("stream", model, "--source", f"http://127.0.0.1:{port}/", "--reconnect", "--seconds", 0.1)
    assert done.returncode == 2
    assert "the source gave no frame" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("live", [False, True], ids=["folder", "live"])
def test_records_of_a_folder_that_were_lost_are_a_failure(
    command: Command, model: Path, photos: Path, live: bool
) -> None:
    replay = ("--fps", 500) if live else ()
    done = command("stream", model, "--source", photos, *replay, "--out", "/dev/full", "--append")
    assert "out lost" in done.stderr
    assert done.returncode == (0 if live else 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "nowhere.mp4"], "no such file or folder"),
        (["--source", "pigeon://1"], "unknown kind of source"),
        (["--source", "63"], "cameras found"),
        (["--source", "photos", "--fps", "0"], "frames per second"),
        (["--source", "photos", "--frames", "0"], "number of frames"),
        (["--source", "photos", "--seconds", "-1"], "number of seconds"),
        (["--source", "photos", "--time-limit", "0"], "time limit"),
        (["--source", "http://127.0.0.1:1/", "--fps", "30"], "leave it out"),
        ([], "--source"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line(
    command: Command, model: Path, photos: Path, arguments: list[str], message: str
) -> None:
    done = command("stream", model, *arguments, "--out", "stream.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert not list(Path.cwd().glob("*.jsonl"))
    assert not list(Path.cwd().glob(".stream*"))


def test_a_folder_of_broken_pictures_leaves_no_file(command: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.png").write_bytes(b"no picture")
    done = command("stream", model, "--source", "broken", "--out", "stream.jsonl")
    assert done.returncode == 2
    assert "none of the 1 files" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "stream.jsonl").exists()


def test_help_says_what_comes_out(command: Command) -> None:
    done = command("stream", "--help")
    assert done.returncode == 0
    for word in ("--source", "--time-limit", "Ctrl-C", '{"summary"', "Exit code"):
        assert word in done.stdout


def test_ctrl_c_while_the_source_opens_ends_it_at_once(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        line = ["stream", str(model), "--source", address, "--time-limit", "300"]
        child = subprocess.Popen([sys.executable, "-m", "edgevision_device", *line], stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()
        with connection:  # which it waits for an answer on
            child.send_signal(signal.SIGINT)
            _, stderr = child.communicate(timeout=60)
    assert (child.returncode, stderr) == (130, "edgevision-device: interrupted\n")


def test_what_was_recorded_outlives_the_process(model: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "stream.jsonl"
    line = ["stream", str(model), "--source", str(clip), "--fps", "80", "--json", "--out", str(out)]
    child = subprocess.Popen([sys.executable, "-m", "edgevision_device", *line], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    first = child.stdout.readline()
    while not out.exists() or not out.read_text():  # a thread of its own writes it
        assert child.stdout.readline()
    child.kill()
    child.communicate(timeout=60)
    *whole, cut = out.read_text().split("\n")
    assert cut == ""
    assert records_of(whole[0]) == records_of(first)
    assert [entry.name for entry in tmp_path.iterdir() if "stream" in entry.name] == ["stream.jsonl"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "folder"])
def test_a_signal_ends_it_in_order(model: Path, clip: Path, tmp_path: Path, signum: int, live: bool) -> None:
    out = tmp_path / "stream.jsonl"
    # Ten seconds of replay; without a clock, 800 records of 200 bytes do not fit a pipe that nobody reads.
    arguments = [str(model), "--source", str(clip), "--json", "--out", str(out), *(["--fps", "80"] if live else [])]
    child = subprocess.Popen(
        [sys.executable, "-m", "edgevision_device", "stream", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    first = child.stdout.readline()
    child.send_signal(signum)
    rest, stderr = child.stdout.read(), child.stderr.read()
    child.communicate(timeout=60)
    *records, last = records_of(first + rest)
    assert child.returncode == (0 if live else 128 + signum), stderr
    assert last["summary"]["stopped_by"] == signal.Signals(signum).name
    assert 0 < last["summary"]["frames"] < 800
    # What was recorded is kept, in a file with its name, and says the same as stdout.
    assert records_of(out.read_text()) == records
    assert len(records) == last["summary"]["frames"]
    assert "Traceback" not in stderr
