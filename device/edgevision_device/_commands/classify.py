"""Name what pictures show."""

from __future__ import annotations

import argparse
import json
import sys

from .._errors import DataError, PictureError, UsageError
from .._pictures import find_pictures, read_picture
from ._model import add_model_arguments, open_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="picture files, or folders of them")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="labels per picture (default: 1)")
    parser.add_argument("--json", action="store_true", help="one JSON record a line")
    parser.add_argument("--strict", action="store_true", help="stop at the first picture that cannot be read")


def run(args: argparse.Namespace) -> int:
    if args.top < 1:
        raise UsageError(f"--top must be at least 1, got {args.top}")
    paths = [path for name in args.pictures for path in find_pictures(name)]
    classifier = open_model(args)
    skipped = 0
    for path in paths:
        try:
            picture = read_picture(path)
        except PictureError as error:
            if args.strict:
                raise
            skipped += 1
            print(f"skipped: {error}", file=sys.stderr)
            continue
        best = classifier.classify(picture, args.top)
        rejected = best[0].score < classifier.metadata.reject_threshold
        if args.json:
            record = {
                "picture": str(path),
                "label": None if rejected else best[0].label,
                "score": best[0].score,
                "top": [{"label": each.label, "score": each.score} for each in best],
            }
            print(json.dumps(record))
        else:
            ranked = "  ".join(f"{each.label} {100 * each.score:.1f} %" for each in best)
            print(f"{path}: {'unknown: ' if rejected else ''}{ranked}")
    if skipped == len(paths):
        raise DataError(f"none of the {skipped} files is a picture that can be read")
    if skipped:
        print(f"{skipped} of {len(paths)} pictures skipped", file=sys.stderr)
    return 0
