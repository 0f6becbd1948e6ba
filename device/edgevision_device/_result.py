"""What the frame loop says of one frame, and what results add up to."""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ._sources import Frame, Source
from ._statistics import Percentiles, TimeHistogram

__all__ = ["STAGES", "StreamResult", "StreamStatistics", "StreamSummary"]

#: `wait`: the loop has no frame. `ready`: a preprocessed frame waits for the one before it.
STAGES = ("wait", "preprocess", "ready", "invoke", "decide")

#: How much of a file's hash each record holds: enough to tell the files of one device apart.
_SHA256_DIGITS = 12

#: The window of `StreamStatistics.window`, in slots: the oldest goes as a whole.
_SLOT_S, _SLOTS = 10.0, 6


@dataclass(frozen=True, eq=False)
class StreamResult:
    """What the loop says about one frame.

    Attributes:
        frame: the frame itself, with its picture: keep a few, not thousands.
        label: what is shown, after threshold, smoothing and hysteresis; None: unknown.
        index: place among `labels` of the label that is shown or, where none is, of the best one.
        score: of that label, smoothed where scores are.
        frame_label: what this frame alone shows, by the threshold; None: unknown.
        scores: float32, one per label, of this frame alone, with the file's temperature applied.
        labels: of the file that gave them.
        age_ms: from capture to label.
        changed: what is shown differs from what the frame before showed, of the same source.
        stages_ms: how long each of `STAGES` took. All but `wait`, which overlaps the first two, add up to the age, but
            for the time from capture to preprocessing.
        dropped: frames that the sources produced so far and the loop never saw.
        still: frames that were left out so far because the picture did not move.
        queued: frames that stood ready when this one was decided, 0 or 1. What a driver holds back is not known.
        right: whether the label is the frame's true label; None where the frame has none that the model knows.
        file_sha256: of the whole file that judged the frame; None: not known.
    """

    frame: Frame
    label: Optional[str]
    index: int
    score: float
    frame_label: Optional[str]
    scores: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    age_ms: float
    changed: bool = False
    stages_ms: dict[str, float] = field(default_factory=dict)
    dropped: int = 0
    still: int = 0
    queued: int = 0
    right: Optional[bool] = None
    file_sha256: Optional[str] = None

    @property
    def frame_score(self) -> float:
        """The best score of this frame alone."""
        return float(self.scores.max())

    @property
    def labelled_ns(self) -> int:
        """When the label was there, on the clock of `time.monotonic_ns`."""
        return self.frame.captured_ns + round(1e6 * self.age_ms)

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the `count` best labels of this frame with their scores, best first."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.labels[index], float(self.scores[index])) for index in order]

    def to_record(self) -> dict[str, Any]:
        """Return what goes into JSON: everything but pictures and the scores of all labels.

        Times are in µs steps. Of the file's SHA-256 it holds the first 12 of 64 digits.
        """
        record: dict[str, Any] = {
            "frame": self.frame.id,
            "captured": _iso(self.frame.captured_utc),
            "age_ms": _number(self.age_ms),
            "label": self.label,
            "score": _number(self.score, 6),
            "changed": self.changed,
            "frame_label": self.frame_label,
            "frame_score": _number(self.frame_score, 6),
            "stages_ms": {stage: _number(took_ms) for stage, took_ms in self.stages_ms.items()},
            "dropped": self.dropped,
            "still": self.still,
            "queued": self.queued,
        }
        if self.file_sha256 is not None:
            record["file_sha256"] = self.file_sha256[:_SHA256_DIGITS]
        for name in ("source", "name", "true_label"):
            if getattr(self.frame, name) is not None:
                record[name] = getattr(self.frame, name)
        return record


