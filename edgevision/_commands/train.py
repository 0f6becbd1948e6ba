"""Train a classifier on labelled pictures."""

from __future__ import annotations

import argparse
import json
from typing import Any

from edgevision_benchmarks import Accuracy
from edgevision_device import UsageError

from .._comparison import compare_augmentation
from .._datasets import NAMED
from .._networks import NETWORKS
from .._run import Run
from .._training import train
from ._training_flags import add_training_flags, training_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help=f"{', '.join(NAMED)}, PATH/{{train,val,test}}/<label>/*, PATH/<label>/*, or a CSV file",
    )
    parser.add_argument("--model", default=argparse.SUPPRESS, metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--out", metavar="RUN", help="folder for the trained model")
    parser.add_argument("--overwrite", action="store_true", help="replace a run in --out, or start it anew")
    parser.add_argument("--resume", action="store_true", help="go on with a training that was interrupted")
    parser.add_argument("--config", metavar="FILE", help="TOML file of options; flags win. A run keeps its own")
    parser.add_argument(
        "--compare-augmentation",
        action="store_true",
        help="train once more without augmentation, into RUN-without, and say whether it made a difference",
    )
    parser.add_argument("--json", action="store_true", help="print the run as JSON")
    add_training_flags(parser)


def run(args: argparse.Namespace) -> int:
    options, data, out = training_options(args)
    data, out = args.data or data, args.out or out
    for name, value in (("DATA", data), ("--out", out), ("--model", vars(args).get("model") or args.config)):
        if value is None:
            raise UsageError(f"{name} is missing; give it, or a --config FILE that does")
    assert data is not None
    assert out is not None
    if args.compare_augmentation:
        effect = compare_augmentation(data, out, options, overwrite=args.overwrite, resume=args.resume)
        print(json.dumps(effect.to_record()) if args.json else "\n".join(effect.lines()))
        return 0
    print_run(train(data, out, options, overwrite=args.overwrite, resume=args.resume), as_json=args.json)
    return 0


def print_run(run: Run, *, as_json: bool = False) -> None:
    """Print what a training gave."""
    text = (run.folder / "run.json").read_text(encoding="utf-8")
    print(text if as_json else run_line(run, json.loads(text)), end="" if as_json else "\n")


def run_line(run: Run, record: dict[str, Any]) -> str:
    """Return one line on a run and its record: top-1 of each part with its interval, and the epoch that was kept."""
    shares: list[str] = []
    for part, pictures in record["pictures"].items():
        if pictures:
            accuracy = Accuracy(round(pictures * record[f"{part}_accuracy"]), pictures)
            shares.append(f"{part} {accuracy.describe()} of {pictures:,}")
    if run.test_accuracy is None:
        shares.append("no test pictures")
    return (
        f"{run.folder}: {run.model}, {record['parameters']:,} parameters, {len(run.labels)} labels, "
        f"{run.size_wh[0]}x{run.size_wh[1]}; top-1 {', '.join(shares)}; intervals: 95 %; epoch "
        f"{record['kept_epoch']} of {record['epochs']} kept"
    )
