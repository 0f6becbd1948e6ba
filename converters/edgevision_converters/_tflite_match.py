"""Which tensors of a quantized TFLite file and of a float one are the same layer's output.

Names do not tell: a file may name tensors after anything, and two of them alike. What counts is the place in the graph,
counted from the scores backwards, with the same operator, options, shapes and constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._tflite_edit import operator_name, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

__all__ = ["Pair", "match_layers"]

#: What quantization adds between operators. A CAST of the input's bytes changes no number either.
_STEPS = ("QUANTIZE", "DEQUANTIZE")
#: Operators with weights → where these stand. A bias may be left out on one side.
_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
#: Operators whose two inputs may come in either order.
_COMMUTATIVE = ("ADD", "MUL", "MAXIMUM", "MINIMUM")
#: Options that say how an operator computes, not what.
_HOW = ("asymmetricQuantizeInputs", "quantizedBiasType", "weightsFormat", "potScaleInt16")
#: Constants are the same up to their own rounding to 8 bits, as a share of the largest.
_CLOSE = 0.02


@dataclass(frozen=True)
class Pair:
    """The output of one layer in both files.

    Attributes:
        high, low: index of the tensor in the float file and in the quantized one.
        operator: that gives it.
        known: each activation that the operator reads is the output of a pair too, or stands in `starts`.
        starts: float and quantized tensor of each activation that comes straight from the quantized file's input.
    """

    high: int
    low: int
    operator: str
    known: bool
    starts: tuple[tuple[int, int], ...]


def match_layers(reference: Any, quantized: Any) -> tuple[list[Pair], list[int]]:
    """Pair the outputs of operators.

    Args:
        reference, quantized: `ModelT` with one input and one output, of which the first graph counts.

    Returns:
        The pairs, in the order in which the float model computes them, and the quantized file's tensors without one.
    """
    high, low = _Graph(reference), _Graph(quantized)
    found = _walk(high, low)
    pairs: list[Pair] = []
    for output, operator in high.made_by.items():
        if output not in found:
            continue
        reads = zip(*_activations(high, operator, low, low.made_by[found[output]]), strict=True)
        outside = [(mine, theirs) for mine, theirs in reads if found.get(mine) != theirs]
        known = all(theirs == low.input for _, theirs in outside)
        pairs.append(Pair(output, found[output], high.name(operator), known, tuple(outside) if known else ()))
    paired = set(found.values())
    left = [index for index, operator in low.made_by.items() if low.name(operator) not in _STEPS]
    return pairs, [index for index in left if index not in paired]


class _Graph:
    """A graph by what gives each activation."""

    def __init__(self, parsed: Any) -> None:
        self.parsed, self._graph = parsed, parsed.subgraphs[0]
        self.tensors = self._graph.tensors
        self.input, self.output = int(self._graph.inputs[0]), int(self._graph.outputs[0])
        #: Activation → operator, in the order of the operators; what is computed from constants alone is none.
        self.made_by: dict[int, Any] = {}
        self._stored: dict[int, int] = {}
        for operator in self._graph.operators:
            if any(index == self.input or index in self.made_by for index in map(int, operator.inputs)):
                self.made_by |= dict.fromkeys(map(int, operator.outputs), operator)
            elif len(operator.inputs):  # float16 weights pass a DEQUANTIZE
                self._stored |= dict.fromkeys(map(int, operator.outputs), int(operator.inputs[0]))

    def name(self, operator: Any) -> str:
        return operator_name(self.parsed, operator)

    def is_activation(self, index: int) -> bool:
        return index == self.input or index in self.made_by

    def source(self, index: int) -> int:
        """Return the tensor before the steps of quantization."""
        while index in self.made_by and self.name(self.made_by[index]) in _STEPS:
            index = int(self.made_by[index].inputs[0])
        return index

    def inputs(self, operator: Any) -> list[int]:
        return [self.source(int(index)) for index in operator.inputs]

    def shape(self, index: int) -> list[int]:
        shape = self.tensors[index].shape
        return [] if shape is None else list(map(int, shape))

    def constant(self, index: int) -> npt.NDArray[Any] | None:
        """Return the real numbers of a constant; None where it cannot be read."""
        from ai_edge_litert import schema_py_generated as schema

        tensor = self.tensors[self._stored.get(index, index)]
        names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
        if self.parsed.buffers[tensor.buffer].data is None or not hasattr(np, names[tensor.type]):
            return None
        numbers = values(self.parsed, tensor, getattr(np, names[tensor.type]))
        quantization = tensor.quantization
        if quantization is None or quantization.scale is None:
            return numbers
        along = [1] * numbers.ndim
        if len(quantization.scale) > 1:
            along[quantization.quantizedDimension] = -1
        scale, zero = (np.reshape(each, along) for each in (quantization.scale, quantization.zeroPoint))
        return (numbers.astype(np.float64) - zero) * scale

    def weights(self, index: int) -> npt.NDArray[Any] | None:
        """Return the weights nearest before an activation, along the first inputs."""
        while index in self.made_by:
            operator = self.made_by[index]
            place = _WEIGHTS.get(self.name(operator))
            if place is not None:
                return self.constant(int(operator.inputs[place]))
            index = next(each for each in self.inputs(operator) if self.is_activation(each))
        return None

    def before(self, index: int) -> Iterator[int]:
        """Yield an activation and all that it depends on."""
        left, seen = [index], set[int]()
        while left:
            index = left.pop()
            if index in self.made_by and index not in seen:
                seen.add(index)
                yield index
                left += self.inputs(self.made_by[index])


def _walk(high: _Graph, low: _Graph) -> dict[int, int]:
    """Return float tensor → quantized tensor."""
    found: dict[int, int] = {}
    back: dict[int, int] = {}
    doubtful: set[int] = set()
    left = [(high.source(high.output), low.source(low.output))]
    while left:
        mine, theirs = left.pop()
        if mine in found or theirs in back:
            if found.get(mine) != theirs:  # two ways through the graphs disagree: so may all that led there
                doubtful.update(high.before(mine))
                doubtful.update(high.before(back.get(theirs, mine)))
            continue
        if mine not in high.made_by or theirs not in low.made_by or not _same(high, mine, low, theirs):
            continue
        found[mine], back[theirs] = theirs, mine
        left += zip(*_activations(high, high.made_by[mine], low, low.made_by[theirs]), strict=True)
    return {mine: theirs for mine, theirs in found.items() if mine not in doubtful}


def _activations(high: _Graph, mine: Any, low: _Graph, theirs: Any) -> tuple[list[int], list[int]]:
    """Return what two operators that are the same read, in the same order."""
    a = [index for index in high.inputs(mine) if high.is_activation(index)]
    b = [index for index in low.inputs(theirs) if low.is_activation(index)]
    if len(a) == 2 and high.name(mine) in _COMMUTATIVE:
        straight, crossed = (_likeness(high, a, low, each) for each in (b, b[::-1]))
        b = b[::-1] if crossed > straight else b
    return a, b


def _likeness(high: _Graph, a: list[int], low: _Graph, b: list[int]) -> float:
    """Say how alike the weights before activations are."""
    total = 0.0
    for mine, theirs in zip(a, b, strict=True):
        x, y = high.weights(mine), low.weights(theirs)
        if x is None or y is None or x.shape != y.shape:
            total += float(x is None and y is None)
            continue
        x, y = (each.astype(np.float64).reshape(-1) for each in (x, y))
        total += float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-30))
    return total


def _same(high: _Graph, mine: int, low: _Graph, theirs: int) -> bool:
    """Say whether two activations come from the same operator, as far as it itself tells."""
    a, b = high.made_by[mine], low.made_by[theirs]
    name = high.name(a)
    if name != low.name(b) or list(a.outputs).index(mine) != list(b.outputs).index(theirs):
        return False
    if high.shape(mine) != low.shape(theirs) or _options(a) != _options(b):
        return False
    inputs, others = high.inputs(a), low.inputs(b)
    for place in range(max(len(inputs), len(others))):
        x, y = (each[place] if place < len(each) else -1 for each in (inputs, others))
        if x < 0 or y < 0:
            same = max(x, y) < 0 or place == _BIAS.get(name)
        elif high.is_activation(x) or low.is_activation(y):
            same = high.is_activation(x) and low.is_activation(y)
        else:
            fitted = place in (_WEIGHTS.get(name), _BIAS.get(name))
            same = high.shape(x) == low.shape(y) and (fitted or _close(high.constant(x), low.constant(y)))
        if not same:
            return False
    return True


def _options(operator: Any) -> dict[str, Any]:
    options = operator.builtinOptions
    found = {} if options is None else {name: each for name, each in vars(options).items() if name not in _HOW}
    return {name: each.tolist() if isinstance(each, np.ndarray) else each for name, each in found.items()}


def _close(x: npt.NDArray[Any] | None, y: npt.NDArray[Any] | None) -> bool:
    if x is None or y is None:
        return x is y
    return bool(np.abs(x - y).max(initial=0) <= _CLOSE * np.abs(x).max(initial=0))
