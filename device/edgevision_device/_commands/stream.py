"""Name what a camera, a clip, a folder or an address shows, frame by frame."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from types import FrameType
from typing import Any, Optional, TextIO, Union

from .._classifier import Classifier
from .._decision import DecisionRule
from .._errors import PictureError
from .._health import Health
from .._notify import ServiceManager
from .._quiet import forget
from .._result import StreamResult, StreamStatistics
from .._sinks import Background, Sink, SinkContext
from .._sinks._printed import Printed
from .._sources import Source
from .._stream import stream
from .._swap import FollowedClassifier
from ._model import add_model_arguments, open_model
from ._sinks import add_sink_arguments, check_sinks, lost_records, open_sinks
from ._source import add_source_arguments, check_sources, open_sources
from ._variables import read_variables

_EPILOG = """\
Cameras and addresses keep only the newest frame: a slow model drops frames, and what it labels is never old. Files and
folders wait for the model, unless --fps replays them as if they were a camera.

stdout: one line per frame, in a service's journal one per change of the label; with --json one record per frame and,
last, {"summary": {...}}. Where --out, --video, --snapshots, --mqtt, --webhook, --web or --window is given without
--json, nothing: on a terminal, stderr has a line of progress instead.
--out FILE: the records as they come, each a whole line at once; the first one makes the file.
stderr: the summary (without --json), and what went wrong.

A camera or address that breaks off is opened again, with --no-reconnect it is an error. The file is opened again when
it changes, and on SIGHUP; one that is bad is refused, and the one before runs on. Both only where the source is live.
That another file took over is said on stderr, with the frame it began at and whether its labels are others.
What is wrong with source, file or sink is said once on stderr, and once when it is over.

--source, --mqtt and --webhook take '$EDGEVISION_NAME' for an address that holds a password: it is read from that
environment variable, and stands in no list of processes.

