"""Comparing trainings: axes, pairs of answers, one whole sweep, its restart, and what augmentation is worth."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision import load_data
from edgevision._augmentation import Augmentation
from edgevision._commands import sweep as sweep_command
from edgevision._flips import Answers, compare_answers
from edgevision._flips_page import render_flips
from edgevision._judging import answers_of_file, answers_of_model, time_in_turns
from edgevision._options import TrainingOptions
from edgevision._pictures import Pictures
from edgevision._run import read_run
from edgevision._run_data import HeldOut
from edgevision._sweep import SWEEP_FILES, compare_augmentation, sweep
from edgevision._sweep_axes import combine, read_axes
from edgevision._sweep_plot import draw_sweep
from edgevision._sweep_record import Result, Sweep, SweepRow
from edgevision._sweep_table import print_sweep, to_csv
from edgevision_benchmarks import Accuracy, read_conditions
from edgevision_converters import load_keras_model
from edgevision_device import (
    Classifier,
    DataError,
    DataOrigin,
    FileError,
    Percentiles,
    UsageError,
    read_picture,
    run_cli,
)

Paint = Callable[..., Path]


# Axes


def test_axes_are_read_by_the_type_of_their_option() -> None:
    read = read_axes(
        [
            "size=96x64,48",
            "depth=1,default",
            "learning_rate=1e-3,0.01",
            "strides=1x2x2,2x2",
            "flip=on,off",
            "rotation=5",
            "optimizer=adam,sgd",
            "augment=on,off",
        ]
    )
    assert read == {
        "size": [(96, 64), (48, 48)],
        "depth": [1, None],
        "learning-rate": [0.001, 0.01],
        "strides": [(1, 2, 2), (2, 2)],
        "flip": [True, False],
        "rotation": [5.0],
        "optimizer": ["adam", "sgd"],
        "augmentation": [True, False],
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["deepth=1"], "unknown option to vary 'deepth'; did you mean 'depth'?"),
        (["strict=on"], "unknown option to vary 'strict'"),
        (["depth"], "cannot read --vary 'depth'; it takes NAME=VALUE,VALUE"),
        (["depth="], "cannot read --vary 'depth='"),
        (["depth=1,two"], "cannot read 'two' as depth; allowed: a whole number or default"),
        (["epochs=default"], "cannot read 'default' as epochs; allowed: a whole number"),
        (["epochs=1,,2"], "cannot read '' as epochs"),
        (["learning-rate=nan"], "cannot read 'nan' as learning-rate; allowed: a number or default"),
        (["size=1x2x3"], "cannot read the size '1x2x3'; allowed: WIDTHxHEIGHT in pixels, such as 96x64, or one number"),
        (["flip=perhaps"], "cannot read 'perhaps' as flip; allowed: on, off"),
        (["depth=1", "depth=2"], "depth is varied twice; give all its values in one --vary"),
    ],
)
def test_an_axis_that_cannot_be_read_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(message)):
        read_axes(texts)


def test_every_combination_becomes_a_row_the_last_axis_moving_fastest() -> None:
    rows = combine(TrainingOptions(epochs=3), {"model": ["slim", "conv-pool"], "depth": [1, 2], "size": [(48, 48)]})
    assert [row.name for row in rows] == [
        "slim_depth=1_size=48",
        "slim_depth=2_size=48",
        "conv-pool_depth=1_size=48",
        "conv-pool_depth=2_size=48",
    ]
    assert [(row.options.model, row.options.depth, row.options.epochs) for row in rows] == [
        ("slim", 1, 3),
        ("slim", 2, 3),
        ("conv-pool", 1, 3),
        ("conv-pool", 2, 3),
    ]
    assert {row.options.size_wh for row in rows} == {(48, 48)}
    assert rows[3].varied == {"model": "conv-pool", "depth": "2", "size": "48"}


def test_a_knob_applies_to_the_models_that_have_it() -> None:
    base = TrainingOptions("slim", depth=2)
    rows = combine(base, {"model": ["slim", "dense"], "width": [0.5, 1.0], "epochs": [1, 2]})
    told = [(row.options.model, row.options.width, row.options.depth, row.options.epochs) for row in rows]
    slim = [("slim", width, 2, epochs) for width in (0.5, 1.0) for epochs in (1, 2)]
    assert told == [*slim, ("dense", None, None, 1), ("dense", None, None, 2)]
    with pytest.raises(UsageError, match="filters is no knob of any of slim, dense"):
        combine(base, {"model": ["slim", "dense"], "filters": [8]})


def test_without_an_axis_there_is_one_row() -> None:
    (row,) = combine(TrainingOptions("dense"), {})
    assert (row.name, row.varied) == ("dense", {})


def test_augmentation_is_switched_and_its_parts_are_varied() -> None:
    base = TrainingOptions(copies=3)
    on, off = combine(base, {"augmentation": [True, False]})
    assert (on.options, on.varied) == (base, {"augmentation": "on"})
    assert off.options.changes == Augmentation()
    assert off.options.copies == 0, "there is nothing to make different copies of"
    near, far = combine(base, {"shift": [0.01, 0.3]})
    assert near.options.changes.shift_xy == (0.01, 0.01)
    assert far.options.changes.shift_xy == (0.3, 0.3)
    assert far.options.changes.rotation_deg == base.changes.rotation_deg


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"model": ["slim", "slimm"]}, "slimm: unknown model 'slimm'; did you mean 'slim'?"),
        ({"model": ["dense"], "depth": [1]}, "dense_depth=1: dense has no"),
        ({"epochs": [3, 0]}, "slim_epochs=0: epochs must lie between"),
        ({"size": [(96, 96), (96, 96)]}, "slim_size=96 is the same training as slim_size=96"),
        ({"augmentation": [False], "shift": [0.1, 0.2]}, "slim_augmentation=off_shift=0.2 is the same training"),
        ({"depth": []}, "depth is to be varied over no values"),
        ({"strict": [True]}, "unknown option to vary 'strict'"),
    ],
)
def test_a_combination_that_is_no_training_is_refused(axes: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(message)):
        combine(TrainingOptions(), axes)


def test_augmentation_on_must_change_something() -> None:
    with pytest.raises(UsageError, match="augmentation on changes nothing here; say what to change"):
        combine(TrainingOptions(augmentation=Augmentation()), {"augmentation": [True, False]})


def test_a_rows_name_is_a_folders_name() -> None:
    (row,) = combine(TrainingOptions(), {"teacher": ["../runs/big one"]})
    assert row.name == "slim_teacher=..-runs-big-one"


# Answers and flips


def answers(given: list[tuple[str, str, str, float]]) -> Answers:
    """Picture's hash, its label, the answer and the score."""
    hashes, labels, said, scores = (list(column) for column in zip(*given, strict=True))
    names = tuple(f"{label}/{digest}.png" for digest, label in zip(hashes, labels, strict=True))
    return Answers(names, tuple(hashes), tuple(labels), tuple(said), np.array(scores))


