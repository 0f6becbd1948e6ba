"""How long importing and `--help` take: `python benchmarks/startup.py`.

Each command runs as a whole process, in turn with the others, so that a machine that slows down slows them all. What
remains after subtracting a bare interpreter's median is ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import edgevision_device": ["-c", "import edgevision_device"],
    "edgevision-device --help": ["-m", "edgevision_device", "--help"],
    "import edgevision": ["-c", "import edgevision"],
    "edgevision --help": ["-m", "edgevision", "--help"],
}


def main() -> int:
    """Time the commands and print one line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="runs of each command (default: 15)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    times_ms: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for counted in [False] + [True] * args.rounds:  # the first round fills the file system's cache
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if counted:
                times_ms[name].append(1e3 * (time.perf_counter() - began))
    if args.json:
        print(json.dumps({"python": sys.version.split()[0], "times_ms": times_ms}))
        return 0
    bare = statistics.median(times_ms["python -c pass"])
    print(f"Python {sys.version.split()[0]}, {args.rounds} rounds, milliseconds")
    for name, times in times_ms.items():
        median = statistics.median(times)
        spread = f"min {min(times):7.1f}  max {max(times):7.1f}"
        print(f"{name:26} median {median:7.1f}  {spread}  over bare {median - bare:7.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
