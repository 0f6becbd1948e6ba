"""Hold every file of a report against gates; exit 1 if one fails."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TextIO

from edgevision_device import UsageError

from .._gate import NAMES, Gate, Verdict, judge, parse_gate
from .._reading import read_report
from .._text import disturbed_text

__all__ = ["add_arguments", "add_gate", "print_verdicts", "run"]


def add_gate(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare `--gate`. What it is given is read with the other arguments, before anything is done."""
    parser.add_argument(
        "--gate",
        nargs="+",
        action="extend",
        type=_gate,
        required=required,
        default=[],
        metavar="GATE",
        help=f"what every file must reach, such as 'top1>=0.9' 'p90_ms<=30' 'size_kb<=5000'; of {', '.join(NAMES)}",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("report", metavar="REPORT", help="a report.json, or its folder")
    add_gate(parser, required=True)
    parser.add_argument("--json", action="store_true", help="print a list of verdicts as JSON")


def run(args: argparse.Namespace) -> int:
    verdicts = judge(read_report(args.report), args.gate)
    if args.json:
        print(json.dumps([verdict.to_record() for verdict in verdicts], indent=2, ensure_ascii=False))
    else:
        print_verdicts(verdicts, sys.stdout)
    return int(not all(verdict.passed for verdict in verdicts))


def print_verdicts(verdicts: Sequence[Verdict], stream: TextIO) -> None:
    """Write what failed, a line each, and how many passed; on stderr, which files' times were disturbed."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in failed:
        print(f"gate: {verdict.describe()}", file=stream)
    if verdicts:
        print(f"gates: {len(verdicts) - len(failed)} of {len(verdicts)} passed", file=stream)
    for name, reasons in {verdict.file: verdict.disturbed for verdict in verdicts if verdict.disturbed}.items():
        print(disturbed_text(name, reasons), file=sys.stderr)


def _gate(text: str) -> Gate:
    try:
        return parse_gate(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
