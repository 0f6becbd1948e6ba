"""Proof of exported files: agreement, gate, flips, layers, and which pictures may judge."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgevision import Run, Verification, load_data, verify, write_verification
from edgevision._flips import grouped
from edgevision._flips_page import FlipsPage, render_comparisons
from edgevision._models import Description
from edgevision._pictures import write_pictures
from edgevision._reference import check_reference, load_reference
from edgevision._unseen import judged_pictures
from edgevision._verification_table import notes, print_verification
from edgevision_benchmarks import PairedDifference
from edgevision_converters import Gate
from edgevision_converters._tflite_flatbuffer import compact, pack, unpack
from edgevision_device import (
    CheckError,
    DataError,
    FileError,
    ForeignFileError,
    UsageError,
    mark_pictures,
    read_model_file,
    seal,
)

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def found(run: Run, exports: dict[str, Path]) -> Verification:
    """The four files of the run beside the run."""
    return verify(list(exports.values()), run.folder, layers=True)


@pytest.fixture(scope="module")
def spoilt(exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float32 `.tflite` with the scores' weights turned round, so that labels change places."""
    file = read_model_file(exports["three.float32.tflite"])
    parsed = unpack(file.model)
    (tensor,) = (each for each in parsed.subgraphs[0].tensors if each.name.decode() == "scores/weights")
    buffer = parsed.buffers[tensor.buffer]
    weights = buffer.data.view(np.float32).reshape(tuple(tensor.shape))
    buffer.data = np.ascontiguousarray(weights[[1, 0, 2]]).reshape(-1).view(np.uint8)
    path = tmp_path_factory.mktemp("spoilt") / "spoilt.int8.tflite"
    path.write_bytes(seal(pack(parsed), dataclasses.replace(file.metadata, recipe="int8"), "tflite"))
    return path


def test_a_run_judges_its_files_on_its_test_part(
    found: Verification, run: Run, exports: dict[str, Path], digits_folder: Path
) -> None:
    splits = load_data(str(digits_folder), (28, 20), "stretch")
    assert (found.source, found.source_kind, found.judged.part) == (run.folder.name, "run", "test")
    assert found.judged.pictures.hashes == splits.test.hashes
    assert found.judged.seen == ()
    assert found.source_judgement.accuracy.share == run.test_accuracy
    assert [file.name for file in found.files] == list(exports)
    assert found.failure is None
    for file in found.files:
        exact = file.metadata.recipe == "float32"
        assert file.agreement.largest_difference < (1e-5 if exact else 0.2)
        assert file.agreement.pictures == sum(each.pictures for each in file.agreement.labels) == len(splits.test)
        assert [each.label for each in file.agreement.labels] == ["ace", "naught", "seven"]
        assert file.comparison.difference.both + file.comparison.difference.only_a == found.source_judgement.right
        assert len(file.comparison.flips) == round((1 - file.agreement.same_top1) * len(splits.test))
        assert file.agreement.runtime.split()[0] == {"tflite": "litert", "onnx": "onnxruntime"}[file.format]


def test_files_of_one_recipe_are_compared_across_formats(found: Verification) -> None:
    pairs = {pair.recipe: pair for pair in found.pairs}
    assert list(pairs) == ["float32", "int8"]
    assert (pairs["int8"].a, pairs["int8"].b) == ("three.int8.tflite", "three.int8.onnx")
    assert pairs["float32"].agreement.largest_difference < 1e-5 < pairs["int8"].agreement.largest_difference < 0.2
    assert "three.float32.onnx against three.float32.tflite: same top-1 100.00 %" in pairs["float32"].describe()


def test_layers_are_measured_for_quantized_tflite_files(found: Verification) -> None:
    by_name = {file.name: file.layers for file in found.files}
    assert [name for name, layers in by_name.items() if layers] == ["three.int8.tflite"]
    names = [layer.layer for layer in by_name["three.int8.tflite"]]
    assert "stem_conv" in names
    assert names[-1] == "scores"


