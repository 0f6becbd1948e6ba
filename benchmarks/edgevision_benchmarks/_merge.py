"""Reports of several devices side by side: a row per file, a column per device."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from edgevision_device import UsageError, check_outputs, write_atomically

from ._page import condition_facts, machine_name, render_page
from ._report import RESUMED, FileResult, Pictures, Report

__all__ = ["Device", "Merged", "MergedRow", "MergedTable", "check_merged", "merge", "write_merged"]

_FORMAT = 1
_NAMES = ("merged.json", "merged.html")


@dataclass(frozen=True)
class Device:
    """A column: one report.

    Attributes:
        number: from 1, over all tables.
        title: what the report was called, and the machine's name; without the former, where two machines have the same
            name, with what tells them apart.
    """

    number: int
    title: str
    report: Report

    @property
    def ran(self) -> str:
        """What ran the files: each runtime, its version and threads."""
        runs = (
            f"{found.runtime} {found.runtime_version}, {_threads(found.threads)}" for _, found in self.report.measured
        )
        return " and ".join(dict.fromkeys(runs)) or "nothing measured"


@dataclass(frozen=True)
class MergedRow:
    """One file on every device.

    Attributes:
        names: what the reports call it; mostly one.
        cells: its row in each device's report, in the order of the table's devices; None where that has no such file.
    """

    sha256: str
    names: tuple[str, ...]
    size_bytes: int
    cells: tuple[Optional[FileResult], ...]

    @property
    def right(self) -> tuple[int, ...]:
        """How many pictures each device that measured it had right."""
        found = [cell.measured for cell in self.cells if cell is not None and cell.measured is not None]
        return tuple(each.top1.right for each in found if each.judged)

    def ratio(self, place: int) -> Optional[float]:
        """Return p50 on a device over p50 on the first device of the table; None for that one, or without either."""
        first, cell = self.cells[0], self.cells[place]
        if place == 0 or first is None or cell is None or first.measured is None or cell.measured is None:
            return None
        return cell.measured.latency.p50_ms / first.measured.latency.p50_ms


@dataclass(frozen=True)
class MergedTable:
    """Devices that measured on the same pictures."""

    pictures: Pictures
    devices: tuple[Device, ...]
    rows: tuple[MergedRow, ...]


@dataclass(frozen=True)
class Merged:
    """What `merge` returns: a table for each set of pictures, by their hash."""

    edgevision: str
    command: Optional[str]
    tables: tuple[MergedTable, ...]

    @property
    def devices(self) -> list[Device]:
        """All of them, by number."""
        return sorted((each for table in self.tables for each in table.devices), key=lambda device: device.number)

    @property
    def notes(self) -> list[str]:
        """What must be known to read the tables, one line each."""
        told: list[str] = []
        if len(self.tables) > 1:
            parts = " and ".join(
                f"{'devices' if len(table.devices) > 1 else 'device'} "
                f"{', '.join(str(device.number) for device in table.devices)}: {table.pictures.count} pictures from "
                f"{table.pictures.name} (SHA-256 {table.pictures.sha256[:12]}…)"
                for table in self.tables
            )
            told.append(f"not measured on the same pictures, so top-1 cannot be compared between the tables: {parts}")
        told += [f"device {each.number}, {each.title}: {RESUMED}" for each in self.devices if each.report.resumed]
        known: dict[str, str] = {}
        for row in (row for table in self.tables for row in table.rows):
            first, *others = row.names
            if others:
                told.append(f"{first} is the same file, by its SHA-256, as {', '.join(others)}")
            if len(set(row.right)) > 1:
                counts = ", ".join(str(count) for count in row.right)
                told.append(f"{first} does not answer the same on every device: {counts} pictures right")
            for name in row.names:
                if known.setdefault(name, row.sha256) != row.sha256:
                    told.append(f"{name} is the name of files that differ: {known[name][:12]}… and {row.sha256[:12]}…")
        return list(dict.fromkeys(told))

    def to_record(self) -> dict[str, Any]:
        """Return the record that `merged.json` holds; devices and files as in their `report.json`."""
        return {
            "format": _FORMAT,
            "edgevision": self.edgevision,
            "command": self.command,
            "notes": self.notes,
            "tables": [_table_record(table) for table in self.tables],
        }

    def to_json(self) -> str:
        """Return the text of `merged.json`."""
        return json.dumps(self.to_record(), indent=2, ensure_ascii=False) + "\n"


def merge(reports: Sequence[Report], *, names: Optional[Sequence[str]] = None, command: Optional[str] = None) -> Merged:
    """Put reports side by side.

    Args:
        reports: at least two, one a device, in the order of the columns.
        names: what to call each of them; None: as the machine is called, and the time of the report.
        command: what the page says made it.

    Raises:
        UsageError: fewer than two, or the same one twice.
    """
    from . import __version__

    if len(reports) < 2:
        raise UsageError(f"at least two reports are needed to put side by side, got {len(reports)}")
    for place, report in enumerate(reports):
        if report in reports[:place]:
            raise UsageError(f"the report of {machine_name(report.conditions)}, {report.created}, is given twice")
    devices = [Device(n, title, report) for n, (title, report) in enumerate(zip(_titles(reports, names), reports), 1)]
    by_pictures: dict[str, list[Device]] = {}
    for device in devices:
        by_pictures.setdefault(device.report.pictures.sha256, []).append(device)
    return Merged(__version__, command, tuple(_table(found) for found in by_pictures.values()))


def check_merged(out: Union[str, os.PathLike[str]], *, overwrite: bool) -> list[Path]:
    """Return the paths that `write_merged` writes; raise UsageError if it could not."""
    paths = [Path(out) / name for name in _NAMES]
    check_outputs(paths, overwrite=overwrite)
    return paths


def write_merged(merged: Merged, out: Union[str, os.PathLike[str]], *, overwrite: bool = False) -> list[Path]:
    """Write `merged.json` and `merged.html` into a folder, each whole or not at all; return their paths."""
    paths = check_merged(out, overwrite=overwrite)
    for path, content in zip(paths, (merged.to_json(), render_page("merged.html.jinja", **_context(merged)))):
        # As in `write_report`: a name may hold bytes that are no UTF-8.
        write_atomically(path, content.encode(errors="backslashreplace"))
    return paths


def _context(merged: Merged) -> dict[str, Any]:
    files = len({row.sha256 for table in merged.tables for row in table.rows})
    facts = {device.number: condition_facts(device.report.conditions) for device in merged.devices}
    return {"merged": merged, "files": files, "facts": facts}


def _table(devices: list[Device]) -> MergedTable:
    # A report may hold copies of one file: the second is a row of its own.
    keyed: list[dict[tuple[str, int], FileResult]] = []
    for device in devices:
        seen: Counter[str] = Counter()
        rows: dict[tuple[str, int], FileResult] = {}
        for file in device.report.files:
            rows[file.sha256, seen[file.sha256]] = file
            seen[file.sha256] += 1
        keyed.append(rows)
    merged: list[MergedRow] = []
    for key in dict.fromkeys(key for rows in keyed for key in rows):
        cells = tuple(rows.get(key) for rows in keyed)
        found = [cell for cell in cells if cell is not None]
        merged.append(MergedRow(key[0], tuple(dict.fromkeys(cell.name for cell in found)), found[0].size_bytes, cells))
    return MergedTable(devices[0].report.pictures, tuple(devices), tuple(merged))


def _titles(reports: Sequence[Report], names: Optional[Sequence[str]]) -> list[str]:
    titles = [machine_name(report.conditions) for report in reports]
    if names is not None:
        return [f"{name}, {title}" for name, title in zip(names, titles)]
    many = Counter(titles)
    titles = [title if many[title] == 1 else f"{title}, {report.created}" for title, report in zip(titles, reports)]
    many = Counter(titles)
    return [title if many[title] == 1 else f"{title} ({n})" for n, title in enumerate(titles, 1)]


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _table_record(table: MergedTable) -> dict[str, Any]:
    records = [device.report.to_record() for device in table.devices]
    kept = ("edgevision", "created", "command", "conditions", "settings")
    # By identity: a report may hold rows that are equal.
    by_file = {
        id(file): record
        for device, whole in zip(table.devices, records)
        for file, record in zip(device.report.files, whole["files"])
    }
    return {
        "pictures": records[0]["pictures"],
        "devices": [
            {"number": device.number, "title": device.title, **{name: whole[name] for name in kept}}
            for device, whole in zip(table.devices, records)
        ],
        "files": [
            {
                "sha256": row.sha256,
                "names": list(row.names),
                "size_bytes": row.size_bytes,
                "devices": [None if cell is None else by_file[id(cell)] for cell in row.cells],
            }
            for row in table.rows
        ],
    }
