"""The arguments of every command that opens one model file."""

from __future__ import annotations

import argparse
import os
from typing import Optional

from .._classifier import Classifier
from .._foreign import describe_foreign
from .._metadata import COLOR_ORDERS, RESIZE_MODES, Metadata
from .._runtimes import RUNTIMES

__all__ = ["add_foreign_arguments", "add_model_arguments", "add_runtime_arguments", "describe_given", "open_model"]


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--threads` and `--runtime`."""
    parser.add_argument("--threads", type=int, metavar="N", help="threads for the runtime (default: cores, at most 4)")
    runtimes = sorted({name for names in RUNTIMES.values() for name in names})
    parser.add_argument("--runtime", metavar="NAME", help=f"{', '.join(runtimes)} (default: the first one installed)")


def add_foreign_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a file that edgevision did not write lacks; `describe_foreign` takes the values."""
    foreign = parser.add_argument_group("for a file that edgevision did not write")
    foreign.add_argument("--labels", metavar="FILE", help="text file, one label a line")
    foreign.add_argument("--resize", metavar="MODE", help=", ".join(RESIZE_MODES))
    foreign.add_argument("--pixels", metavar="RANGE", help="what it takes: 0..255, 0..1, -1..1, imagenet, or MEAN:STD")
    foreign.add_argument("--color-order", metavar="ORDER", help=f"{', '.join(COLOR_ORDERS)} (default: rgb)")
    foreign.add_argument("--logits", action="store_true", help="it ends before its softmax, which is to be applied")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE, the runtime's arguments, and what a file that edgevision did not write lacks."""
    parser.add_argument("file", metavar="FILE", help="a .tflite or .onnx file")
    add_runtime_arguments(parser)
    parser.add_argument("--delegate", metavar="LIB", help="a shared library that runs what it can of a .tflite file")
    add_foreign_arguments(parser)


def open_model(args: argparse.Namespace) -> Classifier:
    """Open the file that the arguments name."""
    given = describe_given(args)
    return Classifier(args.file, threads=args.threads, runtime=args.runtime, delegate=args.delegate, given=given)


def describe_given(args: argparse.Namespace) -> Optional[Metadata]:
    """Return what the arguments say of a file that edgevision did not write."""
    name = os.path.splitext(os.path.basename(args.file))[0]
    return describe_foreign(name, args.labels, args.resize, args.pixels, args.color_order, args.logits)
