"""Write the two models that `edgevision-device check` runs: `python tests/device/make_probe_models.py`.

Each takes one pixel, uint8 of shape (1, 1, 1, 3), and returns its channels divided by 255 as float32: the least that
still makes a runtime load, allocate, run and answer. Needs ai-edge-litert (for the schema), flatbuffers and onnx.
"""

from __future__ import annotations

from pathlib import Path

PROBE = Path(__file__).parents[2] / "device/edgevision_device/_probe"
SHAPE = (1, 1, 1, 3)


def tiny_tflite() -> bytes:
    """One DEQUANTIZE operator, version 1, which every interpreter since TensorFlow 1.13 knows."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    pixels, scores = schema.TensorT(), schema.TensorT()
    pixels.name, scores.name = "pixels", "scores"
    pixels.shape, scores.shape = list(SHAPE), list(SHAPE)
    pixels.type, scores.type = schema.TensorType.UINT8, schema.TensorType.FLOAT32
    pixels.quantization = schema.QuantizationParametersT()
    pixels.quantization.scale, pixels.quantization.zeroPoint = [1 / 255], [0]

    dequantize = schema.OperatorCodeT()
    dequantize.builtinCode = dequantize.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    dequantize.version = 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]

    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [pixels, scores], [operator], [0], [1]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [dequantize], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tiny_onnx() -> bytes:
    """Cast and Div at opset 13 and IR 7, which ONNX Runtime reads since 1.6."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["real", "full"], ["scores"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, SHAPE)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor("full", TensorProto.FLOAT, [], [255.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def main() -> None:
    for name, content in (("tiny.tflite", tiny_tflite()), ("tiny.onnx", tiny_onnx())):
        (PROBE / name).write_bytes(content)
        print(f"{PROBE / name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
