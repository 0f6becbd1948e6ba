"""A sweep as a table: on a terminal, and as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from edgevision_benchmarks import ms_text

from ._console import stdout_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from ._sweep_record import Result, Sweep, SweepRow

__all__ = ["notes", "print_rows", "print_sweep", "row_line", "to_csv"]


def row_line(row: SweepRow) -> str:
    """Return one line on a row that has just ended."""
    result = row.result
    if result is None:
        return f"{row.name}: failed: {row.error}"
    return (
        f"{row.name}: {'kept, ' if row.kept else ''}train {100 * result.train.share:.1f} %, test "
        f"{100 * result.test.share:.1f} %, file {result.file.describe()}, {result.size_bytes:,} bytes, "
        f"{result.macs:,} MACs"
    )


def print_rows(rows: Sequence[SweepRow], console: Console) -> None:
    """Print the table of those rows that did not fail."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    finished = [(row, row.result) for row in rows if row.result is not None]
    part = finished[0][1].part if finished else "test"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("row", overflow="fold")
    for heading in ("train %", f"{part} %", "gap", "file %", "95 %", "bytes", "parameters", "MACs", "p50 ms"):
        table.add_column(heading, justify="right", no_wrap=True, style="dim" if heading == "95 %" else "")
    for row, result in finished:
        table.add_row(Text(row.name), *_cells(row, result))
    console.print(table)


def print_sweep(sweep: Sweep, console: Console | None = None) -> None:
    """Print one row per training, then the comparisons, notes, and what failed; on stdout unless told otherwise."""
    from rich.text import Text

    console = console or stdout_console()
    print_rows(sweep.rows, console)
    for line in notes(sweep):
        # Text, never markup: a path may hold square brackets. Lines are whole, so that they can be searched for.
        console.print(Text(line, "dim"), soft_wrap=True)
    for row, _ in sweep.finished:
        if row.comparison is not None:
            known = row.comparison.difference.distinguishable
            console.print(Text(row.comparison.describe(), "bold" if known else ""), soft_wrap=True)
    for row in sweep.rows:
        if row.error is not None:
            console.print(Text(f"failed: {row.name}: {row.error}", "red"), soft_wrap=True)


def _cells(row: SweepRow, result: Result) -> list[str]:
    return [
        f"{100 * result.train.share:.1f}",
        f"{100 * result.test.share:.1f}",
        f"{100 * result.gap:+.1f}",
        f"{100 * result.file.share:.1f}",
        result.file.describe_interval(),
        f"{result.size_bytes:,}",
        f"{result.parameters:,}",
        f"{result.macs:,}",
        "" if row.latency is None else ms_text(row.latency.p50_ms),
    ]


def notes(sweep: Sweep) -> list[str]:
    """Return what a reader of the table must know, one line each."""
    if not sweep.finished:
        return []
    _, first = sweep.finished[0]
    lines = [
        f"train and {sweep.part}: the Keras model, gap between them in points; file: the {sweep.recipe} .tflite file, "
        f"as a device runs it, on {first.file.pictures:,} {sweep.part} pictures of {sweep.data}",
        f"{first.runtime}, {sweep.threads} thread{'s' if sweep.threads > 1 else ''}, one picture at a time, the files "
        f"timed in turns; preprocessing not included",
    ]
    if sweep.part == "val":
        lines.append("the data has no test part: val pictures chose the best epoch, so accuracy on new ones is lower")
    return lines


def to_csv(sweep: Sweep) -> str:
    """Return one line per row: what was varied, accuracies with their intervals (0 to 1), costs, the comparison."""
    records = [_flat(row) for row in sweep.rows]
    # A row that failed has fewer columns, and the first one is compared with none.
    columns = list(max(records, key=len)) if records else []
    axes = list(dict.fromkeys(name for row in sweep.rows for name in row.varied))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["row", *axes, *columns, "error"], restval="", lineterminator="\n")
    writer.writeheader()
    for row, record in zip(sweep.rows, records, strict=True):
        writer.writerow({"row": row.name, **row.varied, **record, "error": row.error or ""})
    return text.getvalue()


def _flat(row: SweepRow) -> dict[str, float]:
    result, latency, comparison = row.result, row.latency, row.comparison
    if result is None:
        return {}
    record: dict[str, float] = {}
    for name, accuracy in (("train", result.train), ("test", result.test), ("file", result.file)):
        low, high = accuracy.interval
        record |= {f"{name}_share": accuracy.share, f"{name}_low_share": low, f"{name}_high_share": high}
    record |= {
        "gap_share": result.gap,
        "file_bytes": result.size_bytes,
        "parameters": result.parameters,
        "macs": result.macs,
        "epochs": result.epochs,
        "training_seconds": result.training_seconds,
    }
    if latency is not None:
        record |= {"p50_ms": round(latency.p50_ms, 6), "p90_ms": round(latency.p90_ms, 6)}
    if comparison is not None:
        found = comparison.difference
        low, high = found.interval
        record |= {"difference_share": found.difference, "difference_low_share": low, "difference_high_share": high}
        record |= {"p": found.p, "lost": comparison.count("lost"), "gained": comparison.count("gained")}
    return record