Ctrl-C or SIGTERM ends the stream with its summary, and keeps what was recorded. Who reads stdout no more is not waited
for: the summary is then on stderr, and counts what was lost. Exit code: what is live (a camera, an
address, a replay with --fps) ends with 0, whatever was lost. Files and folders end with 130 or 143 when a signal cut
them short, and with 1 when records of theirs were lost.
"""


#: After a signal, so long may what is being written take.
_GRACE_S = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add_model_arguments(parser)
    add_source_arguments(parser)
    decision = parser.add_argument_group("when a label is shown")
    decision.add_argument(
        "--threshold", type=float, metavar="SCORE", help="below it nothing is (default: what the file says)"
    )
    decision.add_argument(
        "--smooth", type=int, default=1, metavar="N", help="average the scores of the last N frames (default: 1)"
    )
    decision.add_argument(
        "--hysteresis", type=float, default=0.0, metavar="SCORE", help="another label must lead by this (default: 0)"
    )
    end = parser.add_argument_group("when it ends")
    end.add_argument("--frames", type=int, metavar="N", help="stop after N labels")
    end.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds")
    add_sink_arguments(parser)


def run(args: argparse.Namespace) -> int:
    args = read_variables(args)
    rule = DecisionRule(args.threshold, args.smooth, args.hysteresis)
    check_sources(args)
    check_sinks(args)
    # The model first: a camera that is open fills its queue with frames that grow old.
    classifier = open_model(args)
    skipped: list[PictureError] = []
    statistics = StreamStatistics()
    health = Health(lambda line: print(line, file=sys.stderr, flush=True))
    manager = ServiceManager()
    with contextlib.ExitStack() as opened:
        # A signal while this waits ends the program at once: there is nothing to finish yet.
        source = opened.enter_context(open_sources(args, health=health, on_unreadable=skipped.append))
        followed: Union[FollowedClassifier, _Fixed] = _Fixed(classifier)
        if source.live:
            followed = opened.enter_context(FollowedClassifier(classifier, lambda: open_model(args), health))
        stop = _Stop(followed.reload)
        context = SinkContext(
            statistics=statistics,
            health=health,
            file_record=lambda: _file_record(followed()),
            stop=stop.ask,
            live=source.live,
            fps=source.fps,
            still=lambda: source.still,
        )
        sinks: list[Sink] = []

        def on_wait() -> None:
            manager.alive()
            statistics.rested(source)
            for sink in sinks:
                sink.idle()
            if stop.asked:
                raise _Asked

        def on_end() -> None:
            # Side by side with the wait for the frame that is being read: together they are to take less than a second.
            for sink in sinks:
                if isinstance(sink, Background):
                    sink.begin_to_end()
            source.close()

        results = stream(
            followed, source, frames=args.frames, seconds=args.seconds, rule=rule, on_wait=on_wait, on_end=on_end
        )
        ended = False
        try:
            with contextlib.ExitStack() as written:
                sinks.append(_Takeovers(classifier, health))
                sinks.extend(written.enter_context(sink) for sink in open_sinks(args, context))
                # Signals before that end the program at once; the end of one while sinks close is the same end.
                opened.enter_context(stop)
                written.enter_context(contextlib.closing(results))
                manager.ready(f"{os.path.basename(classifier.file.path)}: running")
                began_s = time.monotonic()
                ended = _pump(results, statistics, sinks, stop, manager)
                # Else it ended because it was told to. Sinks take their time to close.
                ended = ended and (args.seconds is None or time.monotonic() - began_s < args.seconds)
        finally:
            manager.stopping()
            summary = statistics.summary()
            # Of what is read on after the last label that was asked for, or after the time, nothing was asked.
            if summary.frames != args.frames and (ended or stop.signum is not None):
                statistics.rested(source)
                summary = statistics.summary()
            ended = ended and summary.frames != args.frames
            said = [f"skipped: {error}" for error in skipped]
            lost = lost_records(sinks)
            printed = False
            if args.json and "stdout" not in lost:
                record = {
                    **summary.to_record(),
                    "skipped": len(skipped),
                    "lost": lost,
                    "source_ended": ended,
                    "stopped_by": None if stop.signum is None else signal.Signals(stop.signum).name,
                    "health": health.to_record(),
                    "swaps": followed.swaps,
                    **_file_record(followed()),
                }
                printed = _print(sys.stdout, [json.dumps({"summary": record})], stop)
            if args.json and not printed:
                said.append("nobody reads stdout any more; the summary:")
            if not printed and summary.frames:
                said += summary.lines()
                if followed.swaps:
                    times = "time" if followed.swaps == 1 else "times"
                    said.append(f"the model file was opened again {followed.swaps} {times}")
                said += [f"{name} lost {count} records" for name, count in lost.items()]
                said += ["the source has ended"] if ended and source.live else []
            if said:
                _print(sys.stderr, said, stop)
        return _exit_code(stop, source, lost)


class _Asked(Exception):
    """Somebody asked for the end, while no frame came."""


class _Fixed:
    """Stands where a `FollowedClassifier` does, for sources whose frames are all to be judged by one file."""

    swaps = 0

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def __call__(self) -> Classifier:
        return self._classifier

    def reload(self) -> None:
        """Change nothing."""


class _Takeovers(Sink):
    """Says when the first frame comes that another file has labelled."""

    def __init__(self, classifier: Classifier, health: Health) -> None:
        self._path, self._health = classifier.file.path, health
        self._sha256: Optional[str] = classifier.file.sha256
        self._labels: Sequence[str] = classifier.metadata.labels

    def write(self, result: StreamResult) -> None:
        if result.file_sha256 == self._sha256:
            return
        other = "" if result.labels == self._labels else ", with other labels"
        self._sha256, self._labels = result.file_sha256, result.labels
        digits = str(self._sha256)[:12]
        self._health.note("model", f"{self._path} ({digits}…) took over at frame {result.frame.id}{other}")


def _file_record(classifier: Classifier) -> dict[str, Any]:
    return {
        "file": classifier.file.path,
        "sha256": classifier.file.sha256,
        "runtime": classifier.runtime.name,
        "runtime_version": classifier.runtime.version,
        "threads": classifier.runtime.threads,
    }


def _pump(
    results: Iterator[StreamResult],
    statistics: StreamStatistics,
    sinks: Sequence[Sink],
    stop: _Stop,
    manager: ServiceManager,
) -> bool:
    """Hand results on; return whether there are no more, rather than somebody who says stop."""
    while not stop.asked:
        try:
            stop.interrupts = True
            result = next(results, None)
        except KeyboardInterrupt:
            if stop.signum is None:
                raise
            return False
        except _Asked:
            return False
        finally:
            stop.interrupts = False
        if result is None:
            return True
        manager.alive()
        statistics.add(result)
        for sink in sinks:
            try:
                with stop.writing():
                    sink.write(result)
            except KeyboardInterrupt:
                if stop.signum is None:
                    raise
                if isinstance(sink, Printed):
                    _leave(sys.stdout)
    return False


def _print(out: TextIO, lines: Sequence[str], stop: _Stop) -> bool:
    """Print lines; return whether they were taken. After a signal nobody waits for a reader."""
    try:
        with stop.writing():
            print("\n".join(lines), file=out, flush=True)
    except KeyboardInterrupt:
        if stop.signum is None:
            raise
        _leave(out)
        return False
    return True


def _leave(out: TextIO) -> None:
    """Write no more to one who does not read, by whichever name."""
    same = [each for each in (sys.stdout, sys.stderr) if os.path.sameopenfile(each.fileno(), out.fileno())]
    for each in same:
        forget(each)


def _exit_code(stop: _Stop, source: Source, lost: dict[str, int]) -> int:
    if source.live:
        return 0
    return int(bool(lost)) if stop.signum is None else 128 + stop.signum


class _Stop:
    """Turns the first SIGINT or SIGTERM into an orderly end: waiting and invoking break off, writing is finished first.

    Writing has a moment for that: what waits for a reader or a disk that hangs is then broken off too. A second
    signal is raised wherever it comes, and SIGHUP asks for the model file to be opened again.

    Attributes:
        asked: it is to end.
        signum: the signal that said so; None if it was no signal.
        interrupts: a signal breaks off what the main thread is at.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self.asked = False
        self.signum: Optional[int] = None
        self.interrupts = False
        self._writes = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        # Python hands signals to the main thread only, and refuses handlers from another.
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._handle) for each in (signal.SIGINT, signal.SIGTERM)}
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._break_off)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def ask(self) -> None:
        """Ask for the end, from any thread."""
        self.asked = True

    @contextlib.contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Raise KeyboardInterrupt in what is done meanwhile, if it takes more than a moment and there was a signal."""
        self._writes = True
        if self.signum is not None:
            signal.setitimer(signal.ITIMER_REAL, _GRACE_S)
        try:
            yield
        finally:
            self._writes = False

    def _break_off(self, signum: int, frame: Optional[FrameType]) -> None:
        if self._writes:
            self._writes = False
            raise KeyboardInterrupt

    def _hang_up(self, signum: int, frame: Optional[FrameType]) -> None:
        self._reload()

    def _handle(self, signum: int, frame: Optional[FrameType]) -> None:
        again, self.signum, self.asked = self.signum is not None, signum, True
        if self.interrupts or again:
            self.interrupts = False
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, _GRACE_S)
