"""Whether a second run reproduces the first: same files, same pictures, same answers, times within a tolerance."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Optional

from edgevision_device import UsageError

from ._measurement import Measurement
from ._report import RESUMED, FileResult, Report
from ._statistics import unpaired_interval
from ._text import ms_text, points_text

__all__ = ["TOLERANCE", "Comparison", "FileComparison", "compare_reports"]

#: By how much a time may differ, as a share: 0.1 lets 1 ms become 1.1 ms, or 1.1 ms become 1 ms.
TOLERANCE = 0.1


@dataclass(frozen=True)
class FileComparison:
    """One file of the first report, and what the second says of it.

    Attributes:
        name, sha256: as the first report says.
        right_a, right_b: pictures right; None where it was not measured.
        p50_ratio, p90_ratio: the second run's time over the first's; None unless it was measured in both.
        problems: why it does not reproduce, one line each.
        notes: what differs and may.
    """

    name: str
    sha256: str
    right_a: Optional[int] = None
    right_b: Optional[int] = None
    p50_ratio: Optional[float] = None
    p90_ratio: Optional[float] = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line."""
        figures: list[str] = []
        if self.right_a is not None and self.right_b is not None:
            figures.append(f"{self.right_a} right, then {self.right_b}")
        if self.p50_ratio is not None and self.p90_ratio is not None:
            times = "\N{MULTIPLICATION SIGN}"
            figures.append(f"p50 {times} {self.p50_ratio:.3f}, p90 {times} {self.p90_ratio:.3f}")
        verdict = "does not reproduce" if self.problems else "reproduced" if figures else "nothing to reproduce"
        return f"{self.name}: {'; '.join([verdict, *figures, *self.problems, *self.notes])}"


@dataclass(frozen=True)
class Comparison:
    """What `compare_reports` found.

    Attributes:
        tolerance: of times, as a share.
        problems: why the whole does not reproduce, apart from single files.
        differences: what the runs were made with and in, where it differs: name, first, second.
        files: those of the first report, in its order.
        notes: what is no problem, and must be known to read it.
    """

    tolerance: float
    problems: tuple[str, ...]
    differences: tuple[tuple[str, Any, Any], ...]
    files: tuple[FileComparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def reproduced(self) -> bool:
        """Whether there is no problem at all."""
        return not self.problems and not any(file.problems for file in self.files)

    def lines(self) -> list[str]:
        """Return it for people; the verdict last."""
        told = [file.describe() for file in self.files]
        told += [f"differs: {name}: {_shown(first)}, then {_shown(second)}" for name, first, second in self.differences]
        told += [*self.notes, *self.problems]
        verdict = "reproduced" if self.reproduced else "not reproduced"
        return [*told, f"{verdict}, at a tolerance of {100 * self.tolerance:g} % for times"]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "reproduced": self.reproduced,
            "tolerance_share": self.tolerance,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "differences": [dict(zip(("name", "first", "second"), each)) for each in self.differences],
            "files": [
                {
                    **dataclasses.asdict(file),
                    "reproduced": not file.problems,
                    "problems": list(file.problems),
                    "notes": list(file.notes),
                }
                for file in self.files
            ],
        }


def compare_reports(first: Report, second: Report, tolerance: float = TOLERANCE) -> Comparison:
    """Say whether the second run reproduces the first.

    Files are matched by SHA-256. On the same pictures, by their hash, a runtime and an OpenCV of the same versions on
    the same architecture must answer the same to every picture; another one may differ by as much as chance. A time
    may differ by the tolerance in either direction, and by more where the intervals of both runs and their noise floors
    let it. What only the second report holds is no matter.

    Args:
        first, second: of `benchmark`, or read back.
        tolerance: of p50 and p90, as a share, more than 0.

    Raises:
        UsageError: a tolerance that is none.
    """
    if not 0 < tolerance < 100:
        raise UsageError(f"the tolerance must be more than 0 % and less than 10000 %, got {100 * tolerance:g} %")
    problems: list[str] = []
    same_pictures = first.pictures.sha256 == second.pictures.sha256
    if not same_pictures:
        hashes = " and ".join(f"{each.pictures.sha256[:12]}…" for each in (first, second))
        problems.append(f"not the same pictures, by their SHA-256: {hashes}; what they got right is not compared")
    there: dict[tuple[str, int], FileResult] = dict(_keyed(second))
    files = tuple(_file(file, there.get(key), first, second, tolerance) for key, file in _keyed(first))
    if not any(file.p50_ratio is not None for file in files):
        problems.append("no file was measured in both")
    notes = [
        f"the {which} run was {RESUMED}" for which, report in (("first", first), ("second", second)) if report.resumed
    ]
    return Comparison(tolerance, tuple(problems), _differences(first, second), files, tuple(notes))


@dataclass(frozen=True)
class _Times:
    """One percentile of two runs, and the ends of the second over the first, at most and at least; None: not known."""

    name: str
    first_ms: float
    second_ms: float
    ends: Optional[tuple[float, float]]

    @property
    def ratio(self) -> float:
        return self.second_ms / self.first_ms

    def near(self, tolerance: float) -> bool:
        """Say whether the ratio is within the tolerance."""
        # Times come from JSON with all their digits: what is exactly at the limit must not fall to rounding.
        return 1 / (1 + tolerance) - 1e-9 <= self.ratio <= 1 + tolerance + 1e-9

    def within(self, tolerance: float) -> bool:
        """Say whether the ratio is within the tolerance, or the intervals let it be."""
        low, high = self.ends or (self.ratio, self.ratio)
        return self.near(tolerance) or (low <= 1 + tolerance and high >= 1 / (1 + tolerance))

    def describe(self) -> str:
        ends = "" if self.ends is None else f" ({self.ends[0]:.2f} to {self.ends[1]:.2f} times as long)"
        return f"{self.name} {ms_text(self.first_ms)} ms, then {ms_text(self.second_ms)} ms{ends}"


