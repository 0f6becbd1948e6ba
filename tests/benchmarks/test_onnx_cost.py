"""What an `.onnx` file costs, counted in its graph without the `onnx` package."""

import importlib.util
from pathlib import Path

import pytest

from edgevision_benchmarks import _onnx_cost, benchmark
from edgevision_benchmarks._cost import read_cost
from edgevision_benchmarks._onnx_cost import Node, count_onnx, read_onnx_cost
from edgevision_device import read_model_file

DATA = Path(__file__).parent.parent / "device" / "data"


def installed(*names):
    return any(importlib.util.find_spec(name) for name in names)


@pytest.fixture
def runtimes():
    if not installed("onnxruntime"):
        pytest.skip("ONNX Runtime is not installed")
    if not installed("ai_edge_litert", "tflite_runtime"):
        pytest.skip("no TFLite runtime is installed")
    return "litert" if installed("ai_edge_litert") else "tflite-runtime"


def test_the_same_network_costs_the_same_in_both_formats(runtimes):
    tflite, onnx = (read_model_file(DATA / f"tiny.float32.{format}").model for format in ("tflite", "onnx"))
    counted, expected = read_onnx_cost(onnx), read_cost(tflite, runtimes)
    assert counted.macs == expected.macs > 0
    assert (counted.delegated, counted.partitions, counted.outside, counted.kernels) == (0, 0, (), {})


def test_a_report_tells_it(runtimes, pictures):
    path = DATA / "tiny.float32.onnx"
    content = read_model_file(path)
    folder = pictures(names=dict(zip(("red", "green", "blue", "dark"), content.metadata.labels)))
    (file,) = benchmark([path], folder, runs=1, warmup=0).files
    assert file.measured.cost == read_onnx_cost(content.model)


def test_weights_are_counted_behind_what_quantizes_them():
    nodes = [
        Node("DequantizeLinear", ("w8", "scale"), ("w",)),
        Node("DequantizeLinear", ("b32", "scale"), ("b",)),
        Node("Conv", ("x", "w", "b"), ("y",)),  # 3x3, 3 to 8 channels, 16x16 comes out
        Node("QLinearConv", ("y", "s", "z", "v", "s", "z", "s", "z", "c"), ("u",)),  # depthwise, 5x5
        Node("ConvTranspose", ("u", "t"), ("p",)),  # 2x2, 8 to 4 channels, 8x8 goes in
        Node("ConvInteger", ("p", "i"), ("q",)),  # 1x1, 4 to 2 channels
        Node("Gemm", ("q", "g", ""), ("r",)),
        Node("MatMulInteger", ("r", "m"), ("o",)),
        Node("MatMul", ("o", "r"), ("end",)),  # of two that are computed: no weights
    ]
    shapes = {
        **{"w8": (8, 3, 3, 3), "w": (8, 3, 3, 3), "b": (8,), "y": (1, 8, 16, 16), "v": (8, 1, 5, 5), "c": (8,)},
        **{"u": (1, 8, 8, 8), "t": (8, 4, 2, 2), "p": (1, 4, 16, 16), "i": (2, 4, 1, 1), "q": (1, 2, 16, 16)},
        **{"g": (10, 512), "r": (1, 10), "m": (10, 6), "o": (1, 6), "end": (1, 10)},
    }
    constants = {"w8", "b32", "scale", "s", "z", "v", "c", "t", "i", "g", "m"}
    cost = count_onnx(nodes, constants, shapes)
    macs = [8 * 16 * 16 * 27, 8 * 8 * 8 * 25, 8 * 8 * 8 * 16, 2 * 16 * 16 * 4, 10 * 512, 6 * 10, 10 * 1]
    assert cost.macs == sum(macs)
    assert cost.parameters == 8 * 27 + 8 + 8 * 25 + 8 + 8 * 16 + 8 + 5120 + 60
    assert cost.operators == 9
    assert count_onnx(nodes, constants, {name: shape for name, shape in shapes.items() if name != "u"}) is None


@pytest.mark.parametrize("model", [b"", b"no model", b"\x3a\x7f"])
def test_what_cannot_be_read_is_not_measured(model):
    assert read_onnx_cost(model) is None


def test_packed_and_single_sizes_are_read():
    single, packed = b"\x08\x03\x08\xac\x02\x42\x01w", b"\x0a\x03\x03\xac\x02\x42\x01w"
    assert _onnx_cost._read_tensor(single) == _onnx_cost._read_tensor(packed) == ("w", [3, 300])