@dataclass(frozen=True)
class StreamSummary:
    """What a stream came to.

    Attributes:
        frames: how many got a label (or were rejected).
        dropped: how many the source produced and the loop never saw.
        still: how many were left out because the picture did not move.
        queued_mean: frames that stood ready when another was decided, on average: 0 where the loop waits for the
            source, 1 where the source waits for the loop; NaN for no frame.
        seconds: from the first capture to the last label or, where the stream ended with frames that did not move, to
            the capture of the last of them.
        clip_seconds: by the clip's own times, from the first labelled frame that has one to the last, or to the last
            that did not move; of several clips, the sum. None where a source is no clip or is replayed as a camera, or
            most of its frames have no time.
        fps: labels per second between the first label and the last; NaN for fewer than two frames.
        changes: how often what is shown changed.
        frame_changes: how often it would have changed had each frame spoken for itself.
        age: capture to label.
        stages: the same for each of `STAGES`.
        labelled: how many frames had a true label that the model knows.
        right: how many of these got it.
    """

    frames: int
    dropped: int
    still: int
    queued_mean: float
    seconds: float
    clip_seconds: Optional[float]
    fps: float
    changes: int
    frame_changes: int
    age: Percentiles
    stages: dict[str, Percentiles]
    labelled: int
    right: int

    @property
    def right_share(self) -> Optional[float]:
        """`right` out of `labelled`, 0 to 1; None if no frame had a true label."""
        return self.right / self.labelled if self.labelled else None

    @property
    def flicker_per_minute(self) -> float:
        """How often a minute what is shown changed, of a clip by its own time; NaN where no time passed.

        Of several clips this is the mean, weighted by their lengths; of several cameras, the sum.
        """
        seconds = self.seconds if self.clip_seconds is None else self.clip_seconds
        return 60 * self.changes / seconds if seconds > 0 else math.nan

    def to_record(self) -> dict[str, Any]:
        """Return what goes into JSON. What could not be measured is null."""
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "still": self.still,
            "queued_mean": _number(self.queued_mean),
            "seconds": _number(self.seconds),
            "clip_seconds": None if self.clip_seconds is None else _number(self.clip_seconds),
            "fps": _number(self.fps),
            "changes": self.changes,
            "frame_changes": self.frame_changes,
            "flicker_per_minute": _number(self.flicker_per_minute),
            "age_ms": _spread(self.age),
            "stages_ms": {stage: _spread(times) for stage, times in self.stages.items()},
            "labelled": self.labelled,
            "right": self.right,
            "right_share": None if self.right_share is None else _number(self.right_share, 6),
        }

    def lines(self) -> list[str]:
        """Return the same for people."""
        rate = f", {self.fps:.1f} a second" if math.isfinite(self.fps) else ""
        still = f", {self.still} left out as nothing moved" if self.still else ""
        frames = "frame" if self.frames == 1 else "frames"
        lines = [f"{self.frames} {frames} in {self.seconds:.1f} s{rate}, {self.dropped} dropped{still}"]
        for name, times in (("age", self.age), *self.stages.items()):
            lines.append(f"{name:<11} p50 {times.p50_ms:8.2f}   p90 {times.p90_ms:8.2f}   p99 {times.p99_ms:8.2f} ms")
        if self.changes or self.frame_changes:
            each = (
                ""
                if self.changes == self.frame_changes
                else f"; frame by frame it would have been {self.frame_changes}"
            )
            often = f"{self.changes} {'time' if self.changes == 1 else 'times'}"
            flicker = f", {self.flicker_per_minute:.1f} a minute" if math.isfinite(self.flicker_per_minute) else ""
            lines.append(f"the label changed {often}{flicker}{each}")
        if self.right_share is not None:
            lines.append(f"{100 * self.right_share:.1f} % right: {self.right} of {self.labelled} with a true label")
        return lines


