"""Exporting with proof: one file, the first that loses little enough, or none."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgevision import ExportOptions, Run, _models, _run_data, export, load_data
from edgevision._proof import export_to_judge, export_within
from edgevision._reference import Reference
from edgevision_converters import Gate, _tflite, fit_confidence
from edgevision_device import CheckError, Classifier, DataError, UsageError, mark_pictures, read_model_file

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_the_first_recipe_that_passes_is_the_only_file(run: Run, tmp_path: Path) -> None:
    climbed = export_within(run.folder, tmp_path, 100.0, options=ExportOptions(name="small"))
    assert [rung.recipe for rung in climbed.rungs] == ["int8"]
    made = climbed.require().made
    assert made is not None
    assert made.file.path == tmp_path / "small.int8.tflite"
    assert left_in(tmp_path) == ["small.int8.tflite"]
    (verified,) = made.verification.files
    assert verified.path == made.file.path
    # Neither training nor calibration saw what judged it.
    assert made.verification.judged.part == "test"


def test_where_no_recipe_passes_no_file_is_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shut(self: Gate, right_source: int, right_file: int, pictures: int) -> str:
        return "too coarse"

    monkeypatch.setattr(Gate, "failure", shut)  # how a real one decides: tests/converters
    climbed = export_within(run.folder, tmp_path, 0.0, options=ExportOptions(recipes=["dynamic", "int8"]))
    assert climbed.passed is None
    with pytest.raises(CheckError, match=r"^no recipe passes: int8: too coarse; dynamic: too coarse$"):
        climbed.require()
    assert left_in(tmp_path) == []
    assert "int8: too coarse" in capsys.readouterr().err


def test_all_rungs_share_model_pictures_and_conversion(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(owner: Any, name: str) -> None:
        kept = getattr(owner, name)

        def call(*arguments: Any, **more: Any) -> Any:
            calls.append(name)
            return kept(*arguments, **more)

        monkeypatch.setattr(owner, name, call)

    counted(_models, "load_keras_model")
    counted(_run_data, "load_data")
    counted(Reference, "scores")
    counted(_tflite.Int8Quantizer, "of")
    monkeypatch.setattr(Gate, "failure", lambda *_: "too coarse")
    climbed = export_within(run.folder, tmp_path, 0.0, options=ExportOptions(recipes=["int8", "int8-selective"]))
    assert [rung.recipe for rung in climbed.rungs] == ["int8", "int8-selective"]
    # The calibration, the verification and the judging part are loaded by two callers, from one decoded store.
    assert sorted(calls) == ["load_data", "load_data", "load_keras_model", "of", "scores"]


def test_a_model_that_cannot_be_loaded_is_no_rung_that_failed(
    command: Command, run: Run, digits_folder: Path, tmp_path: Path
) -> None:
    broken, labels = tmp_path / "broken.keras", tmp_path / "labels.txt"
    broken.write_bytes(run.model_path.read_bytes()[:5000])
    labels.write_text("\n".join(run.labels))
    data = ["--calibrate", digits_folder, "--evaluate", digits_folder]
    done = command("export", broken, "--labels", labels, "--out", "out", *data, "--max-drop", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "broken.keras was cut short or is damaged" in done.stderr
    assert "recipe" not in done.stderr
    assert left_in(tmp_path / "out") == []


def test_rungs_that_failed_are_in_the_record(command: Command, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "failure", lambda *_: "too coarse")
    line = ["export", run.folder, "--out", "out", "--recipes", "int8,dynamic", "--max-drop", "1", "--json"]
    done = command(*line)
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert (record["path"], record["verification"]) == (None, None)
    assert [(rung["recipe"], rung["failure"]) for rung in record["rungs"]] == [
        ("int8", "too coarse"),
        ("dynamic", "too coarse"),
    ]
    assert record["rungs"][0]["top1"]["pictures"] > 10


def test_pictures_that_were_seen_are_refused_before_anything_is_converted(
    run: Run, digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = load_data(str(digits_folder), (28, 20), "stretch").train
    for name in train.names[::8]:
        target = tmp_path / "seen" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(digits_folder / name, target)
    with pytest.raises(DataError, match="the model was trained on"):
        export_to_judge(run.folder, tmp_path / "out", str(tmp_path / "seen"))
    assert left_in(tmp_path / "out") == []
    assert "float32" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format", "recipe", "tried"),
    [("tflite", "float32", "int8, int8-selective, int8x16"), ("onnx", "float32", "int8, dynamic, float16;")],
)
def test_what_holds_no_rung_is_refused(run: Run, tmp_path: Path, format: str, recipe: str, tried: str) -> None:
    with pytest.raises(UsageError, match=rf"--max-drop tries, of \.{format} files, {tried}"):
        export_within(run.folder, tmp_path / "out", 1.0, options=ExportOptions([format], [recipe]))
    assert left_in(tmp_path) == []


def test_a_file_that_exists_is_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "small.int8.tflite").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"small\.int8\.tflite exists"):
        export_within(run.folder, tmp_path, 100.0, options=ExportOptions(name="small"))
    assert (tmp_path / "small.int8.tflite").read_bytes() == b"mine"
    assert left_in(tmp_path) == ["small.int8.tflite"]


def test_a_model_that_is_no_run_needs_pictures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--max-drop needs pictures that judge; give --evaluate DATA"):
        export_within("efficientnet-lite0", tmp_path / "out", 1.0)


def test_the_command_judges_what_it_writes(command: Command, run: Run, digits_folder: Path, tmp_path: Path) -> None:
    wanted = ["--recipes", "dynamic", "--formats", "tflite", "--evaluate", str(digits_folder)]
    done = command("export", run.folder, "--out", tmp_path, *wanted)
    assert done.returncode == 0, done.stderr
    assert "gate: top-1 at least 98 % of the source's" in done.stdout
    assert left_in(tmp_path) == [f"{run.folder.name}.dynamic.tflite"]


# Confidence


def test_confidence_is_fitted_on_val_and_kept_in_the_file(
    command: Command, run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path
) -> None:
    wanted = ["--recipes", "float32,int8", "--fit-confidence", "--max-error", "0.2"]
    done = command("export", run.folder, "--out", tmp_path / "fitted", *wanted)
    assert done.returncode == 0, done.stderr
    val = load_data(str(digits_folder), (28, 20), "stretch").val
    for name, plain in exports.items():
        # Both ways, the command's and Python's, come to the same.
        origin = replace(val.origin, marks=mark_pictures(val.hashes, len(val)))
        expected = fit_confidence(plain, val.pixels(slice(None)), val.targets, max_error=0.2, origin=origin)
        file = read_model_file(tmp_path / "fitted" / name)
        assert file.metadata == expected.metadata
        fitted_on = file.metadata.fitted_on
        assert fitted_on is not None
        assert all(map(fitted_on.holds, val.hashes))
        assert file.model == read_model_file(plain).model
        for line in expected.describe():
            assert f"{name}: {line}\n" in done.stdout
        assert len(expected.describe()) == 2


def test_a_fitted_file_is_judged_like_any_other(
    command: Command, run: Run, digits_folder: Path, tmp_path: Path
) -> None:
    wanted = [
        "--recipes",
        "int8,dynamic",
        "--max-drop",
        "100",
        "--evaluate",
        digits_folder,
        "--fit-confidence",
        "--json",
    ]
    done = command("export", run.folder, "--out", tmp_path, *wanted)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    fitted = record["confidence"]
    assert read_model_file(record["path"]).metadata.temperature == fitted["temperature"]["temperature"]
    assert fitted["temperature"]["pictures"] == json.loads((run.folder / "run.json").read_text())["pictures"]["val"]
    assert fitted["rejection"] is None
    assert left_in(tmp_path) == [f"{run.folder.name}.int8.tflite"]


def test_where_no_threshold_is_good_enough_no_file_is_left(run: Run, digits_folder: Path, tmp_path: Path) -> None:
    # Every picture under a wrong name, so that the surest answers are wrong.
    data = tmp_path / "wrong"
    for label, wrong in (("ace", "naught"), ("naught", "seven"), ("seven", "ace")):
        shutil.copytree(digits_folder / label, data / wrong)
    options = ExportOptions(
        ["tflite"], ["float32"], calibrate=str(data), fit_confidence=True, max_error=0.0, name="unsure"
    )
    with pytest.raises(
        CheckError, match=r"^unsure\.float32\.tflite: no reject threshold keeps .*; the file was not kept$"
    ):
        export(run.folder, tmp_path / "out", options)
    assert left_in(tmp_path / "out") == []


def test_confidence_needs_pictures_with_labels(
    command: Command, run: Run, digits_folder: Path, paint: Callable[..., Path], tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(run.labels))
    out = tmp_path / "out"
    theirs = ["export", run.model_path, "--labels", labels, "--out", out, "--recipes", "dynamic", "--formats", "tflite"]
    refused = command(*theirs, "--fit-confidence")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "edgevision: error: --fit-confidence needs pictures with labels that trained nothing; give --calibrate DATA\n"
    )
    alone = command(*theirs, "--max-error", "0.01")
    assert alone.stderr.endswith("--max-error is for the reject threshold that --fit-confidence fits; give both\n")
    senseless = command(*theirs, "--fit-confidence", "--calibrate", digits_folder, "--max-error", "1")
    assert "is a share of at least 0 and less than 1, got 1" in senseless.stderr
    birds = command(*theirs, "--fit-confidence", "--calibrate", paint(tmp_path / "birds", {"hen": 9, "owl": 9}))
    assert "the pictures have the label 'hen', which the model does not know" in birds.stderr
    assert not out.exists()
    given = command(*theirs, "--fit-confidence", "--calibrate", digits_folder)
    assert given.returncode == 0, given.stderr
    assert Classifier(out / "model.dynamic.tflite").metadata.reject_threshold == 0


def test_confidence_is_not_fitted_on_what_trained_the_run(run: Run, digits_folder: Path, tmp_path: Path) -> None:
    trained_on = read_model_file(
        export(run.folder, tmp_path, ExportOptions(["onnx"], ["float32"]))[0].path
    ).metadata.trained_on
    assert trained_on is not None
    splits = load_data(str(digits_folder), (28, 20), "stretch")
    for part, names in (("train", splits.test.names), ("val", splits.train.names)):
        for name in names:
            target = tmp_path / "turned" / part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(digits_folder / name, target)
    options = ExportOptions(["onnx"], ["dynamic"], calibrate=str(tmp_path / "turned"), fit_confidence=True)
    with pytest.raises(
        DataError, match=r"three was trained on 64 of the \d+ val pictures of turned: val/ace/.*--calibrate"
    ):
        export(run.folder, tmp_path / "out", options)
    assert left_in(tmp_path / "out") == []
