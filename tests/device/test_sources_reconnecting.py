"""Sources that break off and come back: real servers that are stopped and started again."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np
import pytest
from clock import Clock

from edgevision_device import ArraySource, Frame, Source, SourceError, UsageError, open_source
from edgevision_device._health import Health
from edgevision_device._sources import ReconnectingSource, WatchedSource

pytestmark = pytest.mark.usefixtures("cv2")

SLACK_S = 20.0


def picture(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


class Camera(contextlib.AbstractContextManager["Camera"]):
    """An MJPEG camera that shows how often it was switched on: 40 grey levels more each time."""

    def __init__(self) -> None:
        self.port = 0
        self.level = 0
        self.stalled = threading.Event()
        self._server: Optional[http.server.ThreadingHTTPServer] = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def switch_on(self) -> None:
        import cv2

        self.level += 40
        content = cv2.imencode(".jpg", picture(self.level))[1].tobytes()
        off = self.off = threading.Event()
        stalled = self.stalled

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                head = f"--frame\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                with contextlib.suppress(OSError):
                    while not off.wait(0.01):
                        if not stalled.is_set():
                            self.wfile.write(head + content + b"\r\n")

            def log_message(self, format: str, *args: object) -> None:
                pass

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def switch_off(self) -> None:
        if self._server is not None:
            self.off.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def __exit__(self, *exception: object) -> None:
        self.switch_off()


@pytest.fixture
def camera() -> Iterator[Camera]:
    with Camera() as camera:
        camera.switch_on()
        yield camera


def reconnecting(open_it: Callable[[], Source], health: Health, opened: Optional[Source] = None) -> ReconnectingSource:
    return ReconnectingSource(open_it, opened, health=health, first_wait_s=0.05, longest_wait_s=0.2)


def level_of(frame: Frame) -> int:
    return int(round(float(frame.picture.mean()) / 40) * 40)


def take(frames: Iterator[Frame], until: Callable[[Frame], bool]) -> list[Frame]:
    end_s = time.monotonic() + SLACK_S
    taken: list[Frame] = []
    for frame in frames:
        taken.append(frame)
        if until(frame):
            return taken
        assert time.monotonic() < end_s
    raise AssertionError("it ended")


@pytest.mark.parametrize("how", ["gone", "stalled"])
def test_a_camera_that_comes_back_is_read_again(camera: Camera, how: str) -> None:
    said: list[str] = []
    health = Health(said.append)
    with reconnecting(lambda: open_source(camera.address, time_limit_s=0.5), health) as source:
        frames = source.frames()
        before = [next(frames) for _ in range(5)]
        assert health.ok
        assert said == []
        broke_ns = time.monotonic_ns()
        if how == "gone":
            camera.switch_off()
        else:
            camera.stalled.set()

        def mend() -> None:
            time.sleep(1.0)
            camera.stalled.clear()
            if how == "gone":
                camera.switch_on()

        mending = threading.Thread(target=mend)
        mending.start()
        # Frames that were sent before the break may still be taken; they say that they are from then.
        came = take(frames, lambda frame: frame.captured_ns > broke_ns + 900_000_000)
        mending.join()
        came += [next(frames) for _ in range(3)]
    ids = [frame.id for frame in before + came]
    assert ids == sorted(set(ids))
    times_ns = [frame.captured_ns for frame in before + came]
    assert times_ns == sorted(times_ns)
    # Nothing claims to be from while the camera was away.
    assert not [1 for at_ns in times_ns if broke_ns + 300_000_000 < at_ns < broke_ns + 900_000_000]
    if how == "gone":
        assert all(level_of(frame) == (40 if frame.captured_ns < broke_ns + 300_000_000 else 80) for frame in came)
    assert len(said) == 2, said
    assert said[0].startswith(f"source: {camera.address} ") or said[0].startswith("source: the sender ended the stream")
    assert said[0].endswith("; trying again until it is back")
    assert said[1].startswith("source: works again, after ")
    assert health.to_record()["times"] == {"source": 1}


class Breaking(Source):
    """A camera that takes its time to open, and to give frames before it breaks off."""

    live = True

    def __init__(self, clock: Clock, opens_s: float, first_s: float, lasts_s: float, frames: int) -> None:
        clock.now_s += opens_s
        self._clock, self._first_s, self._lasts_s, self._frames = clock, first_s, lasts_s, frames

    def frames(self) -> Iterator[Frame]:
        self._clock.now_s += self._first_s
        for id in range(self._frames):
            yield Frame.taken_now(id, picture(0), "rgb")
            self._clock.now_s += self._lasts_s / self._frames
        self._clock.now_s += 100  # nothing more comes within the time limit
        raise SourceError("no such camera")


def waits_of(open_it: Callable[[Clock], Source], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let it break off eight times, and return how long each wait was, without the quarter of chance."""
    clock, health = Clock(most_waits=8), Health()
    monkeypatch.setattr("edgevision_device._sources._reconnecting.time", clock)
    monkeypatch.setattr("edgevision_device._sources._reconnecting.random.uniform", lambda low, high: 1.0)
    source: Any = ReconnectingSource(lambda: open_it(clock), health=health, first_wait_s=0.5, longest_wait_s=30)
    source._closed = clock
    for _ in source.frames():
        pass
    assert health.to_record()["troubles"]["source"]["text"].startswith("no such camera; trying again")
    return clock.waits_s


