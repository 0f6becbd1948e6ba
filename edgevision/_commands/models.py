"""List the networks that can be trained, their knobs, and what they cost."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from edgevision_device import UsageError, require_known

from .._arithmetic import layer_costs, total_costs
from .._console import stdout_console
from .._keras import start_keras
from .._networks import DEFAULT_SIZE_WH, NETWORKS, RANDOM, Network
from .._options import parse_size
from .._progress import say

if TYPE_CHECKING:
    from rich.console import Console

#: A terminal has room for counts and words from here on.
_WIDE = 165
#: Labels of a network from scratch, where only the cost of its head depends on them.
_CLASSES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    width, height = DEFAULT_SIZE_WH
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--costs", action="store_true", help="build each and count parameters and multiplications")
    parser.add_argument(
        "--size", metavar="WxH", help=f"to count for (default: the network's own, else {width}x{height})"
    )
    parser.add_argument(
        "--classes", type=int, metavar="N", help=f"to count for (default: 1000 if pretrained, else {_CLASSES} or 2)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON record a network")


def run(args: argparse.Namespace) -> int:
    for name in args.names:
        require_known("model", name, NETWORKS)
    size_wh = None if args.size is None else parse_size(args.size)
    if not args.costs and (size_wh is not None or args.classes is not None):
        raise UsageError(f"{'--size' if args.classes is None else '--classes'} is what to count for; add --costs")
    check_classes(args.classes)
    networks = [NETWORKS[name] for name in args.names or NETWORKS]
    records: list[dict[str, Any]] = []
    if args.costs:
        start_keras()
    for network in networks:
        if args.costs:
            say(f"building {network.name}")
        costs = _costs(network, size_wh, args.classes) if args.costs else {}
        records.append({**described(network), **costs})
    if args.json:
        for record in records:
            print(json.dumps(record))
        return 0
    print_networks(records)
    return 0


def described(network: Network) -> dict[str, Any]:
    return {
        "name": network.name,
        "summary": network.summary,
        "size_wh": network.size_wh,
        "pretrained": network.pretrained,
        "head": network.head,
        "knobs": dict(network.knobs),
    }


def _costs(network: Network, size_wh: tuple[int, int] | None, classes: int | None) -> dict[str, Any]:
    model, classes = build(network, size_wh, classes, {})
    parameters, macs = total_costs(layer_costs(model))
    height, width, _ = model.inputs[0].shape[1:]
    return {"counted_size_wh": (width, height), "classes": classes, "parameters": parameters, "macs": macs}


def check_classes(classes: int | None) -> None:
    """Raise UsageError unless a classifier can have so many labels."""
    if classes is not None and not 2 <= classes <= 100_000:
        raise UsageError(f"classes must lie between 2 and 100000, got {classes}")


def build(
    network: Network, size_wh: tuple[int, int] | None, classes: int | None, knobs: dict[str, Any]
) -> tuple[Any, int]:
    """Build a whole network with random weights; return it and its number of labels.

    A pretrained network of which nothing is asked is the published one, with 1,000 scores; else it is a body with the
    head that a training puts on it.
    """
    network.check_knobs(knobs)
    if network.pretrained and size_wh is None and classes is None:
        model = network.classifier(RANDOM)
        return model, int(model.outputs[0].shape[1])
    classes = classes or (2 if network.head == "sigmoid" else 1000 if network.pretrained else _CLASSES)
    return network.with_head(size_wh or network.size_wh or DEFAULT_SIZE_WH, classes, **knobs), classes


def print_networks(records: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print a row a network; on stdout unless told otherwise.

    On a terminal the knobs stand under the description. One that is too narrow for counts and words gets the counts.
    """
    from rich.table import Table
    from rich.text import Text

    console = console or stdout_console()
    counted = ("classes", "parameters", "MACs") if "macs" in records[0] else ()
    between = "\n" if console.is_terminal else "; "
    words = not counted or console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "size", *counted):
        table.add_column(heading, justify="right" if heading in counted else "left", no_wrap=True)
    if words:
        table.add_column("what it is")
    for record in records:
        size_wh = record.get("counted_size_wh") or record["size_wh"]
        size = "the data's" if size_wh is None else f"{size_wh[0]}x{size_wh[1]}"
        knobs = ", ".join(f"{name} {shown_value(value)}" for name, value in record["knobs"].items())
        knobs = f"{between}knobs: {knobs}" if knobs else ""
        cells = [Text(record["summary"] + knobs)] if words else []
        table.add_row(record["name"], size, *(f"{record[name.lower()]:,}" for name in counted), *cells)
    console.print(table)


def shown_value(value: Any) -> str:
    """Write a knob's value as the command line takes it.

    >>> shown_value((2, 1, 2)), shown_value(None), shown_value(0.5)
    ('2,1,2', 'auto', '0.5')
    """
    if value is None:
        return "auto"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
