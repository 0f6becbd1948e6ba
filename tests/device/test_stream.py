"""The frame loop: what it says of each frame, what it drops, and what it leaves behind."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional

import fakes
import numpy as np
import pytest
from fakes import until

from edgevision_device import (
    STAGES,
    ArraySource,
    Classifier,
    ClockedSource,
    DecisionRule,
    Frame,
    Percentiles,
    Runtime,
    SeveralSources,
    Source,
    SourceError,
    StreamResult,
    StreamStatistics,
    StreamSummary,
    TimeHistogram,
    UsageError,
    stream,
)
from edgevision_device._sources import Still

pytestmark = pytest.mark.usefixtures("cv2")

#: How long a test waits for another thread before it gives up.
PATIENCE_S = 30.0


class FakeRuntime:
    """Any object with `run` and the attributes of `Runtime` will do: this one answers what it is told."""

    name, version, threads = "fake", "1", 1

    def __init__(self, instead_of: Runtime, answer: Optional[Callable[[], list[float]]] = None) -> None:
        self.input, self.output = instead_of.input, instead_of.output
        self._answer = answer or (lambda: [0.1, 0.7, 0.2, 0.0])

    def run(self, input_nhwc: np.ndarray) -> np.ndarray:
        assert input_nhwc.shape == self.input.shape
        return np.array([self._answer()], np.float32)


@pytest.fixture
def classifier(data: Path, require: Callable[[str], None]) -> Classifier:
    require("tflite")
    return Classifier(data / "tiny.float32.tflite", threads=1)


@pytest.fixture
def faked(classifier: Classifier) -> Callable[..., Classifier]:
    def fake(answer: Optional[Callable[[], list[float]]] = None) -> Classifier:
        classifier.runtime = FakeRuntime(classifier.runtime, answer)
        return classifier

    return fake


def blank(count: int = 1) -> list[np.ndarray]:
    return [np.zeros((8, 12, 3), np.uint8) for _ in range(count)]


class Scripted(Source):
    """Yields frames without waiting, and can be told to be live, to fail, and to say when it is through."""

    def __init__(self, count: int, *, live: bool = False, fails: Optional[Exception] = None) -> None:
        self.live = live
        self.through = threading.Event()
        self._count, self._fails = count, fails

    def frames(self) -> Iterator[Frame]:
        for id in range(self._count):
            if id == self._count - 1:
                self.through.set()
            yield Frame.taken_now(id, blank()[0], "rgb")
        if self._fails is not None:
            raise self._fails


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("edgevision") for thread in threading.enumerate())


# --- one frame after the other --------------------------------------------------------------------------------------


def test_pictures_get_their_labels_in_order(classifier: Classifier, bar: Callable[..., np.ndarray]) -> None:
    labels = ["blue flat", "red upright", "red flat", "blue upright"] * 5
    pictures = [bar(*label.split(), enlarged=3)[..., ::-1] for label in labels]
    results = list(stream(classifier, ArraySource(pictures, "bgr", true_labels=labels)))
    assert [result.label for result in results] == labels
    assert [classifier.metadata.labels[result.index] for result in results] == labels
    assert [result.frame.id for result in results] == list(range(20))
    assert all(result.right and result.dropped == 0 and 0.5 < result.score <= 1 for result in results)
    assert all(tuple(result.stages_ms) == STAGES and min(result.stages_ms.values()) >= 0 for result in results)
    assert all(result.age_ms >= result.stages_ms["invoke"] + result.stages_ms["decide"] for result in results)
    assert no_thread_is_left()


def test_the_stream_says_what_the_classifier_says(classifier: Classifier) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)
    (result,) = stream(classifier, ArraySource([picture]))
    (prediction,) = classifier.classify(picture)
    assert (result.label, result.index, result.score) == (prediction.label, prediction.index, prediction.score)


@pytest.mark.parametrize(
    ("scores", "threshold", "label"),
    [([0.1, 0.7, 0.2, 0], None, "red flat"), ([0.1, 0.7, 0.2, 0], 0.7001, None), ([math.nan] * 4, 0.0, None)],
    ids=["accepted", "rejected", "not a number"],
)
def test_a_low_score_gives_no_label(
    faked: Callable[..., Classifier], scores: list[float], threshold: Optional[float], label: Optional[str]
) -> None:
    source = ArraySource(blank(), true_labels=["red flat"])
    (result,) = stream(faked(lambda: scores), source, rule=DecisionRule(threshold=threshold))
    assert result.label == label
    assert result.right == (label is not None)
    record = result.to_record()
    assert record["label"] == label
    assert record["score"] is None if math.isnan(scores[0]) else record["score"] == pytest.approx(0.7)


def test_the_files_own_threshold_counts(resealed: Callable[..., Path], require: Callable[[str], None]) -> None:
    require("tflite")
    classifier = Classifier(resealed("tiny.float32.tflite", reject_threshold=0.75))
    classifier.runtime = FakeRuntime(classifier.runtime)
    (result,) = stream(classifier, ArraySource(blank()))
    assert (result.label, result.index) == (None, 1)


def test_a_true_label_that_the_model_does_not_know_counts_neither_way(faked: Callable[..., Classifier]) -> None:
    statistics = StreamStatistics()
    for result in stream(faked(), ArraySource(blank(3), true_labels=["holiday", "red flat", "blue flat"])):
        statistics.add(result)
    summary = statistics.summary()
    assert (summary.labelled, summary.right, summary.right_share) == (2, 1, 0.5)


def test_a_record_is_complete(faked: Callable[..., Classifier]) -> None:
    (result,) = stream(faked(), ArraySource(blank(), true_labels=["red flat"]))
    record = result.to_record()
    assert list(record) == [
        *("frame", "captured", "age_ms", "label", "score", "changed", "frame_label", "frame_score"),
        *("stages_ms", "dropped", "still", "queued", "file_sha256", "true_label"),
    ]
    assert record["captured"] == result.frame.captured_utc.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    assert list(record["stages_ms"]) == list(STAGES)


# --- when it ends ---------------------------------------------------------------------------------------------------


def test_it_stops_after_so_many_frames(faked: Callable[..., Classifier]) -> None:
    assert len(list(stream(faked(), ArraySource(blank(), repeat=10**9), frames=7))) == 7
    assert no_thread_is_left()


def test_it_stops_after_so_many_seconds(faked: Callable[..., Classifier]) -> None:
    assert list(stream(faked(), ArraySource(blank(), repeat=10**9), seconds=0.05))
    assert no_thread_is_left()


@pytest.mark.parametrize("frames", [0, 2])
def test_the_seconds_end_while_no_frame_comes(
    faked: Callable[..., Classifier], frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, over = threading.Event(), threading.Event()

    class Stalling(Source):
        def frames(self) -> Iterator[Frame]:
            for id in range(frames):
                yield Frame.taken_now(id, blank()[0], "rgb")
            stalled.set()
            over.wait(PATIENCE_S)

    clock = SimpleNamespace(monotonic_ns=lambda: time.monotonic_ns() + (10**12 if stalled.is_set() else 0))
    monkeypatch.setattr("edgevision_device._stream.time", clock)
    results = stream(faked(), Stalling(), seconds=900)
    ids: list[int] = []
    with contextlib.nullcontext() if frames else pytest.raises(SourceError, match="gave no frame"):
        ids.extend(result.frame.id for result in results)
    assert ids == list(range(frames))
    assert not no_thread_is_left()  # the source still waits
    over.set()
    until(no_thread_is_left)


@pytest.mark.parametrize("live", [False, True])
def test_it_can_be_left_in_the_middle(faked: Callable[..., Classifier], live: bool) -> None:
    results = stream(faked(), Scripted(10**9, live=live))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert no_thread_is_left()


@pytest.mark.parametrize("live", [False, True])
def test_an_error_in_the_source_comes_after_the_frames_before_it(faked: Callable[..., Classifier], live: bool) -> None:
    results = stream(faked(), Scripted(3, live=live, fails=SourceError("unplugged")))
    got: list[int] = []
    with pytest.raises(SourceError, match="unplugged"):
        got.extend(result.frame.id for result in results)
    assert got[-1] == 2
    assert live or got == [0, 1, 2]
    assert no_thread_is_left()


def test_an_error_in_the_runtime_ends_the_thread(faked: Callable[..., Classifier]) -> None:
    def fail() -> list[float]:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(stream(faked(fail), Scripted(10**9)))
    assert no_thread_is_left()


def test_a_source_without_frames_is_an_error(faked: Callable[..., Classifier]) -> None:
    with pytest.raises(SourceError, match="gave no frame"):
        list(stream(faked(), Scripted(0)))


@pytest.mark.parametrize(
    "wrong",
    [{"frames": 0}, {"frames": -1}, {"seconds": 0}, {"seconds": math.nan}],
    ids=str,
)
def test_limits_are_checked_before_anything_starts(faked: Callable[..., Classifier], wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        stream(faked(), Scripted(1), **wrong)


# --- several sources, another file ----------------------------------------------------------------------------------


def test_two_sources_take_turns(faked: Callable[..., Classifier]) -> None:
    """Two cameras in step, 100 frames a second each, and a network that takes 30 ms."""
    slow = threading.Event()

    def answer() -> list[float]:
        slow.wait(0.03)
        return [1.0, 0.0, 0.0, 0.0]

    statistics = StreamStatistics()
    results: list[StreamResult] = []
    cameras = {name: ClockedSource(ArraySource(blank(), repeat=60), fps=100) for name in ("left", "right")}
    for result in stream(faked(answer), SeveralSources(cameras)):
        statistics.add(result)
        results.append(result)
    counts = Counter(result.frame.source for result in results)
    assert abs(counts["left"] - counts["right"]) <= 2
    assert {result.to_record()["source"] for result in results} == {"left", "right"}
    # Frames of both that nobody took, each by its own ids.
    last = {result.frame.source: result.frame.id for result in results}
    assert statistics.summary().dropped == last["left"] + last["right"] + 2 - len(results)
    for source in ("left", "right"):
        ids = [result.frame.id for result in results if result.frame.source == source]
        assert ids == sorted(set(ids))


def test_another_file_takes_over_between_two_frames(
    data: Path, resealed: Callable[..., Path], require: Callable[[str], None]
) -> None:
    require("tflite")
    first = Classifier(data / "tiny.float32.tflite")
    second = Classifier(resealed("tiny.float32.tflite", labels=tuple("ABCD"), reject_threshold=0.99))
    pictures = ArraySource(list(np.random.default_rng(1).integers(0, 256, (12, 8, 12, 3), np.uint8)))
    asked = 0

    def current() -> Classifier:
        nonlocal asked
        asked += 1
        return first if asked <= 5 else second

    results = list(stream(current, pictures, rule=DecisionRule(smooth=3)))
    assert [result.labels is first.metadata.labels for result in results] == [True] * 5 + [False] * 7
    # Averages start anew: the first frame of the new file speaks for itself.
    assert results[5].score == pytest.approx(results[5].scores[results[5].index])
    assert results[5].score != pytest.approx(results[4].score)
    assert {result.label for result in results[5:]} <= {None, *"ABCD"}
    shown = [result.label for result in results]
    assert [result.changed for result in results] == [False, *(old != new for old, new in zip(shown, shown[1:]))]
    assert results[5].changed  # no label of the new file is one of the old
    assert [result.to_record()["file_sha256"] for result in results] == [
        *[first.file.sha256[:12]] * 5,
        *[second.file.sha256[:12]] * 7,
    ]


def test_a_label_that_has_changed_is_one_of_its_own_source(faked: Callable[..., Classifier]) -> None:
    class Sides(Source):
        def frames(self) -> Iterator[Frame]:
            for id, side in enumerate(("left", "right", "left", "right", "left")):
                yield dataclasses.replace(Frame.taken_now(id, blank()[0], "rgb"), source=side)

    answers = iter(([0.9, 0.1, 0, 0], [0.1, 0.9, 0, 0], [0.9, 0.1, 0, 0], [0.1, 0.2, 0, 0], [0.1, 0.9, 0, 0]))
    results = list(stream(faked(lambda: next(answers)), Sides(), rule=DecisionRule(threshold=0.5)))
    # The first of each source changes nothing, and that nothing is known any more is a change.
    assert [result.changed for result in results] == [False, False, False, True, True]


def test_frames_left_out_because_nothing_moved_are_not_dropped(faked: Callable[..., Classifier]) -> None:
    class Resting(Source):
        def frames(self) -> Iterator[Frame]:
            for id, still in ((0, 0), (4, 3), (5, 3), (9, 5)):
                yield dataclasses.replace(Frame.taken_now(id, blank()[0], "rgb"), still=still)

    statistics = StreamStatistics()
    for result in stream(faked(), Resting()):
        statistics.add(result)
    summary = statistics.summary()
    assert (summary.frames, summary.still, summary.dropped) == (4, 5, 1)


def test_frames_that_do_not_move_at_the_end_take_time() -> None:
    class Resting(ArraySource):
        @property
        def still(self) -> dict[Optional[str], Still]:
            return {None: Still(14, 3_800_000_000, 2.5)}

    statistics = StreamStatistics()
    result = fakes.result_of(captured_s=1.0)
    statistics.add(dataclasses.replace(result, frame=dataclasses.replace(result.frame, clip_s=0.5)))
    statistics.rested(Resting(blank()))
    statistics.rested(Resting(blank()))  # what is known counts once
    for summary in (statistics.summary(), statistics.window()):
        assert summary.lines()[0] == "1 frame in 2.8 s, 0 dropped, 14 left out as nothing moved"
        assert (summary.seconds, summary.clip_seconds) == (2.8, 2.0)


def test_somebody_is_told_while_no_frame_comes(faked: Callable[..., Classifier]) -> None:
    told = threading.Event()

    class Waiting(Source):
        def frames(self) -> Iterator[Frame]:
            assert told.wait(PATIENCE_S)
            yield Frame.taken_now(0, blank()[0], "rgb")

    assert len(list(stream(faked(), Waiting(), on_wait=told.set))) == 1

    def enough() -> None:
        raise StopWaiting

    class StopWaiting(Exception):
        pass

    class Silent(Source):
        def frames(self) -> Iterator[Frame]:
            threading.Event().wait(PATIENCE_S)
            return iter(())

    with pytest.raises(StopWaiting):
        list(stream(faked(), Silent(), on_wait=enough))


# --- who is slow ----------------------------------------------------------------------------------------------------


def test_of_a_live_source_a_slow_model_gets_the_newest_frame(faked: Callable[..., Classifier]) -> None:
    source = Scripted(50, live=True)

    def slow() -> list[float]:
        assert source.through.wait(PATIENCE_S)
        return [1.0, 0.0, 0.0, 0.0]

    results = list(stream(faked(slow), source))
    # The first is whichever was there; while the model was busy with it, all the others went by but the last.
    assert len(results) <= 3
    assert results[-1].frame.id == 49
    assert results[-1].dropped == 50 - len(results)
    assert [result.frame.id for result in results] == sorted({result.frame.id for result in results})


def test_of_a_folder_a_slow_model_gets_every_frame(faked: Callable[..., Classifier]) -> None:
    hurry = threading.Event()

    def slow() -> list[float]:
        hurry.wait(0.002)
        return [1.0, 0.0, 0.0, 0.0]

    results = list(stream(faked(slow), Scripted(20)))
    assert [result.frame.id for result in results] == list(range(20))
    assert results[-1].dropped == 0


def test_drops_and_age_can_be_tried_without_a_camera(faked: Callable[..., Classifier]) -> None:
    """A model that takes 30 ms at 100 frames a second: two of three frames go, and none that is labelled is old."""
    nothing = threading.Event()

    def slow() -> list[float]:
        nothing.wait(0.03)
        return [1.0, 0.0, 0.0, 0.0]

    statistics = StreamStatistics()
    for result in stream(faked(slow), ClockedSource(ArraySource(blank(), repeat=40), fps=100)):
        statistics.add(result)
    summary = statistics.summary()
    assert summary.frames + summary.dropped == 40
    assert summary.dropped >= 20
    assert summary.age.p50_ms >= 29.8
    # Had the frames queued up, the last would be as old as the whole replay, 400 ms and more.
    assert summary.age.p50_ms < 300


@pytest.mark.parametrize("live", [False, True])
def test_memory_is_bounded(faked: Callable[..., Classifier], live: bool) -> None:
    alive: weakref.WeakSet[Frame] = weakref.WeakSet()

    class Watched(Scripted):
        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                alive.add(frame)
                yield frame

    most = 0
    for result in stream(faked(), Watched(400, live=live)):
        most = max(most, len(alive))
        del result
    # One at the caller, one ready, one being made, and one changing hands.
    assert 1 <= most <= 4


# --- what it adds up to ---------------------------------------------------------------------------------------------


def test_the_summary_adds_up(faked: Callable[..., Classifier]) -> None:
    statistics = StreamStatistics()
    results = []
    for result in stream(faked(), ArraySource(blank(), true_labels=["red flat"], repeat=30)):
        statistics.add(result)
        results.append(result)
    summary = statistics.summary()
    labelled_s = [result.frame.captured_ns / 1e9 + result.age_ms / 1e3 for result in results]
    assert (summary.frames, summary.dropped, summary.labelled, summary.right) == (30, 0, 30, 30)
    assert summary.seconds == pytest.approx(labelled_s[-1] - results[0].frame.captured_ns / 1e9)
    assert summary.fps == pytest.approx(29 / (labelled_s[-1] - labelled_s[0]), rel=1e-6)
    exact = Percentiles.of_ms([result.age_ms for result in results])
    assert summary.age.p90_ms == pytest.approx(exact.p90_ms, rel=0.006)
    record = summary.to_record()
    assert list(record["stages_ms"]) == list(STAGES)
    assert record["right_share"] == 1
    assert any("100.0 % right: 30 of 30" in line for line in summary.lines())


def test_the_window_forgets_and_the_summary_does_not(faked: Callable[..., Classifier]) -> None:
    """Thirty results, nine seconds apart, and a label that changes at the fourth."""
    (result,) = stream(faked(), ArraySource(blank()))
    statistics = StreamStatistics()
    for place in range(30):
        frame = dataclasses.replace(result.frame, id=place, captured_ns=place * 9_000_000_000)
        statistics.add(
            dataclasses.replace(
                result, frame=frame, age_ms=100.0 if place < 3 else 5.0, changed=place == 3, dropped=2 * place
            )
        )
    whole, recent = statistics.summary(), statistics.window()
    assert (whole.frames, whole.dropped, whole.changes) == (30, 58, 1)
    assert whole.seconds == pytest.approx(261.005)
    assert whole.fps == pytest.approx(1 / 9, rel=0.01)
    assert whole.age.p99_ms == pytest.approx(100, rel=0.006)
    assert whole.flicker_per_minute == pytest.approx(60 / 261.005)
    # In sixty seconds there are seven results; what goes, goes two at a time.
    assert 6 <= recent.frames <= 8
    assert recent.age.p99_ms == pytest.approx(5, rel=0.006)
    assert recent.dropped == 2 * recent.frames
    assert any("the label changed 1 time, " in line for line in whole.lines())


def test_a_pause_is_no_time_of_the_window() -> None:
    """Ten results a second, an hour without one, and ten a second again."""
    statistics = StreamStatistics()
    for place in range(200):
        statistics.add(fakes.result_of(place, captured_s=place / 10 + (0 if place < 100 else 3600)))
    recent = statistics.window()
    assert (recent.frames, statistics.summary().frames) == (100, 200)
    assert recent.fps == pytest.approx(10, rel=0.02)


def summary_of_clips(times_s: dict[str, list[Optional[float]]]) -> StreamSummary:
    """Frames in turn, ten a second by the clock; every second one of each source changes its label."""
    statistics = StreamStatistics()
    turns = [(source, at) for at in range(max(map(len, times_s.values()))) for source in times_s]
    for id, (source, at) in enumerate(turns):
        result = fakes.result_of(id, source=source, captured_s=id / 10, changed=at % 2 == 1)
        frame = dataclasses.replace(result.frame, clip_s=times_s[source][at])
        statistics.add(dataclasses.replace(result, frame=frame))
    return statistics.summary()


def test_times_of_several_clips_are_added_up() -> None:
    """Each takes two seconds and changes twice, so does one alone."""
    one, two = [0.0, 0.5, 1.0, 2.0], [10.0, 11.0, 11.5, 12.0]
    for clips in ({"a": one}, {"a": one, "b": one}, {"a": one, "b": two}):
        summary = summary_of_clips(clips)
        assert (summary.clip_seconds, summary.changes) == (2 * len(clips), 2 * len(clips))
        assert summary.flicker_per_minute == 60


@pytest.mark.parametrize(
    ("times_s", "clip_seconds"),
    [
        ([0.0, 0.5, 1.0, None], 1.0),
        ([0.0, None, None, 1.0], 1.0),
        ([0.0, 0.5, None, None, None], None),
        ([0.0, None], None),
        ([None] * 4, None),
    ],
    ids=["all but the last", "half", "fewer", "one", "none"],
)
def test_a_clip_takes_what_its_times_span_if_most_are_known(
    times_s: list[Optional[float]], clip_seconds: Optional[float]
) -> None:
    summary = summary_of_clips({"a": times_s})
    assert summary.clip_seconds == clip_seconds
    assert summary.flicker_per_minute == pytest.approx(60 * summary.changes / (clip_seconds or summary.seconds))
    # Beside it, another does not hide that.
    both = summary_of_clips({"a": times_s, "b": [float(at) for at in range(len(times_s))]})
    assert both.clip_seconds == (clip_seconds and clip_seconds + len(times_s) - 1)


def test_what_took_no_time_has_no_rate() -> None:
    statistics = StreamStatistics()
    statistics.add(fakes.result_of(captured_s=1.0, age_ms=0.0, changed=True))
    summary = statistics.summary()
    assert summary.to_record()["flicker_per_minute"] is None
    assert summary.lines()[0] == "1 frame in 0.0 s, 0 dropped"
    assert summary.lines()[-1] == "the label changed 1 time; frame by frame it would have been 0"


def test_a_summary_of_nothing_has_no_numbers() -> None:
    summary = StreamStatistics().summary()
    assert summary.right_share is None
    record = summary.to_record()
    assert (record["frames"], record["fps"], record["age_ms"]) == (0, None, {"p50": None, "p90": None, "p99": None})


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_a_histogram_is_right_to_half_a_percent(count: int) -> None:
    times_ms = np.random.default_rng(count).lognormal(2, 2, count).tolist()
    histogram = TimeHistogram()
    for time_ms in times_ms:
        histogram.add_ms(time_ms)
    exact, found = Percentiles.of_ms(times_ms), histogram.percentiles()
    assert found.count == count
    for name in ("p50_ms", "p90_ms", "p99_ms"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=0.00501)


def test_a_histogram_takes_what_lies_outside_its_range() -> None:
    histogram = TimeHistogram()
    for time_ms in (0.0, -1.0, 1e12):
        histogram.add_ms(time_ms)
    found = histogram.percentiles()
    assert found.count == 3
    assert found.p50_ms == pytest.approx(0.001)
    assert found.p99_ms > 3_600_000
    assert math.isnan(TimeHistogram().percentiles().p50_ms)
