"""A function of TensorFlow as a float `.tflite` or ONNX model."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgevision_device import FileError

from ._tflite_flatbuffer import compact, pack, unpack
from ._tflite_names import are_numbered, layers_in, name_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgevision_device import Metadata

__all__ = ["OPSET", "float_onnx", "float_tflite"]

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
#: What tf2onnx adds to go from one layout to another, called after any operator nearby.
_MOVING = ("Cast", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def float_tflite(function: Callable[[Any], Any], metadata: Metadata, layers: Mapping[str, bool]) -> bytes:
    """Convert a function with TensorFlow's converter; see `Source.float_tflite`.

    Args:
        function: takes float32 `(1, height, width, 3)`, gives `{"scores": scores}`.
        metadata: says the input's size.
        layers: names for tensors, see `name_tensors`.

    Raises:
        FileError: an operator has no TFLite kernel; it and its layer are named.
    """
    import tensorflow as tf

    # Keras 3 variables that stay variables end in READ_VARIABLE ops, which the calibrator cannot run.
    frozen = _frozen(function, metadata)
    try:
        # An owner without variables: the converter would save all that the real one holds, which takes three times as
        # long as it takes to convert.
        model = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module()).convert()
    except Exception as error:  # the converter's own error type is not public
        lacking = re.findall(r"tf\.(\w+)' op is neither a custom op nor a flex op", str(error))
        for operator in frozen.graph.get_operations():
            if operator.type in lacking:
                raise _unsupported(operator.type, operator.name, layers, "tflite") from error
        if lacking:
            raise _unsupported(lacking[0], "", layers, "tflite") from error
        raise
    parsed = unpack(model)
    name_tensors(parsed, layers)
    compact(parsed)
    return pack(parsed)


def float_onnx(function: Callable[[Any], Any], metadata: Metadata, layers: Mapping[str, bool]) -> Any:
    """Convert a function with tf2onnx; see `Source.float_onnx`.

    Raises:
        FileError: an operator has no counterpart in ONNX; it and its layer are named.
    """
    import onnx
    import tf2onnx

    # tf2onnx translates If and While, and not what they are lowered to.
    frozen = _frozen(function, metadata, lower_control_flow=False, aggressive_inlining=True)
    # tf2onnx's from_keras fails on Keras 3 (KeyError: keras_tensor_…), and its from_function takes what a layer holds
    # as a plain tensor, such as the mean of a Normalization, for an input.
    proto, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(add_shapes=True),
        input_names=[frozen.inputs[0].name],
        output_names=[frozen.outputs[0].name],
        opset=OPSET,
        inputs_as_nchw=[frozen.inputs[0].name],
        tensors_to_rename={frozen.inputs[0].name: "pixels", frozen.outputs[0].name: "scores"},
    )
    for node in proto.graph.node:
        # What it cannot translate, tf2onnx writes as it is.
        if node.domain == "" and not onnx.defs.has(node.op_type):
            raise _unsupported(node.op_type, node.name, layers, "onnx")
    _rename(proto, layers)
    return proto


def _unsupported(operator: str, name: str, layers: Mapping[str, bool], format: str) -> FileError:
    """Say which operator of which layer has no counterpart, from the path that TensorFlow calls it by."""
    parts = [each for part in name.split("/") for each in (re.sub(r"_\d+$", "", part), part)]
    where = next((f"layer {part!r}" for part in parts if part in layers), f"{name!r}" if name else "the model")
    other = {
        "tflite": ("TFLite has no kernel for; it would need Select TF ops, which runtimes on devices lack", "onnx"),
        "onnx": ("ONNX has no operator for", "tflite"),
    }
    why, instead = other[format]
    return FileError(
        f"{where} computes {operator}, which {why}: build it from other operations, or give --formats {instead}"
    )


def _frozen(function: Callable[[Any], Any], metadata: Metadata, **options: bool) -> Any:
    """Trace a function of `pixels`; whatever else it reads, variables and plain tensors, becomes constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (  # pyright: ignore[reportMissingImports]
        convert_variables_to_constants_v2,
    )

    width, height = metadata.size_wh
    pixels = tf.TensorSpec((1, height, width, 3), tf.float32, name="pixels")
    concrete = tf.function(function, input_signature=[pixels]).get_concrete_function()
    return convert_variables_to_constants_v2(concrete, **options)


def _rename(proto: Any, layers: Mapping[str, bool]) -> None:
    """Name nodes after Keras layers, what they write after themselves, and constants after the first node to use them.

    tf2onnx merges equal constants in the order of a set, so that which name survives differs from run to run.
    """
    graph = proto.graph
    constants = {constant.name: constant for constant in graph.initializer}
    used = [constants[name] for node in graph.node for name in node.input if name in constants]
    in_order = list({constant.name: constant for constant in used}.values())
    values = {name: name for name in (graph.input[0].name, graph.output[0].name, "")}
    taken_values = set(values)
    for node, name in zip(graph.node, _node_names(graph, layers), strict=True):
        node.name = name
        for place, name in enumerate(node.input):
            if name not in values:
                role = _ROLES.get((node.op_type, place), f"constant{place}")
                values[name] = _unique(f"{node.name}/{role}", taken_values)
        for name in node.output:
            if name not in values:
                values[name] = _unique(node.name, taken_values)
        node.input[:] = [values[name] for name in node.input]
        node.output[:] = [values[name] for name in node.output]
    ordered = [type(constant).FromString(constant.SerializeToString()) for constant in in_order]
    for constant in ordered:
        constant.name = values[constant.name]
    del graph.initializer[:]
    graph.initializer.extend(ordered)
    del graph.value_info[:]


def _node_names(graph: Any, layers: Mapping[str, bool]) -> list[str]:
    """Return a name for each node, by the rule of `name_tensors`; without known layers, tf2onnx's without its numbers.

    The last node of a layer has the layer's name, those before it say what they do: `swish/clip`. A node that belongs
    to no layer is called after what it reads: `pixels/transpose`.
    """
    taken: set[str] = set()
    if not layers:
        return [_unique(_NUMBERED.sub("", node.name), taken) for node in graph.node]
    readers = Counter(name for node in graph.node for name in node.input)
    numbered = are_numbered((node.name for node in graph.node), layers)
    made = [_layer(node, layers, readers, numbered) for node in graph.node]
    last = {layer: place for place, layer in enumerate(made)}
    base_of = {graph.input[0].name: "pixels"}
    names: list[str] = []
    for place, (node, layer) in enumerate(zip(graph.node, made, strict=True)):
        base = layer or next((base_of[name] for name in node.input if name in base_of), "pixels")
        base_of |= dict.fromkeys(node.output, base)
        whole = layer and last[layer] == place
        names.append(_unique(base if whole else f"{base}/{node.op_type.lower()}", taken))
    return names


def _layer(node: Any, layers: Mapping[str, bool], readers: Mapping[str, int], numbered: bool) -> str:
    """Return the layer that a node comes from, or ""."""
    if node.op_type in _MOVING and _NUMBERED.search(node.name):
        return ""
    of_node = layers_in(node.name, layers, numbered=numbered)
    if (node.op_type, 1) not in _ROLES:
        return (*of_node, "")[0]
    # Where a bias or batch normalization was folded in, only the constants say whose they are; merged ones say nothing.
    alone = [name for name in node.input[1:] if readers[name] == 1]
    of_constants = [each for name in alone for each in layers_in(name, layers, numbered=numbered)]
    return (*(each for each in (*of_node, *of_constants) if layers[each]), *of_node, *of_constants, "")[0]


def _unique(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
