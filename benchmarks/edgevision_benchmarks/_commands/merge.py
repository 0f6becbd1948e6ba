"""Put the reports of several devices side by side: one table, one page."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

from .._console import print_first_that_fits
from .._reading import read_report

if TYPE_CHECKING:
    from rich.table import Table

    from .._merge import Merged, MergedTable
    from .._report import FileResult

__all__ = ["add_arguments", "print_merged", "run"]

#: What is no terminal has no width of its own; no line needs to break there.
_WIDTH = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reports", nargs="+", metavar="REPORT", help="report.json files, or their folders; one a device"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="write merged.json and merged.html there")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--json", action="store_true", help="print merged.json instead of the table")


def run(args: argparse.Namespace) -> int:
    from .._merge import check_merged, merge, write_merged

    check_merged(args.out, overwrite=args.overwrite)
    merged = merge([read_report(path) for path in args.reports], command=shlex.join(args.command_line))
    written = write_merged(merged, args.out, overwrite=args.overwrite)
    if args.json:
        sys.stdout.write(merged.to_json())
    else:
        print_merged(merged)
    print(f"wrote {' and '.join(map(str, written))}", file=sys.stderr)
    return 0


def print_merged(merged: Merged) -> None:
    """Print a table for each set of pictures, then what the devices are, and the notes."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for table in merged.tables:
        # Cut numbers are worse than none: what does not fit is left out.
        columns = ("top-1 %", "p50 ms", "p90 ms"), ("top-1 %", "p50 ms"), ("p50 ms",)
        print_first_that_fits((_table(table, each) for each in columns), console)
    for device in merged.devices:
        conditions = device.report.conditions
        clock = f", governor {conditions.governor}" if conditions.governor else ""
        line = f"{device.number}: {device.title}, {conditions.cores} cores{clock}; {device.ran}; {conditions.system}"
        console.print(Text(line, "dim"))
    for note in merged.notes:
        console.print(Text(f"note: {note}", "yellow"))


def _table(merged: MergedTable, columns: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from .._text import size_text

    # Text, never markup: a path may hold square brackets.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold", min_width=16)
    table.add_column("size", justify="right", no_wrap=True)
    for device in merged.devices:
        for heading in columns:
            table.add_column(f"{device.number}: {heading}", justify="right", no_wrap=True)
    for row in merged.rows:
        cells = [text for cell in row.cells for text in _texts(cell, columns)]
        table.add_row(Text(row.names[0]), size_text(row.size_bytes), *cells)
    return table


def _texts(cell: FileResult | None, columns: tuple[str, ...]) -> list[str]:
    from .._table import missing_text
    from .._text import ms_text, percent_text

    if cell is None or cell.measured is None:
        return ["" if cell is None else "failed"] * len(columns)
    latency = cell.measured.latency
    known = {
        "top-1 %": percent_text(cell.measured.top1.share) if cell.measured.judged else missing_text("top-1 %"),
        "p50 ms": ms_text(latency.p50_ms),
        "p90 ms": ms_text(latency.p90_ms),
    }
    return [known[heading] for heading in columns]