def _times(name: str, first: Measurement, second: Measurement, noise: float) -> _Times:
    key = f"{name}_ms"
    ends = None
    if first.latency_intervals is not None and second.latency_intervals is not None:
        (low_a, high_a), (low_b, high_b) = first.latency_intervals[key], second.latency_intervals[key]
        # Rounds of one run are more alike than two runs are: what the noise floors reach is added.
        ends = (low_b / high_a / noise, high_b / low_a * noise)
    return _Times(name, getattr(first.latency, key), getattr(second.latency, key), ends)


def _keyed(report: Report) -> list[tuple[tuple[str, int], FileResult]]:
    """Return the files by SHA-256 and, of copies, number."""
    seen: Counter[str] = Counter()
    keyed: list[tuple[tuple[str, int], FileResult]] = []
    for file in report.files:
        keyed.append(((file.sha256, seen[file.sha256]), file))
        seen[file.sha256] += 1
    return keyed


def _file(a: FileResult, b: Optional[FileResult], first: Report, second: Report, tolerance: float) -> FileComparison:
    found = FileComparison(a.name, a.sha256, _right(a.measured))
    if b is None:
        other = next((file for file in second.files if file.name == a.name), None)
        problem = "the second report does not hold it"
        if other is not None:
            problem += f"; {a.name} is another file there: SHA-256 {other.sha256[:12]}… instead of {a.sha256[:12]}…"
        return dataclasses.replace(found, problems=(problem,))
    if a.measured is None:
        again = "either" if b.measured is None else "the first run"
        return dataclasses.replace(found, notes=(f"not measured in {again}: {a.error}",))
    if b.measured is None:
        return dataclasses.replace(found, problems=(f"not measured in the second run: {b.error}",))
    problems, notes = (
        _accuracy(a.measured, b.measured, _exact(a.measured, b.measured, first, second))
        if first.pictures.sha256 == second.pictures.sha256
        else ([], [])
    )
    noise = math.prod(each.noise_floor.span for each in (first, second) if each.noise_floor is not None)
    times = [_times(name, a.measured, b.measured, noise) for name in ("p50", "p90")]
    for time in times:
        if not time.within(tolerance):
            problems.append(time.describe())
        elif not time.near(tolerance):
            notes.append(f"{time.describe()}: beyond the tolerance, but the intervals are not")
    for name in ("runtime", "runtime_version", "threads", "opencv"):
        before, after = getattr(a.measured, name), getattr(b.measured, name)
        if before != after:
            notes.append(f"{name.replace('_', ' ')} {before}, then {after}")
    for which, measured in (("first", a.measured), ("second", b.measured)):
        notes += [f"the {which} run was disturbed: {line}" for line in measured.disturbed]
    return dataclasses.replace(
        found,
        right_b=_right(b.measured),
        p50_ratio=times[0].ratio,
        p90_ratio=times[1].ratio,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _right(found: Optional[Measurement]) -> Optional[int]:
    return found.top1.right if found is not None and found.judged else None


def _exact(a: Measurement, b: Measurement, first: Report, second: Report) -> bool:
    """Say whether the same arithmetic ran: then every answer must be the same."""
    versions = [(each.runtime, each.runtime_version, each.opencv) for each in (a, b)]
    machines = [(each.conditions.architecture, each.conditions.userland_bits) for each in (first, second)]
    return versions[0] == versions[1] and machines[0] == machines[1]


def _accuracy(a: Measurement, b: Measurement, exact: bool) -> tuple[list[str], list[str]]:
    """Return problems and notes."""
    if a.confusion == b.confusion:
        return [], []
    if exact:
        what = "as many right, but other answers" if a.top1 == b.top1 else "other answers"
        return [f"{what} to the same pictures by the same runtime"], []
    low, high = unpaired_interval(a.top1.right, a.top1.pictures, b.top1.right, b.top1.pictures)
    line = f"{points_text(b.top1.share - a.top1.share)} points ({points_text(low)} to {points_text(high)})"
    if low <= 0 <= high:
        return [], [f"{line} by another runtime, OpenCV or processor: not distinguishable"]
    return [f"{line} by another runtime, OpenCV or processor"], []


def _differences(first: Report, second: Report) -> tuple[tuple[str, Any, Any], ...]:
    pairs: list[tuple[str, Any, Any]] = [("edgevision", first.edgevision, second.edgevision)]
    for a, b in ((first.conditions, second.conditions), (first.settings, second.settings)):
        pairs += [(each.name, getattr(a, each.name), getattr(b, each.name)) for each in dataclasses.fields(a)]
    pairs.append(("pictures that cannot be decoded", len(first.pictures.skipped), len(second.pictures.skipped)))
    return tuple((name.replace("_", " "), a, b) for name, a, b in pairs if a != b)


def _shown(value: object) -> str:
    return "not known" if value is None else str(value)
