"""`edgevision demo`: everything it promises is there and says what is true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision import Classifier, load_data, main, read_picture, read_run
from edgevision_device import read_model_file

FILES = [
    *("digits.float32.tflite", "digits.float16.tflite", "digits.dynamic.tflite", "digits.int8.tflite"),
    *("digits.int8-selective.tflite", "digits.int8x16.tflite"),
    *("digits.float32.onnx", "digits.float16.onnx", "digits.dynamic.onnx", "digits.int8.onnx"),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that trained two epochs instead of twenty."""
    out = tmp_path_factory.mktemp("demo") / "out"
    assert main(["demo", "--epochs", "2", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def report(demo: Path) -> dict[str, Any]:
    return json.loads((demo / "report.json").read_text())


@pytest.fixture(scope="module")
def records(demo: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (demo / "stream.jsonl").read_text().splitlines()]


def test_nothing_is_missing_and_nothing_left_over(demo: Path) -> None:
    assert sorted(path.name for path in demo.iterdir()) == [
        *("data", "exports", "report.html", "report.json", "run", "stream.jsonl"),
    ]
    assert sorted(path.name for path in (demo / "exports").iterdir()) == sorted(FILES)


def test_the_test_pictures_are_there_to_look_at(demo: Path) -> None:
    folders = sorted((demo / "data" / "test").iterdir())
    assert [folder.name for folder in folders] == list("0123456789")
    assert [len(list(folder.glob("*.png"))) for folder in folders] == [50] * 10
    assert sum(path.is_file() for path in (demo / "data").rglob("*")) == 500


def test_the_run_is_a_run(demo: Path) -> None:
    run = read_run(demo / "run")
    assert (run.model, run.data, run.labels) == ("slim", "digits", tuple("0123456789"))
    assert run.trained_on == load_data("digits", (28, 28), "stretch").train.origin
    assert run.val_accuracy > 0.85


def test_the_report_has_every_file(demo: Path, report: dict[str, Any]) -> None:
    assert [file["name"] for file in report["files"]] == FILES
    splits = load_data("digits", (28, 28), "stretch")
    assert report["pictures"]["sha256"] == splits.test.origin.sha256
    assert (report["pictures"]["name"], report["pictures"]["count"]) == ("digits", 500)
    assert report["command"].startswith("edgevision demo --epochs 2 --out ")
    for file in report["files"]:
        measured = file["measured"]
        assert file["error"] is None
        assert measured["pictures"] == 500
        assert measured["top1_share"] > 0.85
        assert measured["top1_low_share"] < measured["top1_share"] < measured["top1_high_share"]
        assert sum(sum(row.values()) for row in measured["confusion"].values()) == 500
        assert file["size_bytes"] == (demo / "exports" / file["name"]).stat().st_size
        latency = measured["latency"]
        assert 0 < latency["p50_ms"] <= latency["p90_ms"] <= latency["p99_ms"]


def test_the_report_agrees_with_the_model(demo: Path, report: dict[str, Any]) -> None:
    shares = {file["name"]: file["measured"]["top1_share"] for file in report["files"]}
    assert shares["digits.float32.tflite"] == shares["digits.float32.onnx"] == read_run(demo / "run").test_accuracy
    for file in report["files"]:
        low, high = file["measured"]["top1_low_share"], file["measured"]["top1_high_share"]
        assert low < shares["digits.float32.tflite"] < high, file["name"]


def test_the_page_stands_alone(demo: Path) -> None:
    html = (demo / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", html)
    assert "<svg" in html
    assert all(name in html for name in FILES)


def test_calibration_and_training_saw_no_test_pictures(demo: Path) -> None:
    splits = load_data("digits", (28, 28), "stretch")
    for name in FILES:
        metadata = read_model_file(demo / "exports" / name).metadata
        assert metadata.trained_on == splits.train.origin
        expected = splits.train.sample(100, 0).origin if "int8" in name else None
        assert metadata.calibrated_on == expected


def test_every_frame_is_recorded_or_dropped(demo: Path, records: list[dict[str, Any]]) -> None:
    # `dropped` counts from the start; what was dropped after the last record nobody knows.
    assert len(records) + records[-1]["dropped"] == records[-1]["frame"] + 1 <= 500
    assert len(records) > 250
    ids = [record["frame"] for record in records]
    assert ids == sorted(set(ids))
    assert all(0 <= record["score"] <= 1 and record["age_ms"] > 0 for record in records)


def test_the_stream_says_what_the_file_says(demo: Path, records: list[dict[str, Any]]) -> None:
    classifier = Classifier(demo / "exports" / "digits.int8.tflite")
    paths = sorted((demo / "data" / "test").rglob("*.png"))
    for record in records[:: len(records) // 20]:
        best = classifier.classify(read_picture(paths[record["frame"]]))[0]
        assert record["label"] == best.label
        assert record["score"] == pytest.approx(best.score, abs=1e-4)
    right = [record["label"] == paths[record["frame"]].parent.name for record in records]
    assert np.mean(right) > 0.85


def test_a_second_demo_is_refused(demo: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    assert main(["demo", "--out", str(demo)]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"edgevision: error: {demo}/data (and 5 more) exists already; choose another --out, or pass --overwrite\n"
    )
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before
