"""The process that measures one file: JSON lines on standard input and on standard output.

A process of its own, because a peak of memory and a first run happen once in a process, and because native code that
dies on a damaged file takes its process along. It does nothing unless asked: other files are timed meanwhile.

The first line is a `Request`, each further one a question: `{"do": "time", "runs": N}`, `{"do": "finish"}`,
`{"do": "sustain", "duration_s": SECONDS}`, `{"do": "stream", "least_runs": N, "least_s": SECONDS}`, or
`{"do": "operators"}`. Each is answered, the first one when the file is open and warm: any number of
`{"stage", "done", "total"}`, then one `{"result"}` or `{"error"}`; none of the last two means that the process died.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

import numpy as np
import numpy.typing as npt

from edgevision_device import (
    RUNTIMES,
    Classifier,
    DataError,
    EdgevisionError,
    LabelledPicture,
    Metadata,
    MissingPackageError,
    Percentiles,
    PictureError,
    count_cores,
    load_opencv,
    load_runtime,
    read_picture,
)

from ._accuracy import classify_all
from ._cost import read_cost
from ._mlperf import time_stream
from ._onnx_cost import read_onnx_cost
from ._operators import time_onnx_operators, time_tflite_operators
from ._sustained import run_spells

__all__ = ["Request", "main", "settle", "spread", "time_runs"]

Pixels = npt.NDArray[np.uint8]
Item = TypeVar("Item")
Send = Callable[[dict[str, Any]], None]

#: Latency cycles over so many preprocessed pictures: enough that no branch predictor learns one, little memory.
_SAMPLE = 32
#: How long, and how often at most, to look whether the runtime still works after a run.
_SETTLE_S = 0.005
_SETTLE_STEPS = 100
#: Preprocessing and deciding are timed on so many pictures.
_PARTS = 100
#: Height, width and channels of a frame of noise, which stands in for a camera's.
_FRAME = (480, 640, 3)


@dataclass(frozen=True)
class Request:
    """What the parent asks for.

    Attributes:
        file, format: the model file and its format.
        given: `Metadata.to_json` of a file that edgevision did not write, else None.
        runtime, threads: for `Classifier`.
        warmup_runs, warmup_limit_s: as in `Settings`.
        pictures: path and label of each; without any, times are taken on pixels drawn at random.
        classify: count what the pictures are called.
    """

    file: str
    format: str
    given: Optional[str]
    runtime: Optional[str]
    threads: Optional[int]
    warmup_runs: int
    warmup_limit_s: Optional[float]
    pictures: list[tuple[str, str]]
    classify: bool = True


def main() -> int:
    """Answer the lines on standard input until it ends."""
    request = Request(**json.loads(sys.stdin.readline()))
    # Native libraries print to standard output when they like: the answers keep it, everybody else gets the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        opened = _Opened(request)
        send({"result": opened.found})
        for line in sys.stdin:
            question = json.loads(line)
            if question["do"] == "time":
                send({"result": opened.time(question["runs"])})
            elif question["do"] == "sustain":
                send({"result": opened.sustain(question["duration_s"])})
            elif question["do"] == "stream":
                send({"result": opened.stream(question["least_runs"], question["least_s"])})
            elif question["do"] == "operators":
                send({"result": opened.operators()})
            else:
                send({"result": opened.finish(send)})
    except EdgevisionError as error:
        send({"error": str(error)})
    return 0


class _Opened:
    """The file, open and warm.

    Attributes:
        found: what that took.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._pictures = [LabelledPicture(Path(path), label) for path, label in request.pictures]
        self._given = None if request.given is None else Metadata.from_record(json.loads(request.given))
        # Before the file is opened, so that neither its memory nor its time counts the runtime's own library.
        opencv = load_opencv()
        for name in RUNTIMES[request.format] if request.runtime is None else (request.runtime,):
            with contextlib.suppress(MissingPackageError):
                load_runtime(name)
                break
        _reset_peak()
        self._before_bytes = _peak_bytes()

        start = time.perf_counter_ns()
        self._classifier = classifier = Classifier(
            request.file, threads=request.threads, runtime=request.runtime, given=self._given
        )
        open_ms = (time.perf_counter_ns() - start) / 1e6
        self._opened_bytes = _peak_bytes()

        # Without end: no two turns start with the same picture, unless there is only one.
        self._sample = cycle(_sample(classifier, self._pictures))
        # A photograph decodes to more bytes than many a model has; they are not the file's.
        self._could_reset = _reset_peak()
        (first_ms,) = time_runs(classifier.run, self._sample, 1)
        warmup_ms = time_runs(classifier.run, self._sample, request.warmup_runs, request.warmup_limit_s)
        settle()
        self.found = {
            "runtime": classifier.runtime.name,
            "runtime_version": classifier.runtime.version,
            "threads": classifier.runtime.threads,
            "opencv": str(opencv.__version__),
            "open_ms": open_ms,
            "first_ms": first_ms,
            "warmup_ms": warmup_ms,
        }

    def time(self, runs: int) -> dict[str, Any]:
        """Time so many runs, after one that does not count."""
        own_s = time.process_time()
        self._classifier.run(next(self._sample))
        times_ms = time_runs(self._classifier.run, self._sample, runs)
        settle()
        return {"times_ms": times_ms, "cpu_s": time.process_time() - own_s}

    def stream(self, least_runs: int, least_s: float) -> dict[str, Any]:
        """Time one run after the other, see `time_stream`."""
        found = time_stream(self._classifier.run, self._sample, least_runs, least_s)
        return {"latency": found.latency.__dict__, "duration_s": found.duration_s}

    def sustain(self, duration_s: float) -> dict[str, Any]:
        """Run without a pause, see `run_spells`."""
        return run_spells(self._classifier.run, self._sample, duration_s).__dict__

    def operators(self) -> dict[str, Any]:
        """Time the operators, see `OperatorTimes`."""
        model, ran = self._classifier.file.model, self._classifier.runtime
        # A file of somebody else takes floats, or channels first: no kernel's time depends on which number is where.
        pixels = np.resize(next(self._sample), ran.input.shape).astype(ran.input.dtype)
        is_onnx = self._request.format == "onnx"
        found = (
            time_onnx_operators(model, ran.threads, pixels)
            if is_onnx
            else time_tflite_operators(model, ran.name, ran.threads, pixels)
        )
        return found.to_record()

    def finish(self, send: Send) -> dict[str, Any]:
        """Tell the memory of all that, and the cost, and classify every picture that is to be."""
        ran_bytes = _peak_bytes()
        peak_bytes = max(self._opened_bytes or 0, ran_bytes or 0)
        model = self._classifier.file.model
        is_onnx = self._request.format == "onnx"
        cost = read_onnx_cost(model) if is_onnx else read_cost(model, self._classifier.runtime.name)
        known = self._before_bytes is not None and self._opened_bytes is not None and ran_bytes is not None
        return {
            "memory_peak_bytes": peak_bytes if known else None,
            "memory_before_bytes": self._before_bytes,
            "memory_file_bytes": peak_bytes - (self._before_bytes or 0) if known and self._could_reset else None,
            "cost": None if cost is None else cost.to_record(),
            **_time_parts(self._classifier, _some_decoded(self._pictures, _PARTS)),
            **self._classify_all(send),
        }

    def _classify_all(self, send: Send) -> dict[str, Any]:
        """Classify every picture, with an interpreter of one thread for each core."""
        request, total = self._request, len(self._pictures)
        if not request.classify or not total:
            return {"confusion": {}, "predicted": None, "scores": None, "top5_right": None, "skipped": []}
        classifiers = [
            Classifier(request.file, threads=1, runtime=request.runtime, given=self._given)
            for _ in range(min(count_cores(), total))
        ]

        def tell(done: int) -> None:
            send({"stage": "accuracy", "done": done, "total": total})

        return classify_all(classifiers, self._pictures, tell)