class StreamStatistics:
    """Adds results up in constant memory, however long the stream runs. Other threads may read while one adds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: deque[_Tally] = deque(maxlen=_SLOTS)
        self._gone = _Tally()  # what the slots have given up
        self._slot_ends_ns = 0
        self._dropped = self._still = 0
        self._frame_labels: dict[Optional[str], Optional[str]] = {}

    def add(self, result: StreamResult) -> None:
        """Count one result."""
        source = result.frame.source
        frame_changed = self._frame_labels.get(source, result.frame_label) != result.frame_label
        self._frame_labels[source] = result.frame_label
        with self._lock:
            if result.labelled_ns >= self._slot_ends_ns:
                # What is older than the window goes, after a pause too, which would count as time of its own.
                oldest_ns = result.labelled_ns - round(1e9 * _SLOTS * _SLOT_S)
                while self._slots and (len(self._slots) == _SLOTS or self._slots[0].last_label_ns < oldest_ns):
                    self._gone.merge(self._slots.popleft())
                self._slots.append(_Tally())
                self._slot_ends_ns = result.labelled_ns + round(1e9 * _SLOT_S)
            tally = self._slots[-1]
            tally.add(result)
            tally.dropped += result.dropped - self._dropped
            tally.still += result.still - self._still
            tally.frame_changes += frame_changed
        self._dropped, self._still = result.dropped, result.still

    def rested(self, source: Source) -> None:
        """Count what the source has left out since the last result because the picture did not move."""
        left_out = source.still
        count = sum(still.frames for still in left_out.values())
        with self._lock:
            if self._slots and count > self._still:
                tally = self._slots[-1]
                tally.still += count - self._still
                for name, still in left_out.items():
                    tally.ended_ns = max(tally.ended_ns, still.captured_ns)
                    tally.clips[name].reach(still.clip_s)
        self._still = count

    def summary(self) -> StreamSummary:
        """Return what it comes to so far."""
        return self._summarize(whole=True)

    def window(self) -> StreamSummary:
        """Return what the 50 to 60 seconds before the last result come to."""
        return self._summarize(whole=False)

    def _summarize(self, *, whole: bool) -> StreamSummary:
        total = _Tally()
        with self._lock:
            for tally in (self._gone, *self._slots) if whole else self._slots:
                total.merge(tally)
        return total.summary()


class _ClipTimes:
    """What the frames of one source say of where they stand in a clip."""

    def __init__(self) -> None:
        self.frames = self.known = 0
        self.from_s, self.to_s = math.inf, -math.inf

    def add(self, clip_s: Optional[float]) -> None:
        self.frames += 1
        if clip_s is not None:
            self.known += 1
            self.from_s, self.to_s = min(self.from_s, clip_s), max(self.to_s, clip_s)

    def reach(self, clip_s: Optional[float]) -> None:
        """Count a frame that says how far it has come, if it does."""
        if clip_s is not None and clip_s > self.to_s:
            self.add(clip_s)

    def merge(self, later: _ClipTimes) -> None:
        self.frames += later.frames
        self.known += later.known
        self.from_s, self.to_s = min(self.from_s, later.from_s), max(self.to_s, later.to_s)

    @property
    def told(self) -> bool:
        """Whether they tell how long it took: the last frame of some formats has no time, and raw video has none."""
        return self.known >= max(2, self.frames / 2)


class _Tally:
    """Counts and times of a stretch of a stream."""

    def __init__(self) -> None:
        self.frames = self.dropped = self.still = self.queued = self.labelled = self.right = 0
        self.changes = self.frame_changes = 0
        self.began_ns = self.first_label_ns = self.last_label_ns = self.ended_ns = 0
        self.clips: defaultdict[Optional[str], _ClipTimes] = defaultdict(_ClipTimes)  # by source
        self.age = TimeHistogram()
        self.stages = {stage: TimeHistogram() for stage in STAGES}

    def add(self, result: StreamResult) -> None:
        label_ns = result.labelled_ns
        if not self.frames:
            self.began_ns, self.first_label_ns = result.frame.captured_ns, label_ns
        self.last_label_ns = self.ended_ns = label_ns
        self.frames += 1
        self.queued += result.queued
        self.labelled += result.right is not None
        self.right += result.right is True
        self.changes += result.changed
        self.clips[result.frame.source].add(result.frame.clip_s)
        self.age.add_ms(result.age_ms)
        for stage, took_ms in result.stages_ms.items():
            self.stages[stage].add_ms(took_ms)

    def merge(self, later: _Tally) -> None:
        """Add what came after."""
        if not later.frames:
            return
        if not self.frames:
            self.began_ns, self.first_label_ns = later.began_ns, later.first_label_ns
        self.last_label_ns, self.ended_ns = later.last_label_ns, later.ended_ns
        for name in ("frames", "dropped", "still", "queued", "labelled", "right", "changes", "frame_changes"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        for source, clip in later.clips.items():
            self.clips[source].merge(clip)
        self.age.add(later.age)
        for stage, times in self.stages.items():
            times.add(later.stages[stage])

    def summary(self) -> StreamSummary:
        # From intervals, not from counts: the first label ends no interval.
        between_s = (self.last_label_ns - self.first_label_ns) / 1e9
        clips = self.clips.values()
        told = self.frames > 0 and all(clip.told for clip in clips)
        return StreamSummary(
            frames=self.frames,
            dropped=self.dropped,
            still=self.still,
            queued_mean=self.queued / self.frames if self.frames else math.nan,
            seconds=(self.ended_ns - self.began_ns) / 1e9,
            clip_seconds=sum(clip.to_s - clip.from_s for clip in clips) if told else None,
            fps=(self.frames - 1) / between_s if between_s > 0 else math.nan,
            changes=self.changes,
            frame_changes=self.frame_changes,
            age=self.age.percentiles(),
            stages={stage: times.percentiles() for stage, times in self.stages.items()},
            labelled=self.labelled,
            right=self.right,
        )


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: float, digits: int = 3) -> Optional[float]:
    """Round, and make null of what JSON has no number for."""
    return round(value, digits) if math.isfinite(value) else None


def _spread(times: Percentiles) -> dict[str, Optional[float]]:
    return {"p50": _number(times.p50_ms), "p90": _number(times.p90_ms), "p99": _number(times.p99_ms)}
