"""Where results go, and what is left of them when things go wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision_device import Frame, JsonLines, JsonLinesFile, Sink, StreamResult, TextLines


@pytest.fixture
def result() -> StreamResult:
    frame = Frame(
        id=7,
        captured_ns=1_000_000_000,
        captured_utc=datetime(2026, 11, 3, 14, 15, 16, 171_819, timezone.utc),
        picture=np.zeros((2, 3, 3), np.uint8),
        picture_order="bgr",
        name="photos/käse.png",
        true_label="Käse",
    )
    return StreamResult(
        frame=frame,
        label="Käse",
        index=1,
        score=0.875,
        changed=True,
        frame_label="Käse",
        scores=np.array([0.0625, 0.9375], np.float32),
        labels=("Brot", "Käse"),
        age_ms=12.34567,
        stages_ms={"wait": 1.0, "preprocess": 0.25, "invoke": 11.0, "decide": 0.0125},
        dropped=2,
        still=0,
        queued=0,
        right=True,
    )


@pytest.fixture
def record(result: StreamResult) -> dict[str, Any]:
    return result.to_record()


def test_text_is_one_line_per_frame(result: StreamResult) -> None:
    out = io.StringIO()
    with TextLines(out) as sink:
        sink.write(result)
        sink.write(dataclasses.replace(result, label=None, frame=dataclasses.replace(result.frame, name=None)))
    assert out.getvalue().splitlines() == [
        "7  Käse  87.5 %  age 12.3 ms  photos/käse.png",
        "7  unknown  87.5 %  age 12.3 ms",
    ]


def test_json_is_one_record_per_line(result: StreamResult, record: dict[str, Any]) -> None:
    out = io.StringIO()
    with JsonLines(out) as sink:
        sink.write(result)
        sink.write(result)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [record, record]


def test_by_default_lines_go_to_stdout(
    result: StreamResult, record: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for sink in (TextLines(), JsonLines()):
        sink.write(result)
    text, line = capsys.readouterr().out.splitlines()
    assert text.startswith("7  Käse")
    assert json.loads(line) == record


def test_each_record_is_in_the_file_at_once(result: StreamResult, record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "stream.jsonl"
    sink = JsonLinesFile(path)
    for count in (1, 2):
        sink.write(result)
        assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == count * [record]
        assert path.read_bytes().endswith(b"\n")
    sink.close()
    sink.close()
    assert list(path.parent.iterdir()) == [path]


def test_an_error_keeps_what_was_recorded(result: StreamResult, record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "stream.jsonl"

    def interrupted() -> None:
        with JsonLinesFile(path) as sink:
            sink.write(result)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads(path.read_text(encoding="utf-8")) == record
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_record_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "stream.jsonl"
    path.write_text("older\n")
    with JsonLinesFile(path):
        pass
    assert path.read_text() == "older\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_no_utf8_is_escaped(result: StreamResult, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    strange = dataclasses.replace(result, frame=dataclasses.replace(result.frame, name=name))
    path = tmp_path / "stream.jsonl"
    with JsonLinesFile(path) as sink:
        sink.write(strange)
    assert json.loads(path.read_text(encoding="ascii"))["name"] == name


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_device_that_is_full_is_one_line_that_names_it(result: StreamResult) -> None:
    with JsonLinesFile("/dev/full") as sink, pytest.raises(OSError, match="No space left") as caught:
        sink.write(result)
    assert caught.value.filename == "/dev/full"


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow beyond 1,000 bytes."""
    pytest.importorskip("resource", reason="not on Windows")
    program = """if True:
        import datetime, resource, sys
        import numpy as np
        from edgevision_device import Frame, JsonLinesFile, StreamResult
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        now = datetime.datetime.now(datetime.timezone.utc)
        frame = Frame(0, 0, now, np.zeros((1, 1, 3), np.uint8), "rgb")
        with JsonLinesFile(sys.argv[1]) as sink:
            while True:
                scores = np.array([0.5], np.float32)
                sink.write(
                    StreamResult(
                        frame=frame, label="label", index=0, score=0.5, frame_label="label", scores=scores,
                        labels=("label",), age_ms=1.0,
                    )
                )
    """
    path = tmp_path / "stream.jsonl"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "OSError" in done.stderr.splitlines()[-1]
    content = path.read_text()
    assert 800 < len(content) <= 1000
    assert content.endswith("\n")
    assert {json.loads(line)["label"] for line in content.splitlines()} == {"label"}


def test_a_sink_of_ones_own_needs_one_method(result: StreamResult) -> None:
    class Kept(Sink):
        def __init__(self) -> None:
            self.results: list[StreamResult] = []

        def write(self, result: StreamResult) -> None:
            self.results.append(result)

    with Kept() as sink:
        sink.write(result)
    assert sink.results == [result]
