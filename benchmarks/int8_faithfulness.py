"""How often int8 says what float says: EfficientNet-Lite0, 1,000 labels, step by step, by kind of picture.

    python benchmarks/int8_faithfulness.py
    sudo apt install tuxpaint-stamps-default
    python benchmarks/int8_faithfulness.py --stamps /usr/share/tuxpaint/stamps

Ranges come from crops of nine photographs inside scikit-image, as those of `edgevision export efficientnet-lite0` do.
Held-out pictures are crops of other photographs, which come with scikit-image, scikit-learn and matplotlib, and the
photographs and drawings among tuxpaint's stamps. Each file computes with 8-bit integers only; each line adds one step
to the one before, and the last is what `edgevision export` writes. Crops of one photograph are alike, so that intervals
of crops are narrower than they should be.

LiteRT Quantizer is one more line; `benchmarks/quantizers.py` compares it for the other recipes too. It does not always
install beside TensorFlow, so give it a Python of its own:

    uv venv quantizer && uv pip install --python quantizer litert-quantizer
    python benchmarks/int8_faithfulness.py --quantizer-python quantizer/bin/python
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from edgevision._networks import NETWORKS, imagenet_labels
from edgevision._photos import CALIBRATION_PHOTOS, VERIFICATION_PHOTOS, photo_crops
from edgevision_benchmarks import Accuracy, Report, benchmark
from edgevision_converters import SourceModel
from edgevision_converters._correct import STEPS, correct
from edgevision_converters._source import normalize
from edgevision_converters._tflite import pinned, take_bytes
from edgevision_converters._tflite_calibration import Calibrated
from edgevision_converters._tflite_flatbuffer import pack, unpack
from edgevision_converters._tflite_int8 import Int8Quantizer
from edgevision_device import load_opencv, preprocess, quiet_native, read_picture, seal

MODEL = "efficientnet-lite0"
#: Package, file: photographs beside those of `VERIFICATION_PHOTOS`.
PHOTOS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
#: Of each photograph: the largest square in the middle, and so many smaller ones anywhere.
CROPS = 12
#: A stamp is a drawing if more of its neighbouring pixels are equal.
FLAT = 0.35
#: From this score on float32 counts as sure: many of these pictures show what ImageNet has no label for.
SURE = 0.3
SEED = 1


def load_source() -> SourceModel:
    """Return the network with its published weights."""
    return SourceModel.of(NETWORKS[MODEL].classifier(None), imagenet_labels(), name=MODEL, resize="crop")


def photographs(size_wh: tuple[int, int]) -> np.ndarray:
    """Return crops of photographs that come in packages: uint8 `(n, height, width, 3)`."""
    crops = [photo_crops(VERIFICATION_PHOTOS, CROPS * len(VERIFICATION_PHOTOS), size_wh, SEED)]
    generator = np.random.default_rng(SEED)
    for package, name in PHOTOS:
        path = resources.files(package) / name
        if not path.is_file():
            print(f"left out, not installed here: {package}/{name}", file=sys.stderr)
            continue
        photo = read_picture(str(path))
        for place in range(CROPS):
            side = int(min(photo.shape[:2]) * (1 if place == 0 else generator.uniform(0.4, 1)))
            top, left = (int(generator.integers(0, length - side + 1)) for length in photo.shape[:2])
            crop = np.ascontiguousarray(photo[top : top + side, left : left + side])
            crops.append(preprocess(crop, size_wh, "stretch"))
    return np.concatenate(crops)


def stamps(package: Path, size_wh: tuple[int, int], most: int) -> dict[str, np.ndarray]:
    """Return tuxpaint's stamps, photographs and drawings apart: name of the kind → uint8 pixels."""
    cv2: Any = load_opencv()
    kinds: dict[str, list[np.ndarray]] = {"stamps, photographs": [], "stamps, drawings": []}
    paths = sorted(path for path in package.rglob("*.png") if "_mirror" not in path.name)
    random.Random(SEED).shuffle(paths)
    for path in paths:
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if "symbols" in path.parts or raw is None or raw.ndim < 3:
            continue
        opaque = raw[..., 3] > 250 if raw.shape[2] == 4 else np.ones(raw.shape[:2], bool)
        grey = cv2.cvtColor(raw[..., :3], cv2.COLOR_BGR2GRAY).astype(int)
        inside = opaque[:, 1:] & opaque[:, :-1]
        if inside.sum() < 2000:
            continue
        flat = (np.diff(grey, axis=1)[inside] == 0).mean() > FLAT or "cartoon" in str(path)
        found = kinds["stamps, drawings" if flat else "stamps, photographs"]
        if len(found) < most:
            found.append(preprocess(read_picture(str(path)), size_wh, "letterbox"))
    return {name: np.concatenate(found) for name, found in kinds.items() if found}


