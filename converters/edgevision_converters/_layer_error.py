"""Where a quantized TFLite file loses precision: the error of each layer against the float model."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError, quiet_native

from ._tflite_edit import operator_name
from ._tflite_flatbuffer import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from ._source import Source

__all__ = ["IDEAL_RMS_OVER_SCALE", "SUSPECT_RMS_OVER_SCALE", "LayerError", "layer_errors", "worst_layers"]

#: What rounding to the nearest step costs where values are spread evenly: the standard deviation of one step.
IDEAL_RMS_OVER_SCALE = 1 / math.sqrt(12)
#: Above it TensorFlow Lite's guide to its Quantization Debugger suspects a layer
#: (https://ai.google.dev/edge/litert/models/quantization_debugger, step 3).
SUSPECT_RMS_OVER_SCALE = 0.7


@dataclass(frozen=True)
class LayerError:
    """What quantization does to the output of one layer.

    The layer's own error is what the quantized layer gives against what the float layer gives for the same, quantized
    inputs: the rounding of its weights and of its output, and values outside of its range. The total error is against
    the float model that was never quantized, so that it holds what the layers before have lost.

    Attributes:
        layer: the tensor's name, which is that of the Keras layer.
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


def worst_layers(errors: Sequence[LayerError], count: int = 5) -> list[LayerError]:
    """Return the layers with the lowest own signal-to-noise ratio, the worst first; those without error are no part."""
    return sorted((each for each in errors if each.snr_db < math.inf), key=lambda each: each.snr_db)[:count]