FIRST = answers(
    [
        ("h1", "cat", "cat", 0.9),
        ("h2", "cat", "dog", 0.8),
        ("h3", "dog", "dog", 0.6),
        ("h4", "dog", "cat", 0.7),
        ("h5", "owl", "owl", 0.5),
        ("h6", "owl", "cat", 0.4),
    ]
)


def test_flips_are_matched_by_content_and_come_worst_first() -> None:
    other = answers(
        [
            ("h6", "owl", "dog", 0.45),  # wrong both times, another label
            ("h5", "owl", "cat", 0.55),  # lost
            ("h4", "dog", "dog", 0.95),  # gained
            ("h3", "dog", "cat", 0.99),  # lost, and surer of it
            ("h2", "cat", "cat", 0.65),  # gained; the first was surer of its mistake than with h4
            ("h1", "cat", "cat", 0.31),
        ]
    )
    found = compare_answers("big", FIRST, "small", other)
    assert [(flip.sha256, flip.kind) for flip in found.flips] == [
        ("h3", "lost"),
        ("h5", "lost"),
        ("h6", "neither"),
        ("h2", "gained"),
        ("h4", "gained"),
    ]
    worst = found.flips[0]
    assert (worst.label, worst.answer_a, worst.score_a, worst.answer_b, worst.score_b) == (
        "dog",
        "dog",
        0.6,
        "cat",
        0.99,
    )
    assert (worst.place_a, worst.place_b) == (2, 3)
    assert (found.difference.both, found.difference.only_a, found.difference.only_b) == (1, 2, 2)
    assert (found.count("lost"), found.count("gained")) == (2, 2)
    assert found.describe().startswith("small against big: 0.0 points on 6 pictures (")
    record = json.loads(json.dumps(found.to_record()))
    assert record["against"] == "big"
    assert record["flips"][0]["picture"] == "dog/h3.png"
    assert "place_a" not in record["flips"][0]