def own_files(source: SourceModel, calibration: np.ndarray) -> dict[str, bytes]:
    """Quantize by the stock converter, and with one step more in each file."""
    pixels = pinned(calibration)
    numbers, model = normalize(source.metadata, pixels), source.float_tflite("numbers")
    files = {"stock converter": Calibrated.of(model, numbers).quantize()}
    quantizer = Int8Quantizer.of(model, numbers, pixels)
    files["+ own ranges"] = unfitted = quantizer.calibrated.quantize()
    added: list[str] = []
    for step, says in (("bias", "bias correction"), ("rounded", "better rounding")):
        added.append(step)
        parsed = unpack(unfitted)
        correct(parsed, unpack(model), pixels, numbers, added)
        files[f"+ {says}"] = pack(parsed)
    assert set(added) == set(STEPS)
    return {name: take_bytes(file, source) for name, file in files.items()}


QUANTIZE = """
import sys
import numpy as np
try:
    from litert_quantizer import algorithm_manager, quantizer, qtyping, recipe, recipe_manager
except ModuleNotFoundError:
    from ai_edge_quantizer import algorithm_manager, quantizer, qtyping, recipe, recipe_manager
model, numbers, out, name = sys.argv[1:]
if name == "float16":
    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    chosen = manager.get_quantization_recipe()
else:
    chosen = getattr(recipe, name)()
quantizing = quantizer.Quantizer(model, chosen)
ranges = None
if name.startswith("static"):
    rows = [{"pixels": row[np.newaxis]} for row in np.load(numbers)]
    ranges = quantizing.calibrate({"serving_default": rows})
quantizing.quantize(ranges).export_model(out, overwrite=True)
"""


def litert_file(
    python: str, source: SourceModel, calibration: np.ndarray, folder: Path, recipe: str = "static_wi8_ai8"
) -> bytes | None:
    """Quantize by a recipe of LiteRT Quantizer, in a process of its own; None where it is not installed."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = unpack(source.float_tflite("numbers"))
    graph, signature = parsed.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    for field, name, index in (("inputs", b"pixels", graph.inputs[0]), ("outputs", b"scores", graph.outputs[0])):
        entry: Any = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        setattr(signature, field, [entry])
    parsed.signatureDefs = [signature]
    (folder / "float.tflite").write_bytes(pack(parsed))
    np.save(folder / "numbers.npy", normalize(source.metadata, pinned(calibration)))
    paths = [str(folder / name) for name in ("float.tflite", "numbers.npy", "quantized.tflite")]
    done = subprocess.run([python, "-c", QUANTIZE, *paths, recipe], capture_output=True, text=True, check=False)
    if done.returncode:
        if "ModuleNotFoundError" not in done.stderr:
            sys.exit(f"LiteRT Quantizer failed: {done.stderr.strip().splitlines()[-1]}")
        return None
    return Path(paths[2]).read_bytes()


@dataclass(frozen=True)
class Answers:
    """What a file says, `(n, labels)` by kind of picture, and its size."""

    scores: dict[str, np.ndarray]
    size_bytes: int


def answers(model: bytes, pictures: dict[str, np.ndarray], source: SourceModel) -> Answers:
    """Run a file on all pictures; one that does not take bytes gets them normalized, in its input's own steps."""
    interpreter = opened(model)
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    scores: dict[str, np.ndarray] = {}
    for kind, pixels in pictures.items():
        found: list[np.ndarray] = []
        for picture in pixels if taken["dtype"] == np.uint8 else normalize(source.metadata, pixels):
            if taken["dtype"] in (np.int8, np.int16):
                scale, zero_point = taken["quantization"]
                limits = np.iinfo(taken["dtype"])
                steps = np.rint(picture / scale) + zero_point
                picture = np.clip(steps, limits.min, limits.max).astype(taken["dtype"])
            interpreter.set_tensor(taken["index"], picture[np.newaxis])
            interpreter.invoke()
            found.append(interpreter.get_tensor(given["index"])[0])
        scores[kind] = np.stack(found)
    return Answers(scores, len(model))


