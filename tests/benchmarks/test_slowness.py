"""Why int8 is not faster: every reason on made-up files and machines, and what real files say."""

import dataclasses
import random
from pathlib import Path

import pytest

from edgevision_benchmarks import Conditions, Cost, TimeRatio, read_report, render_html, write_report
from edgevision_benchmarks._cost import read_cost
from edgevision_benchmarks._slowness import explain, not_faster, time_between
from edgevision_benchmarks._speed import time_ratio
from edgevision_benchmarks._turns import _times

CONFUSION = {"red": {"red": 9, "blue": 1}}
FLOAT = Cost(1000, 2000, 20, 19, 1, ("CAST",), {"float32": 6})
INT8 = Cost(1000, 2000, 20, 19, 1, ("QUANTIZE",), {"int8": 6})
FLOOR = TimeRatio(1.0, 0.98, 1.02, 20)
PC = Conditions(None, "A", 4, "x86_64", 64, None, "S", "L", "3.11", None, int8_instructions=("avx512_vnni",))


@pytest.mark.parametrize(
    ("cost", "machine", "reason"),
    [
        ({}, {"userland_bits": 32}, "this Python is 32-bit on a 64-bit kernel"),
        ({}, {"int8_instructions": ()}, "no instructions for int8 dot products (avx512_vnni or avx_vnni)"),
        ({}, {"architecture": "aarch64", "int8_instructions": ()}, "no instructions for int8 dot products (asimddp)"),
        ({"kernels": {"int16": 6}}, {}, "its activations have 16 bits"),
        ({"kernels": {"uint8": 6}}, {}, "it computes in uint8"),
        ({"kernels": {"float32": 2, "hybrid": 4}}, {}, "4 of 6 convolutions and products quantize"),
        ({"delegated": 0, "partitions": 0}, {}, "no operator runs on XNNPACK"),
        ({"delegated": 15, "outside": ("SOFTMAX",)}, {}, "5 of 20 operators do not run on XNNPACK: SOFTMAX"),
        ({"partitions": 3}, {}, "XNNPACK runs it in 3 parts, not 1"),
    ],
)
def test_each_reason_is_read_from_the_file_or_the_machine(measurement, cost, machine, reason):
    mine, other = (dataclasses.replace(measurement(CONFUSION), cost=each) for each in (INT8, FLOAT))
    assert explain(mine, other, PC) == ()
    changed = dataclasses.replace(mine, cost=dataclasses.replace(INT8, **cost))
    (told,) = explain(changed, other, dataclasses.replace(PC, **machine))
    assert reason in told


def test_onnx_runtime_is_slower_still_without_dot_products(measurement):
    mine, other = (
        dataclasses.replace(measurement(CONFUSION), runtime="onnxruntime", cost=each) for each in (INT8, FLOAT)
    )
    (told,) = explain(mine, other, dataclasses.replace(PC, int8_instructions=()))
    assert told.endswith("(avx512_vnni or avx_vnni): ONNX Runtime's kernels that are exact there are slow")
    (told,) = explain(mine, other, dataclasses.replace(PC, architecture="aarch64", int8_instructions=()))
    assert told.endswith("(asimddp)")


def test_a_machine_that_does_not_say_is_no_reason(measurement):
    mine, other = (dataclasses.replace(measurement(CONFUSION), cost=each) for each in (INT8, FLOAT))
    assert explain(mine, other, dataclasses.replace(PC, int8_instructions=None)) == ()


def timed(found, each_ms, **changes):
    return dataclasses.replace(found, round_p50_ms=tuple(each_ms + 0.001 * n for n in range(20)), **changes)


@pytest.fixture
def compared(make_report, measurement):
    """The float file is not the first one, and another network stands beside it."""
    found = measurement(CONFUSION)
    report = make_report(
        ("b.float32.tflite", "tflite", "float32", 9, timed(found, 9, cost=dataclasses.replace(FLOAT, macs=9))),
        ("a.float32.tflite", "tflite", "float32", 9, timed(found, 2, cost=FLOAT)),
        ("a.int8.tflite", "tflite", "int8", 9, timed(found, 2, cost=INT8)),
        ("a.dynamic.tflite", "tflite", "dynamic", 9, timed(found, 1, cost=INT8)),
        ("a.int8.onnx", "onnx", "int8", 9, timed(found, 8)),
        ("a.float32.onnx", "onnx", "float32", 9, timed(found, 4)),
    )
    return dataclasses.replace(report, conditions=PC, noise_floor=FLOOR)


def test_each_int8_file_is_held_against_the_float_one_of_its_network_and_format(compared, tmp_path):
    found = not_faster(compared)
    assert {name: (each.than, each.verdict) for name, each in found.items()} == {
        "a.int8.tflite": ("a.float32.tflite", "no difference"),
        "a.int8.onnx": ("a.float32.onnx", "slower"),
    }
    line = "int8 is not faster here than a.float32.onnx (slower, 2.00 of its time) because: none of the known reasons"
    assert line in render_html(compared)
    record = compared.to_record()["files"][4]["not_faster"]
    assert (record["than"], record["verdict"], record["because"]) == ("a.float32.onnx", "slower", [])
    write_report(compared, tmp_path)
    assert not_faster(read_report(tmp_path)) == found


