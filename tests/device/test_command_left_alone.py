"""A stream that nobody watches: another file, a signal, a service manager, several sinks that are down."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Callable

import numpy as np
import pytest
from fakes import until

from edgevision_device import Background, Frame, SlowSink, Source, StreamResult
from edgevision_device._ahead import Ahead

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
    while (record := next_record(child))["label"] not in {"A", "B", "C", "D"}:
        pass
    at = f"frame {record['frame']}"
    assert line_of(child.stderr) == f"model: {model} ({record['file_sha256']}…) took over at {at}, with other labels\n"
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
    # The same bytes: nothing took over.
    assert (summary["swaps"], stderr) == (1, "")


def test_the_summary_for_people_says_that_another_file_took_over(
    start: Callable[..., subprocess.Popen[str]], model: Path, data: Path
) -> None:
    child = start()
    line_of(child.stdout)
    replace(model, (data / "tiny.float32.tflite").read_bytes())
    said = line_of(child.stderr)
    assert re.fullmatch(rf"model: {re.escape(str(model))} \([0-9a-f]{{12}}…\) took over at frame \d+\n", said)
    child.send_signal(signal.SIGTERM)
    _, stderr = child.communicate(timeout=PATIENCE_S)
    assert "the model file was opened again 1 time" in stderr.splitlines()


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


def unread_bytes(stream: IO[Any]) -> int:
    return int.from_bytes(fcntl.ioctl(stream, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes have no size that can be set")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("flags", [(), ("--json",), ("--json", "2>&1")], ids=["text", "json", "both"])
def test_it_ends_though_nobody_reads_its_stdout(model: Path, flags: tuple[str, ...], signum: int) -> None:
    both = "2>&1" in flags
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "edgevision_device", "stream", str(model)),
            *("--source", "test://?fps=500&size=64x48", *(flags[:1])),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, 4096)
        until(lambda: unread_bytes(child.stdout) > 3000, PATIENCE_S)
        before = -1
        while before != (before := unread_bytes(child.stdout)):
            time.sleep(0.3)  # in which it would print a hundred more
        child.send_signal(signum)
        assert child.wait(PATIENCE_S) == 0
        if child.stderr is not None:
            stderr = child.stderr.read().decode()
            assert "stdout lost 1 records" in stderr
            assert ("nobody reads stdout any more; the summary:" in stderr) is bool(flags)
            assert " frames in " in stderr
        # What had come is whole.
        assert child.stdout.read().endswith(b"\n")
    finally:
        child.kill()
        child.wait()
        for each in (child.stdout, child.stderr):
            if each is not None:
                each.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_ends_though_the_disk_that_a_clip_waits_for_hangs(
    model: Path, tmp_path: Path, cv2: Any, signum: int
) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 32))
    for _ in range(200):
        writer.write(np.zeros((32, 48, 3), np.uint8))
    writer.release()
    os.mkfifo(tmp_path / "out.jsonl")  # opening it hangs until somebody reads
    program = "import sys, edgevision_device as d; d.JsonLinesFile.keep = 50; sys.exit(d.main(sys.argv[1:]))"
    words = ["stream", model, "--source", tmp_path / "in.avi", "--json", "--out", tmp_path / "out.jsonl", "--append"]
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(52):  # one is being written, fifty wait, one waits for room
            next_record(child)
        time.sleep(0.3)  # and waits indeed
        child.send_signal(signum)
        stdout, stderr = child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.communicate()
    (last,) = stdout.splitlines()
    assert (json.loads(last)["summary"]["lost"], json.loads(last)["summary"]["frames"]) == ({"out": 52}, 52)
    assert "sink out: hangs and is left behind; 52 lost" in stderr
    assert child.returncode == 128 + signum


def test_a_source_and_a_peer_that_hang_end_side_by_side(
    model: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of both has begun before anybody waits for one of them."""
    seen: list[str] = []
    closed = threading.Event()

    class Hanging(Source):
        live = True

        def frames(self) -> Iterator[Frame]:
            yield Frame.taken_now(0, np.zeros((32, 48, 3), np.uint8), "rgb")
            os.kill(os.getpid(), signal.SIGTERM)
            assert closed.wait(PATIENCE_S)  # a read that comes back when the source is closed

        def close(self) -> None:
            seen.append("source")
            closed.set()

    class Peer(SlowSink[int]):
        name = "peer"

        def take(self, result: StreamResult) -> int:
            return 0

        def deliver(self, item: int) -> None:
            pass

        def close(self) -> None:
            seen.append("peer")

    leave = Ahead.__exit__

    def left(self: Ahead[Any], *exception: object) -> None:
        until(lambda: {"source", "peer"} <= set(seen))
        seen.append("waits")
        leave(self, *exception)

    monkeypatch.setattr(Ahead, "__exit__", left)
    monkeypatch.setattr("edgevision_device._commands.stream.open_sources", lambda args, **more: Hanging())
    monkeypatch.setattr(
        "edgevision_device._commands.stream.open_sinks", lambda args, context: [Background(Peer(), context.health)]
    )
    assert command("stream", model, "--source", "test://").returncode == 0
    assert seen[2] == "waits"


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