def test_the_record_is_json_and_says_the_same(found: Verification) -> None:
    record = json.loads(json.dumps(found.to_record(), allow_nan=False))
    assert record["format"] == 1
    assert (record["source"]["kind"], record["part"], record["pictures"]) == ("run", "test", len(found.judged.pictures))
    assert record["pictures_sha256"] == found.judged.pictures.origin.sha256
    assert [file["recipe"] for file in record["files"]] == ["float32", "int8"] * 2
    int8 = record["files"][1]
    assert int8["comparison"]["p"] == found.files[1].comparison.difference.p
    assert int8["judgement"]["calibration"]["binning"] == "equal mass"
    assert sum(int8["judgement"]["right_by_label"].values()) == int8["judgement"]["right"]
    assert {"layer", "snr_db", "rms_over_scale", "total_snr_db"} <= set(int8["layers"][0])
    assert record["gate"] == "top-1 at least 98 % of the source's"


def test_the_command_prints_what_it_writes(
    command: Command, run: Run, exports: dict[str, Path], tmp_path: Path
) -> None:
    int8, onnx = exports["three.int8.tflite"], exports["three.int8.onnx"]
    done = command("verify", int8, onnx, "--against", run.folder, "--layers", "--out", "proof")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^against three \(run\), on the test pictures of .*: \d+$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^three\.int8\.tflite.* against three: .* points on \d+ pictures \(.* to .*\), p = .*: not distinguishable",
        done.stdout,
        re.MULTILINE,
    )
    assert "three.int8.onnx against three.int8.tflite: same top-1" in done.stdout
    assert re.search(r"^three\.int8\.tflite: worst layers: [\w/]+ \d+\.\d dB", done.stdout, re.MULTILINE)
    assert sorted(path.name for path in (tmp_path / "proof").iterdir()) == ["flips.html", "verification.json"]
    written = json.loads((tmp_path / "proof" / "verification.json").read_text())
    assert written["command"].startswith("edgevision verify ")

    again = command("verify", int8, "--against", run.folder, "--out", "proof")
    assert again.returncode == 2
    assert "verification.json (and 1 more) exists already; choose another --out, or pass --overwrite" in again.stderr
    printed = command("verify", int8, onnx, "--against", run.folder, "--layers", "--json")
    record = json.loads(printed.stdout)
    for changing in ("created", "command"):
        assert record.pop(changing) != ""
        written.pop(changing)
    assert record == written


def test_a_file_that_fails_ends_with_one_line_and_exit_code_1(
    command: Command, run: Run, exports: dict[str, Path], spoilt: Path, tmp_path: Path
) -> None:
    # On all pictures of its folder: enough to be sure.
    done = command("verify", exports["three.int8.tflite"], spoilt, "--against", run.folder, "--whole", "--out", "proof")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"edgevision: error: spoilt\.int8\.tflite fails: top-1 [\d.]+ % is [\d.]+ % of the source's [\d.]+ %, "
        r"less than the 98 % that MLPerf asks for",
        last,
    )
    assert "fails" in done.stdout
    assert ": distinguishable from 0" in done.stdout
    assert re.search(
        r"^spoilt\.int8\.tflite: least agreement: (ace|naught) \d\.\d % of 60, ", done.stdout, re.MULTILINE
    )
    # What was found is written all the same.
    record = json.loads((tmp_path / "proof" / "verification.json").read_text())
    assert record["failure"] == last.removeprefix("edgevision: error: ")
    assert record["files"][0]["failure"] is None
    flips = record["files"][1]["comparison"]["flips"]
    lost = [flip for flip in flips if flip["kind"] == "lost"]
    assert lost == flips[: len(lost)]
    assert [flip["score_b"] for flip in lost] == sorted((flip["score_b"] for flip in lost), reverse=True)
    assert {flip["answer_b"] for flip in lost} <= {"ace", "naught"}
    page = (tmp_path / "proof" / "flips.html").read_text()
    assert page.count("data:image/png;base64,") == len(flips) + len(record["files"][0]["comparison"]["flips"])
    assert f"{len(lost)} lost" in page
    assert "Each file is compared with <strong>three</strong>" in page
    assert "<th>source</th>" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)

    loose = command("verify", spoilt, "--against", run.folder, "--max-drop", "100")
    assert loose.returncode == 0
    tight = command("verify", spoilt, exports["three.int8.tflite"], "--against", run.folder, "--max-drop", "0.5")
    assert tight.returncode == 1
    assert "points below the source's" in tight.stderr
    assert "more than the 0.5 allowed" in tight.stderr
    assert command("verify", spoilt, "--against", run.folder, "--max-drop", "-1").returncode == 2


