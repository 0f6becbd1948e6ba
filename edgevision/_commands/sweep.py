"""Compare trainings: every combination of some options, as one table, one picture, and the pictures that flip."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from edgevision_converters import RECIPES
from edgevision_device import UsageError

from .._datasets import NAMED
from .._networks import NETWORKS
from .._options import TrainingOptions
from .._progress import say
from .._sweep import SWEEP_FILES, sweep
from .._sweep_axes import read_axes
from .._sweep_table import print_rows, print_sweep, row_line
from ._training_flags import add_training_flags, training_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sweep_record import SweepRow

_EPILOG = f"""\
--vary takes any training flag without its dashes, and augmentation=on,off. Values are written as after the flag, pairs
and lists with an x between their numbers; "default" leaves it to the model. Every combination becomes a row, and the
first row is what the others are compared with:

  edgevision sweep digits --out sweeps/depth --model slim --vary depth=1,2 --vary width=0.5,1
  edgevision sweep photos/ --out sweeps/size --model slim --vary size=300,150
  edgevision sweep photos/ --out sweeps/turns --model slim,conv-pool --vary augmentation=on,off

DIR gets a folder per row and {", ".join(SWEEP_FILES)}. The exit code is 1 if a row failed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help=f"{', '.join(NAMED)}, PATH/{{train,val,test}}/<label>/*, PATH/<label>/*, or a CSV file",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for everything")
    parser.add_argument(
        "--model", default=argparse.SUPPRESS, metavar="LIST", help=f"one or more of {', '.join(NETWORKS)}"
    )
    parser.add_argument("--vary", action="append", default=[], metavar="NAME=LIST", help="see below; can be repeated")
    parser.add_argument(
        "--recipe", default="int8", metavar="NAME", help=f"of the files: {', '.join(RECIPES['tflite'])} (default: int8)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="that run the files (default: cores, at most 4)")
    parser.add_argument("--resume", action="store_true", help="keep rows that are finished, go on with the others")
    parser.add_argument("--overwrite", action="store_true", help="make rows that are there anew")
    parser.add_argument("--config", metavar="FILE", help="TOML file of options; flags win")
    parser.add_argument("--json", action="store_true", help="print the sweep as JSON instead of the table")
    add_training_flags(parser)


def run(args: argparse.Namespace) -> int:
    told = vars(args)
    models = [name.strip() for name in told["model"].split(",")] if "model" in told else []
    axes: dict[str, list[Any]] = {"model": models} if len(models) > 1 else {}
    varied = read_axes(args.vary)
    if models and "model" in varied:
        raise UsageError("the models are given twice; give them all in --model")
    axes |= varied
    # The base alone need not be a training: what it lacks, an axis may give. It takes the first value of each.
    names = {field.name for field in fields(TrainingOptions)}
    first = {name.replace("-", "_"): values[0] for name, values in axes.items() if name != "augmentation"}
    if "size" in first:
        first["size_wh"] = first["size"]
    given = {name: value for name, value in first.items() if name in names}
    if models:
        given["model"] = models[0]
    options, data, out = training_options(args, **given)
    data, out = args.data or data, args.out or out
    for name, value in (("DATA", data), ("--out", out), ("--model", models or args.config or varied.get("model"))):
        if not value:
            raise UsageError(f"{name} is missing; give it, or a --config FILE that does")
    assert data is not None
    assert out is not None
    made = sweep(
        data,
        out,
        options,
        axes,
        recipe=args.recipe,
        threads=args.threads,
        overwrite=args.overwrite,
        resume=args.resume,
        command=shlex.join(args.command_line),
        on_row=_show_growth(),
    )
    if args.json:
        print(json.dumps(made.to_record(), indent=2, ensure_ascii=False))
    else:
        print_sweep(made)
    written = [str(made.folder / name) for name in SWEEP_FILES if (made.folder / name).exists()]
    say(f"wrote {', '.join(written)}")
    return int(any(row.error is not None for row in made.rows))


def _show_growth() -> Callable[[SweepRow], None]:
    """Return what shows the rows so far on stderr: the table on a terminal, elsewhere a line for each row."""
    from rich.console import Console

    console = Console(stderr=True)
    rows: list[SweepRow] = []

    def show(row: SweepRow) -> None:
        rows.append(row)
        say(row_line(row))
        if console.is_terminal and row.result is not None:
            print_rows(rows, console)

    return show
