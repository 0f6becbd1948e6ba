"""Train a classifier on labelled pictures."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields

from edgevision_device import RESIZE_MODES, UsageError

from .._augmentation import Augmentation
from .._datasets import NAMED
from .._networks import NETWORKS
from .._training import TrainingOptions, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = TrainingOptions()
    moved = default.augmentation
    parser.add_argument(
        "data", metavar="DATA", help=f"{', '.join(NAMED)}, PATH/{{train,val,test}}/<label>/* or PATH/<label>/*"
    )
    parser.add_argument("--model", required=True, metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--out", required=True, metavar="RUN", help="folder for the trained model")
    parser.add_argument("--overwrite", action="store_true", help="replace a run in --out")
    parser.add_argument("--size", metavar="WxH", help="input size, such as 96x96 or 96 (default: the data's, or 96)")
    parser.add_argument("--resize", default=default.resize, metavar="MODE", help=", ".join(RESIZE_MODES))
    parser.add_argument("--epochs", type=int, default=default.epochs, metavar="N")
    parser.add_argument("--batch-size", type=int, default=default.batch_size, metavar="N")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="at its peak (default: what suits the model)"
    )
    parser.add_argument("--label-smoothing", type=float, default=default.label_smoothing, metavar="SHARE")
    parser.add_argument("--seed", type=int, default=default.seed, metavar="N")
    parser.add_argument("--data-dir", metavar="DIR", help="where the files of fashion-mnist lie")
    parser.add_argument("--weights", metavar="FILE", help="ImageNet weights (default: those of edgevision[pretrained])")
    parser.add_argument("--strict", action="store_true", help="stop at a picture that cannot be read")
    parser.add_argument("--json", action="store_true", help="print the run as JSON")
    slim = parser.add_argument_group("the slim model")
    slim.add_argument("--width", type=float, default=default.width, metavar="FACTOR", help="of channels")
    slim.add_argument("--depth", type=int, default=default.depth, metavar="N", help="convolutions per stage")
    slim.add_argument("--dropout", type=float, default=default.dropout, metavar="RATE")
    augmentation = parser.add_argument_group("augmentation of training pictures (slim model)")
    augmentation.add_argument("--shift", type=float, default=moved.shift, metavar="SHARE", help="of width and height")
    augmentation.add_argument("--rotation", type=float, default=moved.rotation_deg, metavar="DEGREES")
    augmentation.add_argument("--zoom", type=float, default=moved.zoom, metavar="SHARE")
    augmentation.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, default=moved.flip, help="left and right"
    )


def run(args: argparse.Namespace) -> int:
    plain = {field.name for field in fields(TrainingOptions)} & set(vars(args)) - {"size_wh", "augmentation"}
    options = TrainingOptions(
        network=args.model,
        size_wh=parse_size(args.size),
        augmentation=Augmentation(args.shift, args.rotation, args.zoom, args.flip),
        **{name: getattr(args, name) for name in plain},
    )
    run = train(args.data, args.out, options, overwrite=args.overwrite)
    if args.json:
        print((run.folder / "run.json").read_text(encoding="utf-8"), end="")
        return 0
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    test = "no test pictures" if run.test_accuracy is None else f"test {100 * run.test_accuracy:.2f} %"
    print(
        f"{run.folder}: {run.network}, {record['parameters']:,} parameters, {len(run.labels)} labels, "
        f"{run.size_wh[0]}x{run.size_wh[1]}; top-1 val {100 * run.val_accuracy:.2f} %, {test}"
    )
    return 0


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read `WxH`, or one number for both.

    >>> parse_size("96x64")
    (96, 64)
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"cannot read the size {text!r}; allowed: WIDTHxHEIGHT in pixels, such as 96x64, or one number"
        )
    return int(parts[0]), int(parts[-1])
