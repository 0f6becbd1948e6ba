"""Many frames through the loop: does memory stay flat, and is anything left behind?

    python benchmarks/stream_soak.py tests/device/data/tiny.int8.tflite --frames 200000 --json soak.json

It runs `edgevision-device stream` itself, in this process, on two live sources of 1000 frames a second: with a model
file that is followed and replaced now and then, records on stdout and, in the background, to a file that is rotated,
and the web page, whose picture, values and metrics other threads read. Resident memory is read every `--every` frames;
its slope is taken over the second half, when everything that is made once is there. Exit status 1 if the slope's 95 %
interval lies above `--most` bytes a frame, if a record was lost, or if a thread or an open file is left. `--frames
2400 --every 100 --most 1000` takes seconds: it says whether all of that works, and nothing of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.client
import io
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edgevision_device import main as device

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Lines(io.StringIO):
    """Stands for stdout: counts lines, keeps the last one only, and does something every so many."""

    def __init__(self, readings: np.ndarray, every: int, file: Path) -> None:
        super().__init__()
        self.last = ""
        self._count = 0
        self._readings, self._every, self._file = readings, every, file

    def write(self, text: str, /) -> int:
        """Count. Each result is a line, written by the loop's thread."""
        self.last = text.strip() or self.last
        if text.endswith("\n"):
            self._count += 1
            number = self._count // self._every
            if self._count % self._every == 0 and number <= len(self._readings):
                self._readings[number - 1] = self._count, resident_bytes()
                if number % (len(self._readings) // 12) == 0:
                    replace(self._file)
        return len(text)


class Reader(threading.Thread):
    """Reads what the web page serves at an address, again and again, as a browser or a scraper does."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__(name=f"soak{path}", daemon=True)
        self._port, self._path = port, path
        self._end = threading.Event()
        self.read_bytes = 0

    def run(self) -> None:
        """Read until told to end."""
        while not self._end.wait(0.1):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            # Not there yet or no longer, or hung up in the middle.
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", self._path)
                answer = connection.getresponse()
                while piece := answer.read1(65536):
                    self.read_bytes += len(piece)

    def end(self) -> None:
        """End, once nobody answers any more."""
        self._end.set()
        self.join()


def replace(file: Path) -> None:
    """Put a copy of a file in its place: another file to whoever follows it."""
    shutil.copy(file, f"{file}.new")
    os.replace(f"{file}.new", file)


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


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


def command(file: Path, frames: int, out: Optional[Path], port: int) -> int:
    """Run the command that people run; return its exit code."""
    words = ["stream", str(file), "--threads", "1", "--frames", str(frames), "--json", "--web", str(port)]
    for width in (64, 80):
        words += ["--source", f"test://?size={width}x48&fps=1000"]
    if out is not None:
        words += ["--out", str(out), "--rotate-mb", "1", "--keep", "2"]
    return device(words)


def soak(source: Path, frames: int, every: int, folder: Path) -> dict[str, Any]:
    """Run the command; return what goes into the JSON record."""
    file = Path(shutil.copy(source, folder))
    # Made now: a list that grows would be part of what it measures.
    readings = np.zeros((frames // every, 2), np.int64)
    lines = Lines(readings, every, file)
    with contextlib.redirect_stdout(Lines(np.zeros((12, 2), np.int64), frames, file)):
        command(file, 20, None, free_port())  # what is made once, by native code too
    gc.collect()
    files_before, threads_before = open_files(), native_threads()
    port = free_port()
    readers = [Reader(port, path) for path in ("/events", "/stream.mjpg", "/metrics")]
    for reader in readers:
        reader.start()
    began_s = time.monotonic()
    with contextlib.redirect_stdout(lines):
        exit_code = command(file, frames, folder / "soak.jsonl", port)
    took_s = time.monotonic() - began_s
    for reader in readers:
        reader.end()
    # Threads of sources that nobody waits for end by themselves.
    while native_threads() > threads_before and time.monotonic() - began_s - took_s < 10:
        time.sleep(0.01)
    gc.collect()
    summary = json.loads(lines.last)["summary"]
    curve: list[tuple[int, int]] = [(int(number), int(value)) for number, value in readings]
    half = curve[len(curve) // 2 :]
    typical, low, high = slope([number for number, _ in half], [value for _, value in half])
    return {
        "file": str(source),
        "runtime": f"{summary['runtime']} {summary['runtime_version']}",
        "exit_code": exit_code,
        "frames": summary["frames"],
        "dropped": summary["dropped"],
        "lost": summary["lost"],
        "troubles": summary["health"]["times"],
        "swaps": summary["swaps"],
        "seconds": round(took_s, 1),
        "fps": round(frames / took_s, 1),
        "read_bytes": {reader.name: reader.read_bytes for reader in readers},
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
        record = soak(Path(args.file), args.frames, args.every, Path(folder))
    passed = (
        record["slope_low"] <= args.most
        and record["threads_after"] <= record["threads_before"]
        and not record["files_left"]
        and not record["lost"]
        and record["exit_code"] == 0
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
    print(f"{record['dropped']:,} frames dropped, records lost: {record['lost'] or 'none'}; "
          f"the file took over {record['swaps']} times; bytes read: {record['read_bytes']}")  # fmt: skip
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
