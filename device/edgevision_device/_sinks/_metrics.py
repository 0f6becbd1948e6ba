"""What a stream comes to, in Prometheus's text format (version 0.0.4)."""

from __future__ import annotations

import bisect
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional

from .._result import STAGES, StreamResult

__all__ = ["METRICS_TYPE", "Metrics"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Upper ends of the histograms' buckets, in seconds: from a tiny network on a workstation to a stalled camera.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_Sample = tuple[str, Mapping[str, str], float]  # what the name ends in, labels, value


class _Family(NamedTuple):
    name: str
    kind: str
    text: str
    samples: Iterable[_Sample]


class Metrics:
    """Counts results from one thread and is read from another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels: Counter[tuple[str, str]] = Counter()
        self._changes = 0
        self._age = _Histogram()
        self._stages = {stage: _Histogram() for stage in STAGES}
        self._last: Optional[StreamResult] = None
        self._last_utc_s = 0.0

    def add(self, result: StreamResult) -> None:
        """Count one result."""
        with self._lock:
            self._labels[result.frame.source or "", result.label or ""] += 1
            self._changes += result.changed
            self._age.add(result.age_ms / 1e3)
            for stage, took_ms in result.stages_ms.items():
                self._stages[stage].add(took_ms / 1e3)
            self._last, self._last_utc_s = result, time.time()

    def text(self, *, file: Mapping[str, Any], health: Mapping[str, Any], lost: Mapping[str, int], viewers: int) -> str:
        """Return all of it.

        Args:
            file: what runs, for `edgevision_file_info`.
            health: the record of `Health`.
            lost: records lost by each sink.
            viewers: of the web page's pictures.
        """
        with self._lock:
            dropped, still = (self._last.dropped, self._last.still) if self._last else (0, 0)
            score = self._last.score if self._last else math.nan
            families: list[_Family] = [
                _Family(
                    "edgevision_results",
                    "counter",
                    "Frames that got a label; an empty label is unknown.",
                    [("_total", {"source": key[0], "label": key[1]}, n) for key, n in sorted(self._labels.items())],
                ),
                _counter("frames_dropped", "Frames that the sources produced and the loop never saw.", dropped),
                _counter("frames_still", "Frames left out because the picture did not move.", still),
                _counter("label_changes", "How often what is shown changed.", self._changes),
                _Family("edgevision_age_seconds", "histogram", "From capture to label.", list(self._age.samples({}))),
                _Family(
                    "edgevision_stage_seconds",
                    "histogram",
                    "How long each stage took.",
                    [each for stage, times in self._stages.items() for each in times.samples({"stage": stage})],
                ),
                _gauge("score", "Score of the newest label.", score),
                _gauge("last_result_timestamp_seconds", "When the newest label was there.", self._last_utc_s),
            ]
        info = {name: str(value) for name, value in file.items() if name.isidentifier() and value is not None}
        troubles = health["troubles"]
        families += [
            _gauge("ok", "Whether every part works.", health["ok"]),
            _Family(
                "edgevision_trouble",
                "gauge",
                "Whether a part is in trouble; only parts that ever were.",
                [("", {"part": part}, part in troubles) for part in health["times"]],
            ),
            _Family(
                "edgevision_troubles",
                "counter",
                "How often a part got into trouble.",
                [("_total", {"part": part}, times) for part, times in health["times"].items()],
            ),
            _Family(
                "edgevision_sink_lost_records",
                "counter",
                "Records that a sink could not deliver.",
                [("_total", {"sink": sink}, count) for sink, count in lost.items()],
            ),
            _gauge("web_viewers", "Who looks at the web page's pictures.", viewers),
            _Family("edgevision_file_info", "gauge", "The model file that runs.", [("", info, 1)]),
            *_process(),
        ]
        return "".join(_lines(*family) for family in families)


class _Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS_S) + 1)
        self._sum_s = 0.0

    def add(self, time_s: float) -> None:
        self._counts[bisect.bisect_left(_BUCKETS_S, time_s)] += 1
        self._sum_s += time_s

    def samples(self, labels: Mapping[str, str]) -> Iterable[_Sample]:
        total = 0
        for end_s, count in zip((*_BUCKETS_S, math.inf), self._counts):
            total += count
            yield "_bucket", {**labels, "le": "+Inf" if end_s == math.inf else f"{end_s:g}"}, total
        yield "_sum", labels, self._sum_s
        yield "_count", labels, total


def _counter(name: str, text: str, value: float) -> _Family:
    return _Family(f"edgevision_{name}", "counter", text, [("_total", {}, value)])


def _gauge(name: str, text: str, value: float) -> _Family:
    return _Family(f"edgevision_{name}", "gauge", text, [("", {}, value)])


def _process() -> list[_Family]:
    """Return what every Prometheus client says of its process, by the same names."""
    times = os.times()
    cpu_s = times.user + times.system
    found = [_Family("process_cpu_seconds", "counter", "CPU time of this process.", [("_total", {}, cpu_s)])]
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(os.listdir("/proc/self/fd"))
    except OSError:  # no Linux
        return found
    memory = pages * os.sysconf("SC_PAGE_SIZE")
    return [
        *found,
        _Family("process_resident_memory_bytes", "gauge", "Memory that this process holds.", [("", {}, memory)]),
        _Family("process_open_fds", "gauge", "Open file descriptors.", [("", {}, files)]),
    ]


def _lines(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> str:
    # In this version of the format, the names of counters in HELP and TYPE end in _total too.
    named = f"{name}_total" if kind == "counter" else name
    lines = [f"# HELP {named} {text}", f"# TYPE {named} {kind}"]
    for suffix, labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(content)}"' for key, content in labels.items())
        lines.append(f"{name}{suffix}{{{inside}}} {_value(value)}" if inside else f"{name}{suffix} {_value(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    plain = text.encode(errors="replace").decode()  # a file's name may hold surrogates
    return plain.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _value(value: float) -> str:
    return "NaN" if value != value else f"{value:.10g}" if value < 1e9 else repr(float(value))
