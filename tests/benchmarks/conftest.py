"""What the benchmark tests share. They run on Python 3.9 to 3.13, without TensorFlow."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pytest

from edgevision_benchmarks import (
    Conditions,
    FileResult,
    Measurement,
    Pictures,
    Report,
    Settings,
    _load,
    _sustained,
)
from edgevision_device import Metadata, Normalization, Percentiles, seal

#: The script in data/ that made the model; it needs TensorFlow.
collect_ignore = ["data"]

LABELS = ("red", "green", "blue", "dark")
PIXELS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200), "dark": (5, 5, 5)}


@pytest.fixture(autouse=True)
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for the machine's load, or for it to cool down."""
    monkeypatch.setattr(_load, "SAMPLE_S", 0.02)
    monkeypatch.setattr(_sustained, "COOLING_S", 0)


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Seal the model of data/colors.tflite (8 wide, 6 high) as `name`, with metadata of one's choice."""
    if not any(importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite_runtime")):
        pytest.skip("no TFLite runtime is installed")

    def make(name: str = "colors.float32.tflite", recipe: str = "float32", **changes: Any) -> Path:
        values = dict(labels=LABELS, size_wh=(8, 6), resize="stretch", normalization=Normalization((0.0,), (255.0,)))
        metadata = Metadata(name="colors", recipe=recipe, **{**values, **changes})
        content = (Path(__file__).parent / "data" / "colors.tflite").read_bytes()
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(seal(content, metadata, "tflite"))
        return path

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Write PNG pictures, 10 wide and 7 high, to `folder/<label>/`: `shown` of each color, one blue as red."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

    def make(folder: str = "data", shown: int = 3, names: Optional[dict[str, str]] = None) -> Path:
        for label, color in PIXELS.items():
            home = tmp_path / folder / (names or {}).get(label, label)
            home.mkdir(parents=True)
            for number in range(shown):
                rgb = np.full((7, 10, 3), color, np.uint8)
                rgb[0, 0] = number
                cv2.imwrite(str(home / f"{number}.png"), rgb[..., ::-1])
        wrong = np.full((7, 10, 3), PIXELS["blue"], np.uint8)
        cv2.imwrite(str(tmp_path / folder / (names or {}).get("red", "red") / "wrong.png"), wrong[..., ::-1])
        return tmp_path / folder

    return make


def measurement(confusion: dict[str, dict[str, int]], p50_ms: float = 1.0) -> Measurement:
    return Measurement(
        runtime="litert",
        runtime_version="2.3.0",
        threads=2,
        confusion=confusion,
        open_ms=5.0,
        first_ms=2 * p50_ms,
        warmup_runs=20,
        latency=Percentiles(200, p50_ms, 1.1 * p50_ms, 1.5 * p50_ms),
        preprocess=Percentiles(100, 0.1, 0.2, 0.3),
        memory_peak_bytes=70_000_000,
        memory_before_bytes=60_000_000,
        memory_file_bytes=10_000_000,
    )


@pytest.fixture
def make_report() -> Callable[..., Report]:
    """Build a report without measuring: `(name, format, recipe, size_bytes, measurement or error)` for each file."""

    def make(*files: tuple[str, str, str, int, Any], labels: tuple[str, ...] = LABELS) -> Report:
        rows = [
            FileResult(
                path=f"exports/{name}",
                name=name,
                size_bytes=size_bytes,
                sha256="ab" * 32,
                format=format,
                recipe=recipe,
                error=found if isinstance(found, str) else None,
                measured=found if isinstance(found, Measurement) else None,
            )
            for name, format, recipe, size_bytes, found in files
        ]
        machine = Conditions(None, "A processor", 4, "aarch64", 32, 2**32, "A system", "Linux 6", "3.11.2", None)
        return Report(
            edgevision="0.1.0",
            created="2026-01-02T03:04:05+00:00",
            command="edgevision-benchmark exports/a.tflite --data data",
            conditions=machine,
            pictures=Pictures("data", "test", "cd" * 32, 100, labels),
            settings=Settings(20, 2.0, 200, 8.0, 30),
            files=tuple(rows),
        )

    return make


@pytest.fixture
def report(make_report: Callable[..., Report]) -> Report:
    """A file that was measured, 19 of 20 pictures right in 10 ms, and one that crashed."""
    found = measurement({"red": {"red": 9, "blue": 1}, "blue": {"blue": 10}}, 10.0)
    return make_report(
        ("a.int8.tflite", "tflite", "int8", 110_000, found), ("broken.onnx", "onnx", "int8", 90_000, "it crashed")
    )


@pytest.fixture(name="measurement")
def measurement_fixture() -> Callable[..., Measurement]:
    return measurement
