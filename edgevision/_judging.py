"""The answers of models and files, and how long files take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import Classifier, Percentiles

from ._features import run_frozen
from ._flips import Answers
from ._progress import decoding_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    import numpy.typing as npt

    from ._pictures import Pictures

__all__ = ["answers_of_file", "answers_of_model", "time_in_turns"]

_BATCH = 64
#: Latency goes round all files so often.
_ROUNDS = 12
#: A visit lasts for so many runs and so long, at most for so long.
_RUNS, _LEAST_NS, _MOST_NS = 20, 50_000_000, 250_000_000
#: Latency cycles over so many pictures.
_SAMPLE = 32


def answers_of_model(model: keras.Model, pictures: Pictures) -> Answers:
    """Ask a Keras model that takes pixels 0..255 and ends in one score per label."""
    scores = run_frozen(model, pictures.pixels, np.arange(len(pictures)))
    return Answers.of(pictures, np.concatenate(list(scores)))


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
