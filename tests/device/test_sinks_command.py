"""The flags that say where results go."""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest

from edgevision_device import Health, JsonLines, StreamResult, StreamStatistics, TextLines, UsageError
from edgevision_device._commands._sinks import add_sink_arguments, check_sinks, lost_records, open_sinks
from edgevision_device._sinks import SinkContext

pytestmark = pytest.mark.usefixtures("cv2")


def parsed(*line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_sink_arguments(parser)
    return parser.parse_args(line)


def context_of(lines: list[str], *, live: bool = False) -> SinkContext:
    return SinkContext(StreamStatistics(), Health(lines.append), lambda: {}, lambda: None, live)


def result_of(id: int) -> StreamResult:
    return fakes.result_of(id, picture=np.full((48, 64, 3), 90, np.uint8))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEVISION_WEB_TOKEN", raising=False)
    return


def test_without_flags_there_are_lines_on_stdout() -> None:
    assert [type(sink) for sink in open_sinks(parsed(), context_of([]))] == [TextLines]
    assert [type(sink) for sink in open_sinks(parsed("--json"), context_of([]))] == [JsonLines]


@pytest.mark.parametrize(
    ("live", "journal", "printed"),
    [(True, True, [0, 2, 4]), (True, False, [0, 1, 2, 3, 4]), (False, True, [0, 1, 2, 3, 4])],
)
def test_of_a_service_the_journal_gets_changes_only(
    live: bool, journal: bool, printed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stdout").open("w+") as out:
        state = os.fstat(out.fileno())
        monkeypatch.setattr("sys.stdout", out)
        # As systemd says it; a shell started by a service has inherited another one.
        monkeypatch.setenv("JOURNAL_STREAM", f"{state.st_dev}:{state.st_ino + (not journal)}")
        (sink,) = open_sinks(parsed(), context_of([], live=live))
        for number in range(5):
            sink.write(fakes.result_of(number, changed=number in (2, 4)))
        out.seek(0)
        assert [int(line.split()[0]) for line in out] == printed


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--rotate-mb", "0", "--out", "a"], "--rotate-mb must be above 0, got 0"),
        (["--rotate-mb", "nan", "--out", "a"], "--rotate-mb must be above 0, got nan"),
        (["--rotate-mb", "1"], "--rotate-mb needs --out"),
        (["--append"], "--append needs --out"),
        (["--append", "--overwrite", "--out", "a"], "choose one"),
        (["--out", "there"], "there exists already"),
        (["--out", "new", "--rotate-mb", "1"], "new.3 exists already"),
        (["--out", "there/new"], "no folder that can be written to"),
        (["--video", "out.gif"], "must end in one of"),
        (["--video", "there.mp4"], "there.mp4 exists already; choose another --video"),
        (["--video-fps", "0"], "--video-fps must lie between 1 and 240, got 0"),
        (["--snapshots", "there"], "is no folder"),
        (["--snapshot-below", "2"], "--snapshot-below must lie between 0 and 1, got 2"),
        (["--snapshot-limit", "0"], "--snapshot-limit must be at least 1, got 0"),
        (["--mqtt", "door"], "expected mqtt://"),
        (["--mqtt-every", "3"], "--mqtt-every needs --mqtt"),
        (["--webhook", "door"], "expected http://"),
        (["--webhook-tries", "0"], "--webhook-tries must be at least 1, got 0"),
        (["--web", "door"], "expected PORT or HOST:PORT"),
        (["--web", "0", "--web-token", "1234"], "at least 12"),
        (["--web-token", "correct-horse-battery"], "--web-token needs --web"),
    ],
)
def test_what_is_wrong_is_said_before_slow_work(line: list[str], words: str, tmp_path: Path) -> None:
    for name in ("there", "there.mp4", "new.3"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError) as caught:
        check_sinks(parsed(*line))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_sinks(parsed("--out", "a/b.jsonl", "--video", "c.mp4", "--snapshots", "d", "--web", "0", "--rotate-mb", "1"))
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="in use"):
        check_sinks(parsed("--web", str(taken.getsockname()[1])))


def test_all_at_once_with_two_peers_that_are_down(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    lines: list[str] = []
    places = ["--out", "a.jsonl", "--video", "b.avi", "--snapshots", "c", "--web", "0"]
    args = parsed(*places, "--mqtt", "mqtt://127.0.0.1:1/t", "--webhook", "http://127.0.0.1:1/")
    check_sinks(args)
    sinks = open_sinks(args, context_of(lines))
    began_s = time.monotonic()
    for number in range(60):
        for sink in sinks:
            sink.write(result_of(number))
    for sink in sinks:
        sink.close()
    assert time.monotonic() - began_s < 10
    assert [json.loads(line)["frame"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == list(range(60))
    assert (tmp_path / "b.avi").stat().st_size > 1000
    assert len(list((tmp_path / "c" / "cat").iterdir())) == 1
    assert lost_records(sinks) == {"mqtt": 1, "webhook": 1}
    assert sorted(line.split(":")[0] for line in lines) == ["sink mqtt", "sink webhook"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "web page: http://127.0.0.1:" in printed.err


@pytest.mark.parametrize(("live", "kept"), [(False, 4), (True, 1)])
def test_of_a_clip_every_change_of_label_is_a_snapshot(live: bool, kept: int, tmp_path: Path) -> None:
    (sink,) = (each for each in open_sinks(parsed("--snapshots", "c"), context_of([], live=live)))
    for number, label in enumerate(("cat", "dog", "dog", "cat", "dog")):
        picture = np.full((48, 64, 3), 90, np.uint8)
        sink.write(
            fakes.result_of(number, label=label, picture=picture, changed=number in (1, 3, 4), captured_s=number)
        )
    sink.close()
    assert len(list((tmp_path / "c").rglob("*.jpg"))) == kept


@pytest.mark.parametrize(("live", "lost"), [(False, {"snapshots": 3}), (True, {})])
def test_snapshots_of_a_clip_that_cannot_be_written_are_counted(
    live: bool, lost: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("")  # no folder can be made here, as on a full disk
    lines: list[str] = []
    sinks = open_sinks(parsed("--snapshots", "full/c", "--snapshot-interval", "0"), context_of(lines, live=live))
    for number in range(3):
        sinks[0].write(fakes.result_of(number, picture=np.full((48, 64, 3), 90, np.uint8), changed=True))
    sinks[0].close()
    assert lost_records(sinks) == lost
    assert len(lines) == 1


def test_others_get_a_page_with_a_token_only(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for sink in open_sinks(parsed("--web", "0.0.0.0:0"), context_of([])):
        sink.close()
    made = capsys.readouterr().err
    assert len(made.split("?token=")[1].split()[0]) >= 22
    # One that the user knows is not printed.
    monkeypatch.setenv("EDGEVISION_WEB_TOKEN", "correct-horse-battery")
    for sink in open_sinks(parsed("--web", "0.0.0.0:0"), context_of([])):
        sink.close()
    printed = capsys.readouterr().err
    assert "web page: http://" in printed
    assert "token" not in printed
