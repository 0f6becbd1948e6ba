"""What an `.onnx` file costs to run, without the `onnx` package: its graph is read here, shapes by ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from edgevision_device import encode_field, load_runtime, quiet_native, read_fields, read_varints

from ._cost import Cost

__all__ = ["Node", "count_onnx", "read_onnx_cost"]

Shape = Sequence[int]


class _Places(NamedTuple):
    """Which inputs of an operator are the weights and, if it adds one, the bias."""

    weights: int
    bias: Optional[int] = None


#: The operators that multiply (onnx/docs/Operators.md).
_COUNTED = {
    "Conv": _Places(1, 2),
    "ConvTranspose": _Places(1, 2),
    "ConvInteger": _Places(1),
    "QLinearConv": _Places(3, 8),
    "Gemm": _Places(1, 2),
    "MatMul": _Places(1),
    "MatMulInteger": _Places(1),
    "QLinearMatMul": _Places(3),
}
#: What makes another constant of a constant.
_REWRITERS = ("Cast", "DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Node:
    """An operator: its kind, and the names of its tensors, empty for one that was left out."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class _Graph:
    nodes: list[Node]
    constants: dict[str, Shape]
    outputs: set[str]


def read_onnx_cost(model: bytes) -> Optional[Cost]:
    """Count what a model costs; None where it does not tell: its shapes are not known before it runs."""
    try:
        graph = _read_graph(model)
        asked = [name for each in graph.nodes if each.kind in _COUNTED for name in (each.outputs[0], *each.inputs)]
        inside = [name for name in asked if name and name not in graph.constants]
        shapes = {**_infer(model, graph.outputs, inside), **graph.constants}
    except Exception:  # ONNX Runtime's exception types are not public; the file runs, only counting it failed
        return None
    return count_onnx(graph.nodes, set(graph.constants), shapes)


def count_onnx(nodes: Sequence[Node], constants: set[str], shapes: Mapping[str, Shape]) -> Optional[Cost]:
    """Count a graph by the shapes of its tensors; None if one that is needed is not known."""
    maker = {name: node for node in nodes for name in node.outputs}

    def is_constant(name: str) -> bool:
        node = maker.get(name)
        if node is None:
            return name in constants
        return node.kind == "Constant" or (node.kind in _REWRITERS and is_constant(node.inputs[0]))

    macs, weights = 0, set[str]()
    for node in nodes:
        places = _COUNTED.get(node.kind)
        if places is None:
            continue
        weight, picture, out = node.inputs[places.weights], node.inputs[0], node.outputs[0]
        # A transposed convolution multiplies for each number that goes in.
        counted = picture if node.kind == "ConvTranspose" else out
        if weight not in shapes or counted not in shapes:
            return None
        macs += math.prod(shapes[counted]) * _macs_of_output(node.kind, shapes[weight], shapes[counted])
        bias = node.inputs[places.bias] if places.bias is not None and places.bias < len(node.inputs) else ""
        weights.update(name for name in (weight, bias) if name in shapes and is_constant(name))
    parameters = sum(math.prod(shapes[name]) for name in weights)
    # Nothing is delegated: ONNX Runtime runs all of it.
    return Cost(parameters, macs, operators=len(nodes), delegated=0, partitions=0)


def _macs_of_output(kind: str, weight: Shape, out: Shape) -> int:
    if "Conv" in kind:  # (out, in / groups, height, width), transposed (in, out / groups, height, width)
        return math.prod(weight[1:])
    if kind == "Gemm":  # (in, out), or transposed
        return math.prod(weight) // out[-1]
    return weight[-2] if len(weight) > 1 else weight[0]


def _infer(model: bytes, known: set[str], names: Sequence[str]) -> dict[str, Shape]:
    """Return the shapes of tensors, as far as ONNX Runtime knows them without running the model.

    Args:
        known: the outputs of its graph.
        names: of tensors inside it.
    """
    onnxruntime: Any = load_runtime("onnxruntime")
    # A message that follows another one is merged with it (protobuf.dev, encoding): these become outputs of the graph.
    more = b"".join(
        encode_field(12, encode_field(1, name.encode())) for name in dict.fromkeys(names) if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # fatal
    with quiet_native():
        session = onnxruntime.InferenceSession(
            model + encode_field(7, more), options, providers=["CPUExecutionProvider"]
        )
    shapes: dict[str, Shape] = {}
    for tensor in (*session.get_inputs(), *session.get_outputs()):
        # A free batch dimension is a name or None; edgevision runs one picture at a time.
        shape = [1 if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(tensor.shape)]
        if all(isinstance(size, int) for size in shape):
            shapes[tensor.name] = shape
    return shapes


def _read_graph(model: bytes) -> _Graph:
    """Read nodes, constants and outputs (onnx/onnx.proto)."""
    nodes: list[Node] = []
    constants: dict[str, Shape] = {}
    outputs: set[str] = set()
    for graph in (value for number, value in _values(model) if number == 7):
        for number, value in _values(graph):
            if number == 1:
                inputs, made, kinds = (_texts(value, place) for place in (1, 2, 4))
                nodes.append(Node("".join(kinds), inputs, made))
            elif number == 5:
                name, shape = _read_tensor(value)
                constants[name] = shape
            elif number == 12:
                outputs.update(_texts(value, 1))
    return _Graph(nodes, constants, outputs)


def _read_tensor(tensor: bytes) -> tuple[str, Shape]:
    """Return name and shape; the sizes may be packed in one field or lie in one each."""
    (name,) = _texts(tensor, 8)
    return name, [size for number, sizes in _values(tensor) if number == 1 for size in read_varints(sizes)]


def _texts(message: bytes, number: int) -> tuple[str, ...]:
    return tuple(value.decode() for place, value in _values(message) if place == number)


def _values(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of each field."""
    return ((field.number, message[field.value : field.end]) for field in read_fields(message))
