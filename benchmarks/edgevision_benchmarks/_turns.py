"""Measuring several files: timing them in turns, then classifying the pictures with one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Optional, TypeVar, Union

import numpy as np

from edgevision_device import Percentiles

from ._child import Request
from ._cost import Cost
from ._flips import Flip, worst_first
from ._histogram import Histogram
from ._journal import Journal
from ._load import MachineState, throttled_between
from ._measurement import Measurement, Paired
from ._mlperf import LEAST_RUNS, LEAST_S, SingleStream, StreamPass
from ._operators import OperatorTimes, not_measured
from ._pmic import MeterError, can_ask, measure_run_mj
from ._processes import ChildError, Process
from ._reading import decode
from ._rounds import Rounds, Settings
from ._speed import LEAST_ROUNDS, Speed, TimeRatio, beyond, drift_of, judge, percentile_intervals, time_ratio
from ._statistics import Accuracy, compare_paired
from ._sustained import Spells, compare_windows, cool_down
from ._threads import ThreadSweep, recommend, time_threads
from ._timing import OnProgress, Timing, mean_of, time_files

__all__ = ["Extras", "Known", "Measured", "OnProgress", "measure_all"]

#: A drift by less than this factor is none, where no file was timed as two to tell.
_DRIFT = 1.05

#: What the process of one file answered, as JSON types.
Answer = dict[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Extras:
    """What to measure of each file beside the turns; see `benchmark`."""

    thread_counts: tuple[int, ...] = ()
    mlperf: bool = False
    sustained_s: Optional[float] = None
    operators: bool = False


@dataclass(frozen=True)
class Known:
    """A picture that all files are asked about: what to call it, SHA-256 of its file, and what it shows."""

    name: str
    sha256: Optional[str]
    label: str


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        files: by name; a line where there is no measurement.
        skipped: a line for each picture that cannot be decoded.
        noise_floor, before, after: see `Report`.
    """

    files: dict[str, Union[Measurement, str]]
    skipped: tuple[str, ...]
    noise_floor: Optional[TimeRatio]
    before: MachineState
    after: MachineState


def measure_all(
    requests: Mapping[str, Request],
    pictures: Sequence[Known],
    settings: Settings,
    tell: OnProgress,
    extras: Extras,
    journal: Journal,
) -> Measured:
    """Open every file, time all of them in turns, then ask one after the other for the rest.

    `pictures` are those of each request, in its order. What the journal holds already is not done again.

    Two interpreters never run at the same time: they would share cores, caches and heat.
    """
    with ExitStack() as stack:
        processes: dict[str, Process] = {}

        def start(name: str, request: Request) -> Process:
            process = Process(request)
            stack.callback(process.close)
            # The first one is asked for the rest; a second one of the same file is only timed.
            processes.setdefault(name, process)
            return process

        timing = journal.timing
        if timing is None:
            timing = time_files({name: partial(start, name, each) for name, each in requests.items()}, settings, tell)
            journal.keep_timing(timing)
        errors = dict(timing.errors)
        for name, request in requests.items():
            if name in timing.rounds and name not in journal.answers:
                try:
                    process = processes.get(name) or start(name, request)
                    journal.require_same(name, process.opened)
                    asked = _Asked(process, partial(start, name, request))
                    # A processor's counters have told it already.
                    power = timing.energy_mj[name] is None and can_ask()
                    journal.keep_answer(name, _ask(name, asked, tell, extras, timing.before.temperature_c, power=power))
                except ChildError as error:
                    errors[name] = str(error)
            if name in processes:
                processes[name].close()
            if name in errors or not extras.thread_counts:
                tell(name, "failed" if name in errors else "done", 1, 1)
    # With several numbers of threads a file is open several times: only now is there no other one in memory.
    for name in requests if extras.thread_counts else ():
        if name in journal.answers:
            if "threads" not in journal.answers[name]:
                tell(name, "threads", 0, 1)
                swept = _sweep_threads(requests[name], extras.thread_counts, settings, journal.answers[name])
                journal.keep_answer(name, swept)
            tell(name, "done", 1, 1)
    # Not in the order in which they were finished.
    answers = {name: journal.answers[name] for name in requests if name in journal.answers}
    return _conclude(requests, pictures, settings, timing, answers, errors)


