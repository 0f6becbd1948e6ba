"""What the frame loop costs: its frames per second over those of a bare `invoke()` loop, in one run.

    python benchmarks/stream_overhead.py exports/efficientnet-lite0.int8.tflite --threads 2

Both use the same interpreter with the same threads. The bare loop calls `invoke()` and nothing else: no input is set,
no output is read. The frame loop takes moving pictures from a source that never waits, preprocesses them, invokes,
decides and adds up statistics, as `edgevision-device stream` does. A round is bare, loop, bare, so that a machine that
warms up or slows down does so for both; its ratio is the loop over the mean of the two. The result is the median of the
rounds with its 95 % interval. Run it on an idle machine: preprocessing wants a core beside the
runtime's threads.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgevision_device import ArraySource, Classifier, StreamStatistics, count_cores, load_opencv, stream


def moving_pictures(size_wh: tuple[int, int], count: int = 30) -> list[np.ndarray]:
    """Render a scene with soft detail that drifts to the right: uint8 BGR of shape (height, width, 3)."""
    width, height = size_wh
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    scene = load_opencv().resize(coarse, size_wh)
    return [np.ascontiguousarray(np.roll(scene, 8 * step, axis=1)) for step in range(count)]


def median_interval(values: list[float]) -> tuple[float, float]:
    """Return the interval that holds the median of what was sampled with 95 % confidence or more.

    From order statistics, W. R. Thompson, Annals of Mathematical Statistics 7 (1936), 122-128; it assumes no
    distribution. Of fewer than 6 values it is the smallest and the largest, and the confidence is less.

    >>> median_interval([float(n) for n in range(1, 21)])
    (6.0, 15.0)
    """
    ranked = sorted(values)
    outside, tail = 0, 0.0
    while outside < len(ranked) // 2:
        tail += math.comb(len(ranked), outside) / 2 ** len(ranked)
        if 2 * tail > 0.05:
            break
        outside += 1
    outside = max(outside, 1)
    return ranked[outside - 1], ranked[-outside]


def bare_invoke(classifier: Classifier) -> Callable[[], Any]:
    """Return the interpreter's own `invoke`, or for ONNX Runtime, which has none, its run on a fixed input."""
    interpreter = getattr(classifier.runtime, "_interpreter", None)
    if interpreter is not None:
        return interpreter.invoke
    shape, dtype = classifier.runtime.input.shape, classifier.runtime.input.dtype
    fixed = np.zeros(shape, dtype)
    return lambda: classifier.runtime.run(fixed)


def bare_fps(invoke: Callable[[], Any], count: int) -> float:
    """Frames per second of `count` invokes."""
    began = time.perf_counter()
    for _ in range(count):
        invoke()
    return count / (time.perf_counter() - began)


def loop_fps(classifier: Classifier, pictures: list[np.ndarray], count: int, totals: StreamStatistics) -> float:
    """Frames per second of `count` frames through the loop."""
    source = ArraySource(pictures, "bgr", repeat=count // len(pictures) + 1)
    began = time.perf_counter()
    for result in stream(classifier, source, frames=count):
        totals.add(result)
    return count / (time.perf_counter() - began)


def measure(classifier: Classifier, size_wh: tuple[int, int], seconds: float, rounds: int) -> dict[str, Any]:
    """Run the rounds; return what goes into the JSON record."""
    pictures = moving_pictures(size_wh)
    invoke = bare_invoke(classifier)
    loop_fps(classifier, pictures, 20, StreamStatistics())  # warm-up: sets an input, too, so that invoke() has one
    # A third of each round goes to each part.
    count = max(5, round(bare_fps(invoke, 20) * seconds / rounds / 3))
    totals = StreamStatistics()
    measured: list[dict[str, float]] = []
    for _ in range(rounds):
        before = bare_fps(invoke, count)
        loop = loop_fps(classifier, pictures, count, totals)
        bare = statistics.harmonic_mean([before, bare_fps(invoke, count)])
        measured.append({"bare_fps": bare, "loop_fps": loop, "ratio": loop / bare})
    ratios = [entry["ratio"] for entry in measured]
    low, high = median_interval(ratios)
    summary = totals.summary()
    return {
        "file": str(classifier.file.path),
        "sha256": classifier.file.sha256,
        "runtime": classifier.runtime.name,
        "runtime_version": classifier.runtime.version,
        "threads": classifier.runtime.threads,
        "machine": platform.machine(),
        "cores": count_cores(),
        "python": platform.python_version(),
        "source_size_wh": size_wh,
        "input_size_wh": classifier.metadata.size_wh,
        "frames_per_part": count,
        "bare_fps": statistics.median(entry["bare_fps"] for entry in measured),
        "loop_fps": statistics.median(entry["loop_fps"] for entry in measured),
        "ratio": statistics.median(ratios),
        "ratio_low": low,
        "ratio_high": high,
        "stages_p50_ms": {stage: times.p50_ms for stage, times in summary.stages.items()},
        "rounds": measured,
    }


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="a .tflite or .onnx file that edgevision wrote")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for the runtime (default: cores, at most 4)")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="about how long in all (default: 30)")
    parser.add_argument("--rounds", type=int, default=41, metavar="R", help="(default: 41)")
    parser.add_argument("--source-size", default="640x480", metavar="WxH", help="of the pictures (default: 640x480)")
    parser.add_argument("--json", action="store_true", help="print one JSON record")
    args = parser.parse_args()
    try:
        width, height = (int(number) for number in args.source_size.split("x"))
    except ValueError:
        parser.error(f"--source-size is WIDTHxHEIGHT such as 640x480, got {args.source_size!r}")
    if args.rounds < 1 or not args.seconds > 0 or width < 1 or height < 1:
        parser.error("--rounds, --seconds and --source-size must be positive")
    record = measure(Classifier(args.file, threads=args.threads), (width, height), args.seconds, args.rounds)
    if args.json:
        print(json.dumps(record))
        return
    print(f"{record['file']}: {record['runtime']} {record['runtime_version']}")
    print(f"{record['threads']} threads, {record['cores']} cores")
    print(f"bare invoke() {record['bare_fps']:8.1f} frames a second")
    print(f"frame loop    {record['loop_fps']:8.1f} frames a second, from {width} x {height}")
    stages = ", ".join(f"{stage} {took_ms:.2f}" for stage, took_ms in record["stages_p50_ms"].items())
    print(f"stages, p50 in ms: {stages}")
    print(
        f"ratio {record['ratio']:.3f} (median of {args.rounds} rounds of 3 x {record['frames_per_part']} frames; "
        f"95 % interval {record['ratio_low']:.3f} to {record['ratio_high']:.3f})"
    )


if __name__ == "__main__":
    main()
