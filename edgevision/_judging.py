"""Judging models and files on the pictures that no training has seen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import Classifier, Percentiles

from ._datasets import load_data
from ._flips import Answers
from ._hardware import jit_compile
from ._looking import with_labels_of
from ._progress import decoding_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    import numpy.typing as npt

    from ._pictures import Pictures
    from ._run import Run

__all__ = ["HeldOut", "answers_of_file", "answers_of_model", "time_in_turns"]

_BATCH = 64
#: Latency goes round all files so often.
_ROUNDS = 12
#: A visit lasts for so many runs and so long, at most for so long.
_RUNS, _LEAST_NS, _MOST_NS = 20, 50_000_000, 250_000_000
#: Latency cycles over so many pictures.
_SAMPLE = 32


@dataclass(frozen=True)
class HeldOut:
    """Loads the pictures that judge runs, once for all runs that share them.

    Attributes:
        strict: see `load_data`.
    """

    strict: bool = False
    _loaded: dict[tuple[object, ...], tuple[str, Pictures]] = field(
        default_factory=dict["tuple[object, ...]", "tuple[str, Pictures]"]
    )

    def of(self, run: Run) -> tuple[str, Pictures]:
        """Return a run's `test` part at its size, or `val` where the data has no test part, and which of them it is.

        Raises:
            DataError: the pictures have a label that the run did not learn.
        """
        key = (run.data, run.data_dir, run.size_wh, run.resize, run.validation_split)
        if key not in self._loaded:
            with decoding_bar() as on_progress:
                splits = load_data(
                    run.data,
                    run.size_wh,
                    run.resize,
                    data_dir=run.data_dir,
                    strict=self.strict,
                    validation_split=run.validation_split,
                    on_progress=on_progress,
                )
            self._loaded[key] = ("test", splits.test) if len(splits.test) else ("val", splits.val)
        part, pictures = self._loaded[key]
        return part, with_labels_of(pictures, run.labels)


def answers_of_model(model: keras.Model, pictures: Pictures) -> Answers:
    """Ask a Keras model that takes pixels 0..255 and ends in one score per label."""
    compiled: Any = model
    compiled.compile(jit_compile=jit_compile())
    parts = [np.asarray(compiled.predict_on_batch(each.astype(np.float32))) for each in pictures.batches(_BATCH)]
    return Answers.of(pictures, np.concatenate(parts))


def answers_of_file(classifier: Classifier, pictures: Pictures) -> Answers:
    """Ask an exported file, through what runs on the device.

    Args:
        classifier: of the file.
        pictures: at the file's size; they got there as they would on the device, by `preprocess`.
    """
    scores: list[npt.NDArray[np.float32]] = []
    with decoding_bar("pictures through the file") as on_progress:
        for batch in pictures.batches(_BATCH):
            scores += [classifier.scores(picture) for picture in batch]
            on_progress(len(scores), len(pictures))
    return Answers.of(pictures, scores)


def time_in_turns(
    files: Sequence[tuple[Path, Pictures]],
    threads: int | None = None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[tuple[Percentiles, int]]:
    """Time files in turns, so that what slows the machine down for a while slows all of them down.

    Each visit to a file lets one run pass and times at least 20, for at least 50 ms; where these take longer than 250
    ms, fewer, but 2. The first of 12 rounds is for warming up, and every other round goes backwards.

    Args:
        files: each with pictures at its size.
        threads: for the runtime; default: see `Classifier`.
        clock_ns: tells the time.

    Returns:
        of each file its latency and the threads that it used.
    """
    opened: list[tuple[Classifier, list[npt.NDArray[np.uint8]]]] = []
    for path, pictures in files:
        classifier = Classifier(path, threads=threads)
        opened.append((classifier, [classifier.preprocess(each) for each in pictures.pixels(slice(_SAMPLE))]))
    times_ms: list[list[float]] = [[] for _ in opened]
    for turn in range(_ROUNDS):
        places = range(len(opened)) if turn % 2 == 0 else range(len(opened) - 1, -1, -1)
        for place in places:
            timed = _visit(*opened[place], clock_ns)
            if turn:
                times_ms[place] += timed
    return [
        (Percentiles.of_ms(times), classifier.runtime.threads)
        for times, (classifier, _) in zip(times_ms, opened, strict=True)
    ]


def _visit(classifier: Classifier, sample: Sequence[npt.NDArray[np.uint8]], clock_ns: Callable[[], int]) -> list[float]:
    classifier.run(sample[-1])  # the caches still hold another file's weights
    times_ms: list[float] = []
    started = clock_ns()
    while True:
        pixels = sample[len(times_ms) % len(sample)]
        before = clock_ns()
        classifier.run(pixels)
        after = clock_ns()
        times_ms.append((after - before) / 1e6)
        passed = after - started
        if len(times_ms) > 1 and (passed > _MOST_NS or (passed >= _LEAST_NS and len(times_ms) >= _RUNS)):
            return times_ms
