"""Exporting with proof: one file, the first that loses little enough, or none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision import Run
from edgevision._export import ExportOptions
from edgevision._proof import export_within
from edgevision_converters import Gate
from edgevision_device import CheckError, UsageError

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


@pytest.mark.parametrize("options", [ExportOptions(["onnx"]), ExportOptions(recipes=["float32"])], ids=str)
def test_what_holds_no_rung_is_refused(run: Run, tmp_path: Path, options: ExportOptions) -> None:
    with pytest.raises(UsageError, match=r"--max-drop tries \.tflite files, one of int8, int8-selective"):
        export_within(run.folder, tmp_path / "out", 1.0, options=options)
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
