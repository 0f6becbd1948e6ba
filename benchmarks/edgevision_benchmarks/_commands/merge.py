"""Put the reports of several devices side by side: one table, one page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .._console import print_first_that_fits
from .._reading import read_report

if TYPE_CHECKING:
    from rich.table import Table

    from .._merge import Merged, MergedRow, MergedTable

__all__ = ["add_arguments", "print_merged", "run"]

#: What is no terminal has no width of its own; no line needs to break there.
_WIDTH = 400
#: Not of the first device: the others are held against it.
_RATIO = "time ratio"


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
    reports = [read_report(path) for path in args.reports]
    merged = merge(reports, names=_names(args.reports), command=shlex.join(args.command_line))
    written = write_merged(merged, args.out, overwrite=args.overwrite)
    if args.json:
        sys.stdout.write(merged.to_json())
    else:
        print_merged(merged)
    print(f"wrote {' and '.join(map(str, written))}", file=sys.stderr)
    return 0


def _names(given: Sequence[str]) -> list[str]:
    """Return what to call the reports: the last part of each folder, or where two have the same, all that was given."""
    folders = [path.parent if path.name == "report.json" else path for path in map(Path, given)]
    last = [folder.name or folder.absolute().name for folder in folders]
    return [name if last.count(name) == 1 else str(folder) for name, folder in zip(last, folders)]


def print_merged(merged: Merged) -> None:
    """Print a table for each set of pictures, then what the devices are, and the notes."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for table in merged.tables:
        # Cut numbers are worse than none: what does not fit is left out.
        columns = (
            ("top-1 %", "p50 ms", "p90 ms", _RATIO),
            ("top-1 %", "p50 ms", _RATIO),
            ("p50 ms", _RATIO),
            ("p50 ms",),
        )
        print_first_that_fits((_table(table, each) for each in columns), console)
        if len(table.devices) > 1:
            console.print(Text(f"{_RATIO}: p50 over that of device {table.devices[0].number}", "dim"))
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
    for place, device in enumerate(merged.devices):
        for heading in _headings(columns, place):
            table.add_column(f"{device.number}: {heading}", justify="right", no_wrap=True)
    for row in merged.rows:
        name = Text(row.names[0])
        for device, cell in zip(merged.devices, row.cells):
            for line in () if cell is None or cell.measured is None else cell.measured.disturbed:
                name.append(f"\n{device.number}: {line}", "yellow")
        cells = [text for place in range(len(row.cells)) for text in _texts(row, place, _headings(columns, place))]
        table.add_row(name, size_text(row.size_bytes), *cells)
    return table


def _headings(columns: tuple[str, ...], place: int) -> tuple[str, ...]:
    return columns if place else tuple(each for each in columns if each != _RATIO)


def _texts(row: MergedRow, place: int, columns: tuple[str, ...]) -> list[str]:
    from .._table import missing_text
    from .._text import ms_text, percent_text, ratio_text

    cell, ratio = row.cells[place], row.ratio(place)
    if cell is None or cell.measured is None:
        return ["" if cell is None else "failed"] * len(columns)
    latency = cell.measured.latency
    known = {
        "top-1 %": percent_text(cell.measured.top1.share) if cell.measured.judged else missing_text("top-1 %"),
        "p50 ms": ms_text(latency.p50_ms),
        "p90 ms": ms_text(latency.p90_ms),
        _RATIO: "" if ratio is None else ratio_text(ratio),
    }
    return [known[heading] for heading in columns]
