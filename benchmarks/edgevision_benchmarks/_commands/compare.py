"""Say whether a second run reproduces the first; exit 1 if not."""

from __future__ import annotations

import argparse
import json

from .._compare import TOLERANCE, compare_reports
from .._reading import read_report

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="FIRST", help="a report.json, or its folder")
    parser.add_argument("second", metavar="SECOND", help="of a second run, with the same files and pictures")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=100 * TOLERANCE,
        metavar="PERCENT",
        help=f"by how much p50 and p90 may differ in either direction (default: {100 * TOLERANCE:g})",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    comparison = compare_reports(read_report(args.first), read_report(args.second), args.tolerance / 100)
    if args.json:
        print(json.dumps(comparison.to_record(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(comparison.lines()))
    return int(not comparison.reproduced)