class _Asked:
    """The process of one file, in place of which a new one is started where it has died of a question.

    Attributes:
        not_measured: figure → why there is none.
    """

    def __init__(self, process: Process, start: Callable[[], Process]) -> None:
        self._process: Optional[Process] = process
        self._start = start
        self.not_measured: dict[str, str] = {}

    @property
    def process(self) -> Process:
        """The one that lives."""
        if self._process is None:
            self._process = self._start()
        return self._process

    def extra(self, figure: str, ask: Callable[[Process], Found]) -> Optional[Found]:
        """Ask for what the rest can do without: its process may die of it."""
        try:
            return ask(self.process)
        except (ChildError, MeterError) as error:
            self.not_measured[figure] = str(error)
            self.close()
            return None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None


def _ask(
    name: str, asked: _Asked, tell: OnProgress, extras: Extras, before_c: Optional[float], *, power: bool
) -> Answer:
    """Return what one file's process says of memory, parts and pictures, and what else is asked for."""
    spells = None
    if extras.sustained_s is not None:
        # Before all cores classify: it begins as warm as the turns did, where there is a sensor to tell.
        tell(name, "cooling down", 0, 1)
        cool_down(before_c)
        tell(name, "sustained", 0, 1)
        duration_s = extras.sustained_s
        spells = asked.extra("sustained", lambda process: process.sustain(duration_s))
    answer = asked.process.finish(lambda stage, done, total: tell(name, stage, done, total))
    answer["sustained"] = spells
    if extras.mlperf:

        def stream_twice(process: Process) -> list[dict[str, Any]]:
            passes: list[dict[str, Any]] = []
            for number in range(2):
                tell(name, "single stream", number, 2)
                passes.append(process.stream(LEAST_RUNS, LEAST_S))
            return passes

        answer["streams"] = asked.extra("mlperf", stream_twice)
    if extras.operators:
        tell(name, "operators", 0, 1)
        times = asked.extra("operator_times", Process.time_operators)
        # It has a place of its own for the reason: the file may have one too.
        answer["operator_times"] = times or not_measured(asked.not_measured.pop("operator_times")).to_record()
    if power:
        tell(name, "energy", 0, 1)
        answer["rails_mj"] = asked.extra("energy_mj", measure_run_mj)
    asked.close()
    answer["not_measured"] = asked.not_measured
    return answer


def _sweep_threads(request: Request, counts: Sequence[int], settings: Settings, answer: Answer) -> Answer:
    """Return the answer with what `time_threads` adds to it, or why that is nothing."""
    try:
        return {**answer, "threads": time_threads(request, counts, settings)}
    except ChildError as error:
        return {**answer, "threads": None, "not_measured": {**answer["not_measured"], "thread_sweep": str(error)}}


def _conclude(
    requests: Mapping[str, Request],
    pictures: Sequence[Known],
    settings: Settings,
    timing: Timing,
    answers: Mapping[str, Answer],
    errors: Mapping[str, str],
) -> Measured:
    """Compare the files with one another, now that all have answered."""
    files: dict[str, Union[Measurement, str]] = {}
    for name in requests:
        if name in answers:
            files[name] = _measurement(name, pictures, settings, timing, answers)
        elif name in errors:
            files[name] = errors[name]
    # A picture that cannot be decoded is so for every file that was asked about it.
    skipped = next((tuple(answer["skipped"]) for answer in answers.values() if answer["predicted"] is not None), ())
    return Measured(files, skipped, timing.noise_floor, timing.before, timing.after)


