"""A float `.tflite` file that somebody else made, as a source: no network in TensorFlow or Keras is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgevision_device import FileError, UsageError

from ._foreign_source import AS_IT_IS, ForeignSource, Tensors
from ._fronts import begin_tflite
from ._source import Takes
from ._tflite_edit import add_buffer, add_tensor, drop_unused, make_operator, operator_name, values
from ._tflite_flatbuffer import pack, unpack

__all__ = ["TfliteSource"]

#: What TensorFlow's own operators are called inside a `.tflite` file ("Select TF ops").
_FLEX = "Flex"


@dataclass(frozen=True)
class TfliteSource(ForeignSource):
    """A float TFLite model that somebody else made; see `Source`.

    Weights that the file stores in 16 bits are made float32 when it is read.
    """

    format: ClassVar[str] = "tflite"

    @classmethod
    def _check(cls, path: Path, content: bytes) -> Tensors:
        try:
            parsed = unpack(content)
            graph = parsed.subgraphs[0]
            shapes = [_shape(graph.tensors[index]) for index in (*graph.inputs, *graph.outputs)]
        except Exception as error:  # flatbuffers raises whatever an offset into nowhere ends in
            raise FileError(f"{path} is no TFLite file that can be read; copy it again") from error
        if len(parsed.subgraphs) != 1:
            raise UsageError(f"{path} holds {len(parsed.subgraphs)} graphs; save the model without control flow")
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            names = [
                ", ".join((graph.tensors[index].name or b"").decode(errors="replace") for index in each)
                for each in (graph.inputs, graph.outputs)
            ]
            raise UsageError(
                f"a classifier has one input and one output, {path} has {len(graph.inputs)} ({names[0]}) and "
                f"{len(graph.outputs)} ({names[1]}); export the model with one of each"
            )
        _require_builtin(parsed, path)
        _unfold_float16(parsed)
        _require_float(parsed, path)
        _require_finite(parsed, path)
        return Tensors(pack(parsed), *shapes)

    def float_tflite(self, takes: Takes) -> bytes:
        """Put what it needs in front of the model, and a softmax behind logits; see `Source`."""
        parsed = unpack(self.model)
        self._begin(begin_tflite, parsed, takes)
        if self.logits:
            _add_softmax(parsed)
        _name_tensors(parsed.subgraphs[0])
        drop_unused(parsed)
        return pack(parsed)


def _shape(tensor: Any) -> tuple[int | None, ...]:
    """Return a tensor's shape; what its signature leaves open is None."""
    sizes = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return tuple(None if size < 0 else int(size) for size in (() if sizes is None else sizes))


def _output_name(graph: Any, operator: Any) -> str:
    return graph.tensors[operator.outputs[0]].name.decode(errors="replace")


def _require_builtin(parsed: Any, path: Path) -> None:
    graph = parsed.subgraphs[0]
    if any(operator_name(parsed, operator) == "READ_VARIABLE" for operator in graph.operators):
        raise UsageError(
            f"{path} keeps its weights in variables, whose values it does not hold; convert the model again, by "
            "tf.lite.TFLiteConverter.from_keras_model or from_saved_model"
        )
    for operator in graph.operators:
        if not parsed.operatorCodes[operator.opcodeIndex].customCode:
            continue
        kind = operator_name(parsed, operator)
        what = (
            f"TensorFlow's own operator {kind.removeprefix(_FLEX)} (Select TF ops)" if kind.startswith(_FLEX) else kind
        )
        raise UsageError(
            f"{path} computes {_output_name(graph, operator)!r} by {what}, which TFLite runtimes on devices lack; "
            "build the model without it"
        )


def _unfold_float16(parsed: Any) -> None:
    """Replace each float16 constant and the DEQUANTIZE behind it by a float32 constant."""
    from ai_edge_litert import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    kept: list[Any] = []
    for operator in graph.operators:
        stored = graph.tensors[operator.inputs[0]] if len(operator.inputs) else None
        if (
            stored is None
            or operator_name(parsed, operator) != "DEQUANTIZE"
            or stored.type != schema.TensorType.FLOAT16
            or parsed.buffers[stored.buffer].data is None
        ):
            kept.append(operator)
            continue
        target = graph.tensors[operator.outputs[0]]
        target.buffer = add_buffer(parsed, values(parsed, stored, np.float16).astype(np.float32))
    graph.operators = kept


def _require_float(parsed: Any, path: Path) -> None:
    """Refuse a file whose numbers were quantized: nothing can be quantized better than from float."""
    from ai_edge_litert import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    given, scores = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    scaled = [each for each in graph.tensors if each.quantization is not None and each.quantization.scale is not None]
    quantized = [each for each in scaled if each.type != schema.TensorType.FLOAT32]
    if quantized:
        where = f"{names[quantized[0].type]} at {quantized[0].name.decode(errors='replace')!r}"
        raise UsageError(f"{path} is quantized already ({where}); {AS_IT_IS}")
    for what, tensor in (("takes", given), ("gives", scores)):
        if tensor.type != schema.TensorType.FLOAT32:
            raise UsageError(f"{path} {what} {names[tensor.type]}; a float model {what} float32")


def _require_finite(parsed: Any, path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    for tensor in parsed.subgraphs[0].tensors:
        if tensor.type != schema.TensorType.FLOAT32 or parsed.buffers[tensor.buffer].data is None:
            continue
        content = values(parsed, tensor, np.float32)
        # An infinite limit of a clipping operator is a constant too, and meant.
        if np.isnan(content).any() or (content.ndim > 1 and not np.isfinite(content).all()):
            name = tensor.name.decode(errors="replace")
            raise UsageError(f"{path} holds NaN or infinite weights, first in {name!r}; train the model again")


def _add_softmax(parsed: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph = parsed.subgraphs[0]
    logits = int(graph.outputs[0])
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    shape = [int(size) for size in graph.tensors[logits].shape]
    scores = add_tensor(parsed, "scores", shape, schema.TensorType.FLOAT32)
    graph.operators = [*graph.operators, make_operator(parsed, "SOFTMAX", [logits], [scores], options=options)]
    graph.outputs = np.array([scores], np.int32)


def _name_tensors(graph: Any) -> None:
    """Call the input `pixels`, the output `scores`, and cut what converters join with semicolons to the first part.

    Tensors that are then called the same are numbered: `add`, `add_2`.
    """
    ends = {int(graph.inputs[0]): b"pixels", int(graph.outputs[0]): b"scores"}
    taken = set(ends.values())
    for index, tensor in enumerate(graph.tensors):
        # The shape alone counts: a batch that was free is 1.
        tensor.shapeSignature = None
        wanted = name = (tensor.name or b"").split(b";")[0]
        count = 1
        while index not in ends and name in taken:
            count += 1
            name = b"%s_%d" % (wanted, count)
        tensor.name = ends.get(index, name)
        taken.add(tensor.name)
