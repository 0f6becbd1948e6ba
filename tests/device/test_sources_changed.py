"""What stands between a source and the loop: turning, cutting, motion, pace, and several sources as one."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np
import pytest
from clock import Clock

from edgevision_device import ArraySource, ClockedSource, Frame, Source, SourceError, UsageError, open_source
from edgevision_device._health import Health
from edgevision_device._sources import (
    MovingSource,
    PacedSource,
    ReconnectingSource,
    SeveralSources,
    TurnedSource,
    WatchedSource,
    parse_region,
)

pytestmark = pytest.mark.usefixtures("cv2")


def numbered(width: int = 6, height: int = 4) -> np.ndarray:
    """Every pixel is different."""
    return np.arange(3 * width * height, dtype=np.uint8).reshape(height, width, 3)


def turned(**options: Any) -> np.ndarray:
    (frame,) = TurnedSource(ArraySource([numbered()]), **options).frames()
    return frame.picture


# --- what all of them do ---------------------------------------------------------------------------------------------

WRAPPERS: dict[str, Callable[[Source], Source]] = {
    "turned": TurnedSource,
    "moving": MovingSource,
    "paced": lambda source: PacedSource(source, 5),
    "watched": lambda source: WatchedSource(source, Health()),
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("quality", ["live", "keeps_newest", "endless"])
def test_what_a_source_is_it_stays_behind_another(name: str, quality: str) -> None:
    source = Broken(0, SourceError("never read"))
    source.live = False
    assert not getattr(WRAPPERS[name](source), quality)
    setattr(source, quality, True)
    assert getattr(WRAPPERS[name](source), quality)


@pytest.mark.parametrize("name", [*WRAPPERS, "clocked"])
def test_a_source_is_closed_by_what_stands_before_it(name: str) -> None:
    source = Broken(0, SourceError("never read"))
    wrap = WRAPPERS.get(name, lambda source: ClockedSource(source, 5))
    wrap(source).close()
    assert source.closed


def test_a_clock_does_not_wait_to_be_asked() -> None:
    source = SeveralSources({"files": ArraySource([numbered()])})
    assert source.keeps_newest
    assert not ClockedSource(source, fps=5).keeps_newest


# --- turning and cutting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [None, "h", "v"])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_picture_is_turned_then_flipped_then_cut(rotate: int, flip: Optional[str]) -> None:
    upright = np.rot90(numbered(), -rotate // 90)
    if flip is not None:
        upright = upright[:, ::-1] if flip == "h" else upright[::-1]
    assert (turned(rotate=rotate, flip=flip) == upright).all()
    height, width = upright.shape[:2]
    for x, y, w, h in itertools.product(range(0, width, 2), range(0, height, 2), (1, 3), (1, 2)):
        if x + w <= width and y + h <= height:
            cut = turned(rotate=rotate, flip=flip, region=(x, y, w, h))
            assert cut.shape == (h, w, 3)
            assert (cut == upright[y : y + h, x : x + w]).all()


def test_a_region_alone_is_a_view() -> None:
    picture = numbered()
    (frame,) = TurnedSource(ArraySource([picture]), region=(1, 1, 3, 2)).frames()
    assert np.shares_memory(frame.picture, picture)


@pytest.mark.parametrize(
    ("text", "shape"),
    [("0,0,1,1", (1, 1)), ("0.0,0,1,1", (4, 6)), ("0.5,0.25,0.5,.5", (2, 3)), ("1.,1,0.0001,0.0001", None)],
)
def test_shares_have_a_point(text: str, shape: Optional[tuple[int, int]]) -> None:
    if shape is None:
        with pytest.raises(UsageError, match="must lie within the picture"):
            parse_region(text)
    else:
        assert turned(region=parse_region(text)).shape[:2] == shape


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "-1,0,2,2", "a,b,c,d", "0,0,0,5", "0.5,0,0.6,1", "nan,0,1,1"]
)
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="region"):
        parse_region(text)


def test_a_region_outside_the_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="region 4,0,3,2 does not lie within the picture, which is 6 wide and 4 high"):
        turned(region=(4, 0, 3, 2))
    with pytest.raises(UsageError, match="which is 4 wide and 6 high once turned"):
        turned(region=(4, 0, 3, 2), rotate=90)
    with pytest.raises(UsageError, match="unknown rotation '45'"):
        turned(rotate=45)
    with pytest.raises(UsageError, match="unknown flip 'x'"):
        turned(flip="x")


def test_a_camera_that_comes_back_too_small_for_the_region_stops_no_other() -> None:
    said: list[str] = []
    smaller = TurnedSource(ArraySource([numbered(), numbered(), numbered(4, 4)]), region=(3, 0, 3, 2))
    several = SeveralSources({"shrunk": smaller, "clip": ArraySource([numbered()] * 9)}, Health(said.append))
    sources = [frame.source for frame in several.frames()]
    assert (sources.count("shrunk"), sources.count("clip")) == (2, 9)
    (line,) = said
    assert line.startswith("source shrunk: the region 3,0,3,2 does not lie within the picture, which is 4 wide")


# --- motion ----------------------------------------------------------------------------------------------------------


def scene(spot: Optional[int] = None, seed: int = 0, light: int = 0) -> np.ndarray:
    """A grey wall with a camera's noise, and perhaps a spot of 20 × 20 pixels of 640 × 480."""
    rng = np.random.default_rng(seed)
    picture = np.clip(rng.normal(110 + light, 8, (480, 640, 3)), 0, 255).astype(np.uint8)
    if spot is not None:
        picture[200:240, spot : spot + 40] = 200
    return picture


