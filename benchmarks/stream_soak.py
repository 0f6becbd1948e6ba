"""Many frames through the loop: does memory stay flat, and is anything left behind?

    python benchmarks/stream_soak.py tests/device/data/tiny.int8.tflite --frames 200000 --json soak.json

The loop runs as `edgevision-device stream` runs it, with statistics; the records go to a file that is rotated and to
lines of text, while another thread asks for summaries as the web page does. Resident memory is read every `--every`
frames; its slope is taken over the second half, when everything that is made once is there. Exit status 1 if the
slope's 95 % interval lies above `--most` bytes a frame, or if a thread or an open file is left.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgevision_device import (
    ArraySource,
    Classifier,
    JsonLinesFile,
    Sink,
    StreamStatistics,
    TextLines,
    stream,
)
from stream_overhead import moving_pictures

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Nowhere(io.StringIO):
    """Counts what is written and keeps none of it."""

    written = 0

    def write(self, text: str, /) -> int:
        """Count."""
        self.written += len(text)
        return len(text)


class Reader(threading.Thread):
    """Asks for both summaries ten times a second, as a web page or a scraper does."""

    def __init__(self, totals: StreamStatistics) -> None:
        super().__init__(name="soak-reader", daemon=True)
        self._totals = totals
        self._end = threading.Event()
        self.reads = 0

    def run(self) -> None:
        """Read until told to end."""
        while not self._end.wait(0.1):
            self._totals.summary().to_record()
            self._totals.window().to_record()
            self.reads += 1

    def end(self) -> None:
        """End."""
        self._end.set()
        self.join()


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def open_files() -> list[str]:
    """What this process has open, by number, without the one that this asks with."""
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            continue
    return sorted(found)


def native_threads() -> int:
    """How many threads the system counts, native ones included."""
    return len(os.listdir("/proc/self/task"))


def slope(frames: list[int], values: list[int]) -> tuple[float, float, float]:
    """Return the median slope and its 95 % interval: Theil and Sen (P. K. Sen, JASA 63 (1968), 1379-1389).

    One jump, such as a new arena, moves it less than it moves least squares.

    >>> slope([0, 1, 2, 3, 4, 5], [7, 7, 7, 7, 7, 7])
    (0.0, 0.0, 0.0)
    """
    x, y = np.asarray(frames, np.float64), np.asarray(values, np.float64)
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    count = len(x)
    half = 1.96 * np.sqrt(count * (count - 1) * (2 * count + 5) / 18) / 2
    low = slopes[max(0, round(len(slopes) / 2 - half))]
    high = slopes[min(len(slopes) - 1, round(len(slopes) / 2 + half))]
    return float(np.median(slopes)), float(low), float(high)


def soak(classifier: Classifier, frames: int, every: int, folder: Path) -> dict[str, Any]:
    """Run the loop; return what goes into the JSON record."""
    pictures = moving_pictures((64, 48), 7)
    list(stream(classifier, ArraySource(pictures, "bgr"), frames=5))  # what is made once, by native code too
    gc.collect()
    files_before, threads_before = open_files(), native_threads()
    totals = StreamStatistics()
    reader = Reader(totals)
    reader.start()
    sinks: list[Sink] = [
        JsonLinesFile(folder / "soak.jsonl", rotate_bytes=1_000_000, keep_files=2),
        TextLines(Nowhere()),
    ]
    # Made now: a list that grows would be part of what it measures.
    readings = np.zeros((frames // every, 2), np.int64)
    began_s = time.monotonic()
    with ArraySource(pictures, "bgr", repeat=frames // len(pictures) + 1) as source:
        for number, result in enumerate(stream(classifier, source, frames=frames), 1):
            totals.add(result)
            for sink in sinks:
                sink.write(result)
            if number % every == 0:
                readings[number // every - 1] = number, resident_bytes()
    took_s = time.monotonic() - began_s
    for sink in sinks:
        sink.close()
    reader.end()
    summary = totals.summary()
    gc.collect()
    curve: list[tuple[int, int]] = [(int(number), int(value)) for number, value in readings]
    half = curve[len(curve) // 2 :]
    typical, low, high = slope([number for number, _ in half], [value for _, value in half])
    return {
        "file": str(classifier.file.path),
        "runtime": f"{classifier.runtime.name} {classifier.runtime.version}",
        "frames": summary.frames,
        "dropped": summary.dropped,
        "seconds": round(took_s, 1),
        "fps": round(frames / took_s, 1),
        "reads": reader.reads,
        "slope_bytes_per_frame": typical,
        "slope_low": low,
        "slope_high": high,
        "grown_bytes": half[-1][1] - half[0][1],
        "threads_before": threads_before,
        "threads_after": native_threads(),
        "files_left": [each for each in open_files() if each not in files_before],
        "left_in_folder": sorted(path.name for path in folder.iterdir()),
        "curve": curve,
    }


def draw(curve: list[tuple[int, int]], lines: int = 20) -> list[str]:
    """Return the curve as text, a line for each of some points, each bar from the smallest value to the largest."""
    low, high = min(value for _, value in curve), max(value for _, value in curve)
    shown = curve[:: max(1, len(curve) // lines)]
    return [
        f"{number:>9,}  {value / 2**20:8.2f} MiB  " + "#" * round(1 + 50 * (value - low) / max(1, high - low))
        for number, value in shown
    ]


def main() -> int:
    """Parse the arguments, soak, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", help="a small .tflite or .onnx file that edgevision wrote")
    parser.add_argument("--frames", type=int, default=200_000, metavar="N", help="(default: 200000)")
    parser.add_argument("--every", type=int, default=1000, metavar="N", help="frames between readings (default: 1000)")
    parser.add_argument("--most", type=float, default=1.0, metavar="B", help="bytes a frame, allowed (default: 1)")
    parser.add_argument("--json", metavar="PATH", help="write the record, with the whole curve, here")
    args = parser.parse_args()
    if args.every < 1 or args.frames < 12 * args.every:
        parser.error("--frames must be at least 12 times --every")
    with tempfile.TemporaryDirectory() as folder:
        record = soak(Classifier(args.file, threads=1), args.frames, args.every, Path(folder))
    passed = (
        record["slope_low"] <= args.most
        and record["threads_after"] <= record["threads_before"]
        and not record["files_left"]
        and record["dropped"] == 0
        and record["frames"] == args.frames
    )
    record["passed"] = passed
    if args.json:
        Path(args.json).write_text(json.dumps(record) + "\n")
    print(f"{record['file']}: {record['runtime']}, {record['frames']:,} frames in {record['seconds']} s")
    print("\n".join(draw(record["curve"])))
    print(
        f"second half: {record['slope_bytes_per_frame']:.3f} bytes a frame ({record['slope_low']:.3f} to "
        f"{record['slope_high']:.3f}), {record['grown_bytes']:,} bytes from its first reading to its last"
    )
    print(f"threads {record['threads_before']} before, {record['threads_after']} after; files left open: "
          f"{', '.join(record['files_left']) or 'none'}")  # fmt: skip
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
