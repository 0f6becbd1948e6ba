"""Adding tensors and operators to a parsed TFLite model."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ._tflite_flatbuffer import builtin_code, compact

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = [
    "add_buffer",
    "add_constant",
    "add_tensor",
    "drop_unused",
    "make_operator",
    "opcode",
    "operator_name",
    "values",
]


def operator_name(parsed: Any, operator: Any) -> str:
    """Return what an operator is called in `BuiltinOperator`, or its own name if it is a custom one."""
    custom = parsed.operatorCodes[operator.opcodeIndex].customCode
    if custom:
        return custom.decode(errors="replace")
    code = builtin_code(parsed, operator)
    return _builtin_names().get(code, f"operator {code}")


@cache
def _builtin_names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


def values(parsed: Any, tensor: Any, dtype: Any) -> npt.NDArray[Any]:
    """Return what a constant tensor holds."""
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    return np.frombuffer(parsed.buffers[tensor.buffer].data.tobytes(), dtype).reshape(shape)


def add_buffer(parsed: Any, content: npt.NDArray[Any]) -> int:
    """Append a buffer with these numbers; return its index."""
    from ai_edge_litert import schema_py_generated as schema

    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(content.tobytes(), np.uint8)
    parsed.buffers.append(buffer)
    return len(parsed.buffers) - 1


def add_tensor(parsed: Any, name: str, shape: Sequence[int], kind: int, buffer: int = 0) -> int:
    """Append a tensor of a kind of `TensorType` to the first graph; return its index."""
    from ai_edge_litert import schema_py_generated as schema

    tensor: Any = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = np.array(shape, np.int32)
    tensor.type = kind
    tensor.buffer = buffer
    tensor.hasRank = True
    parsed.subgraphs[0].tensors.append(tensor)
    return len(parsed.subgraphs[0].tensors) - 1


def add_constant(parsed: Any, name: str, content: npt.NDArray[Any]) -> int:
    """Append a tensor that holds float32 or int32 numbers; return its index."""
    from ai_edge_litert import schema_py_generated as schema

    kind = {"f": schema.TensorType.FLOAT32, "i": schema.TensorType.INT32}[content.dtype.kind]
    return add_tensor(parsed, name, content.shape, kind, add_buffer(parsed, content))


def make_operator(
    parsed: Any,
    builtin: str,
    inputs: Sequence[int],
    outputs: Sequence[int],
    *,
    version: int = 1,
    options: Any = None,
) -> Any:
    """Return an operator, which the caller puts where it belongs among the graph's.

    Args:
        builtin: its name in `BuiltinOperator`.
        inputs, outputs: indices of tensors.
        version: of the operator.
        options: an object such as `SoftmaxOptionsT`.
    """
    from ai_edge_litert import schema_py_generated as schema

    operator: Any = schema.OperatorT()
    operator.opcodeIndex = opcode(parsed, getattr(schema.BuiltinOperator, builtin), version)
    operator.inputs = np.array(inputs, np.int32)
    operator.outputs = np.array(outputs, np.int32)
    if options is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        operator.builtinOptions = options
    return operator


def opcode(parsed: Any, builtin: int, version: int) -> int:
    """Return the index of an operator code of this version, adding it if there is none."""
    from ai_edge_litert import schema_py_generated as schema

    for index, code in enumerate(parsed.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and code.version == version:
            return index
    code: Any = schema.OperatorCodeT()
    code.builtinCode, code.version = builtin, version
    code.deprecatedBuiltinCode = min(builtin, 127)  # 127 sends readers from before 2020 to the other field
    parsed.operatorCodes.append(code)
    return len(parsed.operatorCodes) - 1


def drop_unused(parsed: Any) -> None:
    """Drop, in place, operator codes and buffers that nobody uses any more."""
    graph = parsed.subgraphs[0]
    used = sorted({operator.opcodeIndex for operator in graph.operators})
    for operator in graph.operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    parsed.operatorCodes = [parsed.operatorCodes[index] for index in used]
    compact(parsed)