def moving(pictures: list[np.ndarray], **options: Any) -> list[tuple[int, int]]:
    return [(frame.id, frame.still) for frame in MovingSource(ArraySource(pictures), **options).frames()]


def test_only_what_moves_is_yielded_and_the_rest_is_counted() -> None:
    noise = [scene(seed=seed) for seed in range(4)]
    spots = [scene(spot, seed=9) for spot in (100, 100, 300)]
    # The first, the spot that comes, the spot that moves, and the spot that goes.
    assert moving([*noise, *spots, *noise]) == [(0, 0), (4, 3), (6, 4), (7, 4)]


def test_what_is_passed_over_at_the_end_is_known_to_all_that_stand_before_it() -> None:
    sources = {name: TurnedSource(MovingSource(ArraySource([scene()] * 4)), rotate=90) for name in "ab"}
    with SeveralSources(sources) as several:
        assert [(frame.id, frame.still) for frame in several.frames()] == [(0, 0), (0, 0)]
        assert {name: still.frames for name, still in several.still.items()} == {"a": 3, "b": 3}


def test_the_time_of_what_is_passed_over_is_known() -> None:
    class Clip(Source):
        def frames(self) -> Iterator[Frame]:
            for id, clip_s in enumerate((0.0, 0.1, 0.2, None)):  # the last frame of some formats has no time
                frame = Frame.taken_now(id, scene(), "bgr")
                yield dataclasses.replace(frame, captured_ns=10 + id, clip_s=clip_s)

    source = MovingSource(Clip())
    assert source.still == {}
    assert len(list(source.frames())) == 1
    assert source.still == {None: (3, 13, 0.2)}


def test_a_slow_change_adds_up() -> None:
    dusk = [scene(seed=step, light=-2 * step) for step in range(20)]
    ran = [id for id, _ in moving(dusk)]
    assert 2 < len(ran) < 6
    assert len(moving(dusk, levels=3)) > len(ran)


def test_without_motion_one_is_yielded_now_and_then() -> None:
    source = ClockedSource(ArraySource([scene()] * 30), fps=100)
    ran = [(frame.id, frame.still) for frame in MovingSource(source, every_s=0.1).frames()]
    assert ran[:3] == [(0, 0), (10, 9), (20, 18)] or len(ran) == 3
    assert all(id == still + at for at, (id, still) in enumerate(ran))


@pytest.mark.parametrize("options", [{"levels": 0}, {"levels": 256}, {"every_s": 0}])
def test_motion_has_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        MovingSource(ArraySource([scene()]), **options)


# --- pace ------------------------------------------------------------------------------------------------------------


def test_a_live_source_is_thinned_out() -> None:
    source = PacedSource(ClockedSource(ArraySource([numbered()], repeat=60), fps=100), fps=25)
    frames = list(source.frames())
    assert source.live
    gaps_ns = np.diff([frame.captured_ns for frame in frames])
    assert 8 <= len(frames) <= 16
    assert gaps_ns.mean() >= 36_000_000
    ids = [frame.id for frame in frames]
    assert ids == sorted(set(ids))


def test_any_other_is_read_slowly_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("edgevision_device._sources._paced.time", clock)
    source = PacedSource(ArraySource([numbered()], repeat=11), fps=20)
    source._closed = clock
    assert [frame.id for frame in source.frames()] == list(range(11))
    assert clock.waits_s == pytest.approx([0.0] + [0.05] * 11)  # the last one before it sees the end


