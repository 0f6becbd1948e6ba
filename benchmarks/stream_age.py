"""How old a label is when the network is slower than the camera: `python benchmarks/stream_age.py FILE`.

    python benchmarks/stream_age.py exports/efficientnet-lite0.int8.tflite --threads 1 --invokes 2.5

A source on a clock stands in for the camera. If the file alone is fast enough for the clock's rate, each invoke is
made longer by sleeping, until it takes `--invokes` frame intervals. What is in order: the p99 of the age, from capture
to label, is at most two invokes (p99) plus one frame interval; no frame is older than the one classified before it; and
every frame that was not classified was counted as dropped. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from edgevision_device import ArraySource, Classifier, ClockedSource, Runtime, StreamStatistics, stream
from stream_overhead import moving_pictures


class SlowRuntime:
    """A runtime whose every run lasts at least so long."""

    def __init__(self, runtime: Runtime, least_s: float) -> None:
        self._runtime = runtime
        self._least_s = least_s
        self.name, self.version, self.threads = runtime.name, runtime.version, runtime.threads
        self.input, self.output = runtime.input, runtime.output

    def run(self, input_nhwc: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run, and sleep for what is left of the time."""
        end_s = time.perf_counter() + self._least_s
        scores = self._runtime.run(input_nhwc)
        time.sleep(max(0.0, end_s - time.perf_counter()))
        return scores


def measure(classifier: Classifier, fps: float, seconds: float, size_wh: tuple[int, int]) -> dict[str, Any]:
    """Run the loop; return what goes into the JSON record."""
    pictures = moving_pictures(size_wh)
    count = round(fps * seconds)
    totals = StreamStatistics()
    ids: list[int] = []
    ages_ms: list[float] = []
    invokes_ms: list[float] = []
    dropped = 0
    with ClockedSource(ArraySource(pictures, "bgr", repeat=count // len(pictures) + 1), fps) as source:
        for result in stream(classifier, source, seconds=seconds):
            totals.add(result)
            ids.append(result.frame.id)
            ages_ms.append(result.age_ms)
            invokes_ms.append(result.stages_ms["invoke"])
            dropped = result.dropped
    interval_ms = 1e3 / fps
    age_p50_ms, age_p99_ms = np.percentile(ages_ms, [50, 99], method="inverted_cdf").tolist()
    invoke_p50_ms, invoke_p99_ms = np.percentile(invokes_ms, [50, 99], method="inverted_cdf").tolist()
    return {
        "file": str(classifier.file.path),
        "runtime": f"{classifier.runtime.name} {classifier.runtime.version}",
        "threads": classifier.runtime.threads,
        "fps": fps,
        "frames": len(ids),
        "dropped": dropped,
        "interval_ms": interval_ms,
        "invoke_p50_ms": invoke_p50_ms,
        "invoke_p99_ms": invoke_p99_ms,
        "age_p50_ms": age_p50_ms,
        "age_p99_ms": age_p99_ms,
        "age_max_ms": max(ages_ms),
        "allowed_ms": 2 * invoke_p99_ms + interval_ms,
        "slower_than_camera": invoke_p50_ms > interval_ms,
        "in_order": all(later > earlier for earlier, later in zip(ids, ids[1:])),
        "all_counted": len(ids) + dropped == ids[-1] + 1,
    }


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="a .tflite or .onnx file that edgevision wrote")
    parser.add_argument("--threads", type=int, metavar="N", help="threads for the runtime (default: cores, at most 4)")
    parser.add_argument("--fps", type=float, default=30.0, metavar="N", help="of the camera (default: 30)")
    parser.add_argument("--invokes", type=float, default=2.5, metavar="N", help="frame intervals that an invoke lasts")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="(default: 30)")
    parser.add_argument("--json", action="store_true", help="print one JSON record")
    args = parser.parse_args()
    if not (args.fps > 0 and args.seconds > 0 and args.invokes > 1):
        parser.error("--fps and --seconds must be positive, and --invokes above 1: slower than the camera")
    classifier = Classifier(args.file, threads=args.threads)
    classifier.runtime = SlowRuntime(classifier.runtime, args.invokes / args.fps)
    record = measure(classifier, args.fps, args.seconds, (640, 480))
    young = record["age_p99_ms"] <= record["allowed_ms"]
    passed = young and record["slower_than_camera"] and record["in_order"] and record["all_counted"]
    record["passed"] = passed
    if args.json:
        print(json.dumps(record))
        return 0 if passed else 1
    print(f"{record['file']}: {record['runtime']}, {record['threads']} threads, a frame every "
          f"{record['interval_ms']:.1f} ms")  # fmt: skip
    print(f"{record['frames']} frames classified, {record['dropped']} dropped")
    print(f"invoke p50 {record['invoke_p50_ms']:7.1f}  p99 {record['invoke_p99_ms']:7.1f} ms")
    print(
        f"age    p50 {record['age_p50_ms']:7.1f}  p99 {record['age_p99_ms']:7.1f}  max {record['age_max_ms']:7.1f} ms"
    )
    verdict = "passed" if passed else "FAILED"
    print(f"p99 allowed: two invokes and a frame interval, {record['allowed_ms']:.1f} ms: {verdict}")
    wrong = {
        "slower_than_camera": "the network was not slower than the camera",
        "in_order": "a frame came after a later one",
        "all_counted": "a dropped frame was not counted",
    }
    for name, words in wrong.items():
        if not record[name]:
            print(words)
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
