"""An `.onnx` file that somebody else made, from PyTorch or from anything, as a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgevision_device import FileError, UsageError, open_runtime

from ._foreign_source import AS_IT_IS, ForeignSource, Tensors
from ._fronts import begin_onnx, rename_value
from ._source import Takes, first_line

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["OnnxSource"]

#: Below it, quantization per channel does not exist; above it, ONNX Runtime 1.19, the newest for Python 3.9, refuses.
_OPSETS = range(13, 22)
#: What older models are lifted to.
_OPSET = 18

#: Of operators beside the standard that ONNX Runtime's wheels hold.
_DOMAINS = ("com.microsoft", "com.ms.internal.nhwc", "com.microsoft.nchwc")

_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantize")


@dataclass(frozen=True)
class OnnxSource(ForeignSource):
    """An ONNX model that somebody else made; see `Source`.

    Its batch is fixed to 1 when it is read, and its opset lifted to 18 where it is older than 13.
    """

    format: ClassVar[str] = "onnx"
    fix: ClassVar[str] = (
        "fix it with python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name NAME "
        "--input_shape 1,3,HEIGHT,WIDTH in.onnx out.onnx"
    )

    @classmethod
    def _check(cls, path: Path, content: bytes) -> Tensors:
        proto = _parse(path, content)
        graph = proto.graph
        constants = {constant.name for constant in graph.initializer}
        inputs = [each for each in graph.input if each.name not in constants]  # IR versions before 4 list both
        if len(inputs) != 1 or len(graph.output) != 1:
            raise UsageError(
                f"a classifier has one input and one output, {path} has {len(inputs)} ({_names(inputs)}) and "
                f"{len(graph.output)} ({_names(graph.output)}); export the model with one of each"
            )
        del graph.input[:]
        graph.input.extend(inputs)
        _require_known(proto, path)
        _require_float(proto, path)
        _require_finite(proto, path)
        proto = _lift(proto, path)
        (given,) = proto.graph.input
        shape = _shape(given)
        if len(shape) == 4 and shape[0] is None:
            given.type.tensor_type.shape.dim[0].dim_value = 1
        _infer(proto, path)
        (scores,) = proto.graph.output
        return Tensors(proto.SerializeToString(), shape, _shape(scores))

    def float_onnx(self, takes: Takes) -> Any:
        """Put what it needs in front of the model, and a softmax behind logits; see `Source`."""
        import onnx

        proto = onnx.load_from_string(self.model)
        graph = proto.graph
        (output,) = graph.output
        for value in ("pixels", "scores"):
            rename_value(graph, value, f"{value}/own")
        self._begin(begin_onnx, proto, takes)
        self._end(proto, output)
        del graph.value_info[:]
        return proto

    def _end(self, proto: Any, output: Any) -> None:
        """Let the graph end in `scores`, float32 `(1, labels)`."""
        import onnx
        from onnx import TensorProto, helper

        graph = proto.graph
        at, labels = output.name, len(self.metadata.labels)
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        if output.type.tensor_type.elem_type != TensorProto.FLOAT:
            steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
        if len(_shape(output)) != 2:
            graph.initializer.append(
                onnx.numpy_helper.from_array(np.array([1, labels], np.int64), "scores/Reshape/constant")
            )
            steps.append(("Reshape", ["scores/Reshape/constant"], {}))
        if self.logits:
            steps.append(("Softmax", [], {"axis": 1}))
        for place, (operator, more, attributes) in enumerate(steps):
            name = "scores" if place == len(steps) - 1 else f"scores/{operator}"
            graph.node.append(helper.make_node(operator, [at, *more], [name], name=f"scores/{operator}", **attributes))
            at = name
        if not steps:
            rename_value(graph, at, "scores")
        output.CopyFrom(helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, labels)))


def _parse(path: Path, content: bytes) -> Any:
    import onnx
    import onnx.inliner

    try:
        # With its weights, which may lie in files beside it.
        proto = onnx.inliner.inline_local_functions(onnx.load(path)) if content else None
    except FileNotFoundError as error:
        raise FileError(f"{path} keeps its weights in a file beside it that is not there: {error}") from error
    except Exception as error:  # protobuf's errors, and onnx's own
        raise FileError(f"{path} is no ONNX file that can be read: {first_line(error)}") from error
    if proto is None or not proto.graph.node:
        raise FileError(f"{path} is no ONNX file that can be read: it holds no operators")
    return proto


def _require_known(proto: Any, path: Path) -> None:
    import onnx

    for node in proto.graph.node:
        if node.domain in _DOMAINS or onnx.defs.has(node.op_type, node.domain.replace("ai.onnx", "", 1)):
            continue
        of = f" of {node.domain!r}" if node.domain else ""
        raise UsageError(
            f"{path} computes {node.name or node.output[0]!r} by {node.op_type}{of}, which ONNX Runtime lacks; "
            "build the model without it"
        )


def _require_float(proto: Any, path: Path) -> None:
    """Refuse a file whose numbers were quantized: nothing can be quantized better than from float."""
    for node in proto.graph.node:
        if node.op_type.startswith(_QUANTIZED):
            raise UsageError(f"{path} is quantized already ({node.op_type} {node.name!r}); {AS_IT_IS}")


def _require_finite(proto: Any, path: Path) -> None:
    from onnx import TensorProto, numpy_helper

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    for constant in proto.graph.initializer:
        if constant.data_type not in floats:
            continue
        content = numpy_helper.to_array(constant)
        # An infinite limit of Clip is a constant too, and meant.
        if np.isnan(content).any() or (content.ndim > 1 and not np.isfinite(content).all()):
            user = next((node for node in proto.graph.node if constant.name in node.input), None)
            where = f"{constant.name!r}" + (f" of {user.op_type} {user.name!r}" if user is not None else "")
            raise UsageError(f"{path} holds NaN or infinite weights, first in {where}; train the model again")


def _lift(proto: Any, path: Path) -> Any:
    """Bring the model to an opset that everything from the quantizer to the oldest device reads."""
    from onnx import helper, version_converter

    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise FileError(f"{path} does not say which opset it uses; export it again")
    if opset > _OPSETS[-1]:
        raise UsageError(
            f"{path} is of opset {opset}, which ONNX Runtime on older devices does not read; export it with opset "
            f"{_OPSET} (allowed: up to {_OPSETS[-1]})"
        )
    if opset < _OPSETS[0]:
        try:
            proto = version_converter.convert_version(proto, _OPSET)
        except Exception as error:  # a converter per operator, each with errors of its own
            raise UsageError(
                f"{path} is of opset {opset} and cannot be lifted to {_OPSET}: {first_line(error)}; export it with "
                f"opset {_OPSET}"
            ) from error
    proto.ir_version = helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
    return proto


def _infer(proto: Any, path: Path) -> None:
    """Check the model, and note the shapes that follow from a batch of 1."""
    import onnx

    del proto.graph.value_info[:]
    (output,) = proto.graph.output
    if output.type.WhichOneof("value") != "tensor_type":
        raise UsageError(f"the output {output.name!r} of {path} is no tensor; export the model without what follows it")
    try:
        onnx.checker.check_model(proto)
        output.type.tensor_type.ClearField("shape")  # it may still hold the free batch
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=False, data_prop=True)
    except Exception as error:  # several exception types of onnx's C++ part
        raise FileError(f"{path} is no valid ONNX model: {first_line(error)}") from error
    output.CopyFrom(inferred.graph.output[0])
    if None in _shape(output) or not output.type.tensor_type.HasField("shape"):
        shape = _run(proto).shape  # what shape inference cannot tell, a run does
        output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, shape))


def _run(proto: Any) -> npt.NDArray[Any]:
    runtime = open_runtime(proto.SerializeToString(), "onnx")
    return runtime.run(np.zeros([max(1, size) for size in runtime.input.shape], runtime.input.dtype))


def _shape(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(each.dim_value if each.HasField("dim_value") and each.dim_value > 0 else None for each in dims)


def _names(values: Any) -> str:
    return ", ".join(each.name for each in values)
