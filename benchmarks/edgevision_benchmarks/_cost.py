"""What a file costs to run: parameters, multiplications, and of a `.tflite` who runs its operators."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from edgevision_device import load_runtime, quiet_native

__all__ = ["Cost", "Operator", "count_cost", "delegated_places", "read_cost", "read_operators"]

_DELEGATE = "DELEGATE"


@dataclass(frozen=True)
class Operator:
    """A node of the graph: its kind, and the numbers of its tensors, -1 for one that was left out."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]


@dataclass(frozen=True)
class Cost:
    """What the graph says of itself.

    Attributes:
        parameters: weights and biases of the operators that `macs` counts, as the file holds them.
        macs: multiplications with addition of convolutions and matrix products, of one run.
        operators: of the file.
        delegated: how many of them a delegate has taken over, by default XNNPACK; 0 of an `.onnx`, as `partitions`.
        partitions: in how many parts: between two of them the others run, and tensors may be copied.
        outside: kinds of operators that no delegate runs, in the order of the graph.
        kernels: how many of the operators that `macs` counts compute in what: `float32`, `int8`, `uint8`, `int16`
            (activations; weights in 8 bits), or `hybrid` (float32 activations, quantized in each run). Empty of an
            `.onnx`: it quantizes and dequantizes around its operators, and ONNX Runtime decides what to make of that.
    """

    parameters: int
    macs: int
    operators: int
    delegated: int
    partitions: int
    outside: tuple[str, ...] = ()
    kernels: dict[str, int] = field(default_factory=dict[str, int])

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "outside": list(self.outside)}


def read_cost(model: bytes, runtime: str) -> Optional[Cost]:
    """Open a model with LiteRT or tflite-runtime and count; None where this version of it does not tell."""
    with quiet_native():
        interpreter: Any = load_runtime(runtime).Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    operators = read_operators(interpreter)
    if operators is None:
        return None
    tensors = interpreter.get_tensor_details()
    shapes = {each["index"]: tuple(int(n) for n in each["shape"]) for each in tensors}
    types = {each["index"]: str(each["dtype"].__name__) for each in tensors}
    given = {each["index"] for each in interpreter.get_input_details()}
    return count_cost(operators, shapes, given, types)


def read_operators(interpreter: Any) -> Optional[list[Operator]]:
    """Return the operators of the file, in its order, and then its delegates; None where the runtime does not tell."""
    # Not public, but the same in tflite-runtime 2.14 and LiteRT 2.3; neither says so in another way.
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return None
    return [
        Operator(each["op_name"], [int(n) for n in each["inputs"]], [int(n) for n in each["outputs"]])
        for each in details()
    ]


def delegated_places(operators: Sequence[Operator]) -> tuple[list[Operator], set[int]]:
    """Return the operators without the delegates, and the places of those that a delegate runs."""
    nodes = [each for each in operators if each.name != _DELEGATE]
    maker = _makers(nodes)
    return nodes, set[int]().union(*(_behind(each, nodes, maker) for each in operators if each.name == _DELEGATE))


def count_cost(
    operators: Sequence[Operator],
    shapes: Mapping[int, Sequence[int]],
    given: set[int],
    types: Optional[Mapping[int, str]] = None,
) -> Cost:
    """Count what a graph costs.

    Args:
        operators: in the order they run, and after them one called `DELEGATE` for each part that a delegate runs.
        shapes: of each tensor.
        given: numbers of the input tensors.
        types: of each tensor, as numpy calls it; without them no kernels are counted.
    """
    nodes, taken = delegated_places(operators)
    maker = _makers(nodes)

    def is_constant(tensor: int) -> bool:
        """Whether it comes from the file: as it is, or as float16 that an operator of its own widens."""
        if tensor not in maker:
            return tensor not in given
        return nodes[maker[tensor]].name == "DEQUANTIZE" and is_constant(nodes[maker[tensor]].inputs[0])

    macs, weights, kernels = 0, set[int](), Counter[str]()
    for node in nodes:
        each = _macs_of_output(node, shapes)
        if each is not None:
            # A transposed convolution multiplies for each number that goes in.
            counted = node.inputs[2] if node.name == "TRANSPOSE_CONV" else node.outputs[0]
            macs += each * math.prod(shapes[counted])
            if types is not None:
                kernels[_kernel(node, types)] += 1
            weights.update(tensor for tensor in node.inputs[1:] if tensor >= 0 and is_constant(tensor))
    return Cost(
        parameters=sum(math.prod(shapes[tensor]) for tensor in weights),
        macs=macs,
        operators=len(nodes),
        delegated=len(taken),
        partitions=len(operators) - len(nodes),
        outside=tuple(dict.fromkeys(node.name for place, node in enumerate(nodes) if place not in taken)),
        kernels=dict(kernels),
    )


def _kernel(node: Operator, types: Mapping[int, str]) -> str:
    """Return what an operator with weights computes in, see `Cost`."""
    # The picture of a transposed convolution comes third.
    activation, weight = types[node.inputs[2 if node.name == "TRANSPOSE_CONV" else 0]], types[node.inputs[1]]
    return "hybrid" if activation == "float32" and weight in ("int8", "uint8") else activation


def _macs_of_output(node: Operator, shapes: Mapping[int, Sequence[int]]) -> Optional[int]:
    """Return the multiplications for one number that comes out; None for an operator that is not counted."""
    if node.name in ("CONV_2D", "FULLY_CONNECTED"):  # (out, height, width, in) and (out, in)
        return math.prod(shapes[node.inputs[1]][1:])
    if node.name == "DEPTHWISE_CONV_2D":  # (1, height, width, channels)
        return math.prod(shapes[node.inputs[1]][1:3])
    if node.name == "TRANSPOSE_CONV":  # (out, height, width, in)
        return math.prod(shapes[node.inputs[1]][:3])
    return None


def _makers(nodes: Sequence[Operator]) -> dict[int, int]:
    """Return tensor → the place of the operator that makes it."""
    return {tensor: place for place, node in enumerate(nodes) for tensor in node.outputs}


def _behind(delegate: Operator, nodes: Sequence[Operator], maker: Mapping[int, int]) -> set[int]:
    """Return the places of the nodes that a delegate runs: all between its inputs and its outputs."""
    found: set[int] = set()
    waiting = list(delegate.outputs)
    while waiting:
        tensor = waiting.pop()
        place = maker.get(tensor)
        if place is not None and place not in found and tensor not in delegate.inputs:
            found.add(place)
            waiting.extend(nodes[place].inputs)
    return found
