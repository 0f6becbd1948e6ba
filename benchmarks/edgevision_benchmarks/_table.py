"""The report as a table in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Callable, Optional

from ._report import FileResult, Measurement, Report
from ._speed import LEAST_ROUNDS, TimeRatio
from ._text import interval_text, ms_text, percent_text, ratio_text, size_text

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["best_texts", "columns_of", "notes", "print_table"]

Column = tuple[
    str,
    Callable[[FileResult, Measurement], Optional[float]],
    Callable[[float], str],
    Optional[Callable[..., float]],
]

#: Left out on a terminal narrower than `_WIDE` columns: cut numbers are worse than none.
_SPARE = ("top-5 %", "macro-F1 %", "p99 ms", "p90 ms", "open ms", "first ms", "model memory")
_WIDE = 165
#: What is no terminal has no width of its own; no line needs to break there.
_WIDTH = 240

#: Heading, value, how to write it, and which value is best. Opening and memory are measured once a file and differ from
#: run to run by more than files do: a mark there would award chance. The interval stands beside top-1.
COLUMNS: list[Column] = [
    ("top-1 %", lambda file, found: found.top1.share, percent_text, max),
    ("top-5 %", lambda file, found: None if found.top5 is None else found.top5.share, percent_text, max),
    ("macro-F1 %", lambda file, found: found.macro_f1, percent_text, max),
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
    """Return the columns; the time ratio only if there are files to compare, top-5 only if there are many labels."""
    left_out = {
        "time ratio": all(found.speed is None for _, found in report.measured),
        "top-5 %": all(found.top5 is None for _, found in report.measured),
    }
    return [column for column in COLUMNS if not left_out.get(column[0], False)]


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


def notes(report: Report) -> list[str]:
    """Return what a reader of the table must know, one line each: pictures, runtimes, runs, skipped pictures."""
    pictures, settings = report.pictures, report.settings
    split = f", its {pictures.split} split" if pictures.split else ""
    lines = [
        f"{pictures.count} pictures of {len(pictures.labels)} labels from {pictures.name}{split} "
        f"(SHA-256 {pictures.sha256[:12]}…)"
    ]
    runtimes = dict.fromkeys(f"{found.runtime} {found.runtime_version}" for _, found in report.measured)
    threads = sorted({found.threads for _, found in report.measured})
    counts = ", ".join(f"{count} thread{'s' if count > 1 else ''}" for count in threads)
    lines.append(f"{' and '.join(runtimes)}, {counts}, one picture at a time")
    runs, warmup = ([pick(found) for _, found in report.measured] for pick in (_runs, _warmup))
    limit = "" if settings.runs_limit_s is None else f" (up to {settings.runs} in {settings.runs_limit_s:g} s)"
    lines.append(f"{_span(runs)} runs timed{limit} after {_span(warmup)} to warm up; the first run stands apart")
    lines.extend(_speeds(report))
    for file, found in report.measured:
        if found.paired is not None:
            lines.append(
                f"{file.name} against {found.paired.reference}: top-1 {found.paired.difference.describe()}; "
                f"{found.paired.flips} flip{'s' if found.paired.flips != 1 else ''}"
            )
    streams = [(file.name, found.mlperf) for file, found in report.measured if found.mlperf is not None]
    lines.extend(f"{name}: MLPerf's single stream, {stream.describe()}" for name, stream in streams)
    for file, found in report.measured:
        if found.cost is not None:
            cost = found.cost
            parts = (
                "none"
                if not cost.partitions
                else f"{cost.delegated}, in {cost.partitions} part{'s' * (cost.partitions > 1)}"
            )
            lines.append(
                f"{file.name}: {cost.parameters:,} parameters, {cost.macs / 1e6:,.1f} million MACs; "
                f"of {cost.operators} operators delegated: {parts}"
            )
    energies = [f"{file.name} {found.energy_mj:.3g}" for file, found in report.measured if found.energy_mj is not None]
    told = f"{', '.join(energies)} mJ a run, beyond the idle processor" if energies else "not measured"
    lines.append(f"energy: {told}")
    lines.extend(_sweeps(report))
    resizing = _range([found.preprocess.p50_ms for _, found in report.measured])
    deciding = _range([found.decide.p50_ms for _, found in report.measured if found.decide is not None])
    decided = f", nor deciding: {deciding} ms" if deciding else ""
    lines.append(f"preprocessing not included: {resizing} ms a picture (p50){decided}")
    wide = [found.latency_intervals["p50_ms"] for _, found in report.measured if found.latency_intervals is not None]
    if wide:
        widest = max((high - low) / (high + low) for low, high in wide)
        lines.append(
            f"95 % intervals of p50 reach at most {widest:.1%} to either side; those of p90 and p99: report.json"
        )
    lines.extend(_machine(report))
    if pictures.skipped:
        lines.append(f"{len(pictures.skipped)} of {pictures.count} pictures skipped: they cannot be decoded")
    return lines


def _speeds(report: Report) -> list[str]:
    """Return how the files compare in time, a line each, and how that was found out."""
    compared = [(file, found.speed) for file, found in report.measured if found.speed is not None]
    if not compared:
        return []
    floor = report.noise_floor
    noise = "" if floor is None else f"; itself, timed as two, {_ratio(floor)}: no verdict on less"
    lines = [
        f"timed in turns, in shuffled rounds (seed {report.settings.seed}); "
        f"time ratio: against {compared[0][1].reference} in the same rounds{noise}"
    ]
    for file, speed in compared:
        verdict = speed.verdict or f"no verdict on fewer than {LEAST_ROUNDS} rounds"
        lines.append(f"{file.name}: {verdict}, {_ratio(speed.time)}")
    return lines


def _range(times_ms: list[float]) -> str:
    return " to ".join(dict.fromkeys(ms_text(time) for time in (min(times_ms), max(times_ms)))) if times_ms else ""


def _sweeps(report: Report) -> list[str]:
    """Return how long each file takes with each number of threads, a line each."""
    lines: list[str] = []
    for file, found in report.measured:
        if found.thread_sweep is not None:
            counts = ", ".join(f"{each.threads}: {ms_text(each.latency.p50_ms)}" for each in found.thread_sweep.counts)
            lines.append(
                f"{file.name}: p50 ms by threads {counts}; {found.thread_sweep.recommended} recommended, "
                "the fewest that cannot be told from the fastest"
            )
    return lines


def _machine(report: Report) -> list[str]:
    """Return what the machine was like before and after, what of it is known."""
    told: list[str] = []
    for when, state in (("before", report.before), ("after", report.after)):
        if state is not None:
            known = (
                (state.others_share, "others use {:.0%} of it"),
                (state.steal_share or None, "{:.0%} stolen"),
                (state.clock_mhz, "{:,.0f} MHz"),
                (state.temperature_c, "{:.0f} °C"),
                (state.processor_w, "{:.1f} W"),
            )
            parts = [form.format(value) for value, form in known if value is not None]
            parts.extend(state.power or ())
            told.append(f"{when}: {', '.join(parts) or 'it says nothing'}")
    return [f"the machine, {'; '.join(told)}"] if told else []


def _ratio(time: TimeRatio) -> str:
    return f"{ratio_text(time.ratio)} of its time ({ratio_text(time.low)} to {ratio_text(time.high)})"


def _runs(found: Measurement) -> int:
    return found.latency.count


def _warmup(found: Measurement) -> int:
    return found.warmup_runs


def _span(counts: list[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def print_table(report: Report, console: Optional[Console] = None) -> None:
    """Print one row per file, then the notes, warnings, and what went wrong; on stdout unless told otherwise."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(width=None if sys.stdout.isatty() else _WIDTH)
    # Text, never markup: a path may hold square brackets.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    best = best_texts(report)
    columns = [
        (*column, mark)
        for column, mark in zip(columns_of(report), best)
        if console.width >= _WIDE or column[0] not in _SPARE
    ]
    for heading, *_ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
        if heading == "top-1 %":
            table.add_column("95 %", justify="right", no_wrap=True, style="dim")
    for file, found in report.measured:
        cells = [Text("\n".join((file.name, *found.disturbed)))]
        cells[0].stylize("yellow", len(file.name))
        for heading, value, write, _, best_text in columns:
            number = value(file, found)
            text = "n/a" if number is None else write(number)
            cells.append(Text(text, "bold green" if text == best_text else ""))
            if heading == "top-1 %":
                cells.append(Text(interval_text(found.top1.interval)))
        table.add_row(*cells)
    console.print(table)
    for line in notes(report):
        console.print(Text(line, "dim"))
    for file in report.files:
        for warning in file.warnings:
            console.print(Text(f"warning: {file.name}: {warning}", "yellow"))
        if file.error:
            console.print(Text(f"failed: {file.name}: {file.error}", "red"))
