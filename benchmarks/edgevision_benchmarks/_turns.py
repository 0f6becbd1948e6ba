"""Measuring several files, each in a process of its own, one process running at a time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

import numpy as np

from edgevision_device import Percentiles

from ._child import Request
from ._cost import Cost
from ._energy import EnergyMeter, energy_of_runs
from ._load import LoadMeter, MachineState, read_state, throttled_between
from ._mlperf import LEAST_RUNS, LEAST_S, SingleStream
from ._processes import ChildError, Process
from ._report import Measurement, Paired, Settings
from ._rounds import Rounds, take_rounds
from ._speed import LEAST_ROUNDS, Speed, TimeRatio, beyond, drift_of, judge, percentile_intervals, time_ratio
from ._statistics import Accuracy, compare_paired
from ._threads import sweep_threads

__all__ = ["Measured", "OnProgress", "measure_all"]

#: Told the file's name (empty while pictures are hashed), the stage, and how many of how many are done.
OnProgress = Callable[[str, str, int, int], None]

#: What the first file is called when it is timed a second time. No path is empty.
_TWIN = ""
#: A drift by less than this factor is none, where no file was timed as two to tell.
_DRIFT = 1.05


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
    settings: Settings,
    tell: OnProgress,
    thread_counts: Sequence[int] = (),
    mlperf: bool = False,
) -> Measured:
    """Open every file, time all of them in turns, then classify the pictures with one after the other.

    With `mlperf`, each is then timed as `SingleStream` says; with `thread_counts`, with these numbers of threads too.

    Two interpreters never run at the same time: they would share cores, caches and heat.
    """
    processes: dict[str, Process] = {}
    errors: dict[str, str] = {}

    with ExitStack() as stack:

        def start(name: str, request: Request) -> None:
            try:
                processes[name] = Process(request)
            except ChildError as error:
                errors[name] = str(error)
            else:
                stack.callback(processes[name].close)

        def take_turn(name: str, runs: int) -> Optional[list[float]]:
            own_s = time.process_time()
            meters[name].start()
            energies[name].start()
            try:
                answer = processes[name].time(runs)
            except ChildError as error:
                errors[name] = str(error)
                return None
            energies[name].stop()
            ran[name] += runs + 1  # the first one of a turn is not timed, but takes its energy
            meters[name].stop(answer["cpu_s"] + time.process_time() - own_s)
            times_ms: list[float] = answer["times_ms"]
            done[name] += len(times_ms)
            tell(name or reference, "latency", done[name], settings.runs)
            return times_ms

        for name, request in requests.items():
            tell(name, "open", 0, 1)
            start(name, request)
        reference = next(iter(processes), "")
        if len(processes) > 1:
            start(_TWIN, requests[reference])
        done = dict.fromkeys(processes, 0)
        meters = {name: LoadMeter() for name in processes}
        energies, ran = {name: EnergyMeter() for name in processes}, dict.fromkeys(processes, 0)
        before = read_state()
        rounds = take_rounds({name: process.expected_ms for name, process in processes.items()}, take_turn, settings)
        after = read_state()
        noise_floor = None
        if _TWIN in processes:
            processes[_TWIN].close()
            if _TWIN in rounds and reference in rounds:
                noise_floor = time_ratio(rounds[_TWIN], rounds[reference], settings.seed)

        span = _DRIFT if noise_floor is None else noise_floor.span
        files: dict[str, Union[Measurement, str]] = {}
        skipped: tuple[str, ...] = ()
        predicted: dict[str, list[Optional[str]]] = {}
        for name in requests:
            if name in rounds:
                try:
                    answer = processes[name].finish(
                        lambda stage, done, total, name=name: tell(name, stage, done, total)
                    )
                    stream = None
                    if mlperf:
                        tell(name, "single stream", 0, 2)
                        stream_pass = processes[name].stream(LEAST_RUNS, LEAST_S)
                        tell(name, "single stream", 1, 2)
                        stream = SingleStream((stream_pass, processes[name].stream(LEAST_RUNS, LEAST_S)))
                    processes[name].close()
                    sweep = None
                    if thread_counts:
                        tell(name, "threads", 0, 1)
                        sweep = sweep_threads(requests[name], thread_counts, settings, span)
                except ChildError as error:
                    errors[name] = str(error)
                else:
                    for part in ("preprocess", "decide"):
                        answer[part] = Percentiles(**answer[part])
                    cost = answer.pop("cost")
                    predicted[name] = answer.pop("predicted")
                    top5_right: Optional[int] = answer.pop("top5_right")
                    skipped = tuple(answer.pop("skipped"))  # the same ones for every file
                    speed = None
                    if name != reference and reference in rounds:
                        ratio = time_ratio(rounds[name], rounds[reference], settings.seed)
                        speed = Speed(reference, ratio, judge(ratio, noise_floor))
                    load = meters[name].load()
                    drift = drift_of(rounds[name], settings.seed)
                    files[name] = Measurement(
                        **_times(processes[name].opened, rounds[name], settings.seed),
                        **answer,
                        speed=speed,
                        others_share=_known(load.others_share, before.others_share, after.others_share),
                        steal_share=_known(load.steal_share, before.steal_share, after.steal_share),
                        throttled=throttled_between(before, after),
                        thread_sweep=sweep,
                        mlperf=stream,
                        energy_mj=energy_of_runs(
                            energies[name], ran[name], _known(None, before.processor_w, after.processor_w)
                        ),
                        cost=None if cost is None else Cost(**cost),
                        top5=None if top5_right is None else Accuracy(top5_right, _classified(predicted[name])),
                        paired=_paired(predicted, name, [label for _, label in requests[name].pictures]),
                        drift=drift,
                        drifted=drift is not None and beyond(drift, span) != "no difference",
                    )
                processes[name].close()
            if name in errors:
                files[name] = errors[name]
            tell(name, "failed" if name in errors else "done", 1, 1)
    return Measured(files, skipped, noise_floor, before, after)


def _times(opened: dict[str, Any], rounds: Rounds, seed: int) -> dict[str, Any]:
    """Return what a `Measurement` says of opening and of the timed runs."""
    warmup_ms = opened.pop("warmup_ms")
    return {
        **opened,
        "warmup_runs": len(warmup_ms),
        "warmup": Percentiles.of_ms(warmup_ms) if warmup_ms else None,
        "latency": Percentiles.of_ms(list(itertools.chain.from_iterable(rounds.values()))),
        "latency_intervals": percentile_intervals(rounds, seed) if len(rounds) >= LEAST_ROUNDS else None,
        "round_p50_ms": tuple(Percentiles.of_ms(times_ms).p50_ms for times_ms in rounds.values()),
    }


def _classified(predicted: Sequence[Optional[str]]) -> int:
    return sum(label is not None for label in predicted)


def _paired(predicted: Mapping[str, Sequence[Optional[str]]], name: str, labels: Sequence[str]) -> Optional[Paired]:
    """Compare what a file calls the pictures with what the first of `predicted` does."""
    first = next(iter(predicted))
    if name == first:
        return None
    # What cannot be decoded is None for both.
    pairs = [(a, b, label) for a, b, label in zip(predicted[first], predicted[name], labels) if a is not None]
    right_a, right_b = (np.array([pair[side] == pair[2] for pair in pairs], np.bool_) for side in (0, 1))
    return Paired(first, compare_paired(right_a, right_b), sum(a != b for a, b, _ in pairs))


def _known(own: Optional[float], before: Optional[float], after: Optional[float]) -> Optional[float]:
    """Return what a file's own turns say, or where they say nothing the mean of before and after."""
    return own if own is not None or before is None or after is None else (before + after) / 2
