"""A stream that nobody watches: another file, a signal, a service manager, several sinks that are down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Callable

import pytest

PATIENCE_S = 60.0


@pytest.fixture
def model(data: Path, tmp_path: Path, require: Callable[[str], None]) -> Path:
    require("tflite")
    return Path(shutil.copy(data / "tiny.int8.tflite", tmp_path / "model.tflite"))


@pytest.fixture
def start(model: Path, cv2: Any) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `stream` on a pattern that moves, live, 50 frames a second."""
    children: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        words = ["stream", str(model), "--source", "test://?fps=50&size=64x48", *map(str, arguments)]
        child = subprocess.Popen(
            [sys.executable, "-m", "edgevision_device", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def next_record(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, child.stderr.read() if child.stderr else ""
    return json.loads(line)


def end(child: subprocess.Popen[str]) -> tuple[dict[str, Any], str, float]:
    """Return summary, stderr, and how long the end took."""
    child.send_signal(signal.SIGTERM)
    began_s = time.monotonic()
    stdout, stderr = child.communicate(timeout=PATIENCE_S)
    return json.loads(stdout.splitlines()[-1])["summary"], stderr, time.monotonic() - began_s


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def replace(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    os.replace(path.with_suffix(".new"), path)


def test_a_changed_file_takes_over_and_a_bad_one_is_refused(
    start: Callable[..., subprocess.Popen[str]], model: Path, resealed: Callable[..., Path]
) -> None:
    child = start("--json")
    assert next_record(child)["label"] not in {"A", "B", "C", "D"}
    replace(model, resealed("tiny.int8.tflite", labels=tuple("ABCD")).read_bytes())
    while next_record(child)["label"] not in {"A", "B", "C", "D"}:
        pass
    replace(model, model.read_bytes()[:-100])
    assert "model: " in (said := line_of(child.stderr))
    assert "the one before runs on" in said
    assert next_record(child)["label"] in {"A", "B", "C", "D"}
    summary, _, _ = end(child)
    assert summary["swaps"] == 1
    assert list(summary["health"]["troubles"]) == ["model"]


def test_sighup_opens_the_file_again(start: Callable[..., subprocess.Popen[str]]) -> None:
    child = start("--json")
    next_record(child)
    child.send_signal(signal.SIGHUP)
    for _ in range(100):
        next_record(child)
    summary, stderr, _ = end(child)
    assert (summary["swaps"], stderr) == (1, "")


def test_the_service_manager_is_told(start: Callable[..., subprocess.Popen[str]], short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_path / "notify"))
        manager.settimeout(PATIENCE_S)
        child = start("--json", NOTIFY_SOCKET=str(short_path / "notify"), WATCHDOG_USEC="200000")
        assert manager.recv(999).startswith(b"READY=1\n")
        assert manager.recv(999) == b"WATCHDOG=1"
        assert manager.recv(999) == b"WATCHDOG=1"
        child.send_signal(signal.SIGTERM)
        while (told := manager.recv(999)) == b"WATCHDOG=1":
            pass
        assert told == b"STOPPING=1"


def test_peers_that_are_down_stop_nothing_and_the_end_is_quick(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """A webhook that takes the connection and never answers, a full pipe to nowhere, and a page nobody looks at."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        child = start(
            *("--json", "--out", tmp_path / "labels.jsonl", "--web", "0"),
            *("--webhook", f"http://127.0.0.1:{silent.getsockname()[1]}/hook", "--snapshots", tmp_path / "snapshots"),
        )
        for _ in range(50):
            next_record(child)
        summary, _, took_s = end(child)
    assert child.returncode == 0
    assert summary["stopped_by"] == "SIGTERM"
    # The target is a second; a loaded machine is not to fail the test.
    assert took_s < 5
    written = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert len(written) == summary["frames"]
    assert summary["lost"].keys() <= {"webhook"}


def test_flicker_is_counted_and_smoothed(start: Callable[..., subprocess.Popen[str]]) -> None:
    summaries = []
    for arguments in ((), ("--smooth", "25", "--hysteresis", "0.3")):
        child = start("--json", *arguments)
        for _ in range(60):
            next_record(child)
        summaries.append(end(child)[0])
    plain, smooth = summaries
    assert plain["changes"] == plain["frame_changes"]
    assert smooth["changes"] <= smooth["frame_changes"]
    assert smooth["flicker_per_minute"] == pytest.approx(60 * smooth["changes"] / smooth["seconds"], rel=0.01)
