"""The frame loop: wait, preprocess, invoke, decide; one result each.

One thread captures, decodes and preprocesses the next frame; the caller's thread invokes and decides. One thread for
all would be simpler and reaches 0.93 of the frames per second of a bare invoke loop, two reach 0.97 (int8
EfficientNet-Lite0 from 640 × 480, one thread for the runtime, a core to spare: `benchmarks/stream_overhead.py`). Where
the runtime has every core they compete: 0.88 with one thread, 0.94 with two. Of a live source, frames that are dropped
were preprocessed in vain; that costs 1 % of a core at 30 frames per second, and takes preprocessing out of the age of
those that are not. Several live sources keep their newest frames themselves: there the thread begins one when it is
asked for, because what it made ahead would be as old as the model is slow.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Optional, Union

import numpy as np
import numpy.typing as npt

from ._ahead import Ahead
from ._classifier import Classifier
from ._decision import Deciders, DecisionRule
from ._errors import SourceError, UsageError
from ._preprocess import load_opencv
from ._result import StreamResult
from ._sources import Frame, Source

__all__ = ["stream"]


def stream(
    classifier: Union[Classifier, Callable[[], Classifier]],
    source: Source,
    *,
    frames: Optional[int] = None,
    seconds: Optional[float] = None,
    rule: Optional[DecisionRule] = None,
    on_wait: Optional[Callable[[], None]] = None,
    on_end: Optional[Callable[[], None]] = None,
) -> Generator[StreamResult, None, None]:
    """Classify the frames of a source, one result each, as they come. The caller closes the source.

        with open_source("0") as source:
            for result in stream(classifier, source):
                print(result.label, result.score)

    Args:
        classifier: an open model file; or what returns one, and is asked before each frame: the file may change.
        source: see `open_source`, or your own.
        frames: stop after so many results; default: when the source ends.
        seconds: stop with the first result that comes so long after the start, or later; while no frame comes, within a
            second of it.
        rule: when a label is shown; default: each frame speaks for itself, by the threshold in the file's metadata.
        on_wait: called once a second while no frame comes; what it raises ends the stream.
        on_end: called when the stream ends or is left, before up to half a second goes by with waiting for the frame
            that is being read. `source.close` makes that shorter.

    Raises:
        UsageError: a number is out of range.
        SourceError: the source gives nothing, or broke off.
    """
    if frames is not None and frames < 1:
        raise UsageError(f"the number of frames must be at least 1, got {frames}")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"the number of seconds must be positive, got {seconds:g}")
    # Now, because importing it takes as long as several frames of a camera, and no source runs yet.
    load_opencv()
    current = (lambda: classifier) if isinstance(classifier, Classifier) else classifier
    return _loop(current, source, frames or math.inf, seconds or math.inf, rule or DecisionRule(), on_wait, on_end)


@dataclass(frozen=True, eq=False)
class _Prepared:
    frame: Frame
    classifier: Classifier
    pixels_nhwc: npt.NDArray[np.uint8]
    took_ms: float
    ready_ns: int


def _prepared(current: Callable[[], Classifier], source: Source) -> Iterator[_Prepared]:
    for frame in source.frames():
        began_ns = time.monotonic_ns()
        classifier = current()
        pixels_nhwc = classifier.preprocess(frame.picture, frame.picture_order)
        ready_ns = time.monotonic_ns()
        yield _Prepared(frame, classifier, pixels_nhwc, (ready_ns - began_ns) / 1e6, ready_ns)


def _loop(
    current: Callable[[], Classifier],
    source: Source,
    frames: float,
    seconds: float,
    rule: DecisionRule,
    on_wait: Optional[Callable[[], None]],
    on_end: Optional[Callable[[], None]],
) -> Generator[StreamResult, None, None]:
    clock_ns = time.monotonic_ns
    counts = _Counts()
    before: Optional[Classifier] = None
    deciders = Deciders(rule, 0.0)
    # By label, not by place: another file may have other labels.
    shown: dict[Optional[str], Optional[str]] = {}
    end_ns = clock_ns() + 1e9 * seconds

    def waited() -> None:
        if on_wait is not None:
            on_wait()
        if clock_ns() >= end_ns:
            raise _TimeIsUp

    ahead = Ahead(
        lambda: _prepared(current, source),
        newest=source.live and not source.keeps_newest,
        when_asked=source.live and source.keeps_newest,
        on_wait=waited,
    )
    with contextlib.suppress(_TimeIsUp), ahead, contextlib.ExitStack() as left:
        if on_end is not None:
            left.callback(on_end)
        asked_ns = clock_ns()
        for prepared in ahead:
            frame = prepared.frame
            classifier = prepared.classifier
            labels = classifier.metadata.labels
            if classifier is not before:
                # Scores of one file are not averaged with those of another.
                before, deciders = classifier, Deciders(rule, classifier.metadata.reject_threshold)
            got_ns = clock_ns()
            raw_scores = classifier.run(prepared.pixels_nhwc)
            invoked_ns = clock_ns()
            scores = classifier.temper(raw_scores)
            decision = deciders.decide(frame.source, scores)
            label = labels[decision.index] if decision.accepted else None
            changed = shown.get(frame.source, label) != label
            shown[frame.source] = label
            best = int(scores.argmax())
            decided_ns = clock_ns()
            counts.add(frame)
            yield StreamResult(
                frame=frame,
                label=label,
                index=decision.index,
                score=decision.score,
                changed=changed,
                frame_label=labels[best] if deciders.accepts(scores[best]) else None,
                scores=scores,
                labels=labels,
                age_ms=(decided_ns - frame.captured_ns) / 1e6,
                stages_ms={
                    "wait": (got_ns - asked_ns) / 1e6,
                    "preprocess": prepared.took_ms,
                    "ready": (got_ns - prepared.ready_ns) / 1e6,
                    "invoke": (invoked_ns - got_ns) / 1e6,
                    "decide": (decided_ns - invoked_ns) / 1e6,
                },
                dropped=counts.dropped,
                still=counts.still,
                queued=ahead.waiting,
                right=label == frame.true_label if frame.true_label in classifier.known else None,
                file_sha256=classifier.file.sha256,
            )
            if counts.frames >= frames or decided_ns >= end_ns:
                return
            asked_ns = clock_ns()
    if not counts.frames:
        raise SourceError("the source gave no frame")


class _TimeIsUp(Exception):
    """The seconds were over, and no frame had come."""


class _Counts:
    """How many frames came, and how many did not: by their ids, which rise by one for each that a source produced."""

    def __init__(self) -> None:
        self.frames = self.dropped = self.still = 0
        self._next: Counter[Optional[str]] = Counter()
        self._still: Counter[Optional[str]] = Counter()

    def add(self, frame: Frame) -> None:
        still = frame.still - self._still[frame.source]
        self.still += still
        self.dropped += frame.id - self._next[frame.source] - still
        self._next[frame.source], self._still[frame.source] = frame.id + 1, frame.still
        self.frames += 1