def opened(model: bytes, threads: int = 1) -> Any:
    """Return an interpreter that is ready to run."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def timed(folder: Path, reference: bytes, other: bytes, source: Any, runs: int | None = None) -> Report:
    """Time two files in turns, on one thread, as `edgevision benchmark` does; the reference twice, for what noise does.

    Args:
        folder: where both may be written.
        reference, other: TFLite flatbuffers that take uint8 pixels.
        source: what they were made from.
        runs: of each; None leaves their number to `benchmark`.
    """
    paths = [folder / "reference.tflite", folder / "other.tflite"]
    for path, model in zip(paths, (reference, other), strict=True):
        path.write_bytes(seal(model, source.metadata, "tflite"))
    return benchmark(paths, None, runs=runs, threads=1, reference=paths[0])


def describe_time(report: Report) -> str:
    """Say in words how long the second file of `timed` takes, over the first."""
    speed, floor = report.measured[1][1].speed, report.noise_floor
    assert speed is not None
    assert floor is not None
    time = speed.time
    return (
        f"{time.ratio:.2f} of its time ({time.low:.2f} to {time.high:.2f}; "
        f"itself timed as two {floor.low:.2f} to {floor.high:.2f})"
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, metavar="DIR", help="tuxpaint's stamps, see above")
    parser.add_argument("--most", type=int, default=400, metavar="N", help="stamps of a kind (default: 400)")
    parser.add_argument("--calibration-pictures", type=int, default=100, metavar="N", help="at most 200 (default: 100)")
    parser.add_argument(
        "--runs", type=int, metavar="N", help="timed runs of each file (default: as `edgevision benchmark`)"
    )
    parser.add_argument("--quantizer-python", default=sys.executable, metavar="PYTHON", help="has LiteRT Quantizer")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not 1 <= args.calibration_pictures <= 200:
        parser.error(f"--calibration-pictures must lie between 1 and 200, got {args.calibration_pictures}")
    if args.stamps is not None and not args.stamps.is_dir():
        parser.error(f"{args.stamps} is not here: sudo apt install tuxpaint-stamps-default")
    source = load_source()
    size_wh = source.metadata.size_wh
    pictures = {"photographs": photographs(size_wh)}
    if args.stamps is not None:
        pictures |= stamps(args.stamps, size_wh, args.most)
    calibration = photo_crops(CALIBRATION_PHOTOS, args.calibration_pictures, size_wh, 0)
    with quiet_native(keep=lambda line: False), tempfile.TemporaryDirectory() as folder:
        files = own_files(source, calibration)
        quantized = litert_file(args.quantizer_python, source, calibration, Path(folder))
        float_model = source.float_tflite("bytes")
        if quantized is not None:
            files["LiteRT Quantizer"] = quantized
        truth = answers(float_model, pictures, source)
        found = {name: answers(file, pictures, source) for name, file in files.items()}
        ours = files["+ better rounding"]
        report = timed(Path(folder), float_model, ours, source, args.runs)
    same = {
        name: {kind: truth.scores[kind].argmax(1) == each.scores[kind].argmax(1) for kind in pictures}
        for name, each in found.items()
    }
    sure = np.concatenate([truth.scores[kind].max(1) >= SURE for kind in pictures])
    for by_kind in same.values():
        by_kind["all"] = np.concatenate(list(by_kind.values()))
        by_kind["sure"] = by_kind["all"][sure]
    table = {name: {kind: Accuracy.of(right) for kind, right in by_kind.items()} for name, by_kind in same.items()}
    size = len(ours) / truth.size_bytes
    if args.json:
        shares = {name: {kind: each.to_record() for kind, each in row.items()} for name, row in table.items()}
        record = {"calibration_pictures": args.calibration_pictures, "same_top1": shares}
        print(json.dumps({**record, "size_ratio": size, "timing": report.to_record()}))
        return 0
    headings = [f"{kind} ({each.pictures})" for kind, each in table["stock converter"].items()]
    print(f"{MODEL}, calibrated on {args.calibration_pictures} crops of photographs; same top-1 as float32:\n")
    print(f"{'':20}" + "".join(f"{heading:>28}" for heading in headings))
    for name, row in table.items():
        print(f"{name:20}" + "".join(f"{each.describe():>28}" for each in row.values()))
    if quantized is None:
        print(f"{'LiteRT Quantizer':20}  not installed: pip install litert-quantizer, or --quantizer-python PYTHON")
    print(f"\nfile: {len(ours):,} bytes, {size:.3f} of float32's {truth.size_bytes:,}")
    slow, fast = (measured.latency.p50_ms for _, measured in report.measured)
    print(f"latency on one thread, p50: {fast:.1f} ms against float32's {slow:.1f} ms: {describe_time(report)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
