"""How long importing, `--help` and the first label take: `python benchmarks/startup.py [FILE PICTURE]`.

    python benchmarks/startup.py exports/digits.int8.tflite photo.jpg

Each command runs as a whole process, in turn with the others, so that a machine that slows down slows them all. What
remains after subtracting a bare interpreter's median is ours.

With a file and a picture it compares two ways from the start of a process to the first label: `edgevision-device
classify`, which verifies the file and reads its labels, and the shortest script with the same runtime and OpenCV, which
does neither. Each round gives a ratio; the result is their median with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from edgevision_device import Classifier
from stream_overhead import median_interval

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import edgevision_device": ["-c", "import edgevision_device"],
    "edgevision-device --help": ["-m", "edgevision_device", "--help"],
    "import edgevision": ["-c", "import edgevision"],
    "edgevision --help": ["-m", "edgevision", "--help"],
}
FIRST_LABEL, SHORTEST = "edgevision-device classify", "the shortest script"

#: Arguments: module of the interpreter, file, picture, width, height, threads.
SHORTEST_TFLITE = """
import sys
import cv2
from {module} import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads={threads})
interpreter.allocate_tensors()
picture = cv2.cvtColor(cv2.resize(cv2.imread(sys.argv[2]), ({width}, {height})), cv2.COLOR_BGR2RGB)
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).argmax())
"""
SHORTEST_ONNX = """
import sys
import cv2
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
session = onnxruntime.InferenceSession(sys.argv[1], options)
picture = cv2.cvtColor(cv2.resize(cv2.imread(sys.argv[2]), ({width}, {height})), cv2.COLOR_BGR2RGB)
print(session.run(None, {{session.get_inputs()[0].name: picture[None]}})[0].argmax())
"""
MODULES = {"litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}


def first_label_commands(file: str, picture: str) -> dict[str, list[str]]:
    """Return both ways to a first label."""
    classifier = Classifier(file)
    (width, height), threads = classifier.metadata.size_wh, classifier.runtime.threads
    module = MODULES.get(classifier.runtime.name)
    code = (SHORTEST_ONNX if module is None else SHORTEST_TFLITE).format(
        module=module, width=width, height=height, threads=threads
    )
    return {
        SHORTEST: ["-c", code, file, picture],
        FIRST_LABEL: ["-m", "edgevision_device", "classify", file, picture],
    }


def main() -> int:
    """Time the commands and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", metavar="FILE", help="a .tflite or .onnx file that edgevision wrote")
    parser.add_argument("picture", nargs="?", metavar="PICTURE", help="what to classify")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="runs of each command (default: 15)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if (args.file is None) != (args.picture is None):
        parser.error("give both FILE and PICTURE, or neither")
    commands = COMMANDS if args.file is None else first_label_commands(args.file, args.picture)
    times_ms: dict[str, list[float]] = {name: [] for name in commands}
    # The first round fills the file system's cache, and compiles what pip would have compiled when it installed it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for counted in [False] + [True] * args.rounds:
        for name, arguments in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
            if counted:
                times_ms[name].append(1e3 * (time.perf_counter() - began))
    ratios = [ours / shortest for ours, shortest in zip(times_ms.get(FIRST_LABEL, []), times_ms.get(SHORTEST, []))]
    low, high = median_interval(ratios) if ratios else (None, None)
    if args.json:
        record = {"python": sys.version.split()[0], "times_ms": times_ms}
        if ratios:
            record |= {"ratio": statistics.median(ratios), "ratio_low": low, "ratio_high": high}
        print(json.dumps(record))
        return 0
    bare = statistics.median(times_ms.get("python -c pass", [0.0]))
    print(f"Python {sys.version.split()[0]}, {args.rounds} rounds, milliseconds")
    for name, times in times_ms.items():
        median = statistics.median(times)
        spread = f"min {min(times):7.1f}  max {max(times):7.1f}"
        print(f"{name:26} median {median:7.1f}  {spread}" + (f"  over bare {median - bare:7.1f}" if bare else ""))
    if ratios:
        middle = statistics.median(ratios)
        print(f"ratio {middle:.3f} (median of {args.rounds} rounds; 95 % interval {low:.3f} to {high:.3f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
