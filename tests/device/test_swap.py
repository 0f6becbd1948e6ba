"""The model file changes while the stream runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from fakes import until

from edgevision_device import ArraySource, Classifier, FollowedClassifier, Health, stream


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def health(said: list[str]) -> Health:
    return Health(said.append)


@pytest.fixture
def path(data: Path, tmp_path: Path, require: Callable[[str], None]) -> Path:
    require("tflite")
    return Path(shutil.copy(data / "tiny.float32.tflite", tmp_path / "model.tflite"))


@pytest.fixture
def followed(path: Path, health: Health) -> Iterator[FollowedClassifier]:
    with FollowedClassifier(Classifier(path), lambda: Classifier(path), health, every_s=0.02) as followed:
        yield followed
    assert not any(thread.name == "edgevision-model" for thread in threading.enumerate())


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of the old one, as `mv` and rsync do."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def test_a_new_file_takes_over(
    followed: FollowedClassifier, path: Path, resealed: Callable[..., Path], said: list[str]
) -> None:
    old = followed()
    replace(path, resealed("tiny.float32.tflite", labels=tuple("ABCD")).read_bytes())
    until(lambda: followed() is not old)
    assert (followed().metadata.labels, followed.swaps, said) == (tuple("ABCD"), 1, [])


@pytest.mark.parametrize("damage", ["cut short", "a bit flipped", "another kind of file"])
def test_a_bad_file_is_refused_once_and_the_old_one_runs_on(
    followed: FollowedClassifier, path: Path, said: list[str], health: Health, damage: str
) -> None:
    old, good = followed(), path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    replace(path, {"cut short": good[:1000], "a bit flipped": bytes(flipped)}.get(damage, b"#!/bin/sh\n"))
    until(lambda: said)
    time.sleep(0.1)  # several looks more, which have nothing new to say
    assert len(said) == 1
    assert said[0].startswith("model: ")
    assert said[0].endswith("the one before runs on")
    assert followed() is old
    assert not health.ok
    assert [result.label for result in stream(followed, ArraySource([np.zeros((8, 12, 3), np.uint8)]))] != [None]
    replace(path, good)
    until(lambda: health.ok)
    assert followed() is not old
    assert "model: works again" in said[1]


def test_a_file_that_is_being_written_is_left_alone(
    followed: FollowedClassifier, path: Path, resealed: Callable[..., Path], said: list[str]
) -> None:
    """In place and slowly, as `cp` over a bad line: no half of it is ever opened."""
    content = resealed("tiny.float32.tflite", labels=tuple("ABCD")).read_bytes()
    with path.open("r+b") as file:
        for at in range(0, len(content), 200):
            file.write(content[at : at + 200])
            file.flush()
            os.utime(path)  # the clock of some file systems is coarser than these steps
            time.sleep(0.002)
        file.truncate()
    until(lambda: followed.swaps)
    assert followed().metadata.labels == tuple("ABCD")
    assert said == []


def test_a_file_that_is_gone_changes_nothing_until_one_is_there(
    followed: FollowedClassifier, path: Path, resealed: Callable[..., Path], said: list[str]
) -> None:
    old, content = followed(), resealed("tiny.float32.tflite", labels=tuple("ABCD")).read_bytes()
    path.unlink()
    time.sleep(0.1)
    assert (followed() is old, said) == (True, [])
    path.write_bytes(content)
    until(lambda: followed.swaps)
    assert followed().metadata.labels == tuple("ABCD")


def test_of_a_refused_file_that_is_gone_nothing_is_said_any_more(
    followed: FollowedClassifier, path: Path, health: Health
) -> None:
    def text() -> str:
        return health.to_record()["troubles"].get("model", {}).get("text", "")

    old, bad = followed(), path.with_suffix(".bad")
    replace(path, b"#!/bin/sh\n")
    until(lambda: "no TFL3 mark" in text())
    path.rename(bad)
    until(lambda: "is gone" in text())
    assert text() == f"{path} is gone; the one before runs on"
    # The same file, unchanged, is looked at again: what it was refused for holds again.
    bad.rename(path)
    until(lambda: "no TFL3 mark" in text())
    assert followed() is old


def test_it_can_be_asked_to_look_again(followed: FollowedClassifier, said: list[str]) -> None:
    old = followed()
    followed.reload()
    until(lambda: followed() is not old)
    assert (followed.swaps, said) == (1, [])


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
def test_a_signal_within_the_handler_of_a_signal_may_ask_too(path: Path) -> None:
    """In a process of its own: a main thread that waits for itself cannot be ended otherwise."""
    program = f"""if True:
        import signal, sys, threading
        from edgevision_device import Classifier, FollowedClassifier, Health
        path = {str(path)!r}
        asked = []
        def hang_up(signum, frame):
            followed.reload()
            asked.append(signum)
        def again(frame, event, argument):
            signal.raise_signal(signal.SIGHUP)
            return again
        with FollowedClassifier(Classifier(path), lambda: Classifier(path), Health(), every_s=0.02) as followed:
            signal.signal(signal.SIGHUP, hang_up)
            sys.settrace(again)  # at each line that runs while the first signal is handled, another one comes
            hang_up(signal.SIGHUP, None)
            sys.settrace(None)
            assert len(asked) > 3
            while not followed.swaps:
                threading.Event().wait(0.01)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_changed_before_it_was_followed_takes_over(
    path: Path, resealed: Callable[..., Path], health: Health, said: list[str]
) -> None:
    """As while a camera was opened, which takes seconds."""
    old = Classifier(path)
    replace(path, resealed("tiny.float32.tflite", labels=tuple("ABCD")).read_bytes())
    with FollowedClassifier(old, lambda: Classifier(path), health, every_s=0.02) as followed:
        until(lambda: followed.swaps)
        assert (followed().metadata.labels, said) == (tuple("ABCD"), [])


def test_whatever_goes_wrong_is_said_and_the_file_followed_further(path: Path, health: Health, said: list[str]) -> None:
    """As where the system has no memory for the process in which a foreign file is tried."""
    errors: list[Exception] = [OSError(12, "Cannot allocate memory"), AssertionError()]

    def open() -> Classifier:
        if errors:
            raise errors.pop(0)
        return Classifier(path)

    with FollowedClassifier(Classifier(path), open, health, every_s=0.02) as followed:
        for left in (1, 0):
            followed.reload()
            until(lambda left=left: len(errors) == left and not health.ok)
        assert said == ["model: [Errno 12] Cannot allocate memory; the one before runs on"]
        followed.reload()
        until(lambda: health.ok)
        assert followed.swaps == 1


def test_frames_go_on_while_the_file_changes(
    followed: FollowedClassifier, path: Path, resealed: Callable[..., Path]
) -> None:
    names = {tuple("ABCD"), followed().metadata.labels}
    content = resealed("tiny.float32.tflite", labels=tuple("ABCD")).read_bytes()
    pictures = ArraySource([np.zeros((8, 12, 3), np.uint8)], repeat=10**6)
    seen: list[tuple[str, ...]] = []
    ids: list[int] = []
    for result in stream(followed, pictures):
        if len(ids) == 20:
            replace(path, content)
        ids.append(result.frame.id)
        if not seen or seen[-1] != result.labels:
            seen.append(result.labels)
        if len(seen) == 2:
            break
    assert set(seen) == names
    assert ids == list(range(len(ids)))
