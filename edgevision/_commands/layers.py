"""Show what each layer of a model puts out, holds and multiplies; or the arithmetic of one layer's size."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision_converters import load_keras_model
from edgevision_device import FileError, UsageError, require_known

from .._arithmetic import LayerCost, layer_costs, output_size, total_costs
from .._console import stdout_console
from .._keras import start_keras
from .._networks import NETWORKS
from .._options import parse_size, parse_strides
from .._run import is_run, read_run
from .models import build, check_classes

if TYPE_CHECKING:
    from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a network's name (see `edgevision models`), a run folder, or a .keras or .h5 file",
    )
    parser.add_argument("--size", metavar="WxH", help="of a network's input (default: its own, or 96x96)")
    parser.add_argument("--classes", type=int, metavar="N", help="of a network (default: its own)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="of a network, such as width=0.5 or strides=2,1,2; can be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON record")
    one = parser.add_argument_group("the arithmetic of one layer, without a model")
    one.add_argument("--input-size", type=int, metavar="PIXELS", help="what comes out of so many pixels along a side")
    one.add_argument("--kernel", type=int, metavar="N", help="width of the convolution's or pooling's window")
    one.add_argument("--stride", type=int, metavar="N", help="from one place to the next (default: 1)")
    one.add_argument("--padding", metavar="N", help="pixels added at each end, or valid, or same (default: 0)")


def run(args: argparse.Namespace) -> int:
    if args.input_size is not None:
        return _run_arithmetic(args)
    for name in ("kernel", "stride", "padding"):
        if getattr(args, name) is not None:
            raise UsageError(f"--{name} belongs to --input-size PIXELS, which is missing")
    if args.model is None:
        raise UsageError("give a MODEL, or --input-size PIXELS --kernel N")
    model = _model(args)
    costs = layer_costs(model)
    parameters, macs = total_costs(costs)
    uncounted = [cost.name for cost in costs if cost.macs is None]
    if args.json:
        record = {
            "model": args.model,
            "layers": [asdict(cost) for cost in costs],
            "parameters": parameters,
            "macs": macs,
            "uncounted": uncounted,
        }
        print(json.dumps(record))
        return 0
    _print_table(costs, parameters, macs)
    if uncounted:
        print(f"not counted: {', '.join(uncounted)}")
    return 0


def _run_arithmetic(args: argparse.Namespace) -> int:
    if args.model is not None:
        raise UsageError(f"--input-size is about one layer without a model; leave out {args.model}")
    if args.kernel is None:
        raise UsageError("--input-size needs --kernel N")
    stride = 1 if args.stride is None else args.stride
    padding = args.padding or "0"
    padding = int(padding) if padding.isdecimal() else padding
    size = output_size(args.input_size, args.kernel, stride, padding)
    if args.json:
        given = {"size": args.input_size, "kernel": args.kernel, "stride": stride, "padding": padding}
        print(json.dumps({**given, "output_size": size}))
    elif padding == "same":
        print(f"ceil({args.input_size} / {stride}) = {size}")
    elif padding == "valid":
        print(f"floor(({args.input_size} - {args.kernel}) / {stride}) + 1 = {size}")
    else:
        print(f"({args.input_size} - {args.kernel} + 2 * {padding}) / {stride} + 1 = {size}")
    return 0


def _model(args: argparse.Namespace) -> Any:
    path = Path(args.model)
    if args.model in NETWORKS and not path.exists():
        size_wh = None if args.size is None else parse_size(args.size)
        knobs = parse_knobs(args.set)
        check_classes(args.classes)
        NETWORKS[args.model].check_knobs(knobs)
        start_keras()
        return build(NETWORKS[args.model], size_wh, args.classes, knobs)[0]
    for flag, given in (("--size", args.size), ("--classes", args.classes), ("--set", args.set)):
        if given:
            raise UsageError(f"{flag} is for a network's name, and {path} is finished; leave it out")
    if is_run(path):
        file = read_run(path).model_path
    elif path.is_dir():
        raise FileError(f"{path} is no run folder; give one that `edgevision train` wrote")
    else:
        if not path.exists() and path.name == args.model and not path.suffix:
            require_known("model", path.name, [*NETWORKS, "a run folder", "a .keras or .h5 file"])
        file = path
    if not file.is_file():
        raise FileError(f"no such model file: {file}; give a .keras or .h5 file, or a run folder")
    start_keras()
    return load_keras_model(file)


def parse_knobs(texts: Sequence[str]) -> dict[str, Any]:
    """Read `NAME=VALUE`, the value being a number, strides, or a word.

    >>> parse_knobs(["width=0.5", "depth=2", "strides=2,1,2", "convolution=full"])
    {'width': 0.5, 'depth': 2, 'strides': (2, 1, 2), 'convolution': 'full'}
    """
    knobs: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"cannot read the knob {text!r}; allowed: KNOB=VALUE, such as width=0.5")
        knobs[name] = parse_strides(value) if name == "strides" else _value(value)
    return knobs


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _print_table(costs: Sequence[LayerCost], parameters: int, macs: int) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "kind", "output", "parameters", "MACs"):
        table.add_column(heading, justify="left" if heading in ("layer", "kind") else "right", no_wrap=True)
    for cost in costs:
        counted = "?" if cost.macs is None else f"{cost.macs:,}"
        table.add_row(cost.name, cost.kind, shown_shape(cost.output_shape), f"{cost.parameters:,}", counted)
    table.add_section()
    table.add_row("all", "", "", f"{parameters:,}", f"{macs:,}")
    stdout_console().print(table)


def shown_shape(shape: tuple[int, ...]) -> str:
    """Write a shape as sizes are written everywhere: width, height, then channels.

    >>> shown_shape((20, 28, 3)), shown_shape((64,))
    ('28x20x3', '64')
    """
    if len(shape) == 3:
        shape = (shape[1], shape[0], shape[2])
    return "x".join(map(str, shape))