class Waits(threading.Event):
    """Says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def wait(self, timeout: Optional[float] = None) -> bool:
        if timeout:
            self.begun.set()
        return super().wait(timeout)


def never() -> Source:
    raise SourceError("no such camera")


@pytest.mark.parametrize(
    "source",
    [
        ClockedSource(ArraySource([numbered()], repeat=3), fps=0.001),
        PacedSource(ArraySource([numbered()], repeat=3), fps=0.001),
        ReconnectingSource(never, first_wait_s=600, longest_wait_s=600),
    ],
    ids=["clocked", "paced", "reconnecting"],
)
def test_closing_wakes_it_from_a_long_wait(source: Any) -> None:
    source._closed = waits = Waits()
    reader = threading.Thread(target=lambda: list(source.frames()))
    reader.start()
    assert waits.begun.wait(60)
    source.close()
    reader.join(60)
    assert not reader.is_alive()


# --- several sources -------------------------------------------------------------------------------------------------


class Broken(Source):
    live = True

    def __init__(self, after: int, error: Exception) -> None:
        self.after, self.error = after, error
        self.closed = False

    def frames(self) -> Iterator[Frame]:
        for id in range(self.after):
            yield Frame.taken_now(id, numbered(), "rgb")
        raise self.error

    def close(self) -> None:
        self.closed = True


def test_all_frames_of_files_come_in_turn() -> None:
    several = SeveralSources({"a": ArraySource([numbered()] * 5), "b": ArraySource([numbered()] * 3)})
    frames = list(several.frames())
    assert not several.live
    for name, count in (("a", 5), ("b", 3)):
        assert [frame.id for frame in frames if frame.source == name] == list(range(count))


def test_a_fast_source_does_not_crowd_out_a_slow_one() -> None:
    several = SeveralSources({"fast": open_source("test://?fps=500"), "slow": open_source("test://?fps=50")})
    assert several.live
    assert several.keeps_newest
    taken: dict[str, list[int]] = {"fast": [], "slow": []}
    with several:
        for count, frame in enumerate(several.frames()):
            time.sleep(0.02)  # a network that is slower than both together
            taken[str(frame.source)].append(frame.id)
            if count == 40:
                break
    assert all(ids == sorted(set(ids)) for ids in taken.values())
    assert len(taken["slow"]) >= 10
    assert len(taken["fast"]) >= 10
    assert taken["fast"][-1] > 2 * len(taken["fast"])  # the newest, not one after the other


def test_one_that_breaks_does_not_stop_the_others() -> None:
    said: list[str] = []
    broken = Broken(2, SourceError("the cable is out"))
    several = SeveralSources({"cable": broken, "clip": ArraySource([numbered()] * 20)}, Health(said.append))
    frames = list(several.frames())
    assert [frame.id for frame in frames if frame.source == "clip"] == list(range(20))
    assert said == ["source cable: the cable is out; the others go on"]
    assert broken.closed


def test_if_all_break_before_the_first_frame_it_is_an_error() -> None:
    several = SeveralSources({name: Broken(0, SourceError(f"{name} is out")) for name in "ab"})
    with pytest.raises(SourceError, match="is out"):
        list(several.frames())


@pytest.mark.parametrize("after", [(2, 3), (0, 3)])
def test_if_all_break_it_is_an_error_whenever_that_is(after: tuple[int, int]) -> None:
    said: list[str] = []
    broken = {f"cable {count}": Broken(count, SourceError(f"cable {count} is out")) for count in after}
    frames = SeveralSources(broken, Health(said.append)).frames()
    with pytest.raises(SourceError, match="is out"):
        assert not [frame for frame in frames if frame.id > 2]
    # The last one is not told: it is what is raised.
    assert [line.partition("; ")[2] for line in said] == ["the others go on"]


def test_one_that_breaks_when_the_others_have_ended_is_an_error() -> None:
    said: list[str] = []

    class Camera(Broken):
        def frames(self) -> Iterator[Frame]:
            yield Frame.taken_now(0, numbered(), "rgb")
            while [each for each in threading.enumerate() if each.name == "edgevision-clip"]:
                time.sleep(0.001)
            raise self.error

    sources = {"clip": ArraySource([numbered()] * 3), "cable": Camera(1, SourceError("the cable is out"))}
    with pytest.raises(SourceError, match="the cable is out"):
        list(SeveralSources(sources, Health(said.append)).frames())
    assert said == []


def test_an_error_that_is_not_the_sources_own_is_raised() -> None:
    several = SeveralSources({"wrong": Broken(0, UsageError("wrong")), "endless": open_source("test://?fps=100")})
    with pytest.raises(UsageError, match="wrong"):
        list(several.frames())


def test_closing_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    several = SeveralSources({name: open_source("test://?fps=100") for name in "abc"})
    frames = several.frames()
    next(frames)
    several.close()
    assert next(frames, None) is None
    end_s = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < end_s:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before
