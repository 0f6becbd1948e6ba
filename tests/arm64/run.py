"""The device's tests, and its scores against x86-64's, on the Raspberry Pi's architecture under qemu.

    make test-arm64                                   all of it
    .venv/bin/python tests/arm64/run.py --quick       what `make test` runs

First the parity: the same files and the same pictures on both architectures, with the same versions of everything. The
bytes that preprocessing gives must be the same; so must those of each layer of an int8 `.tflite` file, but for what
rounding.py computes to be a half or as good as one; float32 scores may differ by `FLOAT_TOLERANCE`, and the best label
must be the same. The processor is a Raspberry Pi 4's; QEMU_CPU=cortex-a76 is a Raspberry Pi 5's.
Then the tests in `tests/device`. Exit status 1 if anything differs or fails. Speed under qemu says nothing about a
board's, so nothing is timed.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from root import ENVIRONMENTS, FOLDER, REPOSITORY, EnvironmentMissing, check, make_environment, make_root, say
from rounding import compare_layers

DATA = [Path(__file__).parent / "data", REPOSITORY / "tests" / "device" / "data"]
DEVICE_TESTS = REPOSITORY / "tests" / "device"

#: Sums are added in another order, and where one processor multiplies and adds in one rounding the other may not.
FLOAT_TOLERANCE = 1e-5

#: Environment → runtimes whose scores are compared there.
COMPARED = {"litert": ("litert", "onnxruntime"), "litert-2.1": ("litert",), "tflite-runtime": ("tflite-runtime",)}

#: What the tests run on by default: what a 64-bit Raspberry Pi OS installs, and its predecessor.
TESTED = ("litert", "tflite-runtime")
#: Those in which the runtime and numpy do the work; most others start Pythons, and a start takes seconds here.
QUICK_TESTS = ("decision", "metadata", "outputs", "pictures", "preprocess", "runtimes", "sources", "stream", "swap")

#: Test → why it is not run here.
LEFT_OUT = {
    "test_delegate.py::test_a_delegate_is_asked_and_the_scores_are_the_same": "compiles a library for this machine",
    "test_sinks_background.py::test_the_loop_never_waits_for_a_peer_that_hangs": "timing",
    "test_sinks_pictures.py::test_snapshots_that_cannot_be_kept_are_trouble_and_no_more": "timing",
    "test_sources_changed.py::test_without_motion_one_is_yielded_now_and_then": "timing",
    "test_web.py::test_our_own_source_reads_the_picture": "timing",
    "test_web.py::test_there_is_room_for_so_many_viewers": "timing",
}


def pictures(count: int) -> dict[str, np.ndarray]:
    """Draw digits and soft noise, small and as a camera gives them, the same each time: uint8 `(height, width, 3)`."""
    generator = np.random.default_rng(7)
    drawn: dict[str, np.ndarray] = {}
    sizes_wh = [(28, 28), (12, 8), (64, 48), (37, 61), (101, 33), (320, 240), (640, 480)]
    for number in range(count):
        width, height = sizes_wh[number % len(sizes_wh)]
        coarse = generator.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), np.uint8)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        if number % 3:
            picture = picture // 8
            scale, thick = height / 34, max(1, round(height / 9))
            place = (round(width / 2 - 9 * scale), round(height / 2 + 11 * scale))
            color = tuple(int(part) for part in generator.integers(120, 256, 3))
            cv2.putText(picture, str(number % 10), place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thick, cv2.LINE_AA)
        drawn[f"{number:04}"] = np.ascontiguousarray(picture)
    return drawn


def compare(count: int) -> list[dict[str, Any]]:
    """Return one record per runtime and file, and one for preprocessing."""
    files = sorted(path for folder in DATA for path in folder.glob("*.*") if is_sealed(path))
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "pictures.npz"
        drawn = pictures(count)
        np.savez(stored, **drawn)  # type: ignore[arg-type]
        for environment, runtimes in COMPARED.items():
            pythons = make_environment(environment)
            for runtime in runtimes:
                say(f"comparing scores of {runtime}, environment {environment}")
                (arm, arm_told), (native, native_told) = (
                    scores_of(python, stored, runtime, files, Path(folder) / f"{index}.npz")
                    for index, python in enumerate(pythons)
                )
                machines = arm_told.pop("machine"), native_told.pop("machine")
                if machines != ("aarch64", "x86_64") or arm_told != native_told:
                    raise SystemExit(f"these do not compare: {machines}, {arm_told}, {native_told}")
                records += list(differences(arm, native, arm_told))
    return records


def is_sealed(path: Path) -> bool:
    """Return whether it is one of the model files that edgevision wrote."""
    return path.suffix in (".tflite", ".onnx") and not path.name.startswith("foreign")


def scores_of(
    python: Path, stored: Path, runtime: str, files: list[Path], out: Path
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Run scores.py; return its arrays and what it printed."""
    script = Path(__file__).with_name("scores.py")
    line = [python, script, out, stored, runtime, *files]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"scores.py ended with {done.returncode} under {python}:\n{done.stderr[-2000:]}")
    with np.load(out) as made:
        return {name: made[name] for name in made.files}, json.loads(done.stdout)