def time_runs(
    run: Callable[[Pixels], object],
    sample: Iterator[Pixels],
    runs: int,
    limit_s: Optional[float] = None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> list[float]:
    """Time up to `runs` runs, in milliseconds; fewer once `limit_s` have passed."""
    times_ms: list[float] = []
    started = clock_ns()
    while len(times_ms) < runs:
        pixels = next(sample)
        before = clock_ns()
        run(pixels)
        after = clock_ns()
        times_ms.append((after - before) / 1e6)
        if limit_s is not None and after - started >= limit_s * 1e9:
            break
    return times_ms


def settle(cpu_s: Callable[[], float] = time.process_time, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the runtime's threads sleep.

    After a run those of ONNX Runtime spin for some 30 ms, in wait of the next one: another file would be timed on
    cores that are not free.
    """
    for _ in range(_SETTLE_STEPS):
        before_s = cpu_s()
        sleep(_SETTLE_S)
        if cpu_s() - before_s < _SETTLE_S / 5:
            return


def _sample(classifier: Classifier, pictures: Sequence[LabelledPicture]) -> list[Pixels]:
    readable = list(map(classifier.preprocess, _some_decoded(pictures, _SAMPLE)))
    if not readable:
        raise DataError(f"none of the {len(pictures)} pictures can be decoded, the first one is {pictures[0].path}")
    return readable


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return so many, or all if there are fewer, from all over the list: pictures are sorted by label.

    >>> spread("aaabbbc", 3)
    ['a', 'b', 'c']
    """
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places.tolist()]


def _some_decoded(pictures: Sequence[LabelledPicture], count: int) -> Iterator[Pixels]:
    """Yield what can be decoded of so many pictures; if nothing can, the first picture of all that can."""
    found = False
    for decoded in _decoded(spread(pictures, count)):
        found = True
        yield decoded
    if not found:
        yield from islice(_decoded(pictures), 1)


def _decoded(pictures: Sequence[LabelledPicture]) -> Iterator[Pixels]:
    """Yield what can be decoded, one in memory at a time; where there are no pictures, frames of noise."""
    if not pictures:
        generator = np.random.default_rng(0)
        for _ in range(_SAMPLE):
            yield generator.integers(0, 256, _FRAME, np.uint8)
    for picture in pictures:
        with contextlib.suppress(PictureError):
            yield read_picture(picture.path)


def _time_parts(
    classifier: Classifier,
    pictures: Iterable[Pixels],
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Any]:
    """Time what happens before and after a run of each decoded picture."""
    preprocess_ms: list[float] = []
    decide_ms: list[float] = []
    for decoded in pictures:
        start = clock_ns()
        pixels = classifier.preprocess(decoded)
        preprocess_ms.append((clock_ns() - start) / 1e6)
        scores = classifier.run(pixels)
        start = clock_ns()
        classifier.rank(classifier.temper(scores))
        decide_ms.append((clock_ns() - start) / 1e6)
    found = {"preprocess": preprocess_ms, "decide": decide_ms}
    return {part: Percentiles.of_ms(times_ms).__dict__ for part, times_ms in found.items()}


def _peak_bytes() -> Optional[int]:
    """Return the most memory that was ever resident, or None where /proc does not say.

    Not getrusage's ru_maxrss: Linux keeps that over exec, so a child starts with its parent's.
    """
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None


def _reset_peak() -> bool:
    """Set the peak to what is resident now (proc(5), clear_refs); return whether that is possible here."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
