"""benchmarks/field.py, with whatever peers are installed beside this Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgevision_device import Classifier, Metadata, Normalization, seal

LABELS = ("red", "green", "blue", "dark")
HEIGHT, WIDTH = 6, 8


@pytest.fixture
def benchmarks(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the scripts, which import one another."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return root / "benchmarks"


@pytest.fixture
def field(benchmarks: Path) -> ModuleType:
    import field

    return field


@pytest.fixture
def model(root: Path, tmp_path: Path) -> Path:
    """`colors.float32.tflite`, 8 wide and 6 high: mean color times a matrix, softmax."""
    content = (root / "tests/benchmarks/data/colors.tflite").read_bytes()
    path = tmp_path / "colors.float32.tflite"
    path.write_bytes(seal(content, metadata(), "tflite"))
    return path


def metadata(**changes: Any) -> Metadata:
    values: dict[str, Any] = dict(
        labels=LABELS, size_wh=(WIDTH, HEIGHT), resize="crop", normalization=Normalization((0.0,), (255.0,))
    )
    return Metadata(name="colors", recipe="float32", **{**values, **changes})


def write_onnx(beside: Path, shift: int = 0, **changes: Any) -> Path:
    """Write the same weights as ONNX; with `shift` each label gets the scores of another."""
    import onnx
    from ai_edge_litert import schema_py_generated as schema
    from onnx import TensorProto, helper, numpy_helper

    graph: Any = schema.ModelT.InitFromPackedBuf(beside.read_bytes(), 0)
    tensors, buffers = graph.subgraphs[0].tensors, graph.buffers
    bias, weights = (np.frombuffer(bytes(buffers[tensors[number].buffer].data), np.float32) for number in (1, 2))
    kept = {
        "scale": np.array(1 / 255, np.float32),
        "weights": np.roll(weights.reshape(4, 3), shift, 0),
        "bias": np.roll(bias, shift),
    }
    steps = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    made = helper.make_graph(
        steps,
        "colors",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, (1, HEIGHT, WIDTH, 3))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 4))],
        [numpy_helper.from_array(value, name) for name, value in kept.items()],
    )
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(whole)
    path = beside.with_suffix(".onnx")
    path.write_bytes(seal(whole.SerializeToString(), metadata(**changes), "onnx"))
    return path


def run(benchmarks: Path, *arguments: object) -> str:
    line = [sys.executable, str(benchmarks / "field.py"), "--installed", "--rounds", "6", "--turn-seconds", "0.01"]
    done = subprocess.run([*line, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_installed_is_measured_and_the_rest_has_reasons(benchmarks: Path, model: Path) -> None:
    write_onnx(model)
    record = json.loads(run(benchmarks, model, "--json"))
    rows = {(each["group"], each["peer"]): each for each in record["rows"]}
    assert (record["file"], record["threads"], record["rounds"]) == (model.name, 1, 6)
    for group in ("frame", "bare"):
        assert rows[group, "ours"]["ratio"] == 1
        assert "edgevision-device" in rows[group, "ours"]["versions"]
    measured = [each for each in record["rows"] if "reason" not in each]
    names = {each["peer"] for each in measured}
    # These are in requirements.lock; MediaPipe is not, and cannot be.
    assert {"ours", "again", "script", "litert-tool", "onnxruntime", "opencv"} <= names
    assert "mediapipe" in rows["frame", "mediapipe"]["reason"]
    for each in measured:
        assert each["p50_ms"] > 0
        assert each["ratio_low"] <= each["ratio"] <= each["ratio_high"]
        assert len(each["ratios"]) == 6
        if each["peer"] == "litert-tool":
            assert each["same_labels"] is None
        elif each["group"] == "bare" or each["peer"] in ("ours", "again"):
            assert (each["same_labels"], each["compared_labels"]) == (30, 30), each
        else:
            # From 640 x 480 to 8 x 6 the usual resizing skips most pixels, and sees other colors.
            assert 0 < each["same_labels"] <= each["compared_labels"] == 30
    assert ("bare", "script") not in rows
    assert ("frame", "litert-tool") not in rows


def test_other_labels_are_told(benchmarks: Path, model: Path) -> None:
    write_onnx(model, shift=1)
    text = run(benchmarks, model, "--peers", "onnxruntime")
    _, bare = [each for each in text.splitlines() if each.startswith("| ONNX Runtime")]
    assert bare.endswith("| 0 of 30 |")
    assert "### colors.float32.tflite, 8 x 6, 1 thread\n" in text


def test_a_file_that_is_no_twin_is_a_reason(benchmarks: Path, model: Path) -> None:
    import field_files

    files = field_files.Files(model, model.parent, metadata())
    with pytest.raises(field_files.NoFile, match=r"no colors\.float32\.onnx beside the file"):
        files.path("onnx")
    write_onnx(model, labels=LABELS[::-1])
    with pytest.raises(field_files.NoFile, match="another network"):
        files.path("onnx")
    with pytest.raises(field_files.NoFile, match="reads no int8 file"):
        field_files.Files(model, model.parent, Metadata(**{**vars(metadata()), "recipe": "int8"})).path("float-onnx")


def test_the_script_gets_a_file_that_takes_floats(benchmarks: Path, model: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    import field_files

    path, mean, std = field_files.Files(model, model.parent, metadata()).path("script")
    assert mean == [0]
    assert std == pytest.approx([255])
    pixels = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], ((pixels - np.float32(mean)) / np.float32(std)).astype(np.float32))
    interpreter.invoke()
    expected = Classifier(model, threads=1).run(pixels)
    np.testing.assert_allclose(interpreter.get_tensor(output["index"])[0], expected, atol=1e-6)
    # What takes floats already has no cast to take out.
    assert field_files.float_input(path.read_bytes()) is None


def test_a_process_that_ends_is_a_reason(benchmarks: Path, field: ModuleType, model: Path) -> None:
    import field_files
    import field_peers

    stored = model.parent / "pictures.npz"
    np.savez(stored, bgr=np.zeros((2, 48, 64, 3), np.uint8), input=np.zeros((2, HEIGHT, WIDTH, 3), np.uint8))
    files = field_files.Files(model, model.parent, metadata())
    process = field_peers.Process(field_peers.PEERS[0], files, stored, 1, True)
    try:
        assert set(process.run("bare", 5)) == {"mean_ms", "p50_ms", "cpu_ms", "own_s"}
        with pytest.raises(field_peers.PeerFailed, match=r"KeyError|ValueError|TypeError"):
            process.run("bare", "five")
        with pytest.raises(field_peers.PeerFailed):
            process.run("bare", 5)
    finally:
        process.close()
    mediapipe = next(peer for peer in field_peers.PEERS if peer.name == "mediapipe")
    with pytest.raises(field_peers.PeerFailed, match="no option for threads"):
        field_peers.Process(mediapipe, files, stored, 2, False)


def test_an_environment_that_cannot_be_made_is_a_reason(
    benchmarks: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import environments
    import field_files
    import field_peers

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    peer = next(each for each in field_peers.PEERS if each.name == "mediapipe")
    with pytest.raises(field_peers.PeerFailed, match="uv is not installed"):
        field_peers.Process(peer, field_files.Files(model, tmp_path, metadata()), tmp_path / "none", 1, False)


def test_every_round_is_dealt_out_in_another_order_and_what_fails_is_out(
    benchmarks: Path, field: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import argparse

    import field_peers

    monkeypatch.setattr(field, "REST_S", 0)
    asked: list[tuple[str, str, int]] = []

    class Recorded:
        def __init__(self, name: str) -> None:
            self.name = name
            self.ready = {"groups": ["frame", "bare"]}

        def run(self, group: str, count: int) -> dict[str, Any]:
            asked.append((self.name, group, count))
            if self.name == "opencv" and len(asked) > 12:
                raise field_peers.PeerFailed("died")
            return {"mean_ms": 2.0, "p50_ms": 2.0, "cpu_ms": None, "own_s": 0.0}

    peers = [peer for peer in field_peers.PEERS if peer.name in ("ours", "onnxruntime", "opencv")]
    reasons: dict[str, str] = {}
    args = argparse.Namespace(rounds=5, turn_seconds=0.1, seed=0)
    turns, _ = field.take_turns(peers, {peer.name: Recorded(peer.name) for peer in peers}, reasons, args)
    assert reasons == {"opencv": "died"}
    # The first round finds out how often a run of 2 ms fits into a tenth of a second.
    assert [count for *_, count in asked[:12]] == [10] * 6 + [50] * 6
    assert [pair for *pair, _ in asked[:6]] != [pair for *pair, _ in asked[6:12]]
    assert {pair: len(each) for pair, each in turns.items() if pair[0] != "opencv"} == {
        (name, group): 5 for name in ("ours", "onnxruntime") for group in ("frame", "bare")
    }


@pytest.mark.parametrize("last", [0, 14], ids=["in the round that does not count", "later"])
def test_without_ours_there_is_nothing_to_compare_with(
    benchmarks: Path, field: ModuleType, monkeypatch: pytest.MonkeyPatch, model: Path, last: int
) -> None:
    import argparse

    import field_peers

    asked: list[str] = []
    real = field_peers.Process.run

    def run_or_die(process: Any, group: str, count: Any) -> dict[str, Any]:
        asked.append(group)
        # What is no number ends the process.
        return real(process, group, count if len(asked) <= last else "no number")

    monkeypatch.setattr(field, "REST_S", 0)
    monkeypatch.setattr(field_peers.Process, "run", run_or_die)
    peers = [peer for peer in field_peers.PEERS if peer.name in ("ours", "again")]
    args = argparse.Namespace(threads=1, rounds=6, turn_seconds=0.01, seed=0, installed=True)
    with pytest.raises(SystemExit, match=rf"{model.name}: edgevision.*Error"):
        field.measure(model, peers, args)


@pytest.mark.parametrize("rounds", ["1", "5"])
def test_fewer_rounds_than_an_interval_takes_are_refused(
    field: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rounds: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["field.py", "absent.tflite", "--rounds", rounds])
    with pytest.raises(SystemExit) as stopped:
        field.main()
    assert stopped.value.code == 2
    assert f"--rounds must be 6 or more, for an interval of 95 %, got {rounds}" in capsys.readouterr().err
