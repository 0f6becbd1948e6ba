"""`--host` without a host: what is passed on, and the device's side as a process of this machine.

The way over ssh is in tests/test_host.py.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from edgevision_benchmarks import _remote, _ssh, command
from edgevision_benchmarks._measure import _DEFAULT, Candidate, Prepared
from edgevision_benchmarks._report import FileResult

#: What `_remote` passes on in another form, or does here.
MADE_TO_FIT = {"files", "data", "json", "labels", "reference", "thread_sweep"}
HERE = {"help", "host", "wheels", "purge", "out", "overwrite", "gate", "resume"}


def test_no_argument_is_forgotten():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert {action.dest for action in parser._actions} == {*_remote.FORWARDED, *MADE_TO_FIT, *HERE}


class Agent:
    """The device's side, with standard input and output as ssh gives them.

    Args:
        place: its cache.
        more: what is run after its imports.
    """

    def __init__(self, place: Path, more: str = "") -> None:
        self.place = place / "host"
        text = _ssh._AGENT.read_text(encoding="utf-8")
        assert text.count("SILENCE_S = 60.0\n") == 1
        text = text.replace("SILENCE_S = 60.0\n", f"SILENCE_S = 60.0\n{more}\n")
        self.process = subprocess.Popen(
            [sys.executable, "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"EDGEVISION_CACHE": str(place), "PATH": "/usr/bin:/bin"},
        )

    def write(self, content: bytes) -> None:
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        self.write(json.dumps({"do": do, **more}).encode() + b"\n")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        return json.loads(self.process.stdout.readline())

    def install(self, line: str) -> None:
        """Put a program into its environment."""
        path = self.place / "environment" / "bin" / "program"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


@pytest.fixture
def agent(tmp_path):
    made = []

    def make(**more: Any) -> Agent:
        made.append(Agent(tmp_path / "cache", **more))
        return made[-1]

    yield make
    for each in made:
        each.process.kill()
        each.process.wait()
        each.process.stdin.close()
        each.process.stdout.close()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def receive(blobs: list[Any]) -> bytes:
    return json.dumps({"do": "receive", "blobs": blobs}).encode() + b"\n"


class Clock:
    """What an agent takes for the time, in seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = f"time.monotonic = lambda: float(os.readlink({str(path)!r}))"
        self.set(0)

    def set(self, time_s: int) -> None:
        new = self.path.with_suffix(".new")
        new.symlink_to(str(time_s))
        new.replace(self.path)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path / "clock")


def test_silence_ends_what_runs(agent, clock):
    there = agent(more=clock.code)
    there.ask("open")
    there.install("echo $$; exec sleep 1000000")
    pid = int(there.ask("run", files={}, words=["program"], terminal=None)["stdout"])
    clock.set(61)
    assert there.process.wait(60) == 1
    assert not Path(f"/proc/{pid}").exists()
    assert {path.name for path in there.place.iterdir()} == {"blobs", "environment", "lock"}


def test_line_ends_are_no_silence(agent, clock, tmp_path):
    there = agent(more=clock.code)
    there.ask("open")
    os.mkfifo(tmp_path / "end")
    there.install(f"read line; echo read $?; read line < {tmp_path / 'end'}; exit 3")
    there.write(b"\n\n")
    assert there.ask("run", files={}, words=["program"], terminal=None) == {"stdout": "read 1\n"}
    clock.set(50)
    there.write(b"\n")
    while struct.unpack("i", fcntl.ioctl(there.process.stdin, termios.FIONREAD, bytes(4)))[0]:
        time.sleep(0.01)
    clock.set(100)
    (tmp_path / "end").write_text("\n")
    assert there.answer() == {"result": {"code": 3}}


@pytest.mark.parametrize("name", ["subprocess.Popen", "os.killpg"])
def test_a_signal_at_any_time_leaves_nothing_running(agent, tmp_path, name):
    # One that comes as soon as the program runs, or a second one while it is being ended.
    at_once = "of_os = subprocess.Popen\ndef start(*a, **b):\n child = of_os(*a, **b)\n os.symlink(str(child.pid), PID)"
    at_once += "\n os.kill(os.getpid(), signal.SIGTERM)\n return child\nsubprocess.Popen = start"
    at_the_end = "of_os = os.killpg\ndef end(*a):\n os.symlink(str(a[0]), PID)\n os.kill(os.getpid(), signal.SIGTERM)"
    at_the_end += "\n of_os(*a)\nos.killpg = end"
    code = {"subprocess.Popen": at_once, "os.killpg": at_the_end}[name]
    there = agent(more=f"PID = {str(tmp_path / 'pid')!r}\n{code}")
    there.ask("open")
    there.install("echo it runs; exec sleep 1000000")
    there.write(json.dumps({"do": "run", "files": {}, "words": ["program"], "terminal": None}).encode() + b"\n")
    if name == "os.killpg":
        assert there.answer() == {"stdout": "it runs\n"}
        there.process.send_signal(signal.SIGTERM)
    assert there.process.wait(60) == 1
    pid = int(os.readlink(tmp_path / "pid"))
    try:
        assert not Path(f"/proc/{pid}").exists()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not (there.place / "run").exists()


def test_after_a_purge_the_place_is_another_ones(agent):
    first, second = agent(), agent()
    first.ask("open")
    first.ask("purge")
    second.ask("open")
    (second.place / "run").mkdir()
    first.process.stdin.close()
    assert first.process.wait(60) == 1
    assert (second.place / "run").exists()
    assert second.ask("missing", blobs=[]) == {"result": {"blobs": []}}


