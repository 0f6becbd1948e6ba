"""Smaller weights for a float TFLite flatbuffer, whoever made it: no network in TensorFlow or Keras is needed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ._tflite_edit import add_buffer, drop_unused, make_operator, opcode, operator_name, values
from ._tflite_flatbuffer import builtin_code, pack, unpack

__all__ = ["to_dynamic", "to_float16"]

#: Of fewer numbers, 8-bit weights save nothing that a file's size shows. TensorFlow's converter has the same limit.
_LEAST_DYNAMIC = 1024
#: A scalar or a per-channel constant would lose accuracy and save nothing.
_LEAST_FLOAT16 = 64
#: By this runtimes may multiply in float16 where the processor can (tensorflow/lite/tools/optimize/
#: reduced_precision_metadata.h); TensorFlow's converter writes it too. On an emulated Cortex-A76, which can,
#: LiteRT 2.3.0 multiplied in float32 all the same.
_HALVES_ALLOWED = np.frombuffer(b"fp16accfp32", np.uint8)
#: Operators that multiply 8-bit weights with inputs that they quantize while running: per channel of this axis or,
#: None, per tensor; and the first version of each that does (tensorflow/lite/tools/versioning/op_version.cc). Per
#: channel, FULLY_CONNECTED would be of version 12, which tflite-runtime 2.14 does not know.
_DYNAMIC: dict[str, tuple[int | None, int]] = {
    "CONV_2D": (0, 5),
    "DEPTHWISE_CONV_2D": (3, 6),
    "TRANSPOSE_CONV": (0, 2),
    "FULLY_CONNECTED": (None, 9),
}


def to_float16(model: bytes) -> bytes:
    """Store the weights of a float32 model in 16 bits; DEQUANTIZE gives them back before they are used."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = unpack(model)
    graph = parsed.subgraphs[0]
    unfolding: list[Any] = []
    for index in _float_constants(parsed, _LEAST_FLOAT16):
        tensor = graph.tensors[index]
        with np.errstate(over="ignore"):
            halves = values(parsed, tensor, np.float32).astype(np.float16)
        if not np.isfinite(halves).all():
            continue  # beyond 65504, where 16 bits end
        stored: Any = copy.copy(tensor)
        stored.name = tensor.name + b"/float16"
        stored.type = schema.TensorType.FLOAT16
        stored.buffer = add_buffer(parsed, halves)
        tensor.buffer = 0
        graph.tensors.append(stored)
        unfolding.append(make_operator(parsed, "DEQUANTIZE", [len(graph.tensors) - 1], [index], version=3))
    graph.operators = [*unfolding, *graph.operators]
    allowed: Any = schema.MetadataT()
    allowed.name, allowed.buffer = b"reduced_precision_support", add_buffer(parsed, _HALVES_ALLOWED)
    parsed.metadata = [*(parsed.metadata or ()), allowed]
    drop_unused(parsed)
    return pack(parsed)


def to_dynamic(model: bytes) -> bytes:
    """Store the large weights of a float32 model in 8 bits; their operators quantize their inputs while running."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = unpack(model)
    graph = parsed.subgraphs[0]
    constants = set(_float_constants(parsed, _LEAST_DYNAMIC))
    users: dict[int, list[tuple[Any, int]]] = {}
    for operator in graph.operators:
        for place, index in enumerate(operator.inputs):
            users.setdefault(int(index), []).append((operator, place))
    for index in sorted(constants):
        kinds = {(operator_name(parsed, operator), place) for operator, place in users.get(index, [])}
        if len(kinds) != 1:
            continue  # not weights, or weights that something else reads too
        ((kind, place),) = kinds
        if kind not in _DYNAMIC or place != 1:
            continue
        axis, version = _DYNAMIC[kind]
        tensor = graph.tensors[index]
        weights = values(parsed, tensor, np.float32)
        others = tuple(each for each in range(weights.ndim) if each != axis)
        largest = np.abs(weights).max(axis=others, keepdims=True) if axis is not None else np.abs(weights).max()
        scale = np.asarray(np.where(largest > 0, largest, 1) / np.float32(127), np.float32)
        tensor.buffer = add_buffer(parsed, np.rint(weights / scale).clip(-127, 127).astype(np.int8))
        tensor.type = schema.TensorType.INT8
        quantization: Any = schema.QuantizationParametersT()
        quantization.scale = scale.reshape(-1)
        quantization.zeroPoint = np.zeros(scale.size, np.int64)
        quantization.quantizedDimension = axis or 0
        tensor.quantization = quantization
        for operator, _ in users[index]:
            least = max(version, parsed.operatorCodes[operator.opcodeIndex].version)
            operator.opcodeIndex = opcode(parsed, builtin_code(parsed, operator), least)
            if kind == "FULLY_CONNECTED":
                operator.builtinOptions.asymmetricQuantizeInputs = True
    drop_unused(parsed)
    return pack(parsed)


def _float_constants(parsed: Any, least: int) -> list[int]:
    from ai_edge_litert import schema_py_generated as schema

    return [
        index
        for index, tensor in enumerate(parsed.subgraphs[0].tensors)
        if tensor.type == schema.TensorType.FLOAT32
        and parsed.buffers[tensor.buffer].data is not None
        and len(parsed.buffers[tensor.buffer].data) >= 4 * least
    ]