def test_all_that_failed_are_named(found: Verification) -> None:
    failed = [dataclasses.replace(file, failure="is too coarse") for file in found.files[:2]]
    made = dataclasses.replace(found, files=(failed[0], found.files[2], failed[1]))
    assert made.failure == "three.float32.tflite fails: is too coarse; so do three.int8.tflite"


def test_temperature_and_threshold_of_a_file_count(
    command: Command, run: Run, exports: dict[str, Path], found: Verification, tmp_path: Path
) -> None:
    path = tmp_path / "soft.int8.tflite"
    file = read_model_file(exports["three.int8.tflite"])
    metadata = dataclasses.replace(file.metadata, temperature=2.0, reject_threshold=0.5)
    path.write_bytes(seal(file.model, metadata, "tflite"))
    (soft,) = verify([path], run.folder).files
    hard = found.files[1]
    # Agreement is about what the model says; confidence is about what the device reports.
    assert soft.agreement.largest_difference == hard.agreement.largest_difference
    assert soft.comparison.difference == hard.comparison.difference
    assert soft.judgement.calibration.mean_score < hard.judgement.calibration.mean_score
    assert (hard.judgement.accepted, hard.judgement.accepted_right) == (hard.judgement.pictures, hard.judgement.right)
    assert 0 < soft.judgement.accepted <= soft.judgement.pictures
    assert soft.judgement.accepted_right <= soft.judgement.accepted
    done = command("verify", path, "--against", run.folder)
    assert "soft.int8.tflite: ECE with its temperature 2" in done.stdout
    assert re.search(r"soft\.int8\.tflite: rejects [\d.]+ % of the pictures \(score below 0\.5\); \d+ of", done.stdout)


def test_few_pictures_decide_nothing_and_that_is_said(found: Verification) -> None:
    there = len(found.judged.pictures)
    # 1.96² · 0.98 / 0.02 of a model that has all right; of another one the gate allows less.
    share = found.source_judgement.accuracy.share
    assert found.pictures_needed == math.ceil(3.8415 * (1 - 0.02 * share) / (0.02 * share))
    assert there < found.pictures_needed
    assert not any(file.decided for file in found.files)
    assert any(
        f"{there} pictures are too few to decide it, at least {found.pictures_needed}" in line for line in notes(found)
    )
    none = dataclasses.replace(found, gate=Gate(0.0))
    assert none.pictures_needed is None
    assert any("no number of pictures is enough for a file that" in line for line in notes(none))


