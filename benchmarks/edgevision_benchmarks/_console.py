"""Tables that fit the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_first_that_fits"]

#: Wider than any table.
_UNBOUNDED = 10_000


def print_first_that_fits(tables: Iterable[Table], console: Console) -> None:
    """Print the first of these tables that fits with no column cut, else the last one, as long lines.

    Only columns that may wrap get narrower, down to their `min_width`. What is no terminal has room for all of them.
    """
    from rich.segment import Segment

    table = None
    for table in tables:
        for column in table.columns:
            if column.no_wrap:
                column.min_width = max(console.measure(cell).maximum for cell in (column.header, *column.cells))
        lines = Segment.split_lines(console.render(table))
        if all(Segment.get_line_length(line) <= console.width for line in lines):
            console.print(table)
            return
    if table is not None:
        table.width = console.measure(table, options=console.options.update(width=_UNBOUNDED)).maximum
        console.print(table, soft_wrap=True)
