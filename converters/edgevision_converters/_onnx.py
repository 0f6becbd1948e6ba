"""Keras to ONNX, by tf2onnx and ONNX Runtime's quantizer."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._tflite import pinned, require_raw_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgevision_device import Normalization

    from ._source import SourceModel

__all__ = ["OPSET", "convert_onnx"]

#: The newest opset that tf2onnx 1.17 writes.
OPSET = 18

#: The numbers that tf2onnx and its optimizers append.
_NUMBERED = re.compile(r"__\d+")
_ROLES = {
    ("Conv", 1): "weights",
    ("Conv", 2): "bias",
    ("MatMul", 1): "weights",
    ("Gemm", 1): "weights",
    ("Gemm", 2): "bias",
}


def convert_onnx(source: SourceModel, recipe: str, calibration: npt.NDArray[np.uint8] | None) -> bytes:
    """Convert a model.

    Args:
        source: the model.
        recipe: one of `RECIPES["onnx"]`.
        calibration: uint8 pixels `(n, height, width, 3)`, for int8.

    Returns:
        An ONNX model without metadata: uint8 NHWC input `pixels`, float32 output `scores`.
    """
    import tensorflow as tf

    if recipe == "int8":
        assert calibration is not None
        return _int8(source, calibration)

    def scores(pixels: Any) -> Any:
        return {"scores": source.model(tf.cast(pixels, tf.float32), training=False)}

    proto = _from_function(scores, source, tf.uint8)
    if recipe == "dynamic":
        proto = _dynamic(proto)
    return _finish(proto, source, recipe)


def _from_function(function: Any, source: SourceModel, dtype: Any, *, nchw: bool = False) -> Any:
    import tensorflow as tf
    import tf2onnx

    width, height = source.metadata.size_wh
    signature = [tf.TensorSpec((1, height, width, 3), dtype, name="pixels")]
    # tf2onnx's from_keras fails on Keras 3 (KeyError: keras_tensor_…).
    proto, _ = tf2onnx.convert.from_function(
        tf.function(function, input_signature=signature),
        input_signature=signature,
        opset=OPSET,
        inputs_as_nchw=["pixels"] if nchw else None,
    )
    _rename(proto)
    return proto


def _rename(proto: Any) -> None:
    """Name constants after the node that uses them first, and number what tf2onnx numbered in order of appearance.

    tf2onnx merges equal constants in the order of a set, so that which name survives differs from run to run.
    """
    graph = proto.graph
    constants = {constant.name: constant for constant in graph.initializer}
    used = [constants[name] for node in graph.node for name in node.input if name in constants]
    in_order = list({constant.name: constant for constant in used}.values())
    values = {name: name for name in (graph.input[0].name, graph.output[0].name, "")}
    taken_values, taken_nodes = set(values), set[str]()
    for node in graph.node:
        node.name = _unique(_NUMBERED.sub("", node.name), taken_nodes)
        for place, name in enumerate(node.input):
            if name not in values:
                role = _ROLES.get((node.op_type, place), f"constant{place}")
                values[name] = _unique(f"{node.name}/{role}", taken_values)
        for name in node.output:
            if name not in values:
                values[name] = _unique(_NUMBERED.sub("", name), taken_values)
        node.input[:] = [values[name] for name in node.input]
        node.output[:] = [values[name] for name in node.output]
    ordered = [type(constant).FromString(constant.SerializeToString()) for constant in in_order]
    for constant in ordered:
        constant.name = values[constant.name]
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    del graph.value_info[:]


def _unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _dynamic(proto: Any) -> Any:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "dynamic.onnx"
        # ConvInteger exists on ONNX Runtime's CPU for unsigned weights only.
        quantize_dynamic(_prepared(proto, folder), target, weight_type=QuantType.QUInt8)
        return _load(target)


def _int8(source: SourceModel, calibration: npt.NDArray[np.uint8]) -> bytes:
    """Quantize statically to QuantizeLinear and DequantizeLinear pairs, per channel, the softmax excepted.

    As in TFLite, the normalization becomes the input's own quantization where one scale serves all channels: the bytes
    go straight into the first DequantizeLinear.
    """
    import tensorflow as tf
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    normalization = source.metadata.normalization
    folded = len(normalization.mean) == 1
    network = source.core if folded else source.model
    mapped = pinned(calibration).astype(np.float32).transpose(0, 3, 1, 2)
    if folded:
        mapped = (mapped - np.float32(normalization.mean[0])) / np.float32(normalization.std[0])

    def scores(pixels: Any) -> Any:
        return {"scores": network(pixels, training=False)}

    proto = _from_function(scores, source, tf.float32, nchw=True)
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
    _take_bytes(quantized, normalization if folded else None)
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


def _finish(proto: Any, source: SourceModel, recipe: str) -> bytes:
    """Name the output `scores`, drop what the tools noted about themselves, check, and serialize."""
    import onnx

    graph = proto.graph
    (output,) = graph.output
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == output.name:
                    names[place] = "scores"
    output.name = "scores"
    graph.name = source.metadata.name
    graph.ClearField("doc_string")  # tf2onnx writes the name of a TensorFlow function, numbered anew each time
    # Stands before the graph, so that a copy which was cut short is still known as ours.
    proto.doc_string = f"Image classifier, {recipe}; described by edgevision.json in metadata_props."
    proto.producer_name, proto.producer_version = "edgevision", source.metadata.edgevision
    del proto.metadata_props[:]
    # The quantizer imports a dozen domains whatever it uses, and keeps the shapes of what it fused away.
    used = {node.domain for node in graph.node}
    for opset in [each for each in proto.opset_import if each.domain not in used]:
        proto.opset_import.remove(opset)
    del graph.value_info[:]
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)
