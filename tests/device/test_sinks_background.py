"""Sinks that wait, on a thread of their own; and the file that outlives full disks and years."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from fakes import result_of, until

from edgevision_device import Health, JsonLinesFile, StreamResult
from edgevision_device._sinks import Background, SlowSink, UndeliverableError
from edgevision_device._sinks._background import pause_after


class Peer(SlowSink[int]):
    """Delivers frame ids to a list, as well as its peer does just now."""

    name = "peer"

    def __init__(self, fail: Optional[Callable[[int], object]] = None) -> None:
        self.delivered: list[int] = []
        self.attempted: list[int] = []
        self.fail = fail or (lambda item: None)
        self.closed_by: Optional[str] = None
        self.aborted = threading.Event()

    def take(self, result: StreamResult) -> int:
        return result.frame.id

    def deliver(self, item: int) -> None:
        self.attempted.append(item)
        self.fail(item)
        self.delivered.append(item)

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        self.closed_by = threading.current_thread().name


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def health(lines: list[str]) -> Health:
    return Health(lines.append)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def refuse(item: int) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def test_everything_arrives_in_order_and_the_thread_ends(health: Health, lines: list[str]) -> None:
    peer = Peer()
    with Background(peer, health) as sink:
        for number in range(500):
            sink.write(result_of(number))
    assert peer.delivered == list(range(500))
    assert peer.closed_by == "edgevision-peer"
    assert (sink.lost, lines) == (0, [])
    sink.close()


def test_a_peer_that_is_down_is_said_once_and_nothing_is_lost(health: Health, lines: list[str]) -> None:
    peer = Peer(refuse)
    with Background(peer, health) as sink:
        for number in range(5):
            sink.write(result_of(number))
        until(lambda: len(peer.attempted) >= 3)
        # It may be said before the last result is written.
        (said,) = lines
        assert re.fullmatch("sink peer: Connection refused; [1-5] kept, 0 lost", said)
        assert not health.ok
        peer.fail = lambda item: None
        until(lambda: len(peer.delivered) == 5)
    assert peer.delivered == list(range(5))
    assert set(peer.attempted[:3]) == {0}
    assert health.ok
    assert lines[1].startswith("sink peer: works again")
    assert len(lines) == 2


def test_pauses_between_attempts_grow_up_to_a_limit() -> None:
    assert [pause_after(failures, 3.0) for failures in (1, 2, 3, 4, 5, 6, 10**6)] == [0.25, 0.5, 1, 2, 3, 3, 3]


def test_what_was_not_delivered_in_the_end_is_lost(health: Health) -> None:
    peer = Peer(refuse)
    with Background(peer, health) as sink:
        sink.write(result_of(0))
        until(lambda: len(peer.attempted) == 2)
    assert sink.lost == 1


@pytest.mark.parametrize(("oldest", "kept"), [(False, [0, 1, 2, 3]), (True, [0, 7, 8, 9])])
def test_a_full_queue_loses_what_the_sink_says_and_counts(
    oldest: bool, kept: list[int], health: Health, lines: list[str]
) -> None:
    go = threading.Event()
    peer = Peer(lambda item: go.wait(5))
    peer.keep, peer.drops_oldest = 3, oldest
    with Background(peer, health) as sink:
        sink.write(result_of(0))
        until(lambda: peer.attempted == [0])
        for number in range(1, 10):
            sink.write(result_of(number))
        go.set()
        until(lambda: len(peer.delivered) == 4)
    assert peer.delivered == kept
    assert sink.lost == 6
    assert lines[0] == "sink peer: does not keep up; 4 kept, 1 lost"


def test_a_sink_that_is_merely_slow_is_said_once(health: Health, lines: list[str]) -> None:
    go = threading.Semaphore(0)
    peer = Peer(lambda item: go.acquire(timeout=30))
    peer.keep = 10
    with Background(peer, health) as sink:
        sink.write(result_of(0))
        until(lambda: peer.attempted == [0])
        for number in range(1, 12):
            sink.write(result_of(number))
        for rounds in range(1, 20):  # one is delivered, two come
            go.release()
            until(lambda rounds=rounds: len(peer.attempted) == 1 + rounds)
            sink.write(result_of(rounds))
            sink.write(result_of(rounds))
        assert lines == ["sink peer: does not keep up; 11 kept, 1 lost"]
        for _ in range(100):
            go.release()
        until(lambda: health.ok)
    assert len(lines) == 2
    assert lines[1].startswith("sink peer: works again")


@pytest.mark.parametrize("wait", [False, True])
def test_a_sink_goes_on_where_nobody_hears_what_is_wrong(wait: bool) -> None:
    """As with stderr into a pipe whose reader is gone: each line to it is an error."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb", buffering=0) as stderr:
        health = Health(lambda line: stderr.write(f"{line}\n".encode()) and None)
        peer = Peer(lambda item: refuse(item) if item == 0 else None)
        peer.attempts, peer.keep = 2, 3
        with Background(peer, health, wait=wait) as sink:
            sink.write(result_of(0))
            until(lambda: len(peer.attempted) == 2)
            for number in range(1, 10):
                sink.write(result_of(number))
                until(lambda number=number: number in peer.delivered)
    assert peer.closed_by == "edgevision-peer"
    assert (sink.lost, health.ok) == (1, True)


