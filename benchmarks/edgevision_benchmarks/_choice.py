"""The best file under a budget, and what the next better one would cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from edgevision_device import UsageError

from ._measurement import Measurement
from ._pairs import paired_difference
from ._report import FileResult, Report
from ._slowness import time_between
from ._speed import judge
from ._statistics import Accuracy, PairedDifference, unpaired_interval
from ._text import ms_text, points_text, size_text

__all__ = ["Alternative", "Budget", "Choice", "Excluded", "choose"]

Row = tuple[FileResult, Measurement]


@dataclass(frozen=True)
class Budget:
    """What a file may cost; None: whatever.

    Attributes:
        max_ms: latency, p90.
        max_kb: bytes of the file, in 1,000.
        max_drop_points: top-1 below that of the most accurate file of the report, in percentage points, as measured.
    """

    max_ms: Optional[float] = None
    max_kb: Optional[float] = None
    max_drop_points: Optional[float] = None

    def __post_init__(self) -> None:
        """Refuse a limit that no file can keep."""
        for name, limit in (("ms", self.max_ms), ("kB", self.max_kb)):
            if limit is not None and not 0 < limit < math.inf:
                raise UsageError(f"the most {name} must be more than 0, got {limit:g}")
        if self.max_drop_points is not None and not 0 <= self.max_drop_points <= 100:
            raise UsageError(f"the largest drop must lie between 0 and 100 points, got {self.max_drop_points:g}")

    def overrun(self, file: FileResult, found: Measurement) -> float:
        """Return how often the latency or the bytes of a file are the most that is allowed; the larger of the two."""
        times = 0.0 if self.max_ms is None else found.latency.p90_ms / self.max_ms
        return max(times, 0.0 if self.max_kb is None else file.size_bytes / (1000 * self.max_kb))

    def is_late(self, found: Measurement) -> bool:
        """Say whether it takes longer than is allowed."""
        return self.max_ms is not None and found.latency.p90_ms > self.max_ms

    def reasons(self, file: FileResult, found: Measurement, best: Accuracy) -> tuple[str, ...]:
        """Say which limits exclude a file."""
        told: list[str] = []
        if self.is_late(found):
            told.append(f"p90 {ms_text(found.latency.p90_ms)} ms is over {self.max_ms:g} ms")
        if self.max_kb is not None and file.size_bytes > 1000 * self.max_kb:
            told.append(f"{file.size_bytes / 1000:.15g} kB is over {self.max_kb:.15g} kB")
        if self.drops(found, best):
            drop = points_text(best.share - found.top1.share).lstrip("+")
            told.append(f"its top-1 drops by {drop} points, more than {self.max_drop_points:g}")
        return tuple(told)

    def drops(self, found: Measurement, best: Accuracy) -> bool:
        """Say whether top-1 lies too far below the best."""
        # A drop of exactly one point may come out as 1.0000000000000009.
        most = math.inf if self.max_drop_points is None else self.max_drop_points + 1e-9
        return 100 * (best.share - found.top1.share) > most


@dataclass(frozen=True)
class Excluded:
    """A file that is not in the choice, and why; one line a reason."""

    file: FileResult
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Alternative:
    """A file beside the chosen one.

    Attributes:
        difference: its share of right pictures minus the chosen one's.
        interval: of that: picture by picture where the report holds which flip, else see `unpaired_interval`.
        paired: that comparison picture by picture, or None.
        as_fast: whether it takes as long as the chosen file, as far as their rounds and the noise floor tell.
    """

    file: FileResult
    found: Measurement
    difference: float
    interval: tuple[float, float]
    paired: Optional[PairedDifference] = None
    as_fast: bool = False

    @property
    def distinguishable(self) -> bool:
        """Whether this is more than chance: as `paired` says, and without it whether 0 lies outside the interval."""
        if self.paired is not None:
            return self.paired.distinguishable
        low, high = self.interval
        return not low <= 0 <= high

    def describe(self) -> str:
        """Return one line without the verdict."""
        ends = " to ".join(map(points_text, self.interval))
        alike = ", as fast" if self.as_fast else ""
        return (
            f"{self.file.name}: {points_text(self.difference)} points ({ends}), {_cost(self.file, self.found)}{alike}"
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types; shares, not points."""
        return {
            **_record(self.file, self.found),
            "difference_share": self.difference,
            "difference_low_share": self.interval[0],
            "difference_high_share": self.interval[1],
            "distinguishable": self.distinguishable,
            "as_fast": self.as_fast,
        }


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        chosen: None where no file fits.
        equal: the other files that fit, whose top-1 is not distinguishable from the chosen one's; fastest first.
        next_better: the most affordable file over the budget that is distinguishably more accurate, or, where none is,
            that has more pictures right; None where there is no such file.
        nearest: where none fits, the measured file within `max_drop_points` that exceeds time and bytes least.
        excluded: in the order of the report.
        disturbed: by name, in the order of the report, what makes a time doubtful that decided: it was over the limit,
            or the chosen file's was not, or two files are equal but for it.
    """

    budget: Budget
    chosen: Optional[Row]
    equal: tuple[Alternative, ...]
    next_better: Optional[Alternative]
    nearest: Optional[Row]
    excluded: tuple[Excluded, ...]
    disturbed: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def lines(self) -> list[str]:
        """Return it for people."""
        told: list[str] = []
        if self.chosen is None:
            told.append(f"no file fits, of {len(self.excluded)}")
            if self.nearest is not None:
                told.append(f"nearest: {_line(*self.nearest)}")
        else:
            file, found = self.chosen
            told.append(f"chosen: {_line(file, found)}")
            told += [f"warning: {warning}" for warning in file.warnings]
            if self.equal:
                told.append(
                    f"not distinguishable in top-1 on these {found.top1.pictures} pictures; slower than the fastest of "
                    "these, or no smaller than the chosen:"
                )
                told += [f"  {each.describe()}" for each in self.equal]
            if self.next_better is None:
                told.append("next better: no file over the budget has more pictures right")
            else:
                verdict = "" if self.next_better.distinguishable else "; not distinguishable on these pictures"
                told.append(f"next better: {self.next_better.describe()}{verdict}")
        if self.excluded:
            told.append("excluded:")
            told += [f"  {each.file.name}: {'; '.join(each.reasons)}" for each in self.excluded]
        return told

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "max_ms": self.budget.max_ms,
            "max_kb": self.budget.max_kb,
            "max_drop_points": self.budget.max_drop_points,
            "chosen": None if self.chosen is None else _record(*self.chosen),
            "equal": [each.to_record() for each in self.equal],
            "next_better": None if self.next_better is None else self.next_better.to_record(),
            "nearest": None if self.nearest is None else _record(*self.nearest),
            "excluded": [{"name": each.file.name, "reasons": list(each.reasons)} for each in self.excluded],
            "disturbed": {name: list(reasons) for name, reasons in self.disturbed.items()},
        }


def choose(report: Report, budget: Budget) -> Choice:
    """Choose the most accurate file under the budget; of those that chance may have parted from it, the fastest.

    Args:
        report: of `benchmark`, or read back.
        budget: what a file may cost; latency is p90. The fastest is so by the rounds in which files took turns, and by
            p90 where there were none; of files that cannot be told from it there, the smallest is taken.
    """
    best = max((found.top1 for _, found in report.judged), key=lambda top1: top1.share, default=Accuracy(0, 0))
    fitting: list[Row] = []
    over: list[Row] = []
    excluded: list[Excluded] = []
    for file in report.files:
        if file.measured is None:
            excluded.append(Excluded(file, (f"not measured: {file.error or 'the report does not say why'}",)))
            continue
        if not file.measured.judged:
            excluded.append(Excluded(file, (f"accuracy not measured: {report.no_accuracy}",)))
            continue
        reasons = budget.reasons(file, file.measured, best)
        (over if reasons else fitting).append((file, file.measured))
        if reasons:
            excluded.append(Excluded(file, reasons))
    if not fitting:
        # The most accurate file never drops too far, so there is one wherever a file was measured.
        near = [row for row in over if not budget.drops(row[1], best)]
        nearest = min(near, key=lambda row: budget.overrun(*row), default=None)
        return Choice(budget, None, (), None, nearest, tuple(excluded), _disturbed(report, budget, ()))
    top = max(fitting, key=lambda row: row[1].top1.share)
    group = sorted((row for row in fitting if not _beside(row, top, report).distinguishable), key=_speed)
    # In turns a file may be the faster one although its p90, which a busy machine spoils first, is not.
    fastest = functools.reduce(lambda best, row: row if _verdict(row, best, report) == "faster" else best, group)
    alike = [row for row in group if row is fastest or _as_fast(row, fastest, report)]
    smallest = min(alike, key=lambda row: row[0].size_bytes)
    group = [smallest, *(row for row in group if row is not smallest)]
    better = [_beside(row, group[0], report) for row in over if row[1].top1.share > group[0][1].top1.share]
    return Choice(
        budget,
        group[0],
        tuple(_beside(row, group[0], report) for row in group[1:]),
        min(better, key=lambda each: (not each.distinguishable, budget.overrun(each.file, each.found)), default=None),
        None,
        tuple(excluded),
        _disturbed(report, budget, group),
    )


def _disturbed(report: Report, budget: Budget, group: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Return what makes the times doubtful that decided, given the files that are equal in top-1."""
    chosen = [file for file, _ in group] if len(group) > 1 or budget.max_ms is not None else []
    return {
        file.name: found.disturbed
        for file, found in report.judged
        if found.disturbed and (budget.is_late(found) or any(file is each for each in chosen))
    }


