"""Which operators of a file take most of a run: by ONNX Runtime's profiler, or by cutting a `.tflite` graph short.

No Python package of LiteRT or tflite-runtime gives access to the interpreter's profiler. So the graph is run up to each
of its operators, and the time that one adds is its own: in the same interpreter, caches and threads as in a whole run.
"""

from __future__ import annotations

import json
import struct
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import numpy.typing as npt

from edgevision_device import load_runtime, onnx_session_options, quiet_native

from ._cost import delegated_places, read_operators
from ._speed import LEAST_ROUNDS
from ._text import ms_text, printable

__all__ = [
    "OperatorTime",
    "OperatorTimes",
    "cut_graph",
    "estimate",
    "not_measured",
    "time_onnx_operators",
    "time_tflite_operators",
]

Pixels = npt.NDArray[Any]
Clock = Callable[[], int]

#: Rounds: at most, and no further one after so many seconds unless there are fewer than `LEAST_ROUNDS`.
_ROUNDS = 10
_LIMIT_S = 60.0
#: Runs in a turn, after those that fill the caches; the shortest counts.
_RUNS = 5
_IDLE_RUNS = 2
#: Named for people.
_TOLD = 8


@dataclass(frozen=True)
class OperatorTime:
    """One operator.

    Attributes:
        name: of its output in a `.tflite`, of the operator in an `.onnx` as ONNX Runtime has fused it.
        kind: such as `CONV_2D`.
        by: `XNNPACK`, or `runtime` for the runtime's own kernels.
        ms, low_ms, high_ms: what it takes of a run, and in the rounds by themselves at least and at most: see
            `estimate`.
    """

    name: str
    kind: str
    by: str
    ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class OperatorTimes:
    """What the operators of a file take.

    Attributes:
        method: `cuts` or `profiler`; None: not measured.
        rounds: in which each was timed.
        operators: in the order in which they run.
        not_measured: why not, or None.
    """

    method: Optional[str]
    rounds: int
    operators: tuple[OperatorTime, ...]
    not_measured: Optional[str] = None

    @property
    def sum_ms(self) -> float:
        """What all of them take."""
        return sum(each.ms for each in self.operators)

    def describe(self, p50_ms: float) -> list[str]:
        """Return lines: how it was measured and what of a run it covers, and the operators that take most."""
        if self.not_measured is not None:
            return [f"time of its operators: not measured: {self.not_measured}"]
        total = self.sum_ms
        lines = [
            f"its {len(self.operators)} operators take {ms_text(total)} ms, the shortest of {self.rounds} rounds: "
            f"{total / p50_ms:.0%} of p50; of that (with the range of single rounds)"
        ]
        # By what they take at least: on a busy machine one that is long by chance would come first.
        for each in sorted(self.operators, key=lambda each: (-each.low_ms, -each.ms))[:_TOLD]:
            lines.append(
                f"{each.ms / total:.1%}: {ms_text(each.ms)} ms ({ms_text(each.low_ms)} to "
                f"{ms_text(each.high_ms)}) {each.kind} {_short(each.name)}, {each.by}"
            )
        return lines

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "method": self.method,
            "rounds": self.rounds,
            "sum_ms": self.sum_ms,
            "operators": [asdict(each) for each in self.operators],
            "not_measured": self.not_measured,
        }


def time_tflite_operators(
    model: bytes, runtime: str, threads: int, pixels: Pixels, clock_ns: Clock = time.perf_counter_ns
) -> OperatorTimes:
    """Time a graph that ends after its first operator, its second, and so on.

    One interpreter at a time: all of them together would need the memory of the file many times over.

    Args:
        model: verified bytes of a `.tflite`.
        runtime: `litert` or `tflite-runtime`.
        threads: for the interpreter.
        pixels: what to run on, in the input's shape and type.
    """
    module: Any = load_runtime(runtime)

    def opened(content: bytes) -> Any:
        with quiet_native():
            interpreter = module.Interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        return interpreter

    def take_turn(content: bytes) -> int:
        run = opened(content).invoke
        for _ in range(_IDLE_RUNS):
            run()
        return _shortest_ns(run, clock_ns)

    try:
        whole = opened(model)
        details = read_operators(whole)
        if details is None:
            return not_measured("this version of the runtime does not tell its operators")
        nodes, taken = delegated_places(details)
        names = {each["index"]: str(each["name"]) for each in whole.get_tensor_details()}
        cuts = [cut_graph(model, count) for count in range(1, len(nodes) + 1)]
        times: list[list[int]] = []
        began = clock_ns()
        while len(times) < _ROUNDS and (len(times) < LEAST_ROUNDS or clock_ns() - began < _LIMIT_S * 1e9):
            # There and back: neighbours are timed close together, and no end of the graph is always the first.
            order = range(len(cuts)) if len(times) % 2 == 0 else reversed(range(len(cuts)))
            found = {place: take_turn(cuts[place]) for place in order}
            times.append([found[place] for place in range(len(cuts))])
    except (ValueError, RuntimeError) as error:
        return not_measured(f"the graph cannot be cut short: {str(error).splitlines()[0]}")
    kinds = [
        (names.get(node.outputs[0], ""), node.name, "XNNPACK" if place in taken else "runtime")
        for place, node in enumerate(nodes)
    ]
    return _collect("cuts", kinds, np.array(times, np.float64) / 1e6, is_running_sum=True)


