"""Which tool quantizes better, recipe by recipe: `edgevision export` against LiteRT Quantizer, EfficientNet-Lite0.

    uv venv quantizer && uv pip install --python quantizer litert-quantizer
    sudo apt install tuxpaint-stamps-default
    python benchmarks/quantizers.py --quantizer-python quantizer/bin/python --stamps /usr/share/tuxpaint/stamps

Pictures and calibration are those of `benchmarks/int8_faithfulness.py`, with fewer stamps, because kernels for 16-bit
activations take half a second a picture. Each line is a recipe: same top-1 as float32, with its 95 % interval, the
paired difference of the two, bytes, and the time of a run on one thread, ours over theirs with the 95 % interval, taken
as `edgevision benchmark` does. LiteRT Quantizer has nothing like `int8-selective`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from edgevision._photos import CALIBRATION_PHOTOS, photo_crops
from edgevision_benchmarks import Accuracy, compare_paired
from edgevision_converters import Calibration, export_model
from edgevision_device import DataOrigin, quiet_native, read_model_file
from int8_faithfulness import answers, describe_time, litert_file, load_source, photographs, stamps, timed

#: Ours → theirs.
RECIPES = {
    "float16": "float16",
    "dynamic": "dynamic_wi8_afp32",
    "int8": "static_wi8_ai8",
    "int8x16": "static_wi8_ai16",
}
CALIBRATION = 100


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantizer-python", default=sys.executable, metavar="PYTHON", help="has LiteRT Quantizer")
    parser.add_argument("--stamps", type=Path, metavar="DIR", help="tuxpaint's stamps, see above")
    parser.add_argument("--most", type=int, default=60, metavar="N", help="stamps of a kind (default: 60)")
    args = parser.parse_args()
    source = load_source()
    size_wh = source.metadata.size_wh
    kinds = [photographs(size_wh)]
    if args.stamps is not None:
        kinds += stamps(args.stamps, size_wh, args.most).values()
    pictures = {"all": np.concatenate(kinds)}
    calibration = photo_crops(CALIBRATION_PHOTOS, CALIBRATION, size_wh, 0)
    print(f"same top-1 as float32 on {len(pictures['all'])} pictures that calibrated nothing\n")
    with quiet_native(keep=lambda line: False), tempfile.TemporaryDirectory() as folder:
        truth = answers(source.float_tflite("bytes"), pictures, source).scores["all"].argmax(1)
        files = export_model(
            source,
            Path(folder) / "ours",
            verification=pictures["all"][:1],
            calibration=Calibration(calibration, DataOrigin("photographs", "0" * 64, CALIBRATION)),
            formats=["tflite"],
            recipes=list(RECIPES),
        )
        for file in files:
            theirs = litert_file(args.quantizer_python, source, calibration, Path(folder), RECIPES[file.recipe])
            if theirs is None:
                sys.exit(
                    "LiteRT Quantizer is not installed: pip install litert-quantizer, or --quantizer-python PYTHON"
                )
            both = {"edgevision": read_model_file(file.path).model, "LiteRT Quantizer": theirs}
            same = {
                name: answers(model, pictures, source).scores["all"].argmax(1) == truth for name, model in both.items()
            }
            for name, right in same.items():
                print(f"{file.recipe:8} {name:17} {Accuracy.of(right).describe()}  {len(both[name]):,} bytes")
            report = timed(Path(folder), theirs, both["edgevision"], source)
            print(
                f"{'':8} edgevision against LiteRT Quantizer: "
                f"{compare_paired(same['LiteRT Quantizer'], same['edgevision']).describe()}; "
                f"{describe_time(report)}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