def test_pictures_that_only_one_has_seen_are_left_out() -> None:
    some = answers([("h2", "cat", "cat", 0.6), ("h9", "cat", "cat", 0.6)])
    found = compare_answers("a", FIRST, "b", some)
    assert found.difference.pictures == 1
    assert compare_answers("a", FIRST, "b", answers([("h9", "cat", "cat", 0.6)])).difference.pictures == 0


def test_equal_pictures_are_paired_one_to_one() -> None:
    twice = answers([("h1", "cat", "cat", 0.9), ("h1", "cat", "dog", 0.8)])
    found = compare_answers("a", twice, "b", twice)
    assert found.difference.pictures == 2
    assert found.flips == ()
    # The same file under two labels is two pictures.
    relabelled = answers([("h1", "dog", "cat", 0.9)])
    assert compare_answers("a", twice, "b", relabelled).difference.pictures == 0


def test_answers_are_kept_as_csv(tmp_path: Path) -> None:
    odd = Answers(
        ('a,b "c".png', "caf\u00e9.png", "\udcff.png"),
        ("1", "2", "3"),
        ("x", "y", "y"),
        ("y", "y", "x"),
        np.array([1 / 3, 1e-9, 1]),
    )
    odd.write(tmp_path / "answers.csv")
    read = Answers.read(tmp_path / "answers.csv")
    assert (read.pictures, read.hashes, read.labels, read.answers) == (
        odd.pictures,
        odd.hashes,
        odd.labels,
        odd.answers,
    )
    assert read.scores.tolist() == odd.scores.tolist()
    assert read.right.tolist() == [False, True, False]
    (tmp_path / "answers.csv").write_text("picture,label\n1,2\n")
    with pytest.raises(FileError, match="holds no answers"):
        Answers.read(tmp_path / "answers.csv")


# Table, picture and page, of rows that were made up


def pictures_of(hashes: tuple[str, ...], size_wh: tuple[int, int]) -> Pictures:
    store = np.random.default_rng(1).integers(0, 255, (len(hashes), size_wh[1], size_wh[0], 3), np.uint8)
    places = np.arange(len(hashes))
    return Pictures(store, places, places * 0, ("cat",), hashes, hashes, "made up")


def result(right: int, size_bytes: int, macs: int) -> Result:
    accuracy = Accuracy(right, 6)
    file = f"{size_bytes}.int8.tflite"
    return Result(
        (8, 6), "test", Accuracy(right * 10, 60), accuracy, accuracy, file, size_bytes, "litert 2", 123, macs, 3, 1.5
    )


@pytest.fixture
def made_up(tmp_path: Path) -> Sweep:
    small = answers([(digest, "cat", "cat", 0.5) for digest in FIRST.hashes])
    small = replace(small, labels=FIRST.labels, answers=("<b>dog</b>", *FIRST.answers[1:]))
    times = Percentiles(3, 2.00123, 1234.5, 3.0)
    rows = (
        SweepRow("slim_depth=2", {"depth": "2"}, {"model": "slim"}, result(3, 40_000, 2_000_000), latency=times),
        SweepRow("slim_depth=9", {"depth": "9"}, {"model": "slim"}, error="8x6 is too small, for [slim]"),
        SweepRow(
            "slim_depth=1",
            {"depth": "1"},
            {"model": "slim"},
            result(2, 5_000, 90_000),
            latency=times,
            comparison=compare_answers("slim_depth=2", FIRST, "slim_depth=1", small),
        ),
    )
    return Sweep(tmp_path, "0", "now", None, "made $up$", "int8", 2, read_conditions(), rows)


def test_the_csv_has_a_line_per_row_and_a_cell_per_column(made_up: Sweep) -> None:
    first, failed, second = csv.DictReader(io.StringIO(to_csv(made_up)))
    assert None not in (*first, *failed.values())
    assert (first["row"], first["depth"], first["file_share"], first["file_bytes"]) == (
        "slim_depth=2",
        "2",
        "0.5",
        "40000",
    )
    assert float(first["gap_share"]) == 0.0
    assert (first["p"], first["lost"]) == ("", "")
    assert (failed["file_share"], failed["error"]) == ("", "8x6 is too small, for [slim]")
    assert (second["lost"], second["p"]) == ("1", "1.0")
    assert (second["p50_ms"], first["p90_ms"]) == ("2.00123", "1234.5")


