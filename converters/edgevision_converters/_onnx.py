"""Recipes for `.onnx` files, each made from a float model, by ONNX Runtime's quantizer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._recipes import RECIPES
from ._source import folded, normalize
from ._tflite import pinned, require_raw_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgevision_device import Normalization

    from ._source import Source

__all__ = ["convert_onnx"]


def convert_onnx(source: Source, recipe: str, calibration: npt.NDArray[np.uint8] | None) -> bytes:
    """Convert a model.

    Args:
        source: the model.
        recipe: one of `RECIPES["onnx"]`.
        calibration: uint8 pixels `(n, height, width, 3)`, for int8.

    Returns:
        An ONNX model without metadata: uint8 NHWC input `pixels`, float32 output `scores`.
    """
    if recipe == "int8":
        assert calibration is not None
        return _int8(source, calibration)
    proto = source.float_onnx("bytes")
    if recipe == "dynamic":
        proto = _dynamic(proto)
    if recipe == "float16":
        proto = _float16(proto)
    return _finish(proto, source, recipe)


def _float16(proto: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # Scores leave as float32, as from every file.
    return convert_float_to_float16(proto, keep_io_types=True)


def _dynamic(proto: Any) -> Any:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "dynamic.onnx"
        # ConvInteger exists on ONNX Runtime's CPU for unsigned weights only.
        quantize_dynamic(_prepared(proto, folder), target, weight_type=QuantType.QUInt8)
        return _load(target)


def _int8(source: Source, calibration: npt.NDArray[np.uint8]) -> bytes:
    """Quantize statically to QuantizeLinear and DequantizeLinear pairs, per channel, the softmax excepted.

    As in TFLite, the normalization becomes the input's own quantization where one scale serves all channels: the bytes
    go straight into the first DequantizeLinear.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    mapped = normalize(source.metadata, pinned(calibration)).transpose(0, 3, 1, 2)
    proto = source.float_onnx("numbers")
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepared(proto, folder)
        target = Path(folder) / "int8.onnx"
        softmax = [node.name for node in _load(prepared).graph.node if node.op_type == "Softmax"]
        quantize_static(
            prepared,
            target,
            _reader(mapped),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=softmax,
        )
        quantized = _load(target)
    _take_bytes(quantized, source.metadata.normalization if folded(source.metadata) else None)
    return _finish(quantized, source, "int8")


def _reader(mapped: npt.NDArray[np.float32]) -> Any:
    """Hand calibration pictures to the quantizer one by one."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._rows = iter(mapped)

        # None is how its contract ends the data; its annotation forgot.
        def get_next(self) -> Any:
            row = next(self._rows, None)
            return None if row is None else {"pixels": row[np.newaxis]}

    return Reader()


def _prepared(proto: Any, folder: str) -> Path:
    """Fold BatchNormalization and infer shapes, as the quantizer wants it."""
    import onnx
    from onnxruntime.quantization import quant_pre_process

    raw, prepared = Path(folder) / "raw.onnx", Path(folder) / "prepared.onnx"
    onnx.save(proto, raw)
    quant_pre_process(raw, prepared, skip_symbolic_shape=True)
    return prepared


def _take_bytes(proto: Any, normalization: Normalization | None) -> None:
    """Let the input be uint8 NHWC, transposed and dequantized, in place of the float NCHW that was quantized first."""
    from onnx import TensorProto, helper

    graph = proto.graph
    constants = {constant.name: constant for constant in graph.initializer}
    mean, std = (normalization.mean[0], normalization.std[0]) if normalization else (0.0, 1.0)
    first = [node for node in graph.node if "pixels" in node.input]
    if len(first) == 1 and first[0].op_type == "QuantizeLinear":
        scale, zero_point = (_number(constants[name]) for name in first[0].input[1:3])
        graph.node.remove(first[0])
        bytes_nchw, added = first[0].output[0], []
    else:
        # The quantizer leaves inputs as they are that first reach an operator which only moves or compares numbers.
        scale, zero_point = 1 / std, min(255, max(0, round(mean)))
        names = ["pixels_bytes", "pixels_scale", "pixels_zero_point"]
        graph.initializer.append(helper.make_tensor(names[1], TensorProto.FLOAT, (), [scale]))
        graph.initializer.append(helper.make_tensor(names[2], TensorProto.UINT8, (), [zero_point]))
        bytes_nchw, added = names[0], [helper.make_node("DequantizeLinear", names, ["pixels_real"], name="pixels_real")]
        for node in first:
            node.input[:] = ["pixels_real" if name == "pixels" else name for name in node.input]
    require_raw_bytes(float(scale), int(zero_point), normalization)
    transpose = helper.make_node("Transpose", ["pixels"], [bytes_nchw], name="pixels_nchw", perm=[0, 3, 1, 2])
    for place, node in enumerate((transpose, *added)):
        graph.node.insert(place, node)
    _, channels, height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, (1, height, width, channels)))


def _number(constant: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(constant).item()


def _load(path: Path) -> Any:
    import onnx

    return onnx.load(path)


def _finish(proto: Any, source: Source, recipe: str) -> bytes:
    """Name the output `scores` and nameless nodes, drop what the tools noted about themselves, check, and serialize."""
    import onnx

    graph = proto.graph
    (output,) = graph.output
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == output.name:
                    names[place] = "scores"
        node.name = node.name or node.output[0]  # the quantizer leaves some without a name
    output.name = "scores"
    graph.name = source.metadata.name
    graph.ClearField("doc_string")  # tf2onnx writes "converted from unknown"
    # Stands before the graph, so that a copy which was cut short is still known as ours.
    meaning = RECIPES["onnx"][recipe].describe()
    proto.doc_string = f"Image classifier, {recipe} ({meaning}); described by edgevision.json in metadata_props."
    proto.producer_name, proto.producer_version = "edgevision", source.metadata.edgevision
    del proto.metadata_props[:]
    # The quantizer imports a dozen domains whatever it uses, and keeps the shapes of what it fused away.
    used = {node.domain for node in graph.node}
    for opset in [each for each in proto.opset_import if each.domain not in used]:
        proto.opset_import.remove(opset)
    del graph.value_info[:]
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)