def _speed(row: Row) -> tuple[float, int]:
    return row[1].latency.p90_ms, row[0].size_bytes


def _beside(row: Row, chosen: Row, report: Report) -> Alternative:
    (file, found), top1 = row, chosen[1].top1
    paired = paired_difference(chosen, row)
    interval = (
        unpaired_interval(top1.right, top1.pictures, found.top1.right, found.top1.pictures)
        if paired is None
        else paired.interval
    )
    return Alternative(file, found, found.top1.share - top1.share, interval, paired, _as_fast(row, chosen, report))


def _as_fast(row: Row, other: Row, report: Report) -> bool:
    """Say whether two files cannot be told apart in time: their rounds and the noise floor say so."""
    return _verdict(row, other, report) == "no difference"


def _verdict(row: Row, other: Row, report: Report) -> Optional[str]:
    """Return `faster`, `slower` or `no difference`, by the rounds of both; None where there are none."""
    time = None if report.noise_floor is None else time_between(row[1], other[1], report.settings.seed)
    return None if time is None else judge(time, report.noise_floor)


def _line(file: FileResult, found: Measurement) -> str:
    return f"{file.name}: top-1 {found.top1.describe()}, {_cost(file, found)}"


def _cost(file: FileResult, found: Measurement) -> str:
    return f"p90 {ms_text(found.latency.p90_ms)} ms, {size_text(file.size_bytes)}"


def _record(file: FileResult, found: Measurement) -> dict[str, Any]:
    return {
        "name": file.name,
        "path": file.path,
        "sha256": file.sha256,
        "size_bytes": file.size_bytes,
        "p90_ms": found.latency.p90_ms,
        "pictures": found.top1.pictures,
        "right": found.top1.right,
        "top1_share": found.top1.share,
        "top1_low_share": found.top1.interval[0],
        "top1_high_share": found.top1.interval[1],
        "warnings": list(file.warnings),
    }
