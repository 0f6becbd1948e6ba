"""How much int8 depends on its calibration pictures: a table that can be repeated, and files that are thrown away."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision import Run, _models
from edgevision._calibration_study import StudyPlan, calibration_study, parse_study, print_study
from edgevision_device import UsageError

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_size_is_tried_with_every_seed(command: Command, run: Run, tmp_path: Path) -> None:
    done = command("export", run.folder, "--calibration-study", "seeds=2", "sizes=12,3", "--seed", 5, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    files = record["files"]
    assert [(file["calibration_pictures"], file["seed"]) for file in files] == [(3, 5), (3, 6), (12, 5), (12, 6)]
    # A run brings the pictures that it never saw.
    assert " test pictures of " in record["data"]
    pictures = record["source_top1"]["pictures"]
    assert pictures >= 10
    assert {file["top1"]["pictures"] for file in files} == {pictures}
    for size in record["sizes"]:
        of_size = [file for file in files if file["calibration_pictures"] == size["calibration_pictures"]]
        shares = [file["top1"]["accuracy_share"] for file in of_size]
        assert size["top1_share"] == {
            "mean": pytest.approx(sum(shares) / 2),
            "lowest": min(shares),
            "highest": max(shares),
        }
        assert size["same_top1_share"]["lowest"] == min(file["agreement"]["same_top1_share"] for file in of_size)
    # Other pictures give other files, if not other answers.
    differences = {file["agreement"]["mean_score_difference"] for file in files}
    assert len(differences) == 4
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_a_row_a_size(command: Command, run: Run) -> None:
    done = command("export", run.folder, "--calibration-study", "seeds=1", "sizes=4")
    assert done.returncode == 0, done.stderr
    assert "its own top-1 is" in done.stdout
    (row,) = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("4 ")]
    assert row[1] == "1"
    assert row[3:6] == [row[2], "to", row[2]]  # one seed has no spread


def test_choices_of_most_of_the_pool_are_marked(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loads: list[Path] = []
    load = _models.load_keras_model
    monkeypatch.setattr(_models, "load_keras_model", lambda path: loads.append(path) or load(path))
    plan = StudyPlan(1, (4, 100))
    study = calibration_study(run.folder, plan)
    assert loads == [run.model_path]  # for two files
    pool = study.pool
    assert pool is not None
    assert 100 < pool < 200
    assert [row["overlap"] for row in study.spreads()] == [False, True]
    print_study(study)
    printed = capsys.readouterr().out
    assert re.search(r"^ *100 \*", printed, re.MULTILINE)
    assert f"* more than half of the {pool} pictures there are" in printed


def test_more_pictures_than_there_are_is_refused(run: Run) -> None:
    with pytest.raises(
        UsageError, match=r"there are 1\d\d pictures to calibrate with; sizes must be at most that, got 9"
    ):
        calibration_study(run.folder, StudyPlan(1, (5, 9000)))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["seeds=0"], "takes 1 to 100 seeds, got 0"),
        (["sizes=5,0"], "takes sizes of 1 to 100000 pictures"),
        (["size=5"], r"cannot read 'size=5'; allowed: seeds=3 and sizes=20,50,100"),
        (["sizes="], "cannot read 'sizes='"),
        (["seeds=1,2"], "seeds takes one number, how many there are, got 1,2"),
    ],
)
def test_a_plan_that_is_none(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_study(arguments)


@pytest.mark.parametrize(
    "flag", [["--out", "x"], ["--recipes", "int8"], ["--max-drop", "1"], ["--overwrite"], ["--fit-confidence"]]
)
def test_what_a_study_has_no_use_for_is_refused(command: Command, run: Run, flag: list[str]) -> None:
    done = command("export", run.folder, "--calibration-study", "--seed", 1, *flag)
    assert done.returncode == 2
    assert f"leave out {flag[0]}" in done.stderr


def test_an_export_needs_a_folder(command: Command, run: Run) -> None:
    done = command("export", run.folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give a folder for the files with --out DIR" in done.stderr
