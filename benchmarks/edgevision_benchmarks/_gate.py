"""Gates: figures that every file must reach, such as `top1>=0.9`."""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from edgevision_device import UsageError, require_known

from ._measurement import Measurement
from ._report import FileResult, Report

__all__ = ["NAMES", "Gate", "Verdict", "judge", "parse_gate"]

#: What was measured of a file. The unit stands at the end of the name, 1 kB is 1,000 bytes; without one it is a share.
_FIGURES: dict[str, Callable[[Measurement], Optional[float]]] = {
    "top1": lambda found: found.top1.share,
    "top1_low": lambda found: found.top1.interval[0],
    "top5": lambda found: None if found.top5 is None else found.top5.share,
    "macro_f1": lambda found: found.macro_f1,
    "worst_recall": lambda found: min(each.recall for each in found.per_label.values()),
    "p50_ms": lambda found: found.latency.p50_ms,
    "p90_ms": lambda found: found.latency.p90_ms,
    "p99_ms": lambda found: found.latency.p99_ms,
    "first_ms": lambda found: found.first_ms,
    "open_ms": lambda found: found.open_ms,
    "preprocess_ms": lambda found: found.preprocess.p50_ms,
    "memory_mb": lambda found: _per(1e6, found.memory_peak_bytes),
    "file_memory_mb": lambda found: _per(1e6, found.memory_file_bytes),
}

#: Those that take labelled pictures.
_ACCURACY = ("top1", "top1_low", "top5", "macro_f1", "worst_recall")

#: The one figure that is the file's own, see `FileResult`.
_SIZE = "size_kb"

#: What a gate can ask for.
NAMES = (*_FIGURES, _SIZE)

_UNKNOWN = {"top5": "the file has no more than five labels"}

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True)
class Gate:
    """A figure, how it must compare, and with what.

    >>> str(parse_gate("p90_ms <= 30"))
    'p90_ms<=30'
    """

    name: str
    comparison: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.limit:.10g}"


@dataclass(frozen=True)
class Verdict:
    """Whether one file passes one gate.

    Attributes:
        file: its name in the report.
        value: of the figure; None where it was not measured.
        reason: why it was not.
        disturbed: where a time decided, what makes it doubtful, see `Measurement`.
    """

    gate: Gate
    file: str
    value: Optional[float]
    reason: Optional[str] = None
    disturbed: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """What was not measured has not passed."""
        return self.value is not None and _HOLDS[self.gate.comparison](self.value, self.gate.limit)

    def describe(self) -> str:
        """Return one line."""
        if self.value is None:
            return f"{self.file}: {self.gate}: not measured: {self.reason}"
        return f"{self.file}: {self.gate}: {'passed' if self.passed else 'failed'} with {self.value:.6g}"

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        record = {"file": self.file, "gate": str(self.gate), "limit": self.gate.limit, "value": self.value}
        return {**record, "reason": self.reason, "passed": self.passed, "disturbed": list(self.disturbed)}


def parse_gate(text: str) -> Gate:
    """Read `NAME>=LIMIT`, `NAME<=LIMIT`, `NAME>LIMIT` or `NAME<LIMIT`.

    Raises:
        UsageError: another form, an unknown name, or a limit that the figure cannot reach or cannot miss.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise UsageError(
            f"cannot read the gate {text!r}; write 'top1>=0.9' or 'p90_ms<=30', in quotes, because the shell takes "
            "< and > for itself"
        )
    name = require_known("figure", form[1], NAMES)
    gate = Gate(name, form[2], float(form[3]))
    if gate.limit < 0:
        raise UsageError(f"no {name} is below 0, got the gate {text!r}")
    most = sys.float_info.max if name.endswith(("_ms", "_kb", "_mb")) else 1.0
    if gate.limit > 1 and most == 1:
        raise UsageError(f"{name} is a share between 0 and 1, got the gate {text!r}; 90 % is 0.9")
    least_passes, most_passes = (_HOLDS[gate.comparison](value, gate.limit) for value in (0.0, most))
    if least_passes == most_passes:
        raise UsageError(f"no file can {'fail' if least_passes else 'pass'} the gate {text!r}; give another limit")
    return gate


def judge(report: Report, gates: Sequence[Gate]) -> list[Verdict]:
    """Hold every file against every gate, in the order of the files."""
    return [_judge(file, gate, report.no_accuracy) for file in report.files for gate in gates]


def _judge(file: FileResult, gate: Gate, no_accuracy: str) -> Verdict:
    if file.measured is None:
        return Verdict(gate, file.name, None, file.error or "the report does not say why")
    if gate.name == _SIZE:
        return Verdict(gate, file.name, file.size_bytes / 1000)
    if gate.name in _ACCURACY and not file.measured.judged:
        return Verdict(gate, file.name, None, no_accuracy)
    value = _FIGURES[gate.name](file.measured)
    reason = _UNKNOWN.get(gate.name, "this system does not say") if value is None else None
    return Verdict(gate, file.name, value, reason, file.measured.disturbed if gate.name.endswith("_ms") else ())


def _per(unit: float, size_bytes: Optional[int]) -> Optional[float]:
    return None if size_bytes is None else size_bytes / unit
