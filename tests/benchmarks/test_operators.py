"""What each operator takes, on made-up times and clocks, and on real files."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from edgevision_benchmarks import OperatorTime, OperatorTimes, _processes, benchmark, read_report, write_report
from edgevision_benchmarks._notes import file_notes
from edgevision_benchmarks._operators import cut_graph, estimate, time_onnx_operators, time_tflite_operators
from edgevision_device import load_runtime, read_model_file

DATA = Path(__file__).parent.parent / "device" / "data"


@pytest.fixture
def runtime():
    for name, module in (("litert", "ai_edge_litert"), ("tflite-runtime", "tflite_runtime")):
        if importlib.util.find_spec(module):
            return name
    pytest.skip("no TFLite runtime is installed")


def opened(runtime, content):
    interpreter = load_runtime(runtime).Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return interpreter


def own_operators(interpreter):
    return [each["op_name"] for each in interpreter._get_ops_details() if each["op_name"] != "DELEGATE"]


@pytest.mark.parametrize(("recipe", "tolerance"), [("float32", 1e-4), ("int8", 1)])
def test_a_graph_that_was_cut_gives_what_the_whole_one_holds_there(runtime, recipe, tolerance):
    content = read_model_file(DATA / f"tiny.{recipe}.tflite").model
    module = load_runtime(runtime)
    whole = module.Interpreter(
        model_content=content,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    whole.allocate_tensors()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), dtype=np.uint8)
    whole.set_tensor(whole.get_input_details()[0]["index"], pixels)
    whole.invoke()
    names, nodes = own_operators(whole), whole._get_ops_details()
    for count in range(1, len(names) + 1):
        part = opened(runtime, cut_graph(content, count))
        assert own_operators(part) == names[:count]
        part.set_tensor(part.get_input_details()[0]["index"], pixels)
        part.invoke()
        (output,) = part.get_output_details()
        assert output["index"] == nodes[count - 1]["outputs"][0]
        if runtime == "tflite-runtime" and count < len(names):
            continue  # its kernels may write over what they have read, also where all tensors are to be preserved
        values = [each.get_tensor(output["index"]).astype(np.float64) for each in (part, whole)]
        assert np.abs(values[0] - values[1]).max() <= tolerance


def test_all_that_a_cut_leaves_unused_is_its_output(runtime):
    # Two convolutions of the input, and their sum: without the sum both are outputs.
    module = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    keras = module.keras
    pixels = keras.Input((8, 8, 3), batch_size=1)
    sides = [keras.layers.Conv2D(4, 3)(pixels) for _ in range(2)]
    content = module.lite.TFLiteConverter.from_keras_model(keras.Model(pixels, keras.layers.Add()(sides))).convert()
    whole = opened(runtime, content)
    names = own_operators(whole)
    assert names == ["CONV_2D", "CONV_2D", "ADD"]
    assert [len(opened(runtime, cut_graph(content, count)).get_output_details()) for count in (1, 2, 3)] == [1, 2, 1]


def test_an_operator_takes_what_it_adds_to_the_shortest_run():
    times = np.array([[1.0, 9.0, 3.5], [2.0, 3.0, 4.0], [1.5, 3.1, 9.0]] * 4)
    found, low, high = estimate(times, is_running_sum=True)
    assert found.tolist() == [1.0, 2.0, 0.5]
    assert low.tolist() == [1.0, 1.0, 0.0]
    assert high.tolist() == [2.0, 2.5, pytest.approx(5.9)]
    found, low, high = estimate(times, is_running_sum=False)
    assert found.tolist() == low.tolist() == [1.0, 3.0, 3.5]
    assert high.tolist() == [2.0, 9.0, 9.0]


def test_what_it_takes_lies_within_what_single_rounds_say():
    rng = np.random.default_rng(1)
    for _ in range(50):
        times = rng.lognormal(0, 1, (6, 9)).cumsum(axis=1) * rng.lognormal(0, 0.3, (6, 9))
        found, low, high = estimate(times, is_running_sum=True)
        assert (low <= found + 1e-12).all()
        assert (found <= high + 1e-12).all()


def test_more_of_a_graph_takes_no_less():
    found, *_ = estimate(np.array([[1.0, 4.0, 3.0]] * 6), is_running_sum=True)
    assert found.tolist() == [1.0, 2.0, 0.0]


def test_rounds_end_in_time_but_not_before_there_are_enough(runtime):
    content = read_model_file(DATA / "tiny.float32.tflite").model
    pixels = np.zeros((1, 8, 12, 3), np.uint8)
    ticks = iter(range(0, 10**15, 10**9))  # each look at the clock takes a second
    found = time_tflite_operators(content, runtime, 1, pixels, lambda: next(ticks))
    assert (found.method, found.rounds) == ("cuts", 6)
    assert found.sum_ms == 1000  # every cut took one second: all of it is the first operator's
    assert found.operators[0].ms == 1000
    assert {each.by for each in found.operators} <= {"XNNPACK", "runtime"}


def test_what_the_runtime_refuses_is_not_measured(runtime):
    found = time_tflite_operators(b"\x10\0\0\0TFL3" + bytes(64), runtime, 1, np.zeros(1, np.uint8))
    assert found.operators == ()
    assert found.not_measured.startswith("the graph cannot be cut short: ")


def test_onnx_runtime_profiles_its_operators():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    content = read_model_file(DATA / "tiny.float32.onnx").model
    found = time_onnx_operators(content, 1, np.zeros((1, 8, 12, 3), np.uint8))
    assert (found.method, found.rounds) == ("profiler", 10)
    assert any("Conv" in each.kind for each in found.operators)
    assert all(0 <= each.ms == each.low_ms <= each.high_ms for each in found.operators)
    assert not list(Path().glob("profile*"))


TIMES = OperatorTimes(
    "cuts",
    10,
    (
        OperatorTime("quantize", "QUANTIZE", "runtime", 0.1, 0.09, 0.12),
        OperatorTime("a/very/long/name/" * 5 + "conv;bias", "CONV_2D", "XNNPACK", 0.75, 0.7, 0.8),
        OperatorTime("scores", "SOFTMAX", "runtime", 0.15, 0.1, 0.2),
    ),
)


def test_what_takes_most_comes_first_and_what_it_covers_is_said():
    first, *lines = TIMES.describe(p50_ms=1.25)
    assert first == (
        "its 3 operators take 1.00 ms, the shortest of 10 rounds: 80% of p50; of that (with the range of single rounds)"
    )
    assert [line.split(":")[0] for line in lines] == ["75.0%", "15.0%", "10.0%"]
    assert lines[0].startswith("75.0%: 0.750 ms (0.700 to 0.800) CONV_2D …")
    assert lines[0].endswith("/conv, XNNPACK")
    assert lines[1] == "15.0%: 0.150 ms (0.100 to 0.200) SOFTMAX scores, runtime"


def test_a_report_holds_the_operators(model, pictures, tmp_path, runtime):
    report = benchmark([model()], pictures(), runs=1, warmup=0, operators=True)
    (file,) = report.files
    found = file.measured.operator_times
    assert found.method == "cuts"
    assert len(found.operators) == file.measured.cost.operators
    assert sum(each.by == "XNNPACK" for each in found.operators) == file.measured.cost.delegated
    write_report(report, tmp_path / "report")
    again = read_report(tmp_path / "report")
    assert again.files[0].measured.operator_times == found
    assert any("operators take" in line for line in file_notes(again)[file.name])
    assert "operators take" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    record = json.loads((tmp_path / "report" / "report.json").read_text())["files"][0]["measured"]["operator_times"]
    assert record["sum_ms"] == pytest.approx(found.sum_ms)


def test_a_cut_that_crashes_costs_only_the_times(model, pictures, monkeypatch):
    command = _processes.child_command()
    dies = "import os, edgevision_benchmarks._child as c; c._Opened.operators = lambda self: os.abort()"
    code = command[2].replace("from edgevision_benchmarks._child", f"{dies}\nfrom edgevision_benchmarks._child")
    monkeypatch.setattr(_processes, "child_command", lambda: [command[0], "-c", code])
    (file,) = benchmark([model()], pictures(), runs=1, warmup=0, operators=True).files
    assert file.error is None
    times = file.measured.operator_times
    assert times.not_measured == "the runtime crashed: its process died of SIGABRT"
    assert times.describe(1.0) == [f"time of its operators: not measured: {times.not_measured}"]
