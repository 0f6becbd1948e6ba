"""Prove that exported files still say what their model says: agreement, drop, flips, confidence, layers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from pathlib import Path

from edgevision_device import COLOR_ORDERS, RESIZE_MODES, CheckError, check_outputs

from .._datasets import NAMED
from .._models import Description
from .._progress import say
from .._verification import VERIFICATION_FILES, verify, write_verification
from .._verification_table import print_verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="a .tflite or .onnx file")
    parser.add_argument(
        "--against",
        required=True,
        metavar="MODEL",
        help="what the files came from: a run folder, a .keras or .h5 file, a SavedModel, a pretrained network, or a "
        ".tflite or .onnx file",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help=f"{', '.join(NAMED)}, a folder or a .csv file: its test part, else val (default: what the run was "
        "trained on)",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="percentage points of top-1 that a file may lose (default: it keeps at least 98 %% of the model's top-1)",
    )
    parser.add_argument("--layers", action="store_true", help="also the quantization error of each .tflite layer")
    parser.add_argument("--out", metavar="DIR", help=f"write {' and '.join(VERIFICATION_FILES)} there")
    parser.add_argument("--overwrite", action="store_true", help="replace them")
    parser.add_argument("--json", action="store_true", help="print the record as JSON instead of the table")
    parser.add_argument(
        "--whole", action="store_true", help="judge also on pictures that training or calibration has seen"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="for the runtimes (default: cores, at most 4)")
    parser.add_argument("--data-dir", metavar="DIR", help="where the files of fashion-mnist lie")
    parser.add_argument("--strict", action="store_true", help="stop at a picture that cannot be read")
    parser.add_argument("--weights", metavar="FILE", help="of a pretrained network (default: those of its package)")
    given = parser.add_argument_group("for models and files that do not describe themselves")
    given.add_argument("--labels", metavar="FILE", help="text file, one label a line")
    given.add_argument("--resize", metavar="MODE", help=f"{', '.join(RESIZE_MODES)} (default: stretch)")
    given.add_argument("--pixels", metavar="RANGE", help="what it takes: 0..255, 0..1, -1..1, imagenet, or MEAN:STD")
    given.add_argument("--color-order", metavar="ORDER", help=f"{', '.join(COLOR_ORDERS)} (default: rgb)")
    given.add_argument("--signature", metavar="NAME", help="of a SavedModel that has several")
    given.add_argument("--logits", action="store_true", help="it ends before its softmax")


def run(args: argparse.Namespace) -> int:
    if args.out is not None:
        check_outputs([Path(args.out) / name for name in VERIFICATION_FILES], overwrite=args.overwrite)
    found = verify(
        args.files,
        args.against,
        args.data,
        described=Description(**{each.name: getattr(args, each.name) for each in dataclasses.fields(Description)}),
        max_drop=args.max_drop,
        layers=args.layers,
        whole=args.whole,
        data_dir=args.data_dir,
        strict=args.strict,
        threads=args.threads,
        command=shlex.join(args.command_line),
    )
    if args.json:
        print(json.dumps(found.to_record(), indent=2, ensure_ascii=False))
    else:
        print_verification(found)
    if args.out is not None:
        written = write_verification(found, args.out, overwrite=args.overwrite)
        say(f"wrote {' and '.join(map(str, written))}")
    if found.failure is not None:
        raise CheckError(found.failure)
    return 0
