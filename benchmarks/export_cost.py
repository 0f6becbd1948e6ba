"""What writing all ten files of a network costs: `python benchmarks/export_cost.py [MODEL]`.

Runs `edgevision export MODEL` (default: efficientnet-lite0) in a process of its own, verification included, and prints
the seconds from its start to its end, its processor time and its peak memory. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgevision_device import count_cores


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="efficientnet-lite0", metavar="MODEL")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "files"
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "edgevision", "export", args.model, "--out", out], stdout=subprocess.DEVNULL
        )
        took_s = time.perf_counter() - began
        count = len(list(out.glob("*.tflite"))) + len(list(out.glob("*.onnx")))
    if done.returncode:
        return done.returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{count} files of {args.model} in {took_s:.0f} s on {count_cores()} cores; "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor time, {1024 * used.ru_maxrss / 1e9:.2f} GB at most"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