def test_of_pictures_only_the_newest_is_wanted(health: Health, lines: list[str]) -> None:
    go = threading.Event()
    peer = Peer(lambda item: go.wait(5))
    peer.keep, peer.drops_oldest, peer.promised = 1, True, False
    with Background(peer, health) as sink:
        for number in range(10):
            sink.write(result_of(number))
            until(lambda: bool(peer.attempted))
        go.set()
        until(lambda: len(peer.delivered) == 2)
        peer.fail = refuse
        sink.write(result_of(10))
        until(lambda: not health.ok)
        peer.fail = lambda item: None
        sink.write(result_of(11))
        until(lambda: health.ok)
    assert peer.delivered == [0, 9, 11]
    assert sink.lost == 0


def test_what_is_hopeless_is_given_up_and_the_next_one_tried(health: Health) -> None:
    def never_two(item: int) -> None:
        if item == 2:
            raise UndeliverableError("two is refused")

    peer = Peer(never_two)
    with Background(peer, health) as sink:
        for number in range(4):
            sink.write(result_of(number))
        until(lambda: peer.delivered == [0, 1, 3])
    assert peer.attempted == [0, 1, 2, 3]
    assert sink.lost == 1


def test_an_item_has_so_many_attempts(health: Health) -> None:
    peer = Peer(lambda item: refuse(item) if item == 0 else None)
    peer.attempts = 2
    with Background(peer, health) as sink:
        sink.write(result_of(0))
        sink.write(result_of(1))
        until(lambda: peer.delivered == [1])
    assert peer.attempted == [0, 0, 1]
    assert sink.lost == 1


def test_the_loop_never_waits_for_a_peer_that_hangs(health: Health) -> None:
    peer = Peer()
    peer.fail = lambda item: peer.aborted.wait(60)
    sink = Background(peer, health)
    began_s = time.monotonic()
    for number in range(2000):
        sink.write(result_of(number))
    assert time.monotonic() - began_s < 1
    began_s = time.monotonic()
    sink.close()
    assert time.monotonic() - began_s < 1
    assert peer.aborted.is_set()
    assert peer.closed_by is not None
    assert sink.lost == 2000 - len(peer.delivered)


def test_what_waits_behind_a_peer_that_is_left_is_lost_once(health: Health, lines: list[str]) -> None:
    over = threading.Event()
    peer = Peer(lambda item: over.wait(60) and refuse(item))  # `abort` does not reach it
    peer.close_s = 0.1
    sink = Background(peer, health)
    for number in range(10):
        sink.write(result_of(number))
    until(lambda: peer.attempted)
    sink.close()
    assert sink.lost == 10
    assert lines == ["sink peer: hangs and is left behind; 10 lost"]
    over.set()
    until(lambda: peer.closed_by)
    sink.close()
    assert sink.lost == 10


def test_several_that_hang_end_together(health: Health) -> None:
    together: list[Background] = []
    peers = [Peer() for _ in range(5)]
    for peer in peers:
        peer.fail = lambda item, peer=peer: peer.aborted.wait(60)
        Background(peer, health, together=together).write(result_of(0))
    began_s = time.monotonic()
    for sink in together:
        sink.close()
    assert time.monotonic() - began_s < 1


def test_closing_tries_once_more(health: Health) -> None:
    peer = Peer(refuse)
    sink = Background(peer, health)
    sink.write(result_of(0))
    until(lambda: len(peer.attempted) == 2)
    peer.fail = lambda item: None
    sink.close()
    assert peer.delivered == [0]
    assert (sink.lost, health.ok) == (0, True)


def test_a_source_that_waits_waits_for_the_disk(health: Health) -> None:
    peer = Peer(lambda item: time.sleep(0.002))
    peer.keep = 2
    with Background(peer, health, wait=True) as sink:
        for number in range(50):
            sink.write(result_of(number))
    assert peer.delivered == list(range(50))
    assert (sink.lost, health.ok) == (0, True)


def test_what_take_raises_does_not_stop_the_loop(health: Health, lines: list[str]) -> None:
    class Broken(Peer):
        def take(self, result: StreamResult) -> int:
            raise ValueError("no such\nthing")

    with Background(Broken(), health) as sink:
        sink.write(result_of(0))
    assert lines == ["sink peer: no such"]
    assert sink.lost == 1


def ids(*paths: Path) -> list[int]:
    text = "".join(path.read_text() for path in paths)
    assert text.endswith("\n")
    return [json.loads(line)["frame"] for line in text.splitlines()]


def test_a_file_that_is_full_gives_way_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    size = len(JsonLinesFile(path).take(result_of(10)))
    with JsonLinesFile(path, rotate_bytes=10 * size, keep_files=2) as sink:
        for number in range(10, 45):
            sink.write(result_of(number))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["labels.jsonl", "labels.jsonl.1", "labels.jsonl.2"]
    assert ids(path) == list(range(40, 45))
    assert ids(tmp_path / "labels.jsonl.2", tmp_path / "labels.jsonl.1") == list(range(20, 40))
    assert all(each.stat().st_size <= 10 * size for each in tmp_path.iterdir())