EVER_LONGER_S = [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("takes_s", [0, 10, 100])
def test_what_cannot_be_opened_is_tried_ever_more_slowly(monkeypatch: pytest.MonkeyPatch, takes_s: float) -> None:
    def never(clock: Clock) -> Source:
        clock.now_s += takes_s
        raise SourceError("no such camera")

    assert waits_of(never, monkeypatch) == EVER_LONGER_S


@pytest.mark.parametrize(
    ("opens_s", "first_s", "lasts_s", "frames"),
    [(0, 100, 0, 0), (100, 0, 0, 0), (100, 100, 0, 3), (100, 100, 0.4, 3)],
)
def test_what_opens_and_gives_next_to_nothing_is_tried_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch, opens_s: float, first_s: float, lasts_s: float, frames: int
) -> None:
    waits_s = waits_of(lambda clock: Breaking(clock, opens_s, first_s, lasts_s, frames), monkeypatch)
    assert waits_s == EVER_LONGER_S


def test_what_gave_frames_for_a_while_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits_of(lambda clock: Breaking(clock, 0, 0, 40, 3), monkeypatch) == [0.5] * 8


def test_waits_differ_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Source:
        raise SourceError("no such camera")

    clock = Clock(most_waits=50)
    source: Any = ReconnectingSource(never, first_wait_s=1, longest_wait_s=1)
    source._closed = clock
    assert list(source.frames()) == []
    assert all(0.75 <= wait_s <= 1.25 for wait_s in clock.waits_s)
    assert len(set(clock.waits_s)) > 10


def test_what_opens_after_it_was_closed_is_closed() -> None:
    opening, go_on = threading.Event(), threading.Event()

    class Late(ArraySource):
        closed = False

        def close(self) -> None:
            Late.closed = True

    def slow() -> Source:
        opening.set()
        assert go_on.wait(60)
        return Late([picture(0)])

    source = reconnecting(slow, Health())
    got: list[Frame] = []
    reader = threading.Thread(target=lambda: got.extend(source.frames()))
    reader.start()
    assert opening.wait(60)
    source.close()
    go_on.set()
    reader.join(60)
    assert Late.closed
    assert got == []


def test_an_end_that_is_no_break_is_the_end() -> None:
    opened = ArraySource([picture(0)], repeat=3)
    source = reconnecting(lambda: pytest.fail("opened again"), Health(), opened)
    assert [frame.id for frame in source.frames()] == [0, 1, 2]


def test_what_would_never_work_is_raised() -> None:
    def wrong() -> Source:
        raise UsageError("no such option")

    with pytest.raises(UsageError, match="no such option"):
        list(reconnecting(wrong, Health()).frames())


def test_ids_rise_over_gaps_at_the_break() -> None:
    class Lossy(Source):
        endless = True

        def frames(self) -> Iterator[Frame]:
            for id in (0, 2, 5):
                yield Frame.taken_now(id, picture(0), "rgb")

    source = reconnecting(Lossy, Health())
    frames = source.frames()
    assert [next(frames).id for _ in range(7)] == [0, 2, 5, 6, 8, 11, 12]
    source.close()


# --- pictures that show nothing --------------------------------------------------------------------------------------


class Scene(Source):
    """A live source of given pictures, one every 10 ms."""

    live = True

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures

    def frames(self) -> Iterator[Frame]:
        for id, shown in enumerate(self.pictures):
            time.sleep(0.01)
            yield Frame.taken_now(id, shown, "rgb")


def noisy(seed: int, low: int = 0, high: int = 255) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (48, 64, 3), dtype=np.uint8)


def watch(pictures: list[np.ndarray], **limits: Any) -> tuple[list[int], list[str]]:
    said: list[str] = []
    source = WatchedSource(Scene(pictures), Health(said.append), nothing_s=0.1, **{"frozen_s": 0.1, **limits})
    assert source.live
    return [frame.id for frame in source.frames()], said


def test_a_good_picture_is_no_trouble() -> None:
    ids, said = watch([noisy(seed) for seed in range(40)])
    assert (ids, said) == (list(range(40)), [])


@pytest.mark.parametrize(
    ("dull", "word"),
    [
        (lambda seed: noisy(seed, 0, 30), "black"),
        (lambda seed: noisy(seed, 90, 93), "all of one color"),
        (lambda seed: noisy(7), "frozen"),
    ],
)
def test_a_picture_that_shows_nothing_is_said_to_once(dull: Callable[[int], np.ndarray], word: str) -> None:
    start, end = [noisy(seed) for seed in range(5)], [noisy(50 + seed) for seed in range(5)]
    ids, said = watch(start + [dull(seed) for seed in range(40)] + end)
    assert ids == list(range(50))  # classified all the same
    assert len(said) == 2
    assert said[0].startswith(f"picture: {word}")
    assert said[1].startswith("picture: works again")


def test_a_moment_of_darkness_is_no_trouble() -> None:
    dark = [noisy(seed, 0, 20) for seed in range(3)]
    assert watch([*dark, *(noisy(seed) for seed in range(9)), *dark])[1] == []
