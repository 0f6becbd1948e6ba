"""Choosing and opening an interpreter, and saying what is missing."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgevision_device import FileError, MissingPackageError, UsageError, default_threads, open_runtime, read_model_file


@pytest.fixture
def model(data: Path) -> bytes:
    return read_model_file(data / "tiny.int8.tflite").model


def test_the_runtime_says_what_it_is(runnable: Path) -> None:
    file = read_model_file(runnable)
    runtime = open_runtime(file.model, file.format, threads=1)
    assert runtime.name in ("litert", "tflite-runtime", "onnxruntime")
    assert runtime.version[0].isdigit()
    assert runtime.threads == 1
    assert runtime.input.shape == (1, 8, 12, 3)
    assert runtime.input.dtype == np.uint8
    assert runtime.output.shape == (1, 4)
    assert runtime.output.dtype == np.float32


def test_the_version_outlives_an_installation(
    model: bytes, require: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require("tflite")
    from edgevision_device._runtimes import _tflite

    runtime = open_runtime(model, "tflite")
    version = runtime.version
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", [])  # as while `pip install -U` has removed the one before
        assert runtime.version == version
        _tflite._version_of.cache_clear()  # pyright: ignore[reportPrivateUsage]
        assert runtime.version == "unknown"
    _tflite._version_of.cache_clear()  # pyright: ignore[reportPrivateUsage]


def test_the_quantization_of_the_input_is_the_normalization(model: bytes, require: Callable[[str], None]) -> None:
    require("tflite")
    tensor = open_runtime(model, "tflite").input
    assert (tensor.scale, tensor.zero_point) == (1 / 128, 127)


def test_the_default_threads_are_the_cores_at_most_four(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= default_threads() <= 4
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    assert default_threads() == 4
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert default_threads() == 1


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_threads_out_of_range_are_refused(model: bytes, threads: int) -> None:
    with pytest.raises(UsageError, match=f"threads must lie between 1 and 256, got {threads}"):
        open_runtime(model, "tflite", threads=threads)


@pytest.mark.parametrize(
    ("format", "name", "message"),
    [
        ("tflite", "liteRT", "unknown tflite runtime 'liteRT'; did you mean 'litert'?"),
        ("tflite", "onnxruntime", "unknown tflite runtime 'onnxruntime'"),
        ("onnx", "onnxrt", "did you mean 'onnxruntime'?"),
    ],
)
def test_an_unknown_runtime_is_refused_with_the_closest(model: bytes, format: str, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_runtime(model, format, runtime=name)
    assert message in str(caught.value)


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


TFLITE_MODULES = ("ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime", "tflite_runtime.interpreter")


def test_missing_runtimes_name_their_install_commands(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, *TFLITE_MODULES)
    with pytest.raises(MissingPackageError) as caught:
        open_runtime(model, "tflite")
    assert "pip install ai-edge-litert;" in str(caught.value)
    assert str(caught.value).endswith("pip install tflite-runtime 'numpy<2'")


def test_the_missing_runtime_that_was_asked_for_is_named(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime", *TFLITE_MODULES)
    with pytest.raises(MissingPackageError, match=r"^the runtime litert cannot .*; pip install ai-edge-litert$"):
        open_runtime(model, "tflite", runtime="litert")
    with pytest.raises(MissingPackageError, match=r"^the runtime onnxruntime cannot .*; pip install onnxruntime$"):
        open_runtime(model, "onnx")


def stand_in(monkeypatch: pytest.MonkeyPatch, interpreter: Any) -> None:
    """Pretend that tflite-runtime is installed and LiteRT is not."""
    hide(monkeypatch, "ai_edge_litert", "ai_edge_litert.interpreter")
    package, module = types.ModuleType("tflite_runtime"), types.ModuleType("tflite_runtime.interpreter")
    module.Interpreter = interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", module)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.14.0")


def test_tflite_runtime_under_numpy_2_is_refused_before_it_dies(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, None)
    monkeypatch.setattr(np, "__version__", "2.0.2")
    with pytest.raises(MissingPackageError, match=r"needs numpy below 2, found 2.0.2; pip install 'numpy<2'"):
        open_runtime(model, "tflite")


def test_the_second_runtime_stands_in_for_the_first(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interpreter:
        def __init__(self, *, model_content: bytes, num_threads: int, experimental_delegates: object) -> None:
            self.threads = num_threads

        def allocate_tensors(self) -> None:
            pass

        def get_input_details(self) -> list[dict[str, Any]]:
            return [{"index": 0, "shape": np.array([1, 8, 12, 3]), "dtype": np.uint8, "quantization": (0.0, 0)}]

        def get_output_details(self) -> list[dict[str, Any]]:
            return [{"index": 1, "shape": np.array([1, 4]), "dtype": np.float32, "quantization": (0.0, 0)}]

    stand_in(monkeypatch, Interpreter)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert open_runtime(model, "tflite").name == "tflite-runtime"


def test_a_runtime_that_refuses_a_model_is_one_line(require: Callable[[str], None]) -> None:
    require("tflite")
    with pytest.raises(FileError, match="refuses the model") as caught:
        open_runtime(b"\0\0\0\0TFL3" + bytes(64), "tflite")
    assert "\n" not in str(caught.value)


def test_onnxruntime_refuses_what_is_no_model_in_one_line(require: Callable[[str], None]) -> None:
    require("onnx")
    with pytest.raises(FileError, match="refuses the model") as caught:
        open_runtime(b"hello", "onnx")
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_at_run_time_is_one_line(runnable: Path) -> None:
    file = read_model_file(runnable)
    runtime = open_runtime(file.model, file.format)
    with pytest.raises(FileError, match=f"{runtime.name} .* cannot run the model: ") as caught:
        runtime.run(np.zeros((1, 3, 5, 3), np.uint8))
    assert "\n" not in str(caught.value)
