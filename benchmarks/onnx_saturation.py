"""What ONNX Runtime's default int8 kernels do to labels on x86-64 without VNNI: EfficientNet-Lite0, 1,000 labels.

    python benchmarks/onnx_saturation.py --stamps /usr/share/tuxpaint/stamps

The int8 `.onnx` file that `edgevision export` writes, opened twice: with the session options of ONNX Runtime, and with
those of edgevision, see `edgevision_device.onnx_session_options`. Pictures are those of
`benchmarks/int8_faithfulness.py`. On a processor with int8 dot products, and on arm64, both are the same.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgevision._photos import CALIBRATION_PHOTOS, photo_crops
from edgevision_benchmarks import Accuracy, read_conditions
from edgevision_benchmarks._speed import time_ratio
from edgevision_converters._onnx import convert_onnx
from edgevision_device import load_runtime, onnx_session_options, quiet_native
from int8_faithfulness import MODEL, SURE, load_source, photographs, stamps

#: Timed runs of a round, whose median counts, and rounds.
RUNS, ROUNDS = 5, 40


def scores(session: Any, pictures: np.ndarray) -> np.ndarray:
    """Run a session on pictures one by one; float32 `(n, labels)`."""
    return np.concatenate([session.run(None, {"pixels": picture[np.newaxis]})[0] for picture in pictures])


def timed(sessions: list[Any], picture: np.ndarray) -> list[dict[int, list[float]]]:
    """Time sessions in turns; return ms by round."""
    found: list[dict[int, list[float]]] = [{} for _ in sessions]
    for each in range(ROUNDS):
        for place in np.random.default_rng(each).permutation(len(sessions)):
            runs: list[float] = []
            for _ in range(RUNS):
                began_s = time.perf_counter()
                sessions[place].run(None, {"pixels": picture[np.newaxis]})
                runs.append(1e3 * (time.perf_counter() - began_s))
            found[place][each] = [float(np.median(runs))]
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, metavar="DIR", help="tuxpaint's stamps")
    parser.add_argument("--most", type=int, default=400, metavar="N", help="stamps of a kind (default: 400)")
    args = parser.parse_args()
    if args.stamps is not None and not args.stamps.is_dir():
        parser.error(f"{args.stamps} is not here: sudo apt install tuxpaint-stamps-default")
    onnxruntime: Any = load_runtime("onnxruntime")
    source = load_source()
    kinds = {"photographs": photographs(source.metadata.size_wh)}
    if args.stamps is not None:
        kinds |= stamps(args.stamps, source.metadata.size_wh, args.most)
    pictures = np.concatenate(list(kinds.values()))
    calibration = photo_crops(CALIBRATION_PHOTOS, 100, source.metadata.size_wh, 0)
    with quiet_native(keep=lambda line: False):
        files = {recipe: convert_onnx(source, recipe, calibration) for recipe in ("float32", "int8")}
        default = onnxruntime.SessionOptions()
        default.intra_op_num_threads, default.log_severity_level = 1, 3
        opened = [
            onnxruntime.InferenceSession(files[recipe], options, providers=["CPUExecutionProvider"])
            for recipe, options in (
                ("float32", default),
                ("int8", default),
                ("int8", onnx_session_options(1)),
            )
        ]
        truth, *found = (scores(session, pictures) for session in opened)
        rounds = timed(opened[1:], pictures[0])
    machine = read_conditions()
    print(f"{machine.cpu}; int8 dot products: {', '.join(machine.int8_instructions or ()) or 'none'}")
    print(f"{MODEL}, int8 .onnx, onnxruntime {onnxruntime.__version__}; same top-1 as float32:")
    sure = truth.max(1) >= SURE
    for name, each in zip(("ONNX Runtime's own options", "edgevision's options"), found, strict=True):
        same = truth.argmax(1) == each.argmax(1)
        all_, of_sure = (Accuracy.of(part).describe() for part in (same, same[sure]))
        print(f"{name:28} {all_} of {len(same)}; {of_sure} of the {sure.sum()} that float32 is sure of")
    print(f"largest difference between the two: {np.abs(found[0] - found[1]).max():.3g}")
    ratio = time_ratio(rounds[1], rounds[0], 0)
    print(
        f"time of edgevision's over ONNX Runtime's: {ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), one thread"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
