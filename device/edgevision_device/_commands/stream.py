"""Name what a camera, a clip, a folder or an address shows, frame by frame."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Optional

from .._errors import PictureError
from .._outputs import check_outputs
from .._sinks import JsonLines, JsonLinesFile, Sink, TextLines
from .._sources import SOURCE_GRAMMAR, Source, open_source
from .._stream import StreamResult, StreamStatistics, stream
from ._model import add_model_arguments, open_model

_EPILOG = """\
Cameras and addresses keep only the newest frame: a slow model drops frames, and what it labels is never old. Files and
folders wait for the model, unless --fps replays them as if they were a camera.

stdout: one line per frame; with --json one record per frame and, last, {"summary": {...}}; with --out alone, nothing.
--out FILE: the records as they come, each a whole line at once; the first one makes the file.
stderr: the summary (without --json), and what went wrong.

A camera or an rtsp:// address that stops sending is an error. An http:// address may end its answer; the summary then
says that the source has ended.

Ctrl-C or SIGTERM ends the stream with its summary, and keeps what was recorded. The exit code is then 0 for what is
live (a camera, an address, a replay with --fps), and 130 or 143 for files and folders, which were cut short.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add_model_arguments(parser)
    parser.add_argument("--source", required=True, metavar="SOURCE", help=SOURCE_GRAMMAR)
    parser.add_argument("--fps", type=float, metavar="N", help="replay files as a camera of N frames per second")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N labels")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")
    parser.add_argument(
        "--time-limit", type=float, default=10.0, metavar="S", help="how long an address may keep silent (default: 10)"
    )
    parser.add_argument("--out", metavar="FILE", help="write one JSON record per frame to FILE, usually .jsonl")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--json", action="store_true", help="JSON records on stdout")


def run(args: argparse.Namespace) -> int:
    if args.out is not None:
        check_outputs([Path(args.out)], overwrite=args.overwrite)
    # The model first: a camera that is open fills its queue with frames that grow old.
    classifier = open_model(args)
    skipped: list[PictureError] = []
    statistics = StreamStatistics()
    with contextlib.ExitStack() as opened:
        # A signal while this waits ends the program at once: there is nothing to finish yet.
        source = opened.enter_context(
            open_source(args.source, args.fps, time_limit_s=args.time_limit, on_unreadable=skipped.append)
        )
        results = stream(classifier, source, frames=args.frames, seconds=args.seconds)
        sinks = [opened.enter_context(sink) for sink in _sinks(args)]
        stop = opened.enter_context(_Stop())
        ended = False
        began_s = time.monotonic()
        try:
            ended = _pump(results, statistics, sinks, stop)
        finally:
            summary = statistics.summary()
            # Else it ended because it was told to.
            ended = ended and summary.frames != args.frames
            ended = ended and (args.seconds is None or time.monotonic() - began_s < args.seconds)
            for error in skipped:
                print(f"skipped: {error}", file=sys.stderr)
            if args.json:
                record = {
                    **summary.to_record(),
                    "skipped": len(skipped),
                    "source_ended": ended,
                    "stopped_by": None if stop.signum is None else signal.Signals(stop.signum).name,
                    "file": str(classifier.file.path),
                    "runtime": classifier.runtime.name,
                    "runtime_version": classifier.runtime.version,
                    "threads": classifier.runtime.threads,
                }
                print(json.dumps({"summary": record}), flush=True)
            elif summary.frames:
                print("\n".join(summary.lines()), file=sys.stderr)
                if ended and source.live:
                    print("the source has ended", file=sys.stderr)
        return _exit_code(stop, source)


def _sinks(args: argparse.Namespace) -> Iterator[Sink]:
    if args.out is not None:
        yield JsonLinesFile(args.out)
    if args.json:
        yield JsonLines()
    elif args.out is None:
        yield TextLines()
    elif sys.stderr.isatty():
        yield _Progress()


def _pump(results: Iterator[StreamResult], statistics: StreamStatistics, sinks: Sequence[Sink], stop: _Stop) -> bool:
    """Hand results on; return whether there are no more, rather than a signal that says stop."""
    while stop.signum is None:
        try:
            stop.interrupts = True
            result = next(results, None)
        except KeyboardInterrupt:
            if stop.signum is None:
                raise
            return False
        finally:
            stop.interrupts = False
        if result is None:
            return True
        statistics.add(result)
        for sink in sinks:
            sink.write(result)
    return False


def _exit_code(stop: _Stop, source: Source) -> int:
    return 0 if stop.signum is None or source.live else 128 + stop.signum


class _Stop:
    """Turns the first SIGINT or SIGTERM into an orderly end: waiting and invoking break off, writing is finished first.

    The second one is raised wherever it comes.
    """

    def __init__(self) -> None:
        self.signum: Optional[int] = None
        self.interrupts = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        # Python hands signals to the main thread only, and refuses handlers from another.
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._handle) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _handle(self, signum: int, frame: Optional[FrameType]) -> None:
        again, self.signum = self.signum is not None, signum
        if self.interrupts or again:
            self.interrupts = False
            raise KeyboardInterrupt


class _Progress(Sink):
    """One line on stderr, written over once a second."""

    def __init__(self) -> None:
        self._shown_s = time.monotonic()

    def write(self, result: StreamResult) -> None:
        if time.monotonic() - self._shown_s >= 1:
            self._shown_s = time.monotonic()
            shown = f"frame {result.frame.id}  age {result.age_ms:.0f} ms  dropped {result.dropped}"
            print(f"\r{shown:<60}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
