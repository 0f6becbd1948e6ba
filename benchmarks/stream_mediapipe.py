"""The frame loop's frames per second over those of MediaPipe Tasks' ImageClassifier, in one run.

    uv venv --python 3.11 .venvs/mediapipe
    uv pip install --python .venvs/mediapipe/bin/python mediapipe==1.2.2
    python benchmarks/stream_mediapipe.py exports/efficientnet-lite0.int8.tflite

Both classify the same frames with the same file on one thread: MediaPipe has no option for threads and uses one on
Linux, XNNPACK on the CPU. It runs in VIDEO mode in a process of its own, because its wheel wants another OpenCV; while
one side runs the other waits. The frames are in memory as RGB, which spares both the change of order. A round is
MediaPipe, loop, MediaPipe, and its ratio the loop over the mean of the two; the result is the median of the rounds with
its 95 % interval. CPU time is counted too: the loop preprocesses on a second thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgevision_device import ArraySource, Classifier, StreamStatistics, count_cores, stream
from stream_overhead import median_interval, moving_pictures

#: Runs in MediaPipe's environment: arguments file and pictures. Reads how many frames to classify, a number a line;
#: answers each with seconds, CPU seconds and the labels of the first frames.
SERVE = """
import json, sys, time
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
pictures = [np.ascontiguousarray(picture) for picture in np.load(sys.argv[2])["rgb"]]
options = vision.ImageClassifierOptions(
    base_options=BaseOptions(model_asset_path=sys.argv[1]),
    running_mode=vision.RunningMode.VIDEO,
    max_results=1,
)
stamp = 0
with vision.ImageClassifier.create_from_options(options) as classifier:
    for line in sys.stdin:
        labels = []
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(int(line)):
            stamp += 33
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=pictures[number % len(pictures)])
            best = classifier.classify_for_video(image, stamp).classifications[0].categories[0]
            labels.append(best.category_name)
        took = time.perf_counter() - began, time.process_time() - cpu
        print(json.dumps({"seconds": took[0], "cpu_seconds": took[1], "labels": labels[:30]}), flush=True)
"""


class MediaPipe:
    """MediaPipe's ImageClassifier in another process."""

    def __init__(self, python: Path, file: str, pictures: list[np.ndarray], folder: Path) -> None:
        stored = folder / "pictures.npz"
        np.savez(stored, rgb=np.stack(pictures))
        line = [str(python), "-c", SERVE, file, str(stored)]
        self._errors = (folder / "errors.txt").open("w+")
        self._child = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def classify(self, count: int) -> dict[str, Any]:
        """Classify so many frames; return seconds, cpu_seconds and labels."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        answer = ""
        try:
            self._child.stdin.write(f"{count}\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            self._errors.seek(0)
            raise SystemExit(f"MediaPipe ended:\n{self._errors.read()[-2000:]}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(30)
        self._errors.close()


def loop(classifier: Classifier, pictures: list[np.ndarray], count: int) -> dict[str, Any]:
    """Classify so many frames; return seconds, cpu_seconds and labels."""
    source = ArraySource(pictures, "rgb", repeat=count // len(pictures) + 1)
    totals = StreamStatistics()
    labels: list[str] = []
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for result in stream(classifier, source, frames=count):
        totals.add(result)
        labels.append(result.labels[int(result.scores.argmax())])
    return {
        "seconds": time.perf_counter() - began_s,
        "cpu_seconds": time.process_time() - cpu_s,
        "labels": labels[:30],
    }


def measure(classifier: Classifier, mediapipe: MediaPipe, pictures: list[np.ndarray], args: Any) -> dict[str, Any]:
    """Run the rounds; return what goes into the JSON record."""
    theirs, ours = mediapipe.classify(len(pictures)), loop(classifier, pictures, len(pictures))
    same = sum(a == b for a, b in zip(theirs["labels"], ours["labels"]))
    count = max(5, round(len(pictures) / theirs["seconds"] * args.seconds / args.rounds / 3))
    rounds: list[dict[str, float]] = []
    for _ in range(args.rounds):
        before, loop_took, after = (mediapipe.classify(count), loop(classifier, pictures, count),
                                    mediapipe.classify(count))  # fmt: skip
        theirs_s = (before["seconds"] + after["seconds"]) / 2
        rounds.append({
            "mediapipe_fps": count / theirs_s,
            "loop_fps": count / loop_took["seconds"],
            "ratio": theirs_s / loop_took["seconds"],
            "mediapipe_cpu_ms": 500 * (before["cpu_seconds"] + after["cpu_seconds"]) / count,
            "loop_cpu_ms": 1000 * loop_took["cpu_seconds"] / count,
        })  # fmt: skip
    low, high = median_interval([each["ratio"] for each in rounds])
    return {
        "file": str(classifier.file.path),
        "runtime": f"{classifier.runtime.name} {classifier.runtime.version}",
        "cores": count_cores(),
        "source_size_wh": [pictures[0].shape[1], pictures[0].shape[0]],
        "same_labels": same,
        "compared_labels": len(ours["labels"]),
        "frames_per_part": count,
        **{name: statistics.median(each[name] for each in rounds) for name in rounds[0]},
        "ratio_low": low,
        "ratio_high": high,
        "rounds": rounds,
    }


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="a .tflite file that edgevision wrote")
    parser.add_argument("--mediapipe", type=Path, default=Path(".venvs/mediapipe/bin/python"), metavar="PYTHON",
                        help="of the environment with MediaPipe (default: .venvs/mediapipe/bin/python)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="about how long in all (default: 30)")
    parser.add_argument("--rounds", type=int, default=41, metavar="R", help="(default: 41)")
    parser.add_argument("--json", action="store_true", help="print one JSON record")
    args = parser.parse_args()
    if args.rounds < 1 or not args.seconds > 0:
        parser.error("--rounds and --seconds must be positive")
    if not args.mediapipe.exists():
        parser.error(f"no {args.mediapipe}; the first lines of --help say how to make it")
    classifier = Classifier(args.file, threads=1)
    pictures = moving_pictures((640, 480))
    with tempfile.TemporaryDirectory() as folder:
        mediapipe = MediaPipe(args.mediapipe, args.file, pictures, Path(folder))
        try:
            record = measure(classifier, mediapipe, pictures, args)
        finally:
            mediapipe.close()
    if args.json:
        print(json.dumps(record))
        return 0
    print(f"{record['file']}: 1 thread each, {record['cores']} cores, from 640 x 480; "
          f"same label on {record['same_labels']} of {record['compared_labels']} frames")  # fmt: skip
    print(f"MediaPipe  {record['mediapipe_fps']:8.1f} frames a second, {record['mediapipe_cpu_ms']:.2f} ms CPU a frame")
    print(f"frame loop {record['loop_fps']:8.1f} frames a second, {record['loop_cpu_ms']:.2f} ms CPU a frame, "
          f"{record['runtime']}")  # fmt: skip
    print(f"ratio {record['ratio']:.3f} (median of {args.rounds} rounds of 3 x {record['frames_per_part']} frames; "
          f"95 % interval {record['ratio_low']:.3f} to {record['ratio_high']:.3f})")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
