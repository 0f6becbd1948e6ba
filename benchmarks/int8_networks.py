"""What int8 costs trained networks: top-1 of the int8 files minus top-1 of the float model, on the same test pictures.

    python benchmarks/int8_networks.py
    python benchmarks/int8_networks.py --networks dense,plain --data fashion-mnist --epochs 1
    python benchmarks/int8_networks.py --networks mobilenetv3-small --seed 2

Each network is trained here: those that learn from scratch on `--data`; `efficientnet-lite0` as features, with its
ImageNet weights, on the pictures of `benchmarks/stamps.py`, in five folds, so that every picture judges once;
`mobilenetv3-small` (hard-swish, squeeze-excite) from random weights, all of it, on `--data` at 48 x 48 pixels, because
its ImageNet weights may not be here. The `.tflite` and the `.onnx` file are then judged by `edgevision.verify`, on
pictures that trained and calibrated nothing. The target is met where a file loses at most 0.3 points, or its loss
cannot be told from none (McNemar's exact p and the 95 % interval of the paired difference). About twelve minutes on two
cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevision import ExportOptions, TrainingOptions, Verification, export, load_data, split_folds, train, verify
from edgevision._models import Description
from edgevision_benchmarks import PairedDifference
from folds import link_fold
from stamps import PACKAGE, link_stamps

SCRATCH = ("dense", "conv-pool", "plain", "stride-dropout", "slim")
NETWORKS = (*SCRATCH, "efficientnet-lite0", "mobilenetv3-small")
#: Points of top-1 that a file may lose whatever the test says.
MOST_POINTS = 0.3
FOLDS = 5
MOBILE_SIZE_WH = (48, 48)


def from_scratch(name: str, data: str, epochs: int, seed: int, folder: Path) -> Verification:
    """Train a network, export and verify it."""
    run = train(data, folder / name, TrainingOptions(name, epochs=epochs, seed=seed))
    files = export(run.folder, folder / "files", ExportOptions(recipes=["int8"]))
    return verify([file.path for file in files], run.folder)


def features(seed: int, folder: Path) -> Iterator[Verification]:
    """Train a head on EfficientNet-Lite0's features of stamps, fold by fold; see `from_scratch`."""
    stamps = folder / "stamps"
    link_stamps(stamps)
    for number, splits in enumerate(split_folds(load_data(stamps, (224, 224), "letterbox"), FOLDS), 1):
        fold = folder / f"fold{number}"
        link_fold(splits, stamps, fold / "data")
        yield from_scratch("efficientnet-lite0", str(fold / "data"), 20, seed, fold)


def mobile(data: str, epochs: int, seed: int, folder: Path) -> Verification:
    """Train MobileNetV3-small from random weights; see `from_scratch`."""
    import keras

    keras.utils.set_random_seed(seed)
    splits = load_data(data, MOBILE_SIZE_WH, "stretch")
    applications: Any = keras.applications  # its annotations leave out None for weights
    model = applications.MobileNetV3Small(
        (*MOBILE_SIZE_WH[::-1], 3),
        weights=None,
        classes=len(splits.labels),
        dropout_rate=0.1,
        include_preprocessing=True,
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # 0.999 wants more steps than there are here
    train_pixels = splits.train.sample(10_000, seed)
    steps = -(-len(train_pixels) // 64) * epochs
    rate: Any = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(train_pixels.pixels(slice(None)).astype(np.float32), train_pixels.targets, 64, epochs=epochs, verbose=0)
    path, labels = folder / "mobilenetv3-small.keras", folder / "labels.txt"
    model.save(path)
    labels.write_text("\n".join(splits.labels))
    options = ExportOptions(recipes=["int8"], labels=str(labels), calibrate=data)
    files = export(path, folder / "files", options)
    return verify([file.path for file in files], path, data, described=Description(labels=str(labels)))


def lines(name: str, found: Sequence[Verification]) -> Iterator[tuple[str, bool]]:
    """Yield a line for each format, over the pictures of all verifications, and whether it meets the target."""
    for same in zip(*(each.files for each in found), strict=True):
        each = [file.comparison.difference for file in same]
        difference = PairedDifference(
            **{cell: sum(getattr(one, cell) for one in each) for cell in ("both", "only_a", "only_b", "neither")}
        )
        right = difference.both + difference.only_a, difference.both + difference.only_b
        share, int8_share = (count / difference.pictures for count in right)
        same_top1 = sum(file.agreement.same_top1 * file.agreement.pictures for file in same) / difference.pictures
        met = 100 * (share - int8_share) <= MOST_POINTS or not difference.distinguishable
        yield (
            f"{name:18}  .{same[0].format:6}  float {100 * share:5.1f} %  int8 {100 * int8_share:5.1f} %  "
            f"same top-1 {100 * same_top1:5.1f} %  {difference.describe()}: {'met' if met else 'MISSED'}",
            met,
        )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), metavar="LIST")
    parser.add_argument("--data", default="digits", help="for the networks that learn from scratch (default: digits)")
    parser.add_argument("--epochs", type=int, default=6, help="of those (default: 6)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    names = args.networks.split(",")
    unknown = set(names) - set(NETWORKS)
    if unknown:
        sys.exit(f"unknown network {min(unknown)!r}; known: {', '.join(NETWORKS)}")
    missed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in names:
            began = time.monotonic()
            if name == "efficientnet-lite0":
                if not PACKAGE.is_dir():
                    print(f"{name:18}  left out: {PACKAGE} is not here: sudo apt install tuxpaint-stamps-default")
                    continue
                found = list(features(args.seed, folder))
            elif name == "mobilenetv3-small":
                found = [mobile(args.data, args.epochs, args.seed, folder)]
            else:
                found = [from_scratch(name, args.data, args.epochs, args.seed, folder)]
            for line, met in lines(name, found):
                print(line, flush=True)
                missed += not met
            print(f"{'':18}  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
