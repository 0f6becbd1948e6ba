"""Name what pictures show."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional, Union

from .._errors import DataError, PictureError, UsageError
from .._pictures import find_pictures, read_picture
from ._model import add_model_arguments, open_model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser)
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="picture files, or folders of them; one that cannot be read gets a line on stderr, and the exit code is 1",
    )
    parser.add_argument("--top", type=int, default=1, metavar="K", help="labels per picture (default: 1)")
    parser.add_argument("--json", action="store_true", help="one JSON record a line")
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first picture that cannot be read, with exit code 2"
    )


def run(args: argparse.Namespace) -> int:
    if args.top < 1:
        raise UsageError(f"--top must be at least 1, got {args.top}")
    labelled = failed = 0

    def skip(path: str, error: DataError) -> None:
        nonlocal failed
        if args.strict or [path] == args.pictures:
            raise error
        failed += 1
        print(f"skipped: {error}", file=sys.stderr)

    names: list[str] = []
    for name in args.pictures:
        error = _absence(name)
        if error is None:
            names.append(name)
        else:
            skip(name, error)
    if not names:
        raise DataError(f"none of the {failed} is a file or a folder")
    classifier = open_model(args)
    for path, picture in _read(names):
        if isinstance(picture, DataError):
            skip(path, picture)
            continue
        labelled += 1
        best = classifier.classify(picture, args.top)
        rejected = best[0].score < classifier.metadata.reject_threshold
        if args.json:
            record = {
                "picture": path,
                "label": None if rejected else best[0].label,
                "score": best[0].score,
                "top": [{"label": each.label, "score": each.score} for each in best],
            }
            print(json.dumps(record))
        else:
            ranked = "  ".join(f"{each.label} {100 * each.score:.1f} %" for each in best)
            print(f"{path}: {'unknown: ' if rejected else ''}{ranked}")
    if not labelled:
        raise DataError(f"none of the {failed} can be read; give PNG, JPEG or other pictures")
    return 1 if failed else 0


def _absence(name: str) -> Optional[PictureError]:
    """Return what is wrong with a name that cannot be a picture's; a pipe would keep us waiting."""
    if os.path.isfile(name) or os.path.isdir(name):
        return None
    try:
        os.stat(name)
    except OSError as error:
        return PictureError(f"cannot read the picture {name}: {error.strerror}")
    return PictureError(f"cannot read the picture {name}: it is neither a file nor a folder")


def _read(names: list[str]) -> Iterator[tuple[str, Union[npt.NDArray[np.uint8], DataError]]]:
    """Yield each picture's path with its pixels, or with what is wrong with it."""
    for name in names:
        try:
            paths = [str(path) for path in find_pictures(name)] if os.path.isdir(name) else [name]
        except DataError as error:
            yield name, error
            continue
        for path in paths:
            try:
                picture = read_picture(path)
            except PictureError as error:
                yield path, error
            else:
                yield path, picture
