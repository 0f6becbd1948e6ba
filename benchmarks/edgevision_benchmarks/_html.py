"""The report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Optional

from edgevision_device import UsageError

from ._flips_section import flip_sections
from ._histogram import HistogramPlot, draw_histograms
from ._measurement import Measurement
from ._notes import file_notes, general_notes
from ._page import condition_facts, machine_name, render_page
from ._plot import BYTES, LATENCY, arrange
from ._report import FileResult, Report
from ._statistics import Accuracy
from ._table import best_texts, columns_of, missing_text

__all__ = ["render_html"]

#: A matrix of more labels than this is a list of its commonest confusions instead.
_MATRIX_LABELS = 30
_LISTED = 30

#: Width, height, radius of the largest file, and whether there is room for sizes: on a desk, and on a phone.
_PLOTS = ((1040.0, 430.0, 22.0, True), (400.0, 430.0, 15.0, False))


@dataclass(frozen=True)
class _Cell:
    """A value in the table of files."""

    heading: str
    text: str
    best: bool


@dataclass(frozen=True)
class _Heat:
    """A cell of the confusion matrix; `heat` between 0 and 1 is how strongly it is colored."""

    pictures: int
    right: bool
    heat: float
    tooltip: str


@dataclass(frozen=True)
class _Confusion:
    """The confusions of one file: a matrix, or for many labels the commonest ones as `(true, predicted, pictures)`."""

    file: FileResult
    found: Measurement
    columns: list[str]
    rows: list[tuple[str, list[_Heat]]]
    commonest: list[tuple[str, str, int]]
    recalls: list[tuple[str, Accuracy, Optional[float]]]
    left_out: int


def render_html(report: Report, featured: Optional[str] = None) -> str:
    """Return the report as HTML.

    Args:
        report: what `benchmark` returned.
        featured: name of the file to put first and to show the confusion matrix of; default: the int8 `.tflite`, or
            else the most accurate file, of equals the fastest.

    Raises:
        UsageError: `featured` was not measured.
    """
    return render_page("report.html.jinja", **_context(report, featured))


def _context(report: Report, featured: Optional[str]) -> dict[str, Any]:
    chosen, found = _choose(report, featured)
    titles = _titles([file for file, _ in report.judged])
    judged = report.judged
    low = min((found.top1.interval[0] for _, found in judged), default=0.0)
    high = max((found.top1.interval[1] for _, found in judged), default=1.0)
    others = [row for row in judged if row[0] is not chosen]
    return {
        "report": report,
        "chosen": chosen,
        "found": found,
        "reference": _reference(report, chosen),
        "headings": [heading for heading, *_ in columns_of(report)],
        "cells": dict(zip((file.name for file, _ in report.measured), _cells(report))),
        # The strips beside the figures share one scale: from the lowest end of an interval to the highest.
        "strip_start": 100 * low,
        "strip_width": max(high - low, 1e-9),
        "notes": general_notes(report),
        "file_notes": file_notes(report),
        "plots": [
            [arrange(judged, titles, chosen, *size, cost) for size in _PLOTS] for cost in (LATENCY, BYTES) if judged
        ],
        "histograms": _histograms(report),
        "flips": flip_sections(report.files, report.thumbnails),
        "formats": sorted({file.format or "" for file, _ in report.measured}, reverse=True),
        "confusion": _confusion(chosen, found) if found.judged else None,
        "other_confusions": [_confusion(*row) for row in others],
        "conditions": condition_facts(report.conditions),
        "machine": machine_name(report.conditions),
    }


def _choose(report: Report, name: Optional[str]) -> tuple[FileResult, Measurement]:
    # What has an accuracy comes before what has none.
    rows = report.judged or report.measured
    for file, found in report.measured if name is not None else rows:
        if file.name == name or (name is None and (file.format, file.recipe) == ("tflite", "int8")):
            return file, found
    if name is not None:
        raise UsageError(f"{name} was not measured; measured: {', '.join(file.name for file, _ in report.measured)}")
    return max(rows, key=lambda row: (row[1].top1.share, -row[1].latency.p50_ms))


def _reference(report: Report, chosen: FileResult) -> Optional[tuple[FileResult, Measurement]]:
    """Return the float32 file of the same format, and of the same network where that is known, to compare with."""
    for file, found in report.measured:
        wanted = chosen.format, "float32", chosen.network
        if file is not chosen and (file.format, file.recipe, file.network) == wanted:
            return file, found
    return None


def _titles(files: list[FileResult]) -> list[str]:
    """Return short names; the full one where two would be the same."""
    counts = Counter(file.title for file in files)
    return [file.title if counts[file.title] == 1 else file.name for file in files]


def _cells(report: Report) -> list[list[_Cell]]:
    best = best_texts(report)
    rows: list[list[_Cell]] = []
    for row in report.measured:
        values = [(heading, value(*row), write) for heading, value, write, _ in columns_of(report)]
        texts = [
            (heading, missing_text(heading) if value is None else write(value)) for heading, value, write in values
        ]
        rows.append([_Cell(heading, text, text == mark) for (heading, text), mark in zip(texts, best)])
    return rows


def _histograms(report: Report) -> Optional[HistogramPlot]:
    rows = [(file.name, found.latency, found.histogram) for file, found in report.measured if found.histogram]
    return draw_histograms(rows) if rows else None


def _confusion(file: FileResult, found: Measurement) -> _Confusion:
    seen = dict.fromkeys(found.confusion)
    seen.update(dict.fromkeys(label for row in found.confusion.values() for label in row))
    columns = list(seen)
    recalls = [(label, Accuracy(each.right, each.pictures), each.precision) for label, each in found.per_label.items()]
    if len(columns) > _MATRIX_LABELS:
        pairs = [(true, wrong, n) for true, row in found.confusion.items() for wrong, n in row.items() if wrong != true]
        commonest = sorted(pairs, key=lambda pair: -pair[2])[:_LISTED]
        worst = sorted(recalls, key=lambda recall: recall[1].share)[:_LISTED]
        return _Confusion(file, found, [], [], commonest, worst, len(recalls) - len(worst))
    rows = [(true, [_heat(true, label, row) for label in columns]) for true, row in found.confusion.items()]
    return _Confusion(file, found, columns, rows, [], recalls, 0)


def _heat(true: str, label: str, row: dict[str, int]) -> _Heat:
    pictures = row.get(label, 0)
    share = pictures / sum(row.values())
    # Mistakes are few where it matters: the root makes one in a hundred visible beside one in four.
    heat = share if label == true else min(1.0, 0.12 + share**0.5) if pictures else 0.0
    return _Heat(pictures, label == true, heat, f"{pictures} of {sum(row.values())} pictures of {true} called {label}")
