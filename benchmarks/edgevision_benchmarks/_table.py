"""The report as a table in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Callable, Optional

from ._console import print_first_that_fits
from ._measurement import Measurement
from ._notes import file_notes, general_notes
from ._report import FileResult, Report
from ._text import interval_text, ms_text, percent_text, ratio_text, size_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["best_texts", "columns_of", "missing_text", "print_table"]

Column = tuple[
    str,
    Callable[[FileResult, Measurement], Optional[float]],
    Callable[[float], str],
    Optional[Callable[..., float]],
]

#: Left out where the terminal is too narrow, then more: cut numbers are worse than none.
_SPARE = ("top-5 %", "macro-F1 %", "p99 ms", "p90 ms", "open ms", "first ms", "model memory")
_MORE = ("peak memory",), ("parameters", "MACs"), ("95 %",)
_WIDE = 165
#: What is no terminal has no width of its own; no line needs to break there.
_WIDTH = 240


def _count_text(count: float) -> str:
    return f"{count:,.0f}"


#: Heading, value, how to write it, and which value is best. Opening and memory are measured once a file and differ from
#: run to run by more than files do: a mark there would award chance. The interval stands beside top-1.
COLUMNS: list[Column] = [
    ("top-1 %", lambda file, found: found.top1.share if found.judged else None, percent_text, max),
    ("top-5 %", lambda file, found: None if found.top5 is None else found.top5.share, percent_text, max),
    ("macro-F1 %", lambda file, found: found.macro_f1 if found.judged else None, percent_text, max),
    ("parameters", lambda file, found: None if file.network is None else file.network.parameters, _count_text, None),
    ("MACs", lambda file, found: None if file.network is None else file.network.macs, _count_text, None),
    ("size", lambda file, found: float(file.size_bytes), size_text, min),
    ("p50 ms", lambda file, found: found.latency.p50_ms, ms_text, min),
    ("p90 ms", lambda file, found: found.latency.p90_ms, ms_text, min),
    ("p99 ms", lambda file, found: found.latency.p99_ms, ms_text, min),
    ("time ratio", lambda file, found: 1.0 if found.speed is None else found.speed.time.ratio, ratio_text, None),
    ("open ms", lambda file, found: found.open_ms, ms_text, None),
    ("first ms", lambda file, found: found.first_ms, ms_text, None),
    ("peak memory", lambda file, found: found.memory_peak_bytes, size_text, None),
    ("model memory", lambda file, found: found.memory_file_bytes, size_text, None),
]


def columns_of(report: Report) -> list[Column]:
    """Return the columns that hold something: the time ratio if there are files to compare, top-5 of many labels.

    Top-1 is always there, so that it says when it was not measured.
    """
    unknown = all(file.network is None for file, _ in report.measured)
    left_out = {
        "parameters": unknown,
        "MACs": unknown,
        "macro-F1 %": not report.judged,
        "time ratio": all(found.speed is None for _, found in report.measured),
        "top-5 %": all(found.top5 is None for _, found in report.measured),
    }
    return [column for column in COLUMNS if not left_out.get(column[0], False)]


def missing_text(heading: str) -> str:
    """Return what stands in a cell without a value."""
    return "not measured" if heading == "top-1 %" else "n/a"


def best_texts(report: Report) -> list[Optional[str]]:
    """Return the best value of each column as it is written, None where there is nothing to choose from.

    As written, because files that read the same are equally good: a mark on one of them would claim more than is shown.
    """
    best: list[Optional[str]] = []
    for _, value, write, choose in columns_of(report):
        values = [found for found in (value(*row) for row in report.measured) if found is not None]
        differ = len({write(each) for each in values}) > 1
        best.append(write(choose(values)) if choose is not None and differ else None)
    return best


def print_table(report: Report, console: Optional[Console] = None) -> None:
    """Print one row per file, then the notes, warnings, and what went wrong; on stdout unless told otherwise."""
    from rich.console import Console
    from rich.text import Text

    to_file = console is None and not sys.stdout.isatty()
    console = console or Console(width=_WIDTH if to_file else None)
    left_out: list[tuple[str, ...]] = [() if console.width >= _WIDE else _SPARE]
    for more in (_SPARE, *_MORE):
        left_out.append((*left_out[-1], *more))
    print_first_that_fits((_table(report, each) for each in left_out), console)
    below = [Text(line, "dim") for line in general_notes(report)]
    below += [Text(f"{name}: {line}", "dim") for name, lines in file_notes(report).items() for line in lines]
    for file in report.files:
        below += [Text(f"warning: {file.name}: {warning}", "yellow") for warning in file.warnings]
        if file.error:
            below.append(Text(f"failed: {file.name}: {file.error.removeprefix(file.path).lstrip()}", "red"))
    for line in below:
        console.print(line, soft_wrap=to_file)


def _table(report: Report, left_out: Collection[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Text, never markup: a path may hold square brackets.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold", min_width=16)
    columns = [
        (*column, mark) for column, mark in zip(columns_of(report), best_texts(report)) if column[0] not in left_out
    ]
    for heading, *_ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
        if heading == "top-1 %" and "95 %" not in left_out:
            table.add_column("95 %", justify="right", no_wrap=True, style="dim")
    for file, found in report.measured:
        cells = [Text("\n".join((file.name, *found.disturbed)))]
        cells[0].stylize("yellow", len(file.name))
        for heading, value, write, _, best_text in columns:
            number = value(file, found)
            text = missing_text(heading) if number is None else write(number)
            cells.append(Text(text, "bold green" if text == best_text else ""))
            if heading == "top-1 %" and "95 %" not in left_out:
                cells.append(Text(interval_text(found.top1.interval) if found.judged else ""))
        table.add_row(*cells)
    return table