def test_no_old_files_when_none_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    with JsonLinesFile(path, rotate_bytes=1, keep_files=0) as sink:
        for number in range(3):
            sink.write(result_of(number))
    assert list(tmp_path.iterdir()) == [path]
    assert ids(path) == [2]


@pytest.mark.parametrize("rest", ["", '{"frame": 1, "capt', "x" * 200_000])
def test_appending_goes_on_after_the_last_whole_line(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"frame": 0}\n' + rest)
    with JsonLinesFile(path, append=True) as sink:
        sink.write(result_of(1))
        sink.write(result_of(2))
    assert ids(path) == [0, 1, 2]


@pytest.mark.parametrize("before", ["", '{"frame": 8}\n'])
def test_appending_keeps_a_last_record_that_lacks_its_newline(before: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(before + '{"frame": 9, "label": "K\\u00e4se"}')
    with JsonLinesFile(path, append=True) as sink:
        sink.write(result_of(10))
    assert ids(path) == [8, 9, 10][not before :]


def test_appending_to_a_file_that_is_full_begins_the_next(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"frame": 0}\n')
    with JsonLinesFile(path, append=True, rotate_bytes=13) as sink:
        sink.write(result_of(1))
    assert (ids(tmp_path / "labels.jsonl.1"), ids(path)) == ([0], [1])


@pytest.mark.parametrize("append", [False, True])
def test_a_file_that_others_empty_goes_on_from_its_start(append: bool, tmp_path: Path) -> None:
    """As logrotate does with copytruncate."""
    path = tmp_path / "labels.jsonl"
    path.write_text('{"frame": 0}\n')
    with JsonLinesFile(path, append=append) as sink:
        sink.write(result_of(1))
        os.truncate(path, 0)
        sink.write(result_of(2))
        sink.write(result_of(3))
    assert ids(path) == [2, 3]


def test_a_disk_that_is_full_after_others_emptied_the_file_leaves_whole_lines(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow beyond 1,000 bytes."""
    pytest.importorskip("resource", reason="not on Windows")
    path = tmp_path / "labels.jsonl"
    program = f"""if True:
        import os, resource, sys
        sys.path.append({str(Path(__file__).parent)!r})
        import fakes
        from edgevision_device import JsonLinesFile
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        sink = JsonLinesFile({str(path)!r})
        for number in range(100):
            try:
                sink.write(fakes.result_of(number))
            except OSError:
                os.truncate({str(path)!r}, 0)
                sink.write(fakes.result_of(number))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = ids(path)
    assert found == list(range(found[0], 100))


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevision_device._sinks._json_lines._LOOK_S", 0.0)
    path, moved = tmp_path / "labels.jsonl", tmp_path / "moved.jsonl"
    with JsonLinesFile(path) as sink:
        sink.write(result_of(0))
        path.rename(moved)
        sink.write(result_of(1))
        path.unlink()
        sink.write(result_of(2))
    assert ids(moved) == [0]
    assert ids(path) == [2]


def test_a_disk_that_was_full_gets_every_record_later(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow beyond 3,000 bytes for a while."""
    pytest.importorskip("resource", reason="not on Windows")
    path = tmp_path / "labels.jsonl"
    program = f"""if True:
        import resource, sys, time
        from pathlib import Path
        sys.path.append({str(Path(__file__).parent)!r})
        import fakes
        from edgevision_device import Health, JsonLinesFile
        from edgevision_device._sinks import Background
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limit[1]))
        health = Health(lambda line: print(line, flush=True))
        with Background(JsonLinesFile({str(path)!r}), health) as sink:
            for number in range(100):
                sink.write(fakes.result_of(number))
            fakes.until(lambda: not health.ok)
            assert 2500 < Path({str(path)!r}).stat().st_size <= 3000
            assert Path({str(path)!r}).read_bytes().endswith(b"\\n")
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            fakes.until(lambda: health.ok)
        assert sink.lost == 0
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ids(path) == list(range(100))
    said = done.stdout.splitlines()
    assert "File too large; " in said[0]
    assert len(said) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
def test_after_a_kill_there_are_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    program = f"""if True:
        import sys
        sys.path.append({str(Path(__file__).parent)!r})
        import fakes
        from edgevision_device import Health, JsonLinesFile
        from edgevision_device._sinks import Background
        file = JsonLinesFile({str(path)!r}, rotate_bytes=20_000, keep_files=3)
        with Background(file, Health(), wait=True) as sink:
            number = 0
            while True:
                sink.write(fakes.result_of(number))
                number += 1
    """
    child: Any = subprocess.Popen([sys.executable, "-c", program])
    try:
        until(lambda: (tmp_path / "labels.jsonl.3").exists(), 30)
    finally:
        child.kill()
        child.wait(10)
    # It may have been killed between two renames.
    names = [tmp_path / f"labels.jsonl.{number}" for number in (3, 2, 1)]
    found = ids(*(each for each in (*names, path) if each.exists()))
    assert found == list(range(found[0], found[0] + len(found)))
