"""Working ahead: what is made when, by what happened and not by how long it took."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgevision_device import Classifier, Frame, SeveralSources, Source, stream
from edgevision_device._ahead import Ahead

PATIENCE_S = 60.0


class Numbers:
    """Makes numbers, and says which it has begun."""

    def __init__(self, count: int) -> None:
        self.begun: list[int] = []
        self._count = count

    def __call__(self) -> Iterator[int]:
        for number in range(self._count):
            self.begun.append(number)
            yield number


def begun_at_the_end(when_asked: bool) -> list[int]:
    """Take two of four numbers, and say what the thread had begun by then."""
    numbers = Numbers(4)
    with Ahead(numbers, newest=False, when_asked=when_asked) as ahead:
        items = iter(ahead)
        assert [next(items), next(items)] == [0, 1]
        if not when_asked:
            assert wait_for(lambda: ahead.waiting == 1)
    ahead._thread.join(PATIENCE_S)
    return numbers.begun


def wait_for(done: Callable[[], bool]) -> bool:
    nothing = threading.Event()
    return any(done() or nothing.wait(0.005) for _ in range(round(PATIENCE_S / 0.005)))


def test_the_next_item_is_made_ahead_or_when_it_is_asked_for() -> None:
    assert begun_at_the_end(when_asked=False) == [0, 1, 2]
    assert begun_at_the_end(when_asked=True) == [0, 1]


@pytest.mark.parametrize("when_asked", [False, True])
def test_none_is_lost(when_asked: bool) -> None:
    with Ahead(Numbers(50), newest=False, when_asked=when_asked) as ahead:
        assert list(ahead) == list(range(50))


def test_an_interrupt_while_the_thread_begins_ends_source_and_thread(data: Path, monkeypatch: Any) -> None:
    """As a signal does that comes while the main thread waits for the new one."""
    begun: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        start(self)
        begun.append(self)
        raise KeyboardInterrupt

    class Endless(Source):
        live = True
        closed = False

        def frames(self) -> Iterator[Frame]:
            while not self.closed:
                yield Frame.taken_now(0, np.zeros((32, 48, 3), np.uint8), "rgb")

        def close(self) -> None:
            self.closed = True

    source = Endless()
    results = stream(Classifier(data / "tiny.int8.tflite"), source, on_end=source.close)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(results)
    assert source.closed
    (thread,) = begun
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_it_can_be_left_before_anything_was_asked_for() -> None:
    numbers = Numbers(1)
    with Ahead(numbers, newest=False, when_asked=True) as ahead:
        pass
    assert numbers.begun == []
    assert not ahead._thread.is_alive()


class Camera(Source):
    """Makes one frame, and then one whenever it is told to."""

    live = True

    def __init__(self) -> None:
        self.made = 0
        self._told, self._kept = threading.Semaphore(0), threading.Semaphore(0)

    def make(self, count: int) -> None:
        """Make so many frames, and wait until the last one is where the reader keeps it."""
        for _ in range(count):
            self._told.release()
            assert self._kept.acquire(timeout=PATIENCE_S)

    def frames(self) -> Iterator[Frame]:
        yield Frame.taken_now(0, np.zeros((8, 12, 3), np.uint8), "rgb")
        while self._told.acquire(timeout=PATIENCE_S):
            self.made += 1
            yield Frame.taken_now(self.made, np.zeros((8, 12, 3), np.uint8), "rgb")
            self._kept.release()

    def close(self) -> None:
        self._told.release()


def test_of_two_cameras_each_label_is_of_the_newest_frame(
    data: Path, require: Callable[[str], None], cv2: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the model is busy both cameras make three frames more: what it takes next must be the last of them."""
    require("tflite")
    classifier = Classifier(data / "tiny.float32.tflite")
    cameras = {"left": Camera(), "right": Camera()}
    run = classifier.run

    def slow(pixels_nhwc: np.ndarray) -> np.ndarray:
        for camera in cameras.values():
            camera.make(3)
        return run(pixels_nhwc)

    monkeypatch.setattr(classifier, "run", slow)
    sources: list[Any] = []
    behind: list[int] = []
    newest = {"left": 0, "right": 0}  # when the loop asked
    with SeveralSources(cameras) as several:
        for result in stream(classifier, several, frames=7):
            sources.append(result.frame.source)
            behind.append(newest[sources[-1]] - result.frame.id)
            newest = {name: camera.made for name, camera in cameras.items()}
    assert set(sources) == {"left", "right"}
    assert behind == [0] * 7
