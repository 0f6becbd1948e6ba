"""The frame loop: wait, preprocess, invoke, decide; and what it adds up to.

One thread captures, decodes and preprocesses the next frame; the caller's thread invokes and decides. One thread for
all would be simpler and reaches 0.93 of the frames per second of a bare invoke loop, two reach 0.97 (int8
EfficientNet-Lite0 from 640 × 480, one thread for the runtime, a core to spare: `benchmarks/stream_overhead.py`). Where
the runtime has every core they compete: 0.88 with one thread, 0.94 with two. Of a live source, frames that are dropped
were preprocessed in vain; that costs 1 % of a core at 30 frames per second, and takes preprocessing out of the age of
those that are not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ._ahead import Ahead
from ._classifier import Classifier
from ._errors import SourceError, UsageError
from ._preprocess import load_opencv
from ._sources import Frame, Source
from ._statistics import Percentiles, TimeHistogram

__all__ = ["STAGES", "StreamResult", "StreamStatistics", "StreamSummary", "stream"]

STAGES = ("wait", "preprocess", "invoke", "decide")


@dataclass(frozen=True)
class StreamResult:
    """What the loop says about one frame.

    Attributes:
        frame: the frame itself, with its picture: keep a few, not thousands.
        label: the best label, or None if its score is below the reject threshold.
        index: place of the best label among the file's labels, rejected or not.
        score: of the best label, rejected or not.
        age_ms: from capture to label.
        stages_ms: how long each of `STAGES` took. Preprocessing overlaps the others, so they do not add up to the age.
        dropped: frames that the source produced so far and the loop never saw.
        right: whether the label is the frame's true label; None where the frame has none that the model knows.
    """

    frame: Frame
    label: Optional[str]
    index: int
    score: float
    age_ms: float
    stages_ms: dict[str, float]
    dropped: int
    right: Optional[bool]

    def to_record(self) -> dict[str, Any]:
        """Return what goes into JSON: everything but the picture. Times are rounded to microseconds."""
        record: dict[str, Any] = {
            "frame": self.frame.id,
            "captured": _iso(self.frame.captured_utc),
            "age_ms": _number(self.age_ms),
            "label": self.label,
            "score": _number(self.score, 6),
            "stages_ms": {stage: _number(took_ms) for stage, took_ms in self.stages_ms.items()},
            "dropped": self.dropped,
        }
        if self.frame.name is not None:
            record["name"] = self.frame.name
        if self.frame.true_label is not None:
            record["true_label"] = self.frame.true_label
        return record


@dataclass(frozen=True)
class StreamSummary:
    """What a stream came to.

    Attributes:
        frames: how many got a label (or were rejected).
        dropped: how many the source produced and the loop never saw.
        seconds: from the first capture to the last label.
        fps: labels per second between the first label and the last; NaN for fewer than two frames.
        age: capture to label.
        stages: the same for each of `STAGES`.
        labelled: how many frames had a true label that the model knows.
        right: how many of these got it.
    """

    frames: int
    dropped: int
    seconds: float
    fps: float
    age: Percentiles
    stages: dict[str, Percentiles]
    labelled: int
    right: int

    @property
    def right_share(self) -> Optional[float]:
        """`right` out of `labelled`, 0 to 1; None if no frame had a true label."""
        return self.right / self.labelled if self.labelled else None

    def to_record(self) -> dict[str, Any]:
        """Return what goes into JSON. What could not be measured is null."""
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "seconds": _number(self.seconds),
            "fps": _number(self.fps),
            "age_ms": _spread(self.age),
            "stages_ms": {stage: _spread(times) for stage, times in self.stages.items()},
            "labelled": self.labelled,
            "right": self.right,
            "right_share": None if self.right_share is None else _number(self.right_share, 6),
        }

    def lines(self) -> list[str]:
        """Return the same for people."""
        rate = f", {self.fps:.1f} a second" if math.isfinite(self.fps) else ""
        lines = [f"{self.frames} frames in {self.seconds:.1f} s{rate}, {self.dropped} dropped"]
        for name, times in (("age", self.age), *self.stages.items()):
            lines.append(f"{name:<11} p50 {times.p50_ms:8.2f}   p90 {times.p90_ms:8.2f}   p99 {times.p99_ms:8.2f} ms")
        if self.right_share is not None:
            lines.append(f"{100 * self.right_share:.1f} % right: {self.right} of {self.labelled} with a true label")
        return lines


class StreamStatistics:
    """Adds results up in constant memory, however long the stream runs."""

    def __init__(self) -> None:
        self._frames = self._dropped = self._labelled = self._right = 0
        self._began_ns = self._first_label_ns = self._last_label_ns = 0
        self._age = TimeHistogram()
        self._stages = {stage: TimeHistogram() for stage in STAGES}

    def add(self, result: StreamResult) -> None:
        """Count one result."""
        label_ns = result.frame.captured_ns + round(1e6 * result.age_ms)
        if not self._frames:
            self._began_ns, self._first_label_ns = result.frame.captured_ns, label_ns
        self._last_label_ns = label_ns
        self._frames += 1
        self._dropped = result.dropped
        self._labelled += result.right is not None
        self._right += result.right is True
        self._age.add_ms(result.age_ms)
        for stage, took_ms in result.stages_ms.items():
            self._stages[stage].add_ms(took_ms)

    def summary(self) -> StreamSummary:
        """Return what it comes to so far."""
        # From intervals, not from counts: the first label ends no interval.
        between_s = (self._last_label_ns - self._first_label_ns) / 1e9
        return StreamSummary(
            frames=self._frames,
            dropped=self._dropped,
            seconds=(self._last_label_ns - self._began_ns) / 1e9,
            fps=(self._frames - 1) / between_s if between_s > 0 else math.nan,
            age=self._age.percentiles(),
            stages={stage: times.percentiles() for stage, times in self._stages.items()},
            labelled=self._labelled,
            right=self._right,
        )


def stream(
    classifier: Classifier,
    source: Source,
    *,
    frames: Optional[int] = None,
    seconds: Optional[float] = None,
    threshold: Optional[float] = None,
) -> Iterator[StreamResult]:
    """Classify the frames of a source, one result each, as they come. The caller closes the source.

        with open_source("0") as source:
            for result in stream(classifier, source):
                print(result.label, result.score)

    Args:
        classifier: an open model file.
        source: see `open_source`, or your own.
        frames: stop after so many results; default: when the source ends.
        seconds: stop with the first result that comes so long after the start, or later.
        threshold: a best score below it gives no label; default: what the file's metadata says.

    Raises:
        UsageError: a number is out of range.
        SourceError: the source gives nothing, or broke off.
    """
    if frames is not None and frames < 1:
        raise UsageError(f"the number of frames must be at least 1, got {frames}")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"the number of seconds must be positive, got {seconds:g}")
    threshold = classifier.metadata.reject_threshold if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise UsageError(f"the threshold must lie between 0 and 1, got {threshold:g}")
    # Now, because importing it takes as long as several frames of a camera, and no source runs yet.
    load_opencv()
    return _loop(classifier, source, frames or math.inf, seconds or math.inf, threshold)


@dataclass(frozen=True, eq=False)
class _Prepared:
    frame: Frame
    pixels_nhwc: npt.NDArray[np.uint8]
    took_ms: float


def _prepared(classifier: Classifier, source: Source) -> Iterator[_Prepared]:
    for frame in source.frames():
        began_ns = time.monotonic_ns()
        pixels_nhwc = classifier.preprocess(frame.picture, frame.picture_order)
        yield _Prepared(frame, pixels_nhwc, (time.monotonic_ns() - began_ns) / 1e6)


def _loop(
    classifier: Classifier, source: Source, frames: float, seconds: float, threshold: float
) -> Iterator[StreamResult]:
    clock_ns = time.monotonic_ns
    labels = classifier.metadata.labels
    known = frozenset(labels)
    done = 0
    end_ns = clock_ns() + 1e9 * seconds
    with Ahead(lambda: _prepared(classifier, source), newest=source.live) as ahead:
        asked_ns = clock_ns()
        for prepared in ahead:
            frame = prepared.frame
            got_ns = clock_ns()
            raw_scores = classifier.run(prepared.pixels_nhwc)
            invoked_ns = clock_ns()
            scores = classifier.temper(raw_scores)
            index = int(scores.argmax())
            score = float(scores[index])
            # Written so that a score that is not a number is rejected.
            label = labels[index] if score >= threshold else None
            decided_ns = clock_ns()
            done += 1
            yield StreamResult(
                frame=frame,
                label=label,
                index=index,
                score=score,
                age_ms=(decided_ns - frame.captured_ns) / 1e6,
                stages_ms={
                    "wait": (got_ns - asked_ns) / 1e6,
                    "preprocess": prepared.took_ms,
                    "invoke": (invoked_ns - got_ns) / 1e6,
                    "decide": (decided_ns - invoked_ns) / 1e6,
                },
                dropped=frame.id + 1 - done,
                right=label == frame.true_label if frame.true_label in known else None,
            )
            if done >= frames or decided_ns >= end_ns:
                return
            asked_ns = clock_ns()
    if not done:
        raise SourceError("the source gave no frame")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: float, digits: int = 3) -> Optional[float]:
    """Round, and make null of what JSON has no number for."""
    return round(value, digits) if math.isfinite(value) else None


def _spread(times: Percentiles) -> dict[str, Optional[float]]:
    return {"p50": _number(times.p50_ms), "p90": _number(times.p90_ms), "p99": _number(times.p99_ms)}