def layer_errors(quantized: bytes, reference: Source | bytes, pixels_nhwc: npt.NDArray[np.uint8]) -> list[LayerError]:
    """Measure the quantization error of every layer that both files have under the same name.

    Both run in LiteRT's own kernels, without XNNPACK, which hides what lies between its operators. Every layer of the
    float model also runs on the inputs that the quantized file gives it. So a picture costs three runs.

    Args:
        quantized: model part of a `.tflite` file that edgevision wrote.
        reference: what it was made from, or the model part of the `float32` or `float16` file of the same network.
        pixels_nhwc: uint8, `(n, height, width, 3)`; a few dozen pictures.

    Returns:
        One record a layer, in the order in which they run.

    Raises:
        FileError: the files have no layers in common.
    """
    if not isinstance(reference, bytes):
        with quiet_native(keep=lambda line: False):
            reference = reference.float_tflite("bytes")
    parsed = unpack(reference)
    shared = _shared(parsed, unpack(quantized))
    if len(shared) < 2:
        raise FileError(
            "the quantized file and the float one have no layers of the same names; compare files of one network that "
            "edgevision wrote"
        )
    steps, float_model = _Watched(quantized, shared), _Watched(reference, shared)
    fed = _Watched(_fed(parsed, shared), [*shared, *map(_input_of, shared)])
    grids = _grids(unpack(quantized))
    own, total = ({name: _Sums() for name in shared} for _ in range(2))
    for pixels in pixels_nhwc:
        low = steps.run({"pixels": pixels[np.newaxis]})
        high = float_model.run({"pixels": pixels[np.newaxis]})
        alone = fed.run({"pixels": pixels[np.newaxis], **{_input_of(name): low[name] for name in shared}})
        for name in shared:
            own[name].add(alone[name], low[name], grids.get(name))
            total[name].add(high[name], low[name])
    return [
        LayerError(
            layer=name,
            operator=operator,
            bits=grids[name].bits if name in grids else None,
            scale=grids[name].step if name in grids else None,
            snr_db=own[name].snr_db,
            rms_over_scale=own[name].rms / grids[name].step if name in grids else None,
            clipped=own[name].clipped,
            total_snr_db=total[name].snr_db,
        )
        for name, operator in shared.items()
    ]


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

    def __init__(self, model: bytes, names: Sequence[str] | Mapping[str, Any]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        with quiet_native(keep=lambda line: False):
            self._interpreter: Any = Interpreter(
                model_content=model,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        self._inputs = {each["name"]: each["index"] for each in self._interpreter.get_input_details()}
        self._watched = {
            each["name"]: each for each in self._interpreter.get_tensor_details() if each["name"] in set(names)
        }

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float64]]:
        for name, index in self._inputs.items():
            value = inputs[name]
            self._interpreter.set_tensor(index, value if name == "pixels" else value.astype(np.float32))
        self._interpreter.invoke()
        return {name: self._read(each) for name, each in self._watched.items()}

    def _read(self, details: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        value = self._interpreter.get_tensor(details["index"]).astype(np.float64)
        scale, zero_point = details["quantization"]
        return (value - zero_point) * float(scale) if scale else value


def _activations(parsed: Any) -> dict[str, tuple[Any, str]]:
    """Return what operators give from what is not constant: name → tensor and operator."""
    graph = parsed.subgraphs[0]
    known = set(map(int, graph.inputs))
    found: dict[str, tuple[Any, str]] = {}
    for operator in graph.operators:
        if not known & set(map(int, operator.inputs)):
            continue
        known.update(map(int, operator.outputs))
        for index in operator.outputs:
            tensor = graph.tensors[index]
            found[(tensor.name or b"").decode()] = tensor, operator_name(parsed, operator)
    return found


def _shared(reference: Any, quantized: Any) -> dict[str, str]:
    """Return the names of activations that both have in the same shape, each with the float model's operator."""
    theirs = _activations(quantized)
    return {
        name: operator
        for name, (tensor, operator) in _activations(reference).items()
        if name in theirs and list(theirs[name][0].shape) == list(tensor.shape)
    }


def _grids(quantized: Any) -> dict[str, _Grid]:
    """Return the grid of every quantized activation; of one that a DEQUANTIZE gives, the grid of what it reads."""
    from ai_edge_litert import schema_py_generated as schema

    limits = {schema.TensorType.INT8: (-128, 127), schema.TensorType.UINT8: (0, 255)}
    limits[schema.TensorType.INT16] = (-32768, 32767)
    activations = _activations(quantized)
    own: dict[str, _Grid] = {}
    for name, (tensor, _) in activations.items():
        if tensor.type in limits and tensor.quantization is not None and tensor.quantization.scale is not None:
            bits = 16 if tensor.type == schema.TensorType.INT16 else 8
            low, high = limits[tensor.type]
            step, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
            own[name] = _Grid(bits, step, step * (low - zero), step * (high - zero))
    tensors = quantized.subgraphs[0].tensors
    read = {
        tensors[operator.outputs[0]].name.decode(): tensors[operator.inputs[0]].name.decode()
        for operator in quantized.subgraphs[0].operators
    }
    dequantized = {name for name, (_, operator) in activations.items() if operator == "DEQUANTIZE"}
    return own | {name: own[read[name]] for name in dequantized if read[name] in own}


def _input_of(name: str) -> str:
    return f"{name}/given"


def _fed(parsed: Any, shared: Mapping[str, str]) -> bytes:
    """Return the float model with every shared activation given from outside to the operators that read it."""
    parsed = copy.deepcopy(parsed)
    graph = parsed.subgraphs[0]
    given: dict[int, int] = {}
    for index in range(len(graph.tensors)):
        name = (graph.tensors[index].name or b"").decode()
        if name in shared:
            tensor = copy.deepcopy(graph.tensors[index])
            tensor.name = _input_of(name).encode()
            given[index] = len(graph.tensors)
            graph.tensors.append(tensor)
    for operator in graph.operators:
        operator.inputs = [given.get(int(index), int(index)) for index in operator.inputs]
    graph.inputs = [*map(int, graph.inputs), *given.values()]
    # All of them, so that no runtime takes an operator for unused.
    graph.outputs = list(given)
    return pack(parsed)
