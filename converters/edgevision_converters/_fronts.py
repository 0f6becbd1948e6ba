"""What stands between the input `pixels` and a network: cast, normalization, and the order and place of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._tflite_edit import add_constant, add_tensor, make_operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from edgevision_device import Normalization

    from ._source import Takes

__all__ = ["begin_onnx", "begin_tflite", "rename_value"]


def begin_tflite(
    parsed: Any,
    takes: Takes,
    size_wh: tuple[int, int],
    normalization: Normalization | None = None,
    *,
    reversed: bool = False,
    channels_first: bool = False,
) -> None:
    """Let a model begin with `pixels`, in place.

    Args:
        parsed: `ModelT` of a network that takes float32 numbers.
        takes: what `pixels` is to be: uint8 bytes, or numbers of float32.
        size_wh: of `pixels`.
        normalization: what is done to it; None leaves it as it is.
        reversed: the network takes BGR.
        channels_first: it takes `(1, 3, height, width)`.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    own = int(graph.inputs[0])
    width, height = size_wh
    nhwc = (1, height, width, 3)
    steps: list[tuple[str, list[npt.NDArray[Any]], Any]] = []
    if takes == "bytes":
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = schema.TensorType.UINT8, schema.TensorType.FLOAT32
        steps.append(("CAST", [], options))
    if normalization is not None:
        mean, std = (np.array(each, np.float64) for each in (normalization.mean, normalization.std))
        if (std != 1).any():
            steps.append(("MUL", [(1 / std).astype(np.float32)], schema.MulOptionsT()))
        if mean.any():
            steps.append(("ADD", [(-mean / std).astype(np.float32)], schema.AddOptionsT()))
    if reversed:
        options = schema.GatherOptionsT()
        options.axis = 3
        steps.append(("GATHER", [np.array([2, 1, 0], np.int32)], options))
    if channels_first:
        steps.append(("TRANSPOSE", [np.array([0, 3, 1, 2], np.int32)], None))
    if not steps:
        return
    if graph.tensors[own].name == b"pixels":
        graph.tensors[own].name = f"pixels/{steps[-1][0].lower()}".encode()
    kind = schema.TensorType.UINT8 if takes == "bytes" else schema.TensorType.FLOAT32
    at = add_tensor(parsed, "pixels", nhwc, kind)
    graph.inputs = np.array([at], np.int32)
    operators: list[Any] = []
    for place, (builtin, constants, options) in enumerate(steps):
        name = f"pixels/{builtin.lower()}"
        inputs = [at, *(add_constant(parsed, f"{name}/constant", constant) for constant in constants)]
        last = place == len(steps) - 1
        at = own if last else add_tensor(parsed, name, nhwc, schema.TensorType.FLOAT32)
        operators.append(make_operator(parsed, builtin, inputs, [at], options=options))
    graph.operators = [*operators, *graph.operators]


def begin_onnx(
    proto: Any,
    takes: Takes,
    size_wh: tuple[int, int],
    normalization: Normalization | None = None,
    *,
    reversed: bool = False,
    channels_first: bool = True,
) -> None:
    """Let a model begin with `pixels`, in place; see `begin_tflite`.

    Bytes come as `(1, height, width, 3)`; numbers as `(1, 3, height, width)`, which the quantizer handles best. The
    network may take any type of number.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = proto.graph
    (given,) = graph.input
    kind = given.type.tensor_type.elem_type
    turn = channels_first if takes == "bytes" else not channels_first
    steps: list[tuple[str, npt.NDArray[Any] | None, dict[str, Any]]] = []
    if turn:
        steps.append(("Transpose", None, {"perm": (0, 3, 1, 2) if takes == "bytes" else (0, 2, 3, 1)}))
    if takes == "bytes":
        steps.append(("Cast", None, {"to": TensorProto.FLOAT}))
    axis = 1 if channels_first else 3
    if normalization is not None:
        steps += _normalizing(normalization, axis)
    if reversed:
        steps.append(("Gather", np.array([2, 1, 0], np.int64), {"axis": axis}))
    if kind != TensorProto.FLOAT:
        if kind in (TensorProto.UINT8, TensorProto.INT8):
            steps.append(("Round", None, {}))
        steps.append(("Cast", None, {"to": kind}))
    own, at = f"{given.name}/own" if steps and given.name == "pixels" else given.name, "pixels"
    rename_value(graph, given.name, own)
    for place, (operator, constant, attributes) in enumerate(steps):
        name = f"pixels/{operator}_{place}"
        names = [at]
        if constant is not None:
            graph.initializer.append(numpy_helper.from_array(constant, f"{name}/constant"))
            names.append(f"{name}/constant")
        at = name
        graph.node.insert(place, helper.make_node(operator, names, [at], name=name, **attributes))
    rename_value(graph, own, at)
    width, height = size_wh
    shape = (1, height, width, 3) if takes == "bytes" else (1, 3, height, width)
    dtype = TensorProto.UINT8 if takes == "bytes" else TensorProto.FLOAT
    given.CopyFrom(helper.make_tensor_value_info("pixels", dtype, shape))


def _normalizing(
    normalization: Normalization, axis: int
) -> Iterator[tuple[str, npt.NDArray[Any] | None, dict[str, Any]]]:
    """Yield the steps that do `(pixel - mean) / std`, with channels on an axis."""
    mean, std = (np.array(each, np.float32) for each in (normalization.mean, normalization.std))
    shape = [1, 1, 1, 1]
    shape[axis] = mean.size
    if mean.any():
        yield "Sub", mean.reshape(shape), {}
    if (std != 1).any():
        yield "Div", std.reshape(shape), {}


def rename_value(graph: Any, old: str, new: str) -> None:
    """Rename a value wherever it stands, inside the branches of If and Loop too."""
    for each in (*graph.input, *graph.output, *graph.initializer):
        if each.name == old:
            each.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if each == old else each for each in names]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                rename_value(inner, old, new)
