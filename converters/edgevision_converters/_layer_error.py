"""Where a quantized TFLite file loses precision: the error of each layer against the float model."""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import quiet_native

from ._tflite_flatbuffer import pack, unpack
from ._tflite_match import match_layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from ._source import Source

__all__ = [
    "IDEAL_RMS_OVER_SCALE",
    "SUSPECT_RMS_OVER_SCALE",
    "LayerError",
    "LayerErrors",
    "layer_errors",
    "worst_layers",
]

#: What rounding to the nearest step costs where values are spread evenly: the standard deviation of one step.
IDEAL_RMS_OVER_SCALE = 1 / math.sqrt(12)
#: Above it TensorFlow Lite's guide to its Quantization Debugger suspects a layer
#: (https://ai.google.dev/edge/litert/models/quantization_debugger, step 3).
SUSPECT_RMS_OVER_SCALE = 0.7
#: A first layer into whose weights one of the two files has folded the normalization reads other numbers there. Where
#: its outputs agree so well, it is the same layer.
_PLAIN_DB = 20


@dataclass(frozen=True)
class LayerError:
    """What quantization does to the output of one layer.

    The layer's own error is what the quantized layer gives against what the float layer gives for the same, quantized
    inputs: the rounding of its weights and of its output, and values outside of its range. The total error is against
    the float model that was never quantized, so that it holds what the layers before have lost.

    Attributes:
        layer: name of the tensor in the float model, which is that of the Keras layer where that is known.
        operator: that computes it, such as `CONV_2D`.
        bits: of the output; None where this layer computes in float.
        scale: step of the output; None where this layer computes in float.
        snr_db: own signal-to-noise ratio, in decibels; infinite without any error, -infinite where the float layer
            gives nothing but 0 and the quantized one something else.
        clipped: share of values that the float layer gives outside of the range that the quantized one has, 0 to 1.
        rms_over_scale: root of the mean squared own error, in steps; `IDEAL_RMS_OVER_SCALE` is ideal. None without.
        total_snr_db: the same of the total error.
    """

    layer: str
    operator: str
    bits: int | None
    scale: float | None
    snr_db: float
    rms_over_scale: float | None
    clipped: float
    total_snr_db: float

    @property
    def suspect(self) -> bool:
        """Whether its own error is far above that of rounding, see `SUSPECT_RMS_OVER_SCALE`.

        The rule is for 8 bits. Where 16-bit steps hide behind the rounding of 8-bit weights, every layer is far above.
        """
        return self.bits == 8 and self.rms_over_scale is not None and self.rms_over_scale > SUSPECT_RMS_OVER_SCALE

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types.

        A ratio is null where there is no error, which `exact` and `total_exact` say, and where there is nothing but
        error.
        """
        return {
            "layer": self.layer,
            "operator": self.operator,
            "bits": self.bits,
            "scale": self.scale,
            "exact": self.snr_db == math.inf,
            "snr_db": self.snr_db if math.isfinite(self.snr_db) else None,
            "rms_over_scale": self.rms_over_scale,
            "clipped_share": self.clipped,
            "suspect": self.suspect,
            "total_exact": self.total_snr_db == math.inf,
            "total_snr_db": self.total_snr_db if math.isfinite(self.total_snr_db) else None,
        }


@dataclass(frozen=True)
class LayerErrors:
    """What was found of one file.

    Attributes:
        layers: in the order in which they run.
        unmatched: layers of the file, by the names of their tensors, for which the float model has none of the same
            operator, options and shapes in the same place, so that nothing can be said of them.
    """

    layers: tuple[LayerError, ...]
    unmatched: tuple[str, ...]


def worst_layers(errors: Sequence[LayerError], count: int = 5) -> list[LayerError]:
    """Return the layers with the lowest own signal-to-noise ratio, the worst first; those without error are no part."""
    return sorted((each for each in errors if each.snr_db < math.inf), key=lambda each: each.snr_db)[:count]


def layer_errors(quantized: bytes, reference: Source | bytes, pixels_nhwc: npt.NDArray[np.uint8]) -> LayerErrors:
    """Measure the quantization error of every layer that both files have, in the same place of the graph.

    Both run in LiteRT's own kernels, without XNNPACK, which hides what lies between its operators. Every layer of the
    float model also runs on the inputs that the quantized file gives it. So a picture costs three runs.

    Args:
        quantized: model part of a `.tflite` file that edgevision wrote.
        reference: what it was made from, or the model part of the `float32` or `float16` file of the same network.
        pixels_nhwc: uint8, `(n, height, width, 3)`; a few dozen pictures.
    """
    if not isinstance(reference, bytes):
        with quiet_native(keep=lambda line: False):
            reference = reference.float_tflite("bytes")
    parsed, parsed_low = unpack(reference), unpack(quantized)
    pairs, unmatched = match_layers(parsed, parsed_low)
    if len({_input(each) for each in (parsed, parsed_low)}) > 1:  # a file of somebody else that takes other numbers
        pairs, unmatched = [], sorted({pair.low for pair in pairs} | set(unmatched))
    names, names_low = (
        [(tensor.name or b"").decode(errors="replace") for tensor in each.subgraphs[0].tensors]
        for each in (parsed, parsed_low)
    )
    if not pairs:
        return LayerErrors((), tuple(names_low[index] for index in unmatched))
    starts = {start for pair in pairs for start in pair.starts}
    shared = [pair.high for pair in pairs]
    steps = _Watched(quantized, [*(pair.low for pair in pairs), *(low for _, low in starts)])
    float_model = _Watched(reference, [*shared, *(high for high, _ in starts)])
    fed = _Watched(_fed(parsed, shared), shared)
    grids = _grids(parsed_low)
    own, total = ({pair.high: _Sums() for pair in pairs} for _ in range(2))
    differing: set[tuple[int, int]] = set()
    with ThreadPoolExecutor(1) as pool:
        for pixels in pixels_nhwc:
            beside = pool.submit(float_model.run, [pixels[np.newaxis]])
            low = steps.run([pixels[np.newaxis]])
            alone = fed.run([pixels[np.newaxis], *(low[pair.low] for pair in pairs)])
            high = beside.result()
            for pair in pairs:
                own[pair.high].add(alone[pair.high], low[pair.low], grids.get(pair.low))
                total[pair.high].add(high[pair.high], low[pair.low])
            differing |= {start for start in starts if not _agree(high[start[0]], low[start[1]], grids.get(start[1]))}
    measured = [
        pair
        for pair in pairs
        if pair.known and (not differing & set(pair.starts) or own[pair.high].snr_db >= _PLAIN_DB)
    ]
    left = {pair.low for pair in pairs} - {pair.low for pair in measured} | set(unmatched)
    return LayerErrors(
        tuple(
            LayerError(
                layer=names[pair.high],
                operator=pair.operator,
                bits=grids[pair.low].bits if pair.low in grids else None,
                scale=grids[pair.low].step if pair.low in grids else None,
                snr_db=own[pair.high].snr_db,
                rms_over_scale=own[pair.high].rms / grids[pair.low].step if pair.low in grids else None,
                clipped=own[pair.high].clipped,
                total_snr_db=total[pair.high].snr_db,
            )
            for pair in measured
        ),
        tuple(names_low[index] for index in sorted(left)),
    )


@dataclass(frozen=True)
class _Grid:
    """The values that a quantized tensor can have."""

    bits: int
    step: float
    low: float
    high: float

    def misses(self, values: npt.NDArray[np.float64]) -> int:
        """Count values that lie more than a step outside; 16-bit scores end one step before 1."""
        return int(((values < self.low - self.step) | (values > self.high + self.step)).sum())


class _Sums:
    """Energy of a signal and of the error in it."""

    def __init__(self) -> None:
        self._signal = self._error = 0.0
        self._count = self._missed = 0

    def add(self, true: npt.NDArray[np.float64], got: npt.NDArray[np.float64], grid: _Grid | None = None) -> None:
        self._signal += float((true * true).sum())
        self._error += float(((got - true) ** 2).sum())
        self._count += true.size
        self._missed += grid.misses(true) if grid is not None else 0

    @property
    def clipped(self) -> float:
        return self._missed / self._count

    @property
    def rms(self) -> float:
        return math.sqrt(self._error / self._count)

    @property
    def snr_db(self) -> float:
        if not self._error:
            return math.inf
        return 10 * math.log10(self._signal / self._error) if self._signal else -math.inf


class _Watched:
    """An interpreter that keeps what its operators give, dequantized."""

    def __init__(self, model: bytes, watched: Sequence[int]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        with quiet_native(keep=lambda line: False):
            self._interpreter: Any = Interpreter(
                model_content=model,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        self._inputs = [each["index"] for each in self._interpreter.get_input_details()]
        details = {each["index"]: each for each in self._interpreter.get_tensor_details()}
        self._watched = {index: details[index] for index in watched}

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> dict[int, npt.NDArray[np.float64]]:
        """Run on the pixels and on what else the model takes, in its order; return tensor → values."""
        for index, value in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, value if value.dtype == np.uint8 else value.astype(np.float32))
        self._interpreter.invoke()
        return {index: self._read(each) for index, each in self._watched.items()}

    def _read(self, details: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        value = self._interpreter.get_tensor(details["index"]).astype(np.float64)
        scale, zero_point = details["quantization"]
        return (value - zero_point) * float(scale) if scale else value


def _input(parsed: Any) -> tuple[int, ...]:
    graph = parsed.subgraphs[0]
    tensor = graph.tensors[graph.inputs[0]]
    return (tensor.type, *map(int, tensor.shape))


def _agree(true: npt.NDArray[np.float64], got: npt.NDArray[np.float64], grid: _Grid | None) -> bool:
    """Say whether what reaches the first layers of both files is the same picture, up to a step."""
    allowed = grid.step if grid is not None else 1e-4 * np.abs(true).max()
    return true.shape == got.shape and bool(np.abs(true - got).max() <= allowed)


def _grids(quantized: Any) -> dict[int, _Grid]:
    """Return the grid of every quantized tensor that has one step."""
    from ai_edge_litert import schema_py_generated as schema

    limits = {schema.TensorType.INT8: (-128, 127), schema.TensorType.UINT8: (0, 255)}
    limits[schema.TensorType.INT16] = (-32768, 32767)
    found: dict[int, _Grid] = {}
    for index, tensor in enumerate(quantized.subgraphs[0].tensors):
        quantization = tensor.quantization
        if tensor.type not in limits or quantization is None or quantization.scale is None:
            continue
        if len(quantization.scale) == 1:
            bits = 16 if tensor.type == schema.TensorType.INT16 else 8
            low, high = limits[tensor.type]
            step, zero = float(quantization.scale[0]), int(quantization.zeroPoint[0])
            found[index] = _Grid(bits, step, step * (low - zero), step * (high - zero))
    return found


def _fed(parsed: Any, shared: Sequence[int]) -> bytes:
    """Return the float model with every shared activation given from outside to the operators that read it."""
    parsed = copy.deepcopy(parsed)
    graph = parsed.subgraphs[0]
    given: dict[int, int] = {}
    for index in shared:
        tensor = copy.deepcopy(graph.tensors[index])
        tensor.name = f"{index}/given".encode()
        given[index] = len(graph.tensors)
        graph.tensors.append(tensor)
    for operator in graph.operators:
        operator.inputs = [given.get(int(index), int(index)) for index in operator.inputs]
    graph.inputs = [*map(int, graph.inputs), *given.values()]
    # All of them, so that no runtime takes an operator for unused.
    graph.outputs = list(given)
    return pack(parsed)
