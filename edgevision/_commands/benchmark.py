"""Measure accuracy, latency, memory and size of model files on labelled pictures."""

from __future__ import annotations

import argparse

from edgevision_benchmarks import command

from .._evaluation import run_benchmark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    command.add_arguments(parser)
    parser.add_argument("--data-dir", metavar="DIR", help="where the files of fashion-mnist lie")


def run(args: argparse.Namespace) -> int:
    return run_benchmark(args)
