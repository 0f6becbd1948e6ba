"""`--host` without a host: what is passed on, and the device's side as a process of this machine.

The way over ssh is in tests/test_host.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgevision_benchmarks import _remote, _ssh, command

#: What `_remote` passes on in another form, or does here.
MADE_TO_FIT = {"files", "data", "json", "labels", "thread_sweep"}
HERE = {"help", "host", "wheels", "purge", "out", "overwrite", "gate", "resume"}


def test_no_argument_is_forgotten():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert {action.dest for action in parser._actions} == {*_remote.FORWARDED, *MADE_TO_FIT, *HERE}


class Agent:
    """The device's side, with standard input and output as ssh gives them."""

    def __init__(self, place: Path, silence_s: float = 60.0) -> None:
        self.place = place / "host"
        text = _ssh._AGENT.read_text(encoding="utf-8")
        assert text.count("SILENCE_S = 60.0") == 1
        text = text.replace("SILENCE_S = 60.0", f"SILENCE_S = {silence_s}")
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
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_silence_ends_what_runs(agent):
    there = agent(silence_s=1.0)
    there.ask("open")
    there.install("echo $$; exec sleep 1000000")
    pid = int(there.ask("run", files={}, words=["program"], terminal=None)["stdout"])
    assert there.process.wait(60) == 1
    assert not Path(f"/proc/{pid}").exists()
    assert {path.name for path in there.place.iterdir()} == {"blobs", "environment", "lock"}


def test_line_ends_are_no_silence(agent):
    there = agent(silence_s=10.0)
    there.ask("open")
    there.install("read line; echo read $?; exit 3")
    there.write(b"\n\n")
    assert there.ask("run", files={}, words=["program"], terminal=None) == {"stdout": "read 1\n"}
    there.write(b"\n")
    assert there.answer() == {"result": {"code": 3}}


def test_a_blob_is_whole_or_not_there(agent):
    content = bytes(range(256)) * 3000
    first = agent()
    first.ask("open")
    blobs = [[sha256_of(content), len(content)]]
    assert first.ask("receive", blobs=blobs)["result"] == {"missing": [blobs[0][0]]}
    first.write(content[:1000])
    first.process.stdin.close()
    assert first.process.wait(60) == 1

    second = agent()
    second.ask("open")
    assert not list((second.place / "blobs").iterdir())
    assert second.ask("receive", blobs=blobs)["result"] == {"missing": [blobs[0][0]]}
    second.write(b"x" * len(content))
    assert second.answer() == {"error": "changed", "detail": blobs[0][0]}
    assert second.process.wait(60) == 1

    third = agent()
    third.ask("open")
    third.ask("receive", blobs=blobs)
    third.write(content)
    assert third.answer() == {"result": {}}
    assert third.ask("receive", blobs=blobs)["result"] == {"missing": []}
    assert third.answer() == {"result": {}}
    third.install("cat a/b")
    chunk = third.ask("run", files={"a/b": blobs[0][0]}, words=["program"], terminal=None)["stdout"]
    assert content.startswith(chunk.encode("latin-1"))
    while "stdout" in (answer := third.answer()):
        pass
    assert answer == {"result": {"code": 0}}


def test_two_at_once_are_refused(agent):
    first, second = agent(), agent()
    first.ask("open")
    assert second.ask("open")["error"] == "busy"
    assert second.process.wait(60) == 1
    assert first.ask("receive", blobs=[]) == {"result": {"missing": []}}