@pytest.mark.parametrize(("bins", "told"), [(1, "1 bin"), (15, "15 bins of equal size")])
def test_what_ece_and_its_chance_are_is_told(found: Verification, bins: int, told: str) -> None:
    source = found.source_judgement
    calibration = dataclasses.replace(source.calibration, bins=source.calibration.bins[:1] * bins)
    line = notes(dataclasses.replace(found, source_judgement=dataclasses.replace(source, calibration=calibration)))[-1]
    assert line == (
        f"ECE: the source's pictures in {told}; chance: the ECE that perfectly calibrated scores show on so many "
        "pictures"
    )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_fits_its_terminal(found: Verification, width: int) -> None:
    names = [f"photos-efficientnet-lite0.{name}" for name in ("float32.tflite", "int8.tflite", "int8.onnx", "f.onnx")]
    files = [
        dataclasses.replace(file, size_bytes=12_345_678, name=name)
        for file, name in zip(found.files, names, strict=True)
    ]
    found = dataclasses.replace(found, files=tuple(files))
    shown = io.StringIO()
    print_verification(found, Console(file=shown, width=width, force_terminal=True, color_system=None))
    assert "…" not in shown.getvalue()
    heading, *rows = takewhile(str.strip, shown.getvalue().splitlines()[2:])
    for column, narrowest in {"top-1 %": 80, "lost": 80, "gate": 80, "bytes": 120, "mean diff.": 200}.items():
        assert (column in heading) == (width >= narrowest), column
    assert all(len(row) <= width for row in rows)
    assert sum("passes" in row for row in rows) == 4


def test_files_that_change_nothing_share_a_line_and_a_section(
    found: Verification, capsys: pytest.CaptureFixture[str]
) -> None:
    same = [dataclasses.replace(found.files[0].comparison, b=name) for name in ("a", "b", "c")]
    changed = found.files[1].comparison
    flipped = dataclasses.replace(changed, difference=PairedDifference(1, 2, 3, 4))
    assert grouped([*same[:2], flipped, same[2]]) == [(same[0], ["a", "b", "c"]), (flipped, [changed.b])]
    files = [dataclasses.replace(found.files[0], comparison=each) for each in same]
    print_verification(dataclasses.replace(found, files=tuple(files)))
    assert capsys.readouterr().out.count(" points on ") == 1 + len(found.pairs)
    page = FlipsPage("files", "file", "source", "file", "data", "test", "verification.json", "0.1.0")
    assert "<h2>a, b, c</h2>" in render_comparisons(same, {}, page)


def test_pictures_that_fitted_confidence_are_told(
    run: Run, exports: dict[str, Path], found: Verification, tmp_path: Path
) -> None:
    path = tmp_path / "fitted.int8.tflite"
    file = read_model_file(exports["three.int8.tflite"])
    judging = found.judged.pictures
    origin = dataclasses.replace(judging.origin, marks=mark_pictures(judging.hashes[:5], 5))
    metadata = dataclasses.replace(file.metadata, temperature=2.0, fitted_on=origin)
    path.write_bytes(seal(file.model, metadata, "tflite"))
    told = verify([path], run.folder)
    assert (told.files[0].fitted, found.files[1].fitted) == (5, 0)
    assert told.judged.seen == ()
    wanted = f"fitted.int8.tflite: its temperature and threshold were fitted on 5 of these {len(judging)} pictures; "
    assert any(line.startswith(wanted) for line in notes(told))


def test_a_choice_on_the_judging_pictures_is_told(found: Verification) -> None:
    chosen = dataclasses.replace(found, chosen_among=3)
    assert chosen.to_record()["chosen_among"] == 3
    assert any(line.startswith("chosen among 3 files on these pictures") for line in notes(chosen))
    assert not any("chosen among" in line for line in notes(found))


# What files are held against


def test_another_file_and_a_keras_file_can_be_the_model(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path
) -> None:
    data = str(digits_folder)
    by_file = verify([exports["three.int8.tflite"]], exports["three.float32.tflite"], data, layers=True)
    assert (by_file.source, by_file.source_kind) == ("three.float32.tflite", ".tflite file")
    keras, labels = tmp_path / "mine.keras", tmp_path / "labels.txt"
    shutil.copy(run.model_path, keras)
    labels.write_text("\n".join(run.labels))
    by_keras = verify(
        [exports["three.int8.tflite"]], keras, data, described=Description(labels=str(labels)), layers=True
    )
    assert by_keras.source_kind == "Keras model"
    # Neither knows the run; its folder is known again by what is in it, and both judge on its test part.
    for each in (by_file, by_keras):
        assert each.judged.part == "test"
        assert each.source_judgement.right == round((run.test_accuracy or 0) * len(each.judged.pictures))
    one, other = (each.files[0] for each in (by_file, by_keras))
    assert one.agreement.largest_difference == pytest.approx(other.agreement.largest_difference, abs=1e-5)
    assert [each.layer for each in one.layers] == [each.layer for each in other.layers]


