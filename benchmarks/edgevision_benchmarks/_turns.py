"""Measuring several files, each in a process of its own, one process running at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

import numpy as np

from edgevision_device import Percentiles

from ._child import Request
from ._processes import ChildError, Process
from ._report import Measurement, Settings
from ._rounds import Rounds, take_rounds
from ._speed import Speed, TimeRatio, judge, time_ratio

__all__ = ["Measured", "OnProgress", "measure_all"]

#: Told the file's name (empty while pictures are hashed), the stage, and how many of how many are done.
OnProgress = Callable[[str, str, int, int], None]

#: What the first file is called when it is timed a second time. No path is empty.
_TWIN = ""


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        files: by name; a line where there is no measurement.
        skipped: a line for each picture that cannot be decoded.
        noise_floor: see `Report`.
    """

    files: dict[str, Union[Measurement, str]]
    skipped: tuple[str, ...]
    noise_floor: Optional[TimeRatio]


def measure_all(requests: Mapping[str, Request], settings: Settings, tell: OnProgress) -> Measured:
    """Open every file, time all of them in turns, then classify the pictures with one after the other.

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
            try:
                times_ms: list[float] = processes[name].time(runs)["times_ms"]
            except ChildError as error:
                errors[name] = str(error)
                return None
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
        rounds = take_rounds(
            {name: _expected_ms(process.opened) for name, process in processes.items()}, take_turn, settings
        )
        noise_floor = None
        if _TWIN in processes:
            processes[_TWIN].close()
            if _TWIN in rounds and reference in rounds:
                noise_floor = time_ratio(rounds[_TWIN], rounds[reference], settings.seed)

        files: dict[str, Union[Measurement, str]] = {}
        skipped: tuple[str, ...] = ()
        for name in requests:
            if name in rounds:
                try:
                    answer = processes[name].finish(
                        lambda stage, done, total, name=name: tell(name, stage, done, total)
                    )
                except ChildError as error:
                    errors[name] = str(error)
                else:
                    skipped = tuple(answer.pop("skipped"))  # the same ones for every file
                    speed = None
                    if name != reference and reference in rounds:
                        time = time_ratio(rounds[name], rounds[reference], settings.seed)
                        speed = Speed(reference, time, judge(time, noise_floor))
                    files[name] = _measurement(processes[name].opened, rounds[name], answer, speed)
                processes[name].close()
            if name in errors:
                files[name] = errors[name]
            tell(name, "failed" if name in errors else "done", 1, 1)
    return Measured(files, skipped, noise_floor)


def _expected_ms(opened: dict[str, Any]) -> float:
    return float(np.median(opened["warmup_ms"] or [opened["first_ms"]]))


def _measurement(opened: dict[str, Any], rounds: Rounds, answer: dict[str, Any], speed: Optional[Speed]) -> Measurement:
    warmup_ms = opened.pop("warmup_ms")
    preprocess = Percentiles(**answer.pop("preprocess"))
    return Measurement(
        **opened,
        **answer,
        warmup_runs=len(warmup_ms),
        latency=Percentiles.of_ms(list(itertools.chain.from_iterable(rounds.values()))),
        preprocess=preprocess,
        round_p50_ms=tuple(Percentiles.of_ms(times_ms).p50_ms for times_ms in rounds.values()),
        speed=speed,
    )
