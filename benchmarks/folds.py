"""Cross-validated accuracy of transfer learning on a folder: features of a frozen backbone against fine-tuning.

    python benchmarks/folds.py stamps/ --folds 5

Every picture is in exactly one test part. A fold's folder holds links, and `edgevision.train` runs on it as on any
other. Both ways see the same folds, so the difference is paired; its interval and p are over all pictures.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgevision import Augmentation, Splits, TrainingOptions, load_data, split_folds, train
from edgevision_benchmarks import Accuracy, compare_paired
from edgevision_device import find_parts


def link_fold(splits: Splits, data: Path, folder: Path) -> None:
    """Link a fold's pictures as `folder/{train,val,test}/<label>/*`."""
    for part in ("train", "val", "test"):
        for name in getattr(splits, part).names:
            link = folder / part / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((data / name).resolve())


def right_of(data: Path, out: Path, options: TrainingOptions) -> dict[str, bool]:
    """Train on a fold and say of each test picture, by name, whether it was right."""
    import keras

    run = train(data, out, options)
    test = load_data(data, run.size_wh, run.resize).test
    model: Any = keras.models.load_model(run.model_path, compile=False)
    scores = [np.asarray(model(pixels.astype(np.float32), training=False)) for pixels in test.batches(32)]
    right = np.concatenate(scores).argmax(1) == test.targets
    return dict(zip(test.names, map(bool, right), strict=True))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--resize", default="letterbox")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--unfreeze-from", default="block11_expand_conv")
    parser.add_argument("--fine-tune-epochs", type=int, default=10)
    parser.add_argument("--fine-tune-learning-rate", type=float, default=1e-4)
    parser.add_argument("--copies", type=int, default=4, help="for fine-tuning: so many flipped and moved copies")
    args = parser.parse_args()
    if find_parts(args.data):
        sys.exit(f"{args.data} has parts of its own; give a folder {args.data}/<label>/*")
    copies = args.copies if args.copies > 1 else 0
    features = TrainingOptions(args.model, resize=args.resize, epochs=args.epochs)
    moved = Augmentation(flip=True, shift=0.05, rotation_deg=8, zoom=0.1) if copies else Augmentation()
    ways = {
        "features": features,
        "features of copies": TrainingOptions(
            args.model, resize=args.resize, epochs=args.epochs, augmentation=moved, copies=copies
        ),
        "fine-tuning": TrainingOptions(
            args.model,
            resize=args.resize,
            epochs=args.epochs,
            unfreeze_from=args.unfreeze_from,
            fine_tune_epochs=args.fine_tune_epochs,
            fine_tune_learning_rate=args.fine_tune_learning_rate,
            augmentation=moved,
            copies=copies,
        ),
    }
    if not copies:
        del ways["features of copies"]
    right: dict[str, dict[str, bool]] = {way: {} for way in ways}
    with tempfile.TemporaryDirectory() as scratch:
        whole = load_data(args.data, (224, 224), args.resize)
        for number, splits in enumerate(split_folds(whole, args.folds), 1):
            folder = Path(scratch) / f"fold{number}"
            link_fold(splits, args.data, folder)
            for way, options in ways.items():
                found = right_of(folder, Path(scratch) / f"{way} {number}", options)
                right[way] |= {Path(name).relative_to("test").as_posix(): each for name, each in found.items()}
                accuracy = Accuracy(sum(found.values()), len(found))
                print(f"fold {number} {way}: {accuracy.describe()} of {len(found)} pictures", flush=True)
    names = sorted(right["features"])
    answers = {way: np.array([each[name] for name in names]) for way, each in right.items()}
    for way, each in answers.items():
        print(f"{way:19} {Accuracy.of(each).describe()} of {len(each)} pictures")
        if way != "features":
            print(f"{'':19} against features: {compare_paired(answers['features'], each).describe()}")


if __name__ == "__main__":
    main()