def _measurement(
    name: str, pictures: Sequence[Known], settings: Settings, timing: Timing, answers: Mapping[str, Answer]
) -> Measurement:
    answer, rounds, seed = answers[name], timing.rounds[name], settings.seed
    span = _DRIFT if timing.noise_floor is None else timing.noise_floor.span
    load, before, after = timing.loads[name], timing.before, timing.after
    drift = drift_of(rounds, seed)
    energy_mj = timing.energy_mj[name] if timing.energy_mj[name] is not None else answer.get("rails_mj")
    streams = [StreamPass(Percentiles(**each["latency"]), each["duration_s"]) for each in answer.get("streams") or ()]
    right, spells = answer["top5_right"], answer["sustained"]
    judged = {each: found for each, found in answers.items() if found["predicted"] is not None}
    speed, not_measured = _speed(name, timing, seed), dict(answer["not_measured"])
    if speed is not None and timing.no_floor is not None:
        not_measured["verdict"] = f"without a noise floor: {timing.no_floor}"
    return Measurement(
        **_times(timing.opened[name], rounds, seed),
        confusion=answer["confusion"],
        preprocess=Percentiles(**answer["preprocess"]),
        decide=Percentiles(**answer["decide"]),
        memory_peak_bytes=answer["memory_peak_bytes"],
        memory_before_bytes=answer["memory_before_bytes"],
        memory_file_bytes=answer["memory_file_bytes"],
        speed=speed,
        others_share=_known(load.others_share, before.others_share, after.others_share),
        steal_share=_known(load.steal_share, before.steal_share, after.steal_share),
        throttled=throttled_between(before, after),
        thread_sweep=_sweep(answer.get("threads"), seed, span),
        sustained=None if spells is None else compare_windows(Spells(**spells), seed, span),
        mlperf=SingleStream((streams[0], streams[1])) if streams else None,
        energy_mj=energy_mj,
        energy_by=None if energy_mj is None else "RAPL" if timing.energy_mj[name] is not None else "PMIC rails",
        cost=_cost(answer["cost"]),
        operator_times=decode(Optional[OperatorTimes], answer.get("operator_times")),
        top5=None if right is None else Accuracy(right, sum(each is not None for each in answer["predicted"])),
        paired=_paired(judged, name, pictures) if name in judged else None,
        not_measured=not_measured,
        drift=drift,
        drifted=drift is not None and beyond(drift, span) != "no difference",
    )


def _times(opened: Mapping[str, Any], rounds: Rounds, seed: int) -> dict[str, Any]:
    """Return what a `Measurement` says of opening and of the timed runs."""
    known = dict(opened)
    warmup_ms = known.pop("warmup_ms")
    times_ms = list(itertools.chain.from_iterable(rounds.values()))
    return {
        **known,
        "warmup_runs": len(warmup_ms),
        "warmup": Percentiles.of_ms(warmup_ms) if warmup_ms else None,
        "latency": Percentiles.of_ms(times_ms),
        "histogram": Histogram.of_ms(times_ms),
        "latency_intervals": percentile_intervals(rounds, seed) if len(rounds) >= LEAST_ROUNDS else None,
        "round_p50_ms": tuple(float(np.median(each)) for each in rounds.values()),
    }


def _speed(name: str, timing: Timing, seed: int) -> Optional[Speed]:
    """Compare a file's rounds with those of the reference; None for that one itself."""
    if name == timing.reference:
        return None
    ratio = time_ratio(timing.rounds[name], timing.rounds[timing.reference], seed)
    return Speed(timing.reference, ratio, judge(ratio, timing.noise_floor))


def _paired(answers: Mapping[str, Answer], name: str, pictures: Sequence[Known]) -> Optional[Paired]:
    """Compare what a file calls the pictures with what the first of `answers` does."""
    first = next(iter(answers))
    if name == first:
        return None
    a, b = answers[first], answers[name]
    # Of every picture; what cannot be decoded is None for both.
    told = [
        Flip(picture.name, picture.sha256 or "", picture.label, *each)
        for picture, *each in zip(pictures, a["predicted"], a["scores"], b["predicted"], b["scores"])
        if each[0] is not None
    ]
    right_a = np.array([each.answer_a == each.label for each in told], np.bool_)
    right_b = np.array([each.answer_b == each.label for each in told], np.bool_)
    flipped = worst_first(each for each in told if each.answer_a != each.answer_b)
    return Paired(first, compare_paired(right_a, right_b), len(flipped), tuple(flipped))


def _sweep(
    threads: Optional[Mapping[Any, Mapping[Any, Sequence[float]]]], seed: int, span: float
) -> Optional[ThreadSweep]:
    # The numbers of threads and of rounds are texts if they come from a file.
    if threads is None:
        return None
    rounds = {int(count): {int(n): list(each) for n, each in found.items()} for count, found in threads.items()}
    return recommend(rounds, seed, span)


def _cost(record: Optional[dict[str, Any]]) -> Optional[Cost]:
    if record is None:
        return None
    values: dict[str, Any] = {**record, "outside": tuple(record["outside"])}
    return Cost(**values)


def _known(own: Optional[float], before: Optional[float], after: Optional[float]) -> Optional[float]:
    """Return what the turns say, or where they say nothing the mean of before and after."""
    return mean_of(before, after) if own is None else own
