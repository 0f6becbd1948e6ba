"""Ask networks with ImageNet weights what pictures show, or compare them on labelled pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_benchmarks import ms_text
from edgevision_converters import RECIPES
from edgevision_device import UsageError, find_pictures

from .._console import stdout_console
from .._imagenet import DEFAULT_MODELS, imagenet_compare, imagenet_top
from .._imagenet_files import parse_weights
from .._imagenet_meanings import parse_means
from .._networks import PRETRAINED, RANDOM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rich.console import Console

    from .._imagenet_record import ImagenetComparison, TopLabels

_EPILOG = """\
Pictures get the best labels of each network. One folder PICTURES/<label>/* gets a row per network: accuracy, size,
latency, and the difference to the first one. What answers is a .tflite file, as on a device. Labels that are not
ImageNet's are given a meaning, and one without a meaning stands for none of the others:

  edgevision imagenet cat.jpg --models efficientnet-lite0,mobilenetv2
  edgevision imagenet food/ --models all
  edgevision imagenet snacks/ --means hot_dog=hotdog          snacks/hot_dog/*, snacks/not_hot_dog/*
  edgevision imagenet pets/ --means cat="tabby,tiger cat,Egyptian cat" --means dog="beagle,pug"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURES", help="picture files, or one folder PICTURES/<label>/*"
    )
    parser.add_argument(
        "--models",
        default=",".join(DEFAULT_MODELS),
        metavar="LIST",
        help=f"all (whose weights can be had), or one or more of {', '.join(PRETRAINED)} (default: "
        f"{','.join(DEFAULT_MODELS)})",
    )
    parser.add_argument("--top", type=int, metavar="K", help="labels per picture (default: 5)")
    parser.add_argument(
        "--means",
        action="append",
        default=[],
        metavar="LABEL=LIST",
        help="ImageNet labels that a label of the folder means; can be repeated",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help=f"ImageNet weights (default: the published ones), or {RANDOM}, only to time it; of several networks with "
        "the name of each; can be repeated",
    )
    parser.add_argument(
        "--recipe", default="float32", metavar="NAME", help=f"{', '.join(RECIPES['tflite'])} (default: float32)"
    )
    parser.add_argument("--out", metavar="DIR", help="keep the .tflite files here")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--threads", type=int, metavar="N", help="that run the files (default: cores, at most 4)")
    parser.add_argument("--strict", action="store_true", help="stop at a picture that cannot be read")
    parser.add_argument("--json", action="store_true", help="a JSON record a picture and network, or one of the folder")


def run(args: argparse.Namespace) -> int:
    models = [name.strip() for name in args.models.split(",") if name.strip()]
    means, weights = parse_means(args.means), parse_weights(args.weights, models)
    shared: dict[str, Any] = {
        "models": models,
        "weights": weights,
        "recipe": args.recipe,
        "out": args.out,
        "threads": args.threads,
        "overwrite": args.overwrite,
        "strict": args.strict,
    }
    if _is_labelled(args.pictures):
        if args.top is not None:
            raise UsageError("--top is for pictures; of a labelled folder top-1 and top-5 are counted")
        comparison = imagenet_compare(args.pictures[0], means=means, **shared)
        if args.json:
            print(json.dumps(comparison.to_record()))
        else:
            print_comparison(comparison)
        return 0
    if means:
        raise UsageError("--means is for one folder PICTURES/<label>/*; give just that, or leave out --means")
    paths = [path for name in args.pictures for path in find_pictures(name)]
    found = imagenet_top(paths, top=5 if args.top is None else args.top, **shared)
    if args.json:
        for each in found:
            print(json.dumps(each.to_record()))
    else:
        print_top(found)
    return 0


def print_top(found: Sequence[TopLabels], console: Console | None = None) -> None:
    """Print the labels of each picture, best first, with a column a network; on stdout unless told otherwise."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    models = list(dict.fromkeys((each.model, each.random) for each in found))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # Text, never markup: a path may hold square brackets.
    table.add_column("picture", overflow="fold")
    for model, random in models:
        table.add_column(Text(f"{model} (random weights)" if random else model))
    for start in range(0, len(found), len(models)):
        row = found[start : start + len(models)]
        for rank in range(len(row[0].best)):
            cells = [f"{100 * each.best[rank].score:5.1f} % {each.best[rank].label}" for each in row]
            last = rank + 1 == len(row[0].best)
            table.add_row(Text("" if rank else row[0].picture), *map(Text, cells), end_section=last)
    (console or stdout_console()).print(table)


def print_comparison(comparison: ImagenetComparison, console: Console | None = None) -> None:
    """Print a row a network, then what the numbers mean; on stdout unless told otherwise."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    complete = comparison.meanings.complete
    for heading in ("top-1 %", "95 %", *(("top-5 %", "95 %") if complete else ()), "parameters", "MACs", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True, style="dim" if heading == "95 %" else "")
    table.add_column("p50 ms", justify="right", no_wrap=True)
    for row in comparison.rows:
        shares: list[str] = []
        for accuracy in (row.top1, row.top5):
            if accuracy is not None:
                shares += [f"{100 * accuracy.share:.1f}", accuracy.describe_interval()]
        costs = [f"{number:,}" for number in (row.file.parameters, row.file.macs, row.file.size_bytes)]
        table.add_row(Text(row.file.title), *shares, *costs, ms_text(row.latency.p50_ms))
    console = console or stdout_console()
    console.print(table)
    for line in comparison.remarks():
        console.print(Text(line), soft_wrap=True)


def _is_labelled(pictures: Sequence[str]) -> bool:
    """Tell whether this is one folder of folders."""
    folder = Path(pictures[0])
    if len(pictures) > 1 or not folder.is_dir():
        return False
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())