def test_a_place_that_others_may_write_to_is_refused(agent):
    there = agent()
    there.place.mkdir(parents=True)
    there.place.chmod(0o770)
    assert there.ask("open") == {"error": "unsafe", "detail": str(there.place)}
    assert not list(there.place.iterdir())


def test_what_no_run_uses_is_removed_in_the_end(agent):
    there = agent()
    there.ask("open")
    for name in ("used", "unused", "new"):
        (there.place / "blobs" / name).write_text(name)
        if name != "new":
            os.utime(there.place / "blobs" / name, (0, 0))
    there.install("cat a")
    assert there.ask("run", files={"a": "used"}, words=["program"], terminal=None) == {"stdout": "used"}
    assert {path.name for path in (there.place / "blobs").iterdir()} == {"used", "new"}


SAID = b"colors: measured\nskipped: data/a.png: no picture\nlate\nedgevision-benchmark: error: no\r\n"


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_last_lines_are_found_however_they_come_in(size):
    shown = io.BytesIO()
    screen = _remote._Screen(shown)
    for place in range(0, len(SAID), size):
        screen.show(SAID[place : place + size])
    assert shown.getvalue() == b"colors: measured\n"
    assert screen.finish() == "no"
    assert shown.getvalue() == b"colors: measured\nlate\n"


def test_what_only_began_like_a_last_line_is_shown():
    shown = io.BytesIO()
    screen = _remote._Screen(shown)
    screen.show(b"one s")
    assert shown.getvalue() == b"one "
    screen.show(b"tone, edgevision-")
    assert shown.getvalue() == b"one stone, "
    assert screen.finish() == ""
    assert shown.getvalue() == b"one stone, edgevision-"


@pytest.mark.parametrize("split", ["test", None])
def test_names_are_those_from_here(tmp_path, split):
    home = tmp_path / "photos" / (split or "")
    rows = [FileResult(f"out/{name}", name, 1, "") for name in ("a.onnx", "a.onnx.tflite")]
    ready = Prepared([Candidate(row) for row in rows], _DEFAULT, home, split, [], [], "a.onnx")
    here = _remote._names_here(ready, argparse.Namespace(data=tmp_path / "photos"))
    there = f"data/photos/{split}/red/a.png" if split else "data/photos/red/a.png"
    assert here(f"{there}: cut short") == f"{home / 'red' / 'a.png'}: cut short"
    assert here("data/photos: empty") == f"{tmp_path / 'photos'}: empty"
    assert (
        here("files/a.onnx.tflite is no file, nor is files/a.onnx") == "out/a.onnx.tflite is no file, nor is out/a.onnx"
    )
    assert here(f"/run/files/{there}") == f"/run/files/{there}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_place_is_refused(agent):
    there = agent()
    there.place.mkdir(mode=0o700, parents=True)
    os.chown(there.place, 65534, -1)
    assert there.ask("open") == {"error": "unsafe", "detail": str(there.place)}


def test_a_blob_is_whole_or_not_there(agent):
    content = bytes(range(256)) * 3000
    first = agent()
    first.ask("open")
    blobs = [[sha256_of(content), len(content)]]
    assert first.ask("missing", blobs=blobs)["result"] == {"blobs": [blobs[0][0]]}
    first.write(receive(blobs) + content[:1000])
    first.process.stdin.close()
    assert first.process.wait(60) == 1

    second = agent()
    second.ask("open")
    assert not list((second.place / "blobs").iterdir())
    assert second.ask("missing", blobs=blobs)["result"] == {"blobs": [blobs[0][0]]}
    second.write(receive(blobs) + b"x" * len(content))
    assert second.answer() == {"error": "changed", "detail": blobs[0][0]}
    assert second.process.wait(60) == 1

    third = agent()
    third.ask("open")
    third.write(receive(blobs) + content)
    assert third.answer() == {"result": {}}
    assert third.ask("missing", blobs=blobs)["result"] == {"blobs": []}
    third.install("cat a/b")
    chunk = third.ask("run", files={"a/b": blobs[0][0]}, words=["program"], terminal=None)["stdout"]
    assert content.startswith(chunk.encode("latin-1"))
    while "stdout" in (answer := third.answer()):
        pass
    assert answer == {"result": {"code": 0}}


def test_a_blob_has_its_name_only_when_it_is_on_the_disk(agent):
    """Else a power cut leaves zeros of its length under its name."""
    there = agent(
        more="of_os, synced = (os.fsync, os.replace), set()\n"
        "def fsync(file):\n of_os[0](file)\n synced.add((os.fstat(file).st_ino, os.fstat(file).st_size))\n"
        "def replace(old, new):\n found = os.stat(old)\n assert (found.st_ino, found.st_size) in synced\n"
        " of_os[1](old, new)\nos.fsync, os.replace = fsync, replace"
    )
    there.ask("open")
    there.write(receive([[sha256_of(content), len(content)] for content in (b"one", bytes(2**20))]))
    there.write(b"one" + bytes(2**20))
    assert there.answer() == {"result": {}}


def test_two_at_once_are_refused(agent):
    first, second = agent(), agent()
    first.ask("open")
    assert second.ask("open")["error"] == "busy"
    assert second.process.wait(60) == 1
    assert first.ask("missing", blobs=[]) == {"result": {"blobs": []}}
