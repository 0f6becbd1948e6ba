"""Measure accuracy, latency, memory and size of model files on labelled pictures."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional

from edgevision_device import Metadata, UsageError, add_foreign_arguments, add_runtime_arguments, describe_foreign

from ._commands.gate import add_gate, print_verdicts
from ._data import choose_split
from ._gate import judge
from ._measure import benchmark, check_settings, prepare
from ._outputs import UNFINISHED, check_report, to_json, write_report
from ._report import NetworkCost, Report
from ._turns import OnProgress

__all__ = ["add_arguments", "check", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments. `edgevision benchmark` declares the same, so that both command lines are one."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="a .tflite or .onnx file")
    parser.add_argument("--data", metavar="FOLDER", help="FOLDER/<label>/*, or FOLDER/test/<label>/*")
    parser.add_argument(
        "--no-accuracy", action="store_true", help="in place of --data: all but accuracy, on pixels drawn at random"
    )
    parser.add_argument("--out", metavar="DIR", help="write report.json and report.html there")
    add_gate(parser)
    parser.add_argument("--runs", type=int, metavar="N", help="runs to time (default: 200, at most 8 s, at least 30)")
    parser.add_argument("--warmup", type=int, metavar="N", help="runs before those (default: 20, at most 2 s)")
    parser.add_argument(
        "--thread-sweep",
        type=_counts,
        default=(),
        metavar="N,N,…",
        help="time each file with these numbers of threads too, and recommend one",
    )
    parser.add_argument(
        "--mlperf",
        action="store_true",
        help="time each file as MLPerf's single stream too: p90 of at least 1,024 runs and 60 s, and again",
    )
    parser.add_argument(
        "--sustained",
        type=float,
        metavar="SECONDS",
        help="let each file run so long without a pause too, and say whether it slows down",
    )
    parser.add_argument(
        "--operators", action="store_true", help="time each operator too, and name those that take most of a run"
    )
    parser.add_argument(
        "--reference",
        metavar="NAME|FILE",
        help="the file that the others are compared with (default: the first float32 .tflite, else the first float32 "
        "file, else the first)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the order in which files take turns")
    add_runtime_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of the table")
    parser.add_argument(
        "--resume", action="store_true", help="go on with a benchmark that was killed: same command, same --out"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a report in --out")
    parser.add_argument(
        "--whole",
        action="store_true",
        help="also measure on pictures that the files have seen: in training or calibration",
    )
    parser.add_argument("--strict", action="store_true", help="stop at a picture that cannot be decoded")
    there = parser.add_argument_group("on another device, over ssh")
    there.add_argument("--host", metavar="HOST", help="measure there: [USER@]NAME, or a name of ~/.ssh/config")
    there.add_argument(
        "--wheels", metavar="DIR", help="what it needs is installed from these wheels, without a network"
    )
    there.add_argument(
        "--purge", action="store_true", help="at the end, or without FILE at once, remove all that was ever put there"
    )
    add_foreign_arguments(parser)


def check(args: argparse.Namespace) -> Optional[Metadata]:
    """Refuse what cannot be, files apart, before anything slow; return what was given of foreign files.

    Raises:
        UsageError: arguments that do not go together, a number out of range, or a report that exists.
        DataError: no such folder of pictures, or one without a test part.
    """
    if args.host is None and (args.purge or args.wheels):
        raise UsageError(f"{'--purge' if args.purge else '--wheels'} is about another device: name it with --host")
    if args.data is not None and args.no_accuracy:
        raise UsageError(f"--no-accuracy measures without pictures, got --data {args.data}; leave out one of them")
    if args.out is not None:
        check_report(Path(args.out), overwrite=args.overwrite, resume=args.resume)
    elif args.resume:
        raise UsageError("--resume goes on with what lies in a report's folder; name it with --out")
    if args.resume and args.host is not None:
        raise UsageError("--resume goes on with what was begun here; on another device it begins anew: leave it out")
    check_settings(args.runs, args.warmup, args.threads, args.runtime, args.seed, args.thread_sweep, args.sustained)
    if args.data is not None:
        choose_split(Path(args.data))
    return describe_foreign("foreign", args.labels, args.resize, args.pixels, args.color_order, args.logits)


def run(
    args: argparse.Namespace,
    data_name: Optional[str] = None,
    networks: Mapping[str, NetworkCost] = MappingProxyType({}),
) -> int:
    """Do the work; return 1 if a file could not be measured or failed a gate.

    Args:
        args: of `add_arguments`, and `command_line` of `run_cli`.
        data_name: what the report calls the pictures, where `args.data` is only where they were put.
        networks: what a file was made from, by its path as in `args.files`.
    """
    from ._table import print_table

    if _only_purge(args):
        return 0
    out = None if args.out is None else Path(args.out)
    given = check(args)
    missing = [name for name, value in (("FILE", args.files), ("--data", args.data or args.no_accuracy)) if not value]
    if missing:
        raise UsageError(f"the following arguments are required: {', '.join(missing)}; --help tells more")
    report = _measure(args, given, data_name)
    rows = tuple(replace(row, network=networks.get(row.path)) for row in report.files)
    report = replace(report, files=rows)
    for line in report.pictures.skipped:
        print(f"skipped: {line}", file=sys.stderr)
    if args.json:
        sys.stdout.write(to_json(report))
    else:
        print_table(report)
    verdicts = judge(report, args.gate)
    print_verdicts(verdicts, sys.stderr if args.json else sys.stdout)
    if out is not None:  # last: a full disk costs the files, not what was found
        written = write_report(report, out, overwrite=args.overwrite)
        (out / UNFINISHED).unlink(missing_ok=True)
        print(f"wrote {' and '.join(str(path) for path in written)}", file=sys.stderr)
    return int(any(file.error for file in report.files) or not all(verdict.passed for verdict in verdicts))


def _measure(args: argparse.Namespace, given: Optional[Metadata], data_name: Optional[str]) -> Report:
    asked: dict[str, Any] = dict(
        runs=args.runs,
        warmup=args.warmup,
        threads=args.threads,
        runtime=args.runtime,
        seed=args.seed,
        thread_sweep=args.thread_sweep,
        sustained_s=args.sustained,
        reference=args.reference,
        given=given,
        strict=args.strict,
        whole=args.whole,
    )
    with _progress(args.files) as on_progress:
        if args.host is None:
            return benchmark(
                args.files,
                args.data,
                **asked,
                mlperf=args.mlperf,
                operators=args.operators,
                data_name=data_name,
                command=shlex.join(args.command_line),
                unfinished=None if args.out is None else Path(args.out) / UNFINISHED,
                resume=args.resume,
                on_progress=on_progress,
            )
        ready = prepare(args.files, args.data, **asked, on_progress=on_progress)
    from ._remote import benchmark_on

    return benchmark_on(args.host, ready, args, data_name)


def _only_purge(args: argparse.Namespace) -> bool:
    """Remove what is on the other device, if that is all that is asked for."""
    if args.host is None or not args.purge or args.files or args.data is not None or args.no_accuracy:
        return False
    from ._remote import purge

    purge(args.host)
    return True


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"numbers with commas between them are needed, such as 1,2,4, got {text}"
        ) from None


@contextmanager
def _progress(files: list[str]) -> Generator[OnProgress, None, None]:
    """Show a bar on a terminal; elsewhere write a line for each file that is done."""
    if not sys.stderr.isatty():

        def write_line(name: str, stage: str, done: int, total: int) -> None:
            if stage in ("done", "failed"):
                print(f"{name}: {'measured' if stage == 'done' else 'failed'}", file=sys.stderr)

        yield write_line
        return

    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        overall = progress.add_task("files", total=len(files))
        current = progress.add_task("pictures")

        def move(name: str, stage: str, done: int, total: int) -> None:
            progress.update(current, description=escape(f"{name}  {stage}"), completed=done, total=total)
            if stage in ("done", "failed"):
                progress.advance(overall)

        yield move