def test_the_table_says_what_failed_and_what_the_difference_is(
    made_up: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    print_sweep(made_up)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert next(line for line in lines if line.strip().startswith("slim_depth=1 ")).split()[-4:] == [
        "5,000",
        "123",
        "90,000",
        "2.00",
    ]
    assert "slim_depth=1 against slim_depth=2: \N{MINUS SIGN}16.7 points on 6 pictures" in printed
    assert "failed: slim_depth=9: 8x6 is too small, for [slim]" in printed
    assert "2 threads, one picture at a time, the files timed in turns" in printed


@pytest.mark.parametrize("rows", [1, 2, 20])
def test_the_picture_can_be_drawn_of_few_and_of_many_rows(made_up: Sweep, rows: int) -> None:
    row = made_up.rows[0]
    many = tuple(
        replace(row, name=f"r{place}", options={"model": f"m{place % 3}"}, result=result(3, 900 + place, 10**place))
        for place in range(rows)
    )
    drawn = cv2.imdecode(np.frombuffer(draw_sweep(replace(made_up, rows=many)), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape[1] == 1720
    assert drawn.shape[0] == (800 if rows < 20 else 800 + 5 * 26 + 16)
    # The first model's color is there, in both halves.
    blue = (np.abs(drawn[..., ::-1].astype(int) - (0x16, 0x67, 0xB8)) < 12).all(-1)
    assert blue[:, :860].sum() > 50
    assert blue[:, 860:].sum() > 50


def test_the_page_shows_what_each_row_saw_and_needs_nothing_else(made_up: Sweep) -> None:
    pictures = {
        "slim_depth=2": pictures_of(FIRST.hashes, (40, 30)),
        "slim_depth=1": pictures_of(FIRST.hashes, (200, 100)),
    }
    page = render_flips(made_up, pictures)
    assert page.count("data:image/png;base64,") == page.count("data:image/jpeg;base64,") == 1
    assert "1 lost" in page
    assert "&lt;b&gt;dog&lt;/b&gt;" in page
    assert "<b>dog</b>" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "http" not in page
    # A picture that is another one by now is not shown in its place.
    assert "not there any more" in render_flips(made_up, {**pictures, "slim_depth=1": pictures_of(("x",) * 6, (9, 9))})


# A whole sweep

TINY: dict[str, Any] = {"model": "conv-pool", "epochs": 1, "batch_size": 8, "filters": 2, "units": 4}
AXES: dict[str, list[Any]] = {"size": [(24, 18), (12, 10)], "depth": [1, 3]}


@pytest.fixture(scope="module")
def photos(paint: Paint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("data") / "photos", {"red": 40, "green": 40, "blue": 40})


@pytest.fixture(scope="module")
def swept(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return sweep(photos, tmp_path_factory.mktemp("sweeps") / "a", TrainingOptions(**TINY), AXES, threads=1)


def test_rows_that_fail_are_reported_and_the_others_go_on(swept: Sweep) -> None:
    names = ["conv-pool_size=24x18_depth=1", "conv-pool_size=24x18_depth=3", "conv-pool_size=12x10_depth=1"]
    assert [row.name for row in swept.rows] == [*names, "conv-pool_size=12x10_depth=3"]
    assert [row.result is None for row in swept.rows] == [False, True, False, True]
    assert "12x10 is too small for conv-pool" in str(swept.rows[3].error)
    assert sorted(path.name for path in swept.folder.iterdir() if path.is_file()) == sorted(SWEEP_FILES)


def test_a_row_holds_what_was_measured(swept: Sweep, photos: Path) -> None:
    for row, found in swept.finished:
        folder = swept.folder / row.name
        told = json.loads((folder / "run" / "run.json").read_text())
        assert found.size_bytes == (folder / found.name).stat().st_size
        assert found.train.share == told["train_accuracy"]
        assert found.test.share == told["test_accuracy"]
        assert (found.train.pictures, found.test.pictures) == (told["pictures"]["train"], told["pictures"]["test"])
        assert found.gap == found.train.share - found.test.share
        assert (found.epochs, found.size_wh) == (1, tuple(told["size_wh"]))
        assert row.latency is not None
        assert row.latency.count >= 22
        device = Classifier(folder / found.name)
        kept = Answers.read(folder / "answers.csv")
        said = [device.classify(read_picture(photos / name))[0].label for name in kept.pictures]
        assert tuple(said) == kept.answers
        assert found.file.right == sum(map(str.__eq__, said, kept.labels))
    (_, large), (_, small) = swept.finished
    # Two convolution layers' worth of places: each kernel of 3 x 3 x 3 x 2 at 22 x 16 and at 10 x 8 places, then the
    # hidden layer and the head.
    for found, places, pooled in ((large, 22 * 16, 11 * 8), (small, 10 * 8, 5 * 4)):
        assert found.macs == 54 * places + pooled * 2 * 4 + 4 * 3


def test_the_same_pictures_at_two_sizes_are_compared(swept: Sweep) -> None:
    (first, _), (second, found) = swept.finished
    assert first.comparison is None
    comparison = second.comparison
    assert comparison is not None
    assert comparison.difference.pictures == found.file.pictures
    a, b = (Answers.read(swept.folder / row.name / "answers.csv") for row in (first, second))
    assert a.hashes == b.hashes
    assert comparison.difference.difference == pytest.approx(b.right.mean() - a.right.mean())
    assert len(comparison.flips) == sum(one != other for one, other in zip(a.answers, b.answers, strict=True))


def test_what_is_written_is_what_is_returned(swept: Sweep) -> None:
    record = json.loads((swept.folder / "sweep.json").read_text())
    assert record == json.loads(json.dumps(swept.to_record()))
    assert [row["error"] is None for row in record["rows"]] == [True, False, True, False]
    assert (record["part"], record["recipe"], record["threads"]) == ("test", "int8", 1)
    assert (swept.folder / "sweep.csv").read_text() == to_csv(swept)
    assert (swept.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_finished_rows_are_kept_and_what_was_interrupted_is_finished(swept: Sweep, photos: Path) -> None:
    (first, _), (second, _) = swept.finished
    interrupted = swept.folder / second.name / "row.json"
    record = json.loads(interrupted.read_text())
    interrupted.write_text(json.dumps({**record, "result": None}))
    trained = {row.name: (swept.folder / row.name / "run" / "run.json").stat().st_mtime_ns for row, _ in swept.finished}
    ended: list[SweepRow] = []
    again = sweep(photos, swept.folder, TrainingOptions(**TINY), AXES, threads=1, resume=True, on_row=ended.append)
    assert [row.kept for row in ended] == [True, False, False, False]
    assert [row.result for row in again.rows] == [row.result for row in swept.rows]
    assert [row.error for row in again.rows] == [row.error for row in swept.rows]
    for row, _ in again.finished:
        assert (swept.folder / row.name / "run" / "run.json").stat().st_mtime_ns == trained[row.name]
    assert first.name == again.finished[0][0].name


def test_nothing_is_replaced_or_mixed_unasked(swept: Sweep, photos: Path, tmp_path: Path) -> None:
    options = TrainingOptions(**TINY)
    with pytest.raises(UsageError, match="exists already; --resume keeps the rows that are finished"):
        sweep(photos, swept.folder, options, AXES)
    with pytest.raises(UsageError, match=r"was made with epochs = 1, now it is 2; give what was given then"):
        sweep(photos, swept.folder, replace(options, epochs=2), AXES, resume=True)
    with pytest.raises(UsageError, match="was made with recipe int8, now it is float32"):
        sweep(photos, swept.folder, options, AXES, resume=True, recipe="float32")
    precious = tmp_path / "conv-pool" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("...")
    with pytest.raises(FileError, match="exists and is no row of a sweep"):
        sweep(photos, tmp_path, options, {}, overwrite=True)
    assert precious.exists()


def test_a_row_that_is_made_anew_does_not_keep_its_old_run(
    swept: Sweep, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _ = swept.finished[1]
    axes: dict[str, list[Any]] = {"size": [(12, 10)], "depth": [1]}
    shutil.copytree(swept.folder / row.name, tmp_path / "out" / row.name)

    def interrupted(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    other = TrainingOptions(**{**TINY, "seed": 5})
    with monkeypatch.context() as patch:
        patch.setattr("edgevision._comparison.train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep(photos, tmp_path / "out", other, axes, overwrite=True)
    # What is there now says seed 5: the run with seed 0 must not be taken for it.
    made = sweep(photos, tmp_path / "out", other, axes, resume=True)
    assert made.rows[0].options["seed"] == 5
    assert read_run(tmp_path / "out" / row.name / "run").seed == 5


@pytest.mark.parametrize("part", ["train", "test"])
def test_rows_made_with_other_pictures_are_not_kept(
    swept: Sweep, photos: Path, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _ = swept.finished[1]
    folder = tmp_path / "out" / row.name
    shutil.copytree(photos, tmp_path / "photos")
    shutil.copytree(swept.folder / row.name, folder)
    for file in (folder / "row.json", folder / "run" / "run.json"):
        file.write_text(file.read_text().replace(str(photos), str(tmp_path / "photos")))
    monkeypatch.chdir(tmp_path / "out")  # the same data, named from elsewhere
    options, axes = TrainingOptions(**TINY), {"size": [(12, 10)], "depth": [1]}
    (kept,) = sweep("../photos", tmp_path / "out", options, axes, threads=1, resume=True).rows
    assert kept.kept

    (tmp_path / "photos" / getattr(load_data("../photos", (12, 10), "stretch"), part).names[0]).unlink()
    same = load_data("../photos", (12, 10), "stretch").train.origin.sha256 == read_run(folder / "run").trained_on.sha256
    assert same == (part == "test")
    with pytest.raises(UsageError, match=r"depth=1 was made with other pictures than \.\./photos holds now; give what"):
        sweep("../photos", tmp_path / "out", options, axes, threads=1, resume=True)

    def interrupted(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgevision._comparison.train", interrupted)
    with pytest.raises(KeyboardInterrupt):  # it is made anew
        sweep("../photos", tmp_path / "out", options, axes, threads=1, resume=True, overwrite=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [({"recipe": "int9"}, "unknown recipe 'int9'"), ({"threads": 0}, "threads must lie between 1 and 256")],
)
def test_a_sweep_is_refused_before_any_training(
    photos: Path, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sweep(photos, tmp_path / "out", TrainingOptions(**TINY), {}, **more)
    assert not (tmp_path / "out").exists()


def test_data_that_is_not_there_ends_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        sweep(tmp_path / "none", tmp_path / "out", TrainingOptions(**TINY), {"depth": [1, 2]})


def test_files_are_timed_in_turns(swept: Sweep) -> None:
    files = [(swept.folder / row.name / found.name, found.size_wh) for row, found in swept.finished]
    shown = [(path, pictures_of(("1", "2", "3"), size_wh)) for path, size_wh in files]
    for step_ms, runs in ((3, 20), (0.5, 50), (200, 2)):
        # A clock that moves on by one step between any two looks, and each run takes two looks.
        looks = itertools.count()
        timed = time_in_turns(shown, 1, lambda looks=looks, step_ms=step_ms: int(next(looks) * step_ms * 1e6))
        assert timed == [(Percentiles(11 * runs, step_ms, step_ms, step_ms), 1)] * 2


def test_a_file_answers_as_it_does_on_a_device(swept: Sweep, photos: Path) -> None:
    row, found = swept.finished[0]
    run = read_run(swept.folder / row.name / "run")
    part, pictures = HeldOut().of(run)
    assert part == "test"
    device = Classifier(swept.folder / row.name / found.name)
    said = answers_of_file(device, pictures)
    best = [device.classify(read_picture(photos / name))[0] for name in said.pictures]
    assert said.answers == tuple(each.label for each in best)
    assert said.scores.tolist() == [each.score for each in best]
    model = answers_of_model(load_keras_model(run.model_path), pictures)
    assert model.right.mean() == run.test_accuracy


def test_without_a_test_part_val_pictures_judge(paint: Paint, tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 4)):
        paint(tmp_path / "data" / part, {"red": count, "green": count})
    run: Any = SimpleNamespace(
        data=str(tmp_path / "data"),
        data_dir=None,
        validation_split=None,
        size_wh=(12, 9),
        resize="stretch",
        labels=("green", "red"),
        trained_on=DataOrigin("data", "0" * 64, 12),
    )
    part, pictures = HeldOut().of(run)
    assert (part, len(pictures)) == ("val", 8)
    assert pictures.pixels(slice(1)).shape == (1, 9, 12, 3)


# The command


def call(capsys: pytest.CaptureFixture[str], *line: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run_cli("edgevision", "", {"sweep": sweep_command}, ["sweep", *map(str, line)], version="0")
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_prints_rows_as_they_end_and_exits_1_if_one_failed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = Path(shutil.copytree(photos, tmp_path / "photos"))
    (photos / "red" / "zz.png").write_bytes(b"no picture")
    config = tmp_path / "options.toml"
    config.write_text(f'data = "{photos}"\nepochs = 1\nbatch_size = 8\nfilters = 2\nunits = 4\n')
    line = ["--config", config, "--model", "conv-pool", "--vary", "size=12x10", "--vary", "depth=1,3", "--out", "s"]
    code, out, err = call(capsys, *line, "--recipe", "float32", "--threads", 1, "--json")
    assert code == 1, err
    record = json.loads(out)
    assert record["command"].startswith("edgevision sweep --config ")
    assert [row["varied"] for row in record["rows"]] == [
        {"size": "12x10", "depth": "1"},
        {"size": "12x10", "depth": "3"},
    ]
    assert record["rows"][0]["result"]["file"]["name"] == "conv-pool_size=12x10_depth=1.float32.tflite"
    assert "2 trainings to compare" in err
    assert re.search(r"^conv-pool_size=12x10_depth=1: train \d.* MACs$", err, re.MULTILINE)
    assert "conv-pool_size=12x10_depth=3: failed: 12x10 is too small" in err
    # Every row comes across it, when it is trained, exported and judged.
    assert re.findall(r"^skipped: .*|^1 picture skipped; --strict refuses them$", err, re.MULTILINE) == [
        f"skipped: {photos / 'red' / 'zz.png'}: not a picture that can be decoded (10 bytes)",
        "1 picture skipped; --strict refuses them",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--out", "o"], "DATA is missing; give it, or a --config FILE that does"),
        (["digits", "--model", "slim"], "--out is missing"),
        (["digits", "--out", "o", "--vary", "depth=1"], "--model is missing"),
        (["digits", "--out", "o", "--model", "slim,dense", "--vary", "model=slim"], "the models are given twice"),
        (
            ["digits", "--out", "o", "--model", "slim", "--vary", "dept=1"],
            "unknown option to vary 'dept'; did you mean",
        ),
        (["digits", "--out", "o", "--model", "slim,dnse"], "dnse: unknown model 'dnse'; did you mean 'dense'?"),
    ],
)
def test_wrong_usage_of_the_command(
    line: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *line)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


# What augmentation is worth


def test_augmentation_is_compared_with_none(photos: Path, tmp_path: Path) -> None:
    options = TrainingOptions(**TINY, size_wh=(12, 10))
    found = compare_augmentation(photos, tmp_path / "run", options)
    assert found.without_run.folder == tmp_path / "run-without"
    for run, accuracy in ((found.with_run, found.with_accuracy), (found.without_run, found.without_accuracy)):
        assert accuracy.share == run.test_accuracy
        assert run.seed == options.seed
    told = [json.loads((run.folder / "run.json").read_text())["options"] for run in (found.with_run, found.without_run)]
    assert [name for name in told[0] if told[0][name] != told[1][name]] == ["augmentation"]
    assert found.comparison.difference.difference == pytest.approx(
        found.with_accuracy.share - found.without_accuracy.share
    )
    lines = found.lines()
    assert lines[0].startswith("with augmentation:    test ")
    assert lines[2].startswith("augmentation: ")
    assert lines[2].endswith("distinguishable from 0")
    assert json.loads(json.dumps(found.to_record()))["without"]["run"] == str(tmp_path / "run-without")

    with pytest.raises(UsageError, match="exists already"):
        compare_augmentation(photos, tmp_path / "run", options)
    again = compare_augmentation(photos, tmp_path / "run", options, resume=True)
    assert again.lines() == lines
    with pytest.raises(UsageError, match="was trained with epochs = 1, now it is 2"):
        compare_augmentation(photos, tmp_path / "run", replace(options, epochs=2), resume=True)


def test_no_augmentation_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no augmentation to compare with none"):
        compare_augmentation("digits", tmp_path / "run", TrainingOptions(augmentation=Augmentation()))
    assert list(tmp_path.iterdir()) == []