def differences(
    arm: dict[str, np.ndarray], native: dict[str, np.ndarray], told: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Compare what both made, file by file."""
    if arm.keys() != native.keys():
        raise SystemExit(f"not the same files on both: {sorted(arm.keys() ^ native.keys())}")
    runtime = f"{told['runtime']} {told['version']}"
    resized = [name for name in arm if name.startswith("resized/")]
    same = sum(np.array_equal(arm[name], native[name]) for name in resized)
    yield {"runtime": f"OpenCV {told['opencv']}", "file": "preprocessing", "values": len(resized), "same": same,
           "largest": 0.0, "same_top1": 1.0, "rounded": {}, "passed": same == len(resized)}  # fmt: skip
    for name in arm:
        kind, file = name.split("/")[:2]
        if kind != "scores":
            continue
        pixels = [each for each in arm if each.startswith(f"pixels/{file}/")]
        same_pixels = all(np.array_equal(arm[each], native[each]) for each in pixels)
        ours, theirs = arm[name].astype(np.float64), native[name].astype(np.float64)
        largest = float(np.abs(ours - theirs).max())
        same_top1 = float((ours.argmax(1) == theirs.argmax(1)).mean())
        passed = same_pixels and same_top1 == 1.0 and bool(np.isfinite(ours).all())
        rounded: dict[str, int] = {}
        # ONNX Runtime computes the softmax in float32 of an int8 file, too.
        if layers := told["layers"].get(file):
            # Reading every layer must not change what runs.
            last = f"tensors/{file}/{layers[-1][2]}"
            passed &= all(np.array_equal(made[last], made[name]) for made in (arm, native))
            rounded, unknown = compare_layers(arm, native, file, layers, told["runtime"])
            passed &= unknown == 0
        else:
            passed &= largest <= FLOAT_TOLERANCE
        yield {
            "runtime": runtime,
            "file": file,
            "values": ours.size,
            "same": int((arm[name] == native[name]).sum()),
            "largest": largest,
            "same_top1": same_top1,
            "rounded": rounded,
            "passed": passed,
        }


def table(records: list[dict[str, Any]]) -> str:
    """Return the records as a Markdown table, one line each, repeated ones once."""
    lines = [
        "| | | compared | bit-equal | largest difference | same top-1 | rounded otherwise, in a layer | |",
        "|---|---|--:|--:|--:|--:|---|---|",
    ]
    for each in records:
        largest = "0" if each["largest"] == 0 else f"{each['largest']:.1e}"
        rounded = ", ".join(f"{count:,} of {layer}" for layer, count in each["rounded"].items())
        line = (
            f"| {each['runtime']} | {each['file']} | {each['values']:,} | {each['same']:,} | {largest} "
            f"| {100 * each['same_top1']:.1f} % | {rounded} | {'passed' if each['passed'] else 'FAILED'} |"
        )
        if line not in lines:
            lines.append(line)
    return "\n".join(lines)


def test(environment: str, names: tuple[str, ...]) -> bool:
    """Run the device's tests, or files of them, in an environment; return whether they passed."""
    python, _ = make_environment(environment)
    paths = [str(DEVICE_TESTS / f"test_{name}.py") for name in names] or [str(DEVICE_TESTS)]
    say(f"running {' '.join(names) or 'all of tests/device'} in the environment {environment}")
    options = ["-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider", "--durations=10"]
    options += [f"--deselect={(DEVICE_TESTS / name).relative_to(REPOSITORY)}" for name in LEFT_OUT]
    with tempfile.TemporaryDirectory() as folder:
        line = [str(python), "-m", "pytest", *options, f"--basetemp={folder}/tests", *paths]
        # PYTHONPATH of the caller names packages for another processor.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(line, cwd=REPOSITORY, env=inherited).returncode == 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pictures, and fewer tests in one environment")
    parser.add_argument("--only", choices=("parity", "tests"), help="(default: both)")
    parser.add_argument("--environment", choices=tuple(ENVIRONMENTS), help="for the tests (default: two, or litert)")
    args = parser.parse_args()
    try:
        check()
    except EnvironmentMissing as missing:
        print(f"not run: {missing}", file=sys.stderr)
        return 3
    FOLDER.mkdir(exist_ok=True)
    passed = True
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_root()
        if args.only != "tests":
            records = compare(40 if args.quick else 400)
            print(table(records), flush=True)
            passed = all(each["passed"] for each in records)
        if args.only != "parity":
            for test_name, reason in LEFT_OUT.items():
                print(f"left out: {test_name}: {reason}", flush=True)
            tested = [args.environment] if args.environment else TESTED[:1] if args.quick else TESTED
            for environment in tested:
                passed &= test(environment, QUICK_TESTS if args.quick else ())
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
