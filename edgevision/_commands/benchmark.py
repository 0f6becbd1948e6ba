"""Measure accuracy, latency, memory and size of model files on labelled pictures."""

from __future__ import annotations

import argparse

from edgevision_benchmarks import command
from edgevision_device import UsageError

from .._evaluation import run_benchmark
from .._networks import PRETRAINED, RANDOM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    command.add_arguments(parser)
    parser.add_argument("--data-dir", metavar="DIR", help="where the files of fashion-mnist lie")
    zoo = parser.add_argument_group("networks in place of files")
    zoo.add_argument(
        "--zoo",
        nargs="?",
        const="",
        metavar="LIST",
        help=f"make float32 and int8 files of these and measure them, without --data all but accuracy; one or more of "
        f"{', '.join(PRETRAINED)} or all (default: those that fit a phone); --out keeps them",
    )
    zoo.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help=f"ImageNet weights, or {RANDOM} (default: those that are on this machine, else {RANDOM}); can be repeated",
    )


def run(args: argparse.Namespace) -> int:
    if args.zoo is not None:
        from .._zoo import run_zoo

        return run_zoo(args)
    if args.weights:
        raise UsageError("--weights is for networks, and files hold their own; name the networks with --zoo")
    return run_benchmark(args)
