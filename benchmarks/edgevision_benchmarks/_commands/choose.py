"""Name the best file of a report under a budget, and what the next better one would cost."""

from __future__ import annotations

import argparse
import json
import sys

from .._choice import Budget, choose
from .._reading import read_report
from .._text import disturbed_text

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The exit code is 1 if no file fits."
    parser.add_argument("report", metavar="REPORT", help="a report.json, or its folder")
    parser.add_argument("--max-ms", type=float, metavar="MS", help="the longest latency, p90")
    parser.add_argument("--max-kb", type=float, metavar="KB", help="the largest file; 1 kB is 1,000 bytes")
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="how far top-1 may lie below the most accurate file's, in percentage points",
    )
    parser.add_argument("--json", action="store_true", help="print the choice as JSON")


def run(args: argparse.Namespace) -> int:
    budget = Budget(args.max_ms, args.max_kb, args.max_drop)
    choice = choose(read_report(args.report), budget)
    if args.json:
        print(json.dumps(choice.to_record(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(choice.lines()))
        for name, reasons in choice.disturbed.items():
            print(disturbed_text(name, reasons), file=sys.stderr)
    return int(choice.chosen is None)