def time_onnx_operators(model: bytes, threads: int, pixels: Pixels) -> OperatorTimes:
    """Let ONNX Runtime's profiler time its operators, as fused for this machine."""
    onnxruntime: Any = load_runtime("onnxruntime")
    options = onnx_session_options(threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for _ in range(_IDLE_RUNS + _ROUNDS * _RUNS):
            session.run(None, {name: pixels})
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    kernels = [each for each in events if each.get("cat") == "Node" and each["name"].endswith("_kernel_time")]
    found: dict[tuple[str, str], list[float]] = {}
    for each in kernels:
        key = (each["name"][: -len("_kernel_time")], str(each["args"].get("op_name", "")))
        found.setdefault((f"{each['args'].get('node_index', '')}\n{key[0]}", key[1]), []).append(each["dur"] / 1e3)
    counts = {len(times) for times in found.values()}
    if counts != {_IDLE_RUNS + _ROUNDS * _RUNS}:
        return not_measured("the profile does not name each operator once a run")
    runs = np.array(list(found.values()), np.float64)[:, _IDLE_RUNS:]
    rounds = runs.reshape(len(runs), _ROUNDS, _RUNS).min(axis=2).T
    kinds = [(name.partition("\n")[2], kind, "runtime") for name, kind in found]
    return _collect("profiler", kinds, rounds, is_running_sum=False)


def estimate(
    times_ms: npt.NDArray[np.float64], *, is_running_sum: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what each operator takes, and the least and the most that a single round says.

    The shortest time of all rounds: whatever else the machine does can only make a run longer. A difference of two
    medians is off by as much as a small operator takes. The least and the most are no confidence interval: drawing
    rounds anew gives none of a minimum, because it never finds a shorter one.

    Args:
        times_ms: `(rounds, operators)`.
        is_running_sum: whether a column holds the time of all operators up to that one.
    """

    def of(rounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shortest = rounds.min(axis=0)
        if not is_running_sum:
            return shortest
        # More of a graph takes no less: where it was timed shorter, the time of less of it is too long.
        return np.diff(np.minimum.accumulate(shortest[::-1])[::-1], prepend=0.0)

    single = np.array([of(each[np.newaxis]) for each in times_ms])
    return of(times_ms), single.min(axis=0), single.max(axis=0)


def cut_graph(model: bytes, count: int) -> bytes:
    """Return a `.tflite` that ends after its first `count` operators; what they leave unused is its output.

    Only two places change: the length of the list of operators, and which list of outputs counts
    (tensorflow/lite/schema/schema.fbs; flatbuffers.dev, internals). What follows is still in the file, and not run.
    """
    content = bytearray(model)
    subgraph = _follow(content, _follow(content, _field(content, _u32(content, 0), 2)) + 4)
    operators = _follow(content, _field(content, subgraph, 3))
    inputs, outputs = list[int](), list[int]()
    for place in range(count):
        operator = _follow(content, operators + 4 + 4 * place)
        inputs += _numbers(content, operator, 1)
        outputs += _numbers(content, operator, 2)
    ends = _numbers(content, subgraph, 2)
    live = [tensor for tensor in dict.fromkeys(outputs) if tensor not in inputs or tensor in ends]
    struct.pack_into("<I", content, operators, count)
    content += bytes(-len(content) % 4)
    place = _field(content, subgraph, 2)
    struct.pack_into("<I", content, place, len(content) - place)
    return bytes(content) + struct.pack(f"<I{len(live)}i", len(live), *live)


def _collect(
    method: str, kinds: Sequence[tuple[str, str, str]], times_ms: npt.NDArray[np.float64], *, is_running_sum: bool
) -> OperatorTimes:
    found = zip(*(each.tolist() for each in estimate(times_ms, is_running_sum=is_running_sum)))
    operators = tuple(OperatorTime(*kind, *times) for kind, times in zip(kinds, found))
    return OperatorTimes(method, len(times_ms), operators)


def not_measured(why: str) -> OperatorTimes:
    """Return that there are no times, and why."""
    return OperatorTimes(None, 0, (), printable(why))


def _shortest_ns(run: Callable[[], object], clock_ns: Clock) -> int:
    times: list[int] = []
    for _ in range(_RUNS):
        start = clock_ns()
        run()
        times.append(clock_ns() - start)
    return min(times)


def _short(name: str, limit: int = 60) -> str:
    """Return a name that fits a line: of several that were fused the first one, and its end."""
    name = printable(name.split(";")[0])
    return name if len(name) <= limit else f"…{name[1 - limit :]}"


def _u32(content: bytearray, at: int) -> int:
    return struct.unpack_from("<I", content, at)[0]


def _follow(content: bytearray, at: int) -> int:
    """Return where the offset at this place points."""
    return at + _u32(content, at)


def _field(content: bytearray, table: int, number: int) -> int:
    """Return where a field of a table lies; ValueError if it has none."""
    layout = table - struct.unpack_from("<i", content, table)[0]
    at = 4 + 2 * number
    size, offset = struct.unpack_from("<H", content, layout)[0], 0
    if at < size:
        offset = struct.unpack_from("<H", content, layout + at)[0]
    if not offset:
        raise ValueError(f"a table of the file has no field {number}")
    return table + offset


def _numbers(content: bytearray, table: int, number: int) -> Iterable[int]:
    """Return a field that is a list of numbers of tensors."""
    start = _follow(content, _field(content, table, number))
    return struct.unpack_from(f"<{_u32(content, start)}i", content, start + 4)
