"""Say whether this device is fit to run a classifier, what would mend it, and what model files say of themselves."""

from __future__ import annotations

import argparse
import json

from .._check import check_device, check_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "The exit code is 1 if a line says FAIL: no runtime works, OpenCV does not, or a file cannot be used.\n"
        "It is 0 otherwise. NOTE: it is not there, and may not be needed; WARN: it runs, and could run better. "
        "--json has\nthe same words, small, as level."
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="a .tflite or .onnx file to read and describe")
    parser.add_argument("--json", action="store_true", help="one JSON record a line")


def run(args: argparse.Namespace) -> int:
    findings = [*check_device(), *map(check_file, args.files)]
    for finding in findings:
        if args.json:
            print(json.dumps(finding.to_record(), ensure_ascii=False))
        else:
            mend = "" if finding.mend is None else f"\n      mend: {finding.mend}"
            print(f"{finding.level.upper():<5} {finding.name}: {finding.found}{mend}")
    return int(any(finding.level == "fail" for finding in findings))
