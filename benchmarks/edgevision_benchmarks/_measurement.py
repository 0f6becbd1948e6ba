"""What one file did, as frozen dataclasses, and the JSON record of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Optional

from edgevision_device import Percentiles

from ._cost import Cost
from ._flips import Flip
from ._histogram import Histogram
from ._mlperf import SingleStream
from ._operators import OperatorTimes
from ._speed import Speed, TimeRatio
from ._statistics import Accuracy, PairedDifference
from ._sustained import Sustained
from ._threads import ThreadSweep

__all__ = ["LabelScores", "Measurement", "Paired"]

#: A share of the machine in other hands from which on a row says so.
DISTURBING_SHARE = 0.05


@dataclass(frozen=True)
class LabelScores:
    """How well one label is told from the others.

    Attributes:
        right: pictures of it that are called so.
        pictures: of it.
        called: pictures that are called so.

    >>> LabelScores(right=8, pictures=10, called=16).f1 == 2 / (1 / 0.8 + 1 / 0.5)
    True
    """

    right: int
    pictures: int
    called: int

    @property
    def recall(self) -> float:
        """Share of its pictures that are called so; there is at least one."""
        return self.right / self.pictures

    @property
    def precision(self) -> Optional[float]:
        """Share of the pictures called so that are; None if there is none."""
        return self.right / self.called if self.called else None

    @property
    def f1(self) -> float:
        """The harmonic mean of both; 0 if nothing is right."""
        return 2 * self.right / (self.pictures + self.called)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "pictures": self.pictures,
            "right": self.right,
            "called": self.called,
            "recall_share": self.recall,
            "precision_share": self.precision,
            "f1_share": self.f1,
        }


@dataclass(frozen=True)
class Paired:
    """Two files on the same pictures.

    Attributes:
        reference: name of the file that the others are compared with.
        difference: `a` is the reference, `b` this one.
        flips: how many pictures' labels differ.
        flipped: these pictures, worst first; empty of a report that was written before they were told.
    """

    reference: str
    difference: PairedDifference
    flips: int
    flipped: tuple[Flip, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "reference": self.reference,
            "flips": self.flips,
            **self.difference.to_record(),
            "flipped": [flip.to_record() for flip in self.flipped],
        }


@dataclass(frozen=True)
class Measurement:
    """What one file did in its own process.

    Attributes:
        runtime, runtime_version, threads: what ran it.
        confusion: true label → predicted label → pictures; only what occurred, in the order of the file's labels. Empty
            where accuracy was not measured.
        open_ms: reading and verifying the file and building the interpreter, the runtime's library being loaded.
        first_ms: the first run.
        warmup_runs: runs after the first that no figure counts.
        latency: the runs after those, on preprocessed pictures.
        preprocess: resizing each decoded picture to the input.
        memory_peak_bytes: most memory resident while the file was opened and timed, the whole process; None where
            the system does not say.
        memory_before_bytes: the same with Python, OpenCV and the runtime loaded, before the file was opened.
        memory_file_bytes: the difference; None where the system cannot tell it from that of decoding pictures.
        round_p50_ms: the median of each round, in which every file had its turn.
        speed: against the reference; None for that one itself.
        opencv: version that decoded and resized.
        others_share, steal_share: see `Load`, of its own turns; where those were too short to tell, of the turns of all
            files; where those were, too, the mean of before and after.
        throttled: whether the processor was slowed down, or short of power, while the files were timed; None if the
            system does not say.
        drift: time in the last third of its rounds over that in the first; None of fewer than 18 rounds.
        warmup: the runs that warmed up, after the first; None if there were none.
        decide: temperature, and the best of the scores.
        latency_intervals: `p50_ms`, `p90_ms` and `p99_ms` → low and high; None if fewer than `LEAST_ROUNDS` rounds.
        thread_sweep: with other numbers of threads; None if not asked for.
        top5: how many pictures have their own label among the five best; None of a file of five labels or fewer.
        paired: its accuracy against that of the reference, on the same pictures; None for that one itself.
        mlperf: p90 of a single stream, twice; None if not asked for.
        cost: of its graph; None where the file or the runtime does not tell.
        energy_mj: of a run, beyond that of the idle processor or board; None if not measured.
        energy_by: `RAPL`, the counters of an x86 processor, or `PMIC rails`, the sum of those that a Raspberry Pi 5's
            power chip tells: not what the supply delivers, nor what USB devices take.
        histogram: of the runs that `latency` counts; None of a report that was written before there were any.
        sustained: runs without a pause; None if not asked for.
        operator_times: of each operator; None if not asked for.
        drifted: whether that is beyond the noise floor, or beyond 5 % where there is none.
        not_measured: name of a figure that was asked for and is None → why, one line.
    """

    runtime: str
    runtime_version: str
    threads: int
    confusion: dict[str, dict[str, int]]
    open_ms: float
    first_ms: float
    warmup_runs: int
    latency: Percentiles
    preprocess: Percentiles
    memory_peak_bytes: Optional[int]
    memory_before_bytes: Optional[int]
    memory_file_bytes: Optional[int]

    round_p50_ms: tuple[float, ...] = ()
    speed: Optional[Speed] = None
    opencv: Optional[str] = None
    others_share: Optional[float] = None
    steal_share: Optional[float] = None
    throttled: Optional[bool] = None
    drift: Optional[TimeRatio] = None
    drifted: bool = False
    warmup: Optional[Percentiles] = None
    decide: Optional[Percentiles] = None
    latency_intervals: Optional[dict[str, tuple[float, float]]] = None
    thread_sweep: Optional[ThreadSweep] = None

    top5: Optional[Accuracy] = None
    paired: Optional[Paired] = None
    mlperf: Optional[SingleStream] = None
    cost: Optional[Cost] = None
    energy_mj: Optional[float] = None
    energy_by: Optional[str] = None
    histogram: Optional[Histogram] = None
    sustained: Optional[Sustained] = None
    operator_times: Optional[OperatorTimes] = None
    not_measured: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def disturbed(self) -> tuple[str, ...]:
        """What makes its times doubtful, a few words each."""
        others, steal = self.others_share or 0.0, self.steal_share or 0.0
        lines = [f"others used {others:.0%} of the machine"] if others > DISTURBING_SHARE else []
        if steal > DISTURBING_SHARE:
            lines.append(f"other virtual machines took {steal:.0%}")
        if self.throttled:
            lines.append("the processor was throttled")
        if self.drifted and self.drift is not None:
            change = self.drift.ratio - 1
            lines.append(
                f"drifted: its last runs took {abs(change):.0%} {'longer' if change > 0 else 'less'} than its first"
            )
        if self.sustained is not None and self.sustained.differs:
            lines.append(self.sustained.describe())
        return tuple(lines)

    @property
    def judged(self) -> bool:
        """Whether accuracy was measured."""
        return bool(self.confusion)

    @property
    def top1(self) -> Accuracy:
        """How many pictures got their own label; of none, where accuracy was not measured."""
        right = sum(row.get(label, 0) for label, row in self.confusion.items())
        return Accuracy(right, sum(sum(row.values()) for row in self.confusion.values()))

    @property
    def per_label(self) -> dict[str, LabelScores]:
        """Precision, recall and F1 of each true label, in the order of the file's labels."""
        called: dict[str, int] = {}
        for row in self.confusion.values():
            for label, pictures in row.items():
                called[label] = called.get(label, 0) + pictures
        return {
            label: LabelScores(row.get(label, 0), sum(row.values()), called.get(label, 0))
            for label, row in self.confusion.items()
        }

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the labels that there are pictures of: a rare label counts as much as a common one."""
        scores = [each.f1 for each in self.per_label.values()]
        return sum(scores) / len(scores) if scores else 0.0

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        low, high = self.top1.interval if self.judged else (None, None)
        return {
            "runtime": self.runtime,
            "runtime_version": self.runtime_version,
            "threads": self.threads,
            "pictures": self.top1.pictures,
            "right": self.top1.right,
            "top1_share": self.top1.share if self.judged else None,
            "top1_low_share": low,
            "top1_high_share": high,
            "open_ms": self.open_ms,
            "first_ms": self.first_ms,
            "warmup_runs": self.warmup_runs,
            "latency": dataclasses.asdict(self.latency),
            "preprocess": dataclasses.asdict(self.preprocess),
            "memory_peak_bytes": self.memory_peak_bytes,
            "memory_before_bytes": self.memory_before_bytes,
            "memory_file_bytes": self.memory_file_bytes,
            "round_p50_ms": list(self.round_p50_ms),
            "speed": None if self.speed is None else self.speed.to_record(),
            "opencv": self.opencv,
            "others_share": self.others_share,
            "steal_share": self.steal_share,
            "throttled": self.throttled,
            "drift": None if self.drift is None else self.drift.to_record(),
            "drifted": self.drifted,
            "warmup": None if self.warmup is None else dataclasses.asdict(self.warmup),
            "decide": None if self.decide is None else dataclasses.asdict(self.decide),
            "latency_intervals": (
                None
                if self.latency_intervals is None
                else {key: list(interval) for key, interval in self.latency_intervals.items()}
            ),
            "thread_sweep": None if self.thread_sweep is None else self.thread_sweep.to_record(),
            "top5": None if self.top5 is None else self.top5.to_record(),
            "macro_f1_share": self.macro_f1 if self.judged else None,
            "per_label": {label: scores.to_record() for label, scores in self.per_label.items()},
            "paired": None if self.paired is None else self.paired.to_record(),
            "mlperf": None if self.mlperf is None else self.mlperf.to_record(),
            "cost": None if self.cost is None else self.cost.to_record(),
            "energy_mj": self.energy_mj,
            "energy_by": self.energy_by,
            "sustained": None if self.sustained is None else self.sustained.to_record(),
            "operator_times": None if self.operator_times is None else self.operator_times.to_record(),
            "histogram": None if self.histogram is None else self.histogram.to_record(),
            "not_measured": self.not_measured,
            "disturbed": list(self.disturbed),
            "confusion": self.confusion,
        }