@pytest.mark.parametrize(
    ("recipe", "told"), [("dynamic", "dynamic"), ("int8x16", "int8x16"), ("int8", "int8"), ("unknown", "int8")]
)
def test_the_recipe_that_is_not_faster_is_named(make_report, measurement, recipe, told):
    found = measurement(CONFUSION)
    report = dataclasses.replace(
        make_report(
            ("plain.tflite", "tflite", "float32", 9, timed(found, 2, cost=FLOAT)),
            ("other.tflite", "tflite", recipe, 9, timed(found, 4, cost=INT8)),
        ),
        noise_floor=FLOOR,
    )
    line = not_faster(report)["other.tflite"].describe()
    assert line.startswith(f"{told} is not faster here than plain.tflite (slower, 2.00 of its time) because: ")


def test_without_a_count_of_multiplications_only_the_name_tells_the_network(make_report, measurement):
    """Another network's float file may be the only one there is."""
    found = measurement(CONFUSION)
    report = dataclasses.replace(
        make_report(
            ("large.float32.onnx", "onnx", "float32", 9, timed(found, 2)),
            ("small.int8.onnx", "onnx", "int8", 9, timed(found, 4)),
        ),
        noise_floor=FLOOR,
    )
    assert not_faster(report) == {}
    files = [dataclasses.replace(report.files[0], name="small.float32.onnx"), report.files[1]]
    assert list(not_faster(dataclasses.replace(report, files=tuple(files)))) == ["small.int8.onnx"]


def test_of_the_same_multiplications_a_single_float_file_needs_no_name(make_report, measurement):
    found = measurement(CONFUSION)
    report = dataclasses.replace(
        make_report(
            ("plain.tflite", "tflite", "float32", 9, timed(found, 2, cost=FLOAT)),
            ("quantized.tflite", "tflite", "int8", 9, timed(found, 4, cost=INT8)),
        ),
        noise_floor=FLOOR,
    )
    assert not_faster(report)["quantized.tflite"].than == "plain.tflite"


def test_what_is_faster_but_for_a_wide_noise_floor_needs_no_reason(make_report, measurement):
    found = measurement(CONFUSION)
    report = make_report(
        ("plain.tflite", "tflite", "float32", 9, timed(found, 4, cost=FLOAT)),
        ("other.tflite", "tflite", "dynamic", 9, timed(found, 3, cost=INT8)),
    )
    assert not_faster(dataclasses.replace(report, noise_floor=TimeRatio(1.0, 0.6, 1.6, 20))) == {}


def test_one_pair_of_files_has_one_ratio(measurement):
    """Of an even number of runs the median lies between the two in the middle."""
    rng = random.Random(1)
    mine, other = ({n: [rng.lognormvariate(0, 0.5) for _ in range(4)] for n in range(20)} for _ in range(2))
    opened = {"runtime": "litert", "warmup_ms": []}
    found = [
        dataclasses.replace(measurement(CONFUSION), round_p50_ms=_times(opened, each, seed=3)["round_p50_ms"])
        for each in (mine, other)
    ]
    assert time_between(*found, seed=3) == time_ratio(mine, other, seed=3)


def test_without_a_noise_floor_nothing_is_called_slower(compared):
    assert not_faster(dataclasses.replace(compared, noise_floor=None)) == {}


def test_onnx_runtime_has_no_delegate_to_miss(measurement):
    mine, other = (
        dataclasses.replace(measurement(CONFUSION), runtime="onnxruntime", cost=Cost(1000, 2000, operators, 0, 0))
        for operators in (40, 20)
    )
    assert explain(mine, other, PC) == ()


def test_of_few_rounds_nothing_is_explained(compared):
    files = [
        dataclasses.replace(file, measured=dataclasses.replace(file.measured, round_p50_ms=(1.0,) * 3))
        for file in compared.files
    ]
    assert not_faster(dataclasses.replace(compared, files=tuple(files))) == {}


def test_real_files_say_what_they_compute_in(model):
    from edgevision_device import read_model_file

    data = Path(__file__).parents[1] / "device" / "data"
    runtimes = benchmark_runtime()
    found = {
        name: read_cost(read_model_file(path).model, runtimes).kernels
        for name, path in {
            "float32": data / "tiny.float32.tflite",
            "int8": data / "tiny.int8.tflite",
            "colors": model(),
        }.items()
    }
    assert set(found["float32"]) == set(found["colors"]) == {"float32"}
    assert set(found["int8"]) == {"int8"}


def benchmark_runtime():
    import importlib.util

    return "litert" if importlib.util.find_spec("ai_edge_litert") else "tflite-runtime"