def test_layers_that_cannot_be_matched_are_a_note_behind_the_table(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path, command: Command
) -> None:
    import keras

    inputs = keras.Input((run.size_wh[1], run.size_wh[0], 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    other = keras.layers.Dense(len(run.labels), activation="softmax", name="scores")(x)
    keras.Model(inputs, other).save(tmp_path / "other.keras")
    (tmp_path / "labels.txt").write_text("\n".join(run.labels))
    int8, told = exports["three.int8.tflite"], ["--labels", "labels.txt", "--data", digits_folder, "--layers"]
    done = command("verify", int8, "--against", "other.keras", *told, "--max-drop", "100")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (note,) = [line for line in lines if "could not be matched" in line]
    found = re.match(r"three\.int8\.tflite: (\d+) of (\d+) layers could not be matched: \w", note)
    assert found is not None
    assert found[1] == found[2]
    assert any(line.split()[:1] == ["three.int8.tflite"] for line in lines[: lines.index(note)])
    record = json.loads(command("verify", int8, "--against", "other.keras", *told, "--json").stdout)
    assert (record["files"][0]["layers"], len(record["files"][0]["unmatched_layers"])) == ([], int(found[1]))


def test_a_file_of_somebody_else_takes_flags(
    exports: dict[str, Path], digits_folder: Path, run: Run, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.tflite"
    file = read_model_file(exports["three.float32.tflite"])
    parsed = unpack(file.model)
    parsed.metadata = parsed.description = None  # which name ours
    compact(parsed)
    theirs.write_bytes(pack(parsed))
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(run.labels))
    with pytest.raises(ForeignFileError):
        verify([theirs], run.folder)
    described = Description(labels=str(labels), resize="stretch", pixels="0..255")
    found = verify([theirs], run.folder, described=described)
    assert found.files[0].metadata.recipe == "unknown"
    assert found.files[0].agreement.largest_difference < 1e-5
    # It can be the model as well.
    turned = verify([exports["three.int8.tflite"]], theirs, str(digits_folder), described=described)
    assert (turned.source, turned.source_kind) == ("theirs.tflite", ".tflite file")
    assert turned.source_judgement.right == found.source_judgement.right


def test_what_is_no_model_is_refused_before_anything_is_loaded(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = Description()
    with pytest.raises(FileError, match=r"no such model: absent\.keras; give a run folder"):
        check_reference("absent.keras", nothing)
    with pytest.raises(UsageError, match="unknown model 'efficientnet-lite'; did you mean 'efficientnet-lite"):
        check_reference("efficientnet-lite", nothing)
    with pytest.raises(FileError, match="is neither a run folder nor a SavedModel"):
        check_reference(tmp_path, nothing)
    with pytest.raises(UsageError, match=r"does not say what its scores mean; give --labels FILE"):
        check_reference(run.model_path, nothing)
    assert load_reference(run.folder, nothing).run == run
    int8 = exports["three.int8.tflite"]
    with pytest.raises(UsageError, match="no files to verify"):
        verify([], run.folder)
    with pytest.raises(UsageError, match="is given twice"):
        verify([int8, int8.parent / "." / int8.name], run.folder)
    with pytest.raises(FileError, match="cannot read the model file"):
        verify(["absent.tflite"], run.folder)
    with pytest.raises(UsageError, match="--data is missing; only a run knows pictures of its own"):
        verify([int8], exports["three.float32.tflite"])
    with pytest.raises(UsageError, match=r"--layers compares with a Keras model or a \.tflite file"):
        verify([int8], exports["three.float32.onnx"], str(digits_folder), layers=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("ace", "seven", "naught")}, "have different labels, 'seven' and 'naught'"),
        ({"resize": "crop"}, "differ in resize mode, crop and stretch, so that they see other pixels"),
    ],
    ids=["labels", "resize"],
)
def test_files_of_other_models_are_refused(
    run: Run, exports: dict[str, Path], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = read_model_file(exports["three.int8.tflite"])
    other = tmp_path / "other.int8.tflite"
    other.write_bytes(seal(file.model, dataclasses.replace(file.metadata, **change), "tflite"))
    with pytest.raises(FileError, match=re.escape(message)):
        verify([other], run.folder)


def test_labels_are_compared_before_the_model_is_loaded(
    run: Run, exports: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = read_model_file(exports["three.int8.tflite"])
    other = tmp_path / "other.int8.tflite"
    other.write_bytes(seal(file.model, dataclasses.replace(file.metadata, labels=("ace", "naught", "six")), "tflite"))
    with pytest.raises(FileError, match="have different labels, 'six' and 'seven'"):
        verify([other], run.folder)
    assert "TensorFlow" not in capsys.readouterr().err


def test_scores_that_are_no_numbers_fail(run: Run, exports: dict[str, Path], tmp_path: Path) -> None:
    file = read_model_file(exports["three.float32.tflite"])
    parsed = unpack(file.model)
    (tensor,) = (each for each in parsed.subgraphs[0].tensors if each.name.decode() == "scores/weights")
    weights = parsed.buffers[tensor.buffer].data.view(np.float32).copy()
    weights[0] = np.inf
    parsed.buffers[tensor.buffer].data = weights.view(np.uint8)
    broken = tmp_path / "broken.float32.tflite"
    broken.write_bytes(seal(pack(parsed), file.metadata, "tflite"))
    with pytest.raises(CheckError, match=r"broken\.float32\.tflite gives NaN or infinite scores for \d+ of \d+ "):
        verify([broken], run.folder)


# Which pictures judge


def picked(folder: Path, chosen: dict[str, list[Path]]) -> Path:
    for label, paths in chosen.items():
        (folder / label).mkdir(parents=True)
        for path in paths:
            shutil.copy(path, folder / label / path.name)
    return folder


def trained_on(data: Path, count: int) -> dict[str, list[Path]]:
    """Return the first pictures of each label that a run on this folder was trained on."""
    train = load_data(str(data), (28, 20), "stretch").train
    return {
        label: [data / name for name in train.names if name.startswith(f"{label}/")][:count] for label in train.labels
    }


@pytest.fixture(scope="module")
def seen_and_new(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without parts: five pictures a label that trained the run, and fifteen that nothing has seen."""
    folder = tmp_path_factory.mktemp("mixed") / "mixed"
    picked(folder, trained_on(digits_folder, 5))
    digits = load_data("digits", (28, 28), "stretch").test
    for digit, label in ((0, "naught"), (1, "ace"), (7, "seven")):
        new = digits.take(np.flatnonzero(digits.targets == digit)[:15])
        write_pictures(new, folder.parent / label)
        for path in (folder.parent / label / str(digit)).iterdir():
            path.rename(folder / label / f"new {path.name}")
    return folder


def test_pictures_that_trained_the_run_are_refused(
    command: Command, run: Run, exports: dict[str, Path], seen_and_new: Path
) -> None:
    line = ["verify", exports["three.int8.tflite"], "--against", run.folder, "--data", seen_and_new, "--json"]
    done = command(*line)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(
        r"^edgevision: error: the model was trained on 15 of these 60 pictures: ace/\d+\.png, .*, …; its top-1 on them "
        r"says nothing about new ones: take other pictures, or --whole to measure on them all the same$",
        done.stderr,
        re.MULTILINE,
    )
    whole = command(*line, "--whole")
    assert whole.returncode in (0, 1), whole.stderr
    record = json.loads(whole.stdout)
    assert (record["part"], record["pictures"], len(record["seen"])) == ("all", 60, 15)
    assert not any("new" in name for name in record["seen"])
    told = command(*line[:-1], "--whole")
    assert "15 of the 60 pictures were seen in training or calibration" in told.stdout


def test_benchmark_and_verify_refuse_in_the_same_words(
    command: Command, exports: dict[str, Path], seen_and_new: Path, digits_folder: Path, tmp_path: Path
) -> None:
    int8 = exports["three.int8.tflite"]
    calibrated_on = read_model_file(int8).metadata.calibrated_on
    assert calibrated_on is not None
    folder = tmp_path / "calibrated"
    shutil.copytree(seen_and_new, folder)
    for path in [path for path in digits_folder.rglob("*.png") if calibrated_on.holds(_digest(path))][:4]:
        shutil.copy(path, folder / path.parent.name / f"again {path.name}")
    judged = command("verify", int8, "--against", exports["three.float32.onnx"], "--data", folder)
    measured = command("benchmark", exports["three.float32.onnx"], int8, "--data", folder, "--runs", 1)
    assert (judged.returncode, measured.returncode) == (2, 2)
    # `verify` calls the first one the model.
    refusals = [done.stderr.splitlines()[-1].partition(" was ")[2] for done in (judged, measured)]
    assert refusals[0] == refusals[1]
    assert refusals[0].endswith("or --whole to measure on them all the same")


def test_a_file_that_cannot_name_all_it_was_trained_on_refuses_the_folder(
    exports: dict[str, Path], seen_and_new: Path, digits_folder: Path, tmp_path: Path
) -> None:
    float32, int8 = (read_model_file(exports[f"three.{each}.tflite"]).metadata for each in ("float32", "int8"))
    assert float32.trained_on is not None
    assert int8.calibrated_on is not None
    marked = [path for path in digits_folder.rglob("*.png") if float32.trained_on.holds(_digest(path))]
    assert len(marked) == 64 < float32.trained_on.pictures
    # As `seen_and_new`, and with pictures that the file marks as its training's for sure.
    folder = tmp_path / "mixed"
    shutil.copytree(seen_and_new, folder)
    for path in marked[:3]:
        shutil.copy(path, folder / path.parent.name / f"again {path.name}")
    with pytest.raises(DataError, match=r"the model was trained on \d+ or more of these \d+ pictures: ace/"):
        judged_pictures(str(folder), float32, [("three.int8.tflite", int8)])
    assert judged_pictures(str(folder), float32, [], whole=True).part == "all"


def test_a_run_whose_data_is_gone_knows_some_of_it(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = read_model_file(exports["three.float32.tflite"]).metadata
    assert model.trained_on is not None
    moved = dataclasses.replace(run, data=str(tmp_path / "moved away"))
    marked = [path for path in digits_folder.rglob("*.png") if model.trained_on.holds(_digest(path))]
    chosen = {label: [path for path in marked if path.parent.name == label][:4] for label in run.labels}
    folder = picked(tmp_path / "seen", chosen)
    with pytest.raises(DataError, match="the model was trained on 12 or more of these 12 pictures"):
        judged_pictures(str(folder), model, [], moved)
    assert "note: what the run was trained on is known by a few marks only (no such folder" in capsys.readouterr().err


def test_pictures_that_were_moved_from_train_to_test_are_still_known(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = read_model_file(exports["three.float32.tflite"]).metadata
    assert model.trained_on is not None
    splits, home = load_data(str(digits_folder), (28, 20), "stretch"), tmp_path / "parts"
    for part, pictures in zip(("train", "val", "test"), splits.parts, strict=True):
        for name in pictures.names:
            (home / part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(digits_folder / name, home / part / name)
    own = dataclasses.replace(run, data=str(home), validation_split=None)
    at_first = judged_pictures(None, model, [], own)
    assert (at_first.part, len(at_first.pictures), at_first.unknown) == ("test", len(splits.test), 0)
    assert "note" not in capsys.readouterr().err
    marked = [name for name in splits.train.names if model.trained_on.holds(_digest(home / "train" / name))]
    unmarked = [name for name in splits.train.names if name not in marked]
    # What no mark knows gets through, and that is said; one more picture that a mark knows, and all is refused.
    for name in unmarked[:9]:
        (home / "train" / name).rename(home / "test" / name)
    moved = judged_pictures(None, model, [], own)
    assert (len(moved.pictures), moved.unknown) == (len(splits.test) + 9, len(splits.train) - 64)
    told = capsys.readouterr().err
    assert f"are not those of the training any more; of the {len(splits.train)} that trained the run, 64 are" in told
    (home / "train" / marked[0]).rename(home / "test" / marked[0])
    with pytest.raises(DataError, match=r"the model was trained on 1 or more of these \d+ pictures: "):
        judged_pictures(None, model, [], own)
    seen = judged_pictures(None, model, [], own, whole=True).seen
    assert len(seen) == 1
    assert seen[0].endswith(Path(marked[0]).name)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_folder_of_the_training_is_known_under_any_name(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "renamed"
    shutil.copytree(digits_folder, copy)
    test = load_data(str(digits_folder), (28, 20), "stretch").test
    model = read_model_file(exports["three.float32.tflite"]).metadata
    for each in (None, run):
        judged = judged_pictures(str(copy), model, [], each)
        assert judged.part == "test"
        assert sorted(judged.pictures.hashes) == sorted(test.hashes)
    unknown = dataclasses.replace(model, trained_on=None)
    assert len(judged_pictures(str(copy), unknown, []).pictures) == 180


def test_where_everything_was_seen_nothing_judges(
    run: Run, exports: dict[str, Path], digits_folder: Path, tmp_path: Path
) -> None:
    folder = picked(tmp_path / "seen", trained_on(digits_folder, 4))
    with pytest.raises(DataError, match=r"the model was trained on 12 of these 12 pictures: .*, or --whole to"):
        verify([exports["three.int8.tflite"]], run.folder, str(folder))


def test_without_a_test_part_val_judges(exports: dict[str, Path], paint: Callable[..., Path], tmp_path: Path) -> None:
    for part, count in (("train", 5), ("val", 4)):
        paint(tmp_path / "parts" / part, {"ace": count, "naught": count, "seven": count})
    model = dataclasses.replace(read_model_file(exports["three.float32.tflite"]).metadata, trained_on=None)
    judged = judged_pictures(str(tmp_path / "parts"), model, [])
    # The painter draws the same noise for both parts, so that all but one picture of val are in train; nobody saw them.
    assert (judged.part, len(judged.pictures)) == ("val", 12)


def test_a_label_that_the_model_does_not_know_is_refused(
    run: Run, exports: dict[str, Path], paint: Callable[..., Path], tmp_path: Path
) -> None:
    data = paint(tmp_path / "birds", {"ace": 5, "hen": 5})
    with pytest.raises(DataError, match="the pictures have the label 'hen', which the model does not know"):
        verify([exports["three.int8.tflite"]], run.folder, str(data))


def test_the_page_says_what_is_compared_and_where_the_rest_is(found: Verification, tmp_path: Path) -> None:
    page = FlipsPage("files", "file", "source", "file", "<b>data</b>", "test", "verification.json", "0.1.0")
    html = render_comparisons([file.comparison for file in found.files], {}, page)
    assert "The files on the test pictures of &lt;b&gt;data&lt;/b&gt;." in html
    assert html.count("<section>") == len(grouped([file.comparison for file in found.files]))
    # Without pictures it still names what flipped.
    flips = sum(len(file.comparison.flips) for file in found.files)
    assert html.count("not there any more") == flips
    paths = write_verification(found, tmp_path / "out")
    assert [path.name for path in paths] == ["verification.json", "flips.html"]
    with pytest.raises(UsageError, match="exists already"):
        write_verification(found, tmp_path / "out")
