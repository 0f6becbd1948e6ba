"""A run's report: what it says is so, on one page that needs nothing else, whatever the labels are called."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision import Pictures, Splits, load_data
from edgevision._commands import look
from edgevision._looking import confusion_of, find_mistakes, recalls_of
from edgevision._looking._chart import chart_of
from edgevision._run import write_run
from edgevision._run_data import with_labels_of
from edgevision._run_report import REPORT_FILES, make_run_report
from edgevision_benchmarks import Accuracy
from edgevision_device import DataError, run_cli

WIDTH, HEIGHT = 24, 18
EVIL = '<script>alert("x")</script>'
HISTORY = {"loss": [2.0, 0.5], "val_loss": [1.5, float("nan")], "accuracy": [0.3, 0.8], "val_accuracy": [0.4, 0.7]}


class Page(HTMLParser):
    """What a browser would make of it: tags, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def decode(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def pictures_of(labels: tuple[str, ...], count: int, size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> Pictures:
    generator = np.random.default_rng(1)
    store = generator.integers(0, 256, (count, size_wh[1], size_wh[0], 3), np.uint8)
    targets = np.arange(count) % len(labels)
    names = tuple(f"{labels[target]}/{place:04}.png" for place, target in enumerate(targets))
    return Pictures(store, np.arange(count), targets, labels, names, ("0" * 64,) * count, "made up")


def model_of(labels: int, size_wh: tuple[int, int] = (WIDTH, HEIGHT), *, convolutions: bool = True) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    inputs = keras.Input((size_wh[1], size_wh[0], 3))
    x = layers.Rescaling(1 / 128, -1, name="normalization")(inputs)
    if convolutions:
        x = layers.Conv2D(8, 3, strides=2, activation="relu", name="stem_conv")(x)
        x = layers.Conv2D(8, 3, name="second_conv")(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(labels, activation="softmax", name="scores")(x), name="made")


def scores_of(pictures: Pictures, wrong: dict[int, tuple[int, float]]) -> np.ndarray:
    """Scores that are right but for these places: the label they get, and its score."""
    labels = len(pictures.labels)
    scores = np.full((len(pictures), labels), 0.1 / max(1, labels - 1), np.float32)
    scores[np.arange(len(pictures)), pictures.targets] = 0.9
    for place, (label, score) in wrong.items():
        scores[place] = (1 - score) / (labels - 1)
        scores[place, label] = score
    return scores


@pytest.fixture(scope="module")
def made() -> tuple[Splits, dict[str, Any], dict[str, bytes]]:
    """A report with four mistakes among 30 pictures of labels that nobody should trust."""
    labels = ("ant & bee", EVIL, "$x^2$ 猫 \udcff")
    train, val, test = pictures_of(labels, 60), pictures_of(labels, 9), pictures_of(labels, 30)
    record = {
        "model": "slim",
        "labels": list(labels),
        "size_wh": [WIDTH, HEIGHT],
        "resize": "crop",
        "trained_on": {"name": "made up", "sha256": "f" * 64, "pictures": 60},
        "pictures": {"train": 60, "val": 9, "test": 30},
        "parameters": 1234,
        "val_accuracy": 0.75,
        "training_seconds": 68.6,
        "skipped": [f"{EVIL}.png: not a picture"],
        "options": {"epochs": 2, "weights": None, "augmentation": {"flip": True, "zoom": 0.1}, "resize": EVIL},
    }
    splits = Splits(train, val, test)
    scores = scores_of(test, {4: (2, 0.6), 6: (1, 0.99), 9: (2, 0.7), 10: (0, 0.8)})
    return splits, record, make_run_report(model_of(3), splits, record, HISTORY, name="try", scores=scores)


def test_the_files_are_there_and_always_the_same(made: tuple[Splits, dict[str, Any], dict[str, bytes]]) -> None:
    splits, record, files = made
    assert tuple(files) == REPORT_FILES
    scores = scores_of(splits.test, {4: (2, 0.6), 6: (1, 0.99), 9: (2, 0.7), 10: (0, 0.8)})
    assert make_run_report(model_of(3), splits, record, HISTORY, name="try", scores=scores) == files
    for name in REPORT_FILES:
        if name.endswith(".png"):
            assert min(decode(files[name]).shape[:2]) > 150, name


def test_the_page_says_what_was_measured(made: tuple[Splits, dict[str, Any], dict[str, bytes]]) -> None:
    page = Page(made[2]["report.html"].decode())
    text = re.sub(r"\s+", " ", page.text.replace("\u00a0", " "))
    low, high = Accuracy(26, 30).interval
    assert "86.7 % of 30 test pictures right" in text
    assert f"{100 * low:.1f}\u2013{100 * high:.1f} at 95 %" in text
    assert "4 of 30 test pictures got another label than their own" in text
    assert "1,234" in text
    assert "augmentation: flip yes" in text
    assert "weights" not in re.findall(r"Options (.*) 1 picture skipped", text)[0], "None says nothing"
    assert "Occlusion (Zeiler and Fergus 2014)" in text
    recalls = re.findall(r"([\d.]+) (\d+)/10 ", text)
    assert recalls == [("80.0", "8"), ("80.0", "8"), ("100.0", "10")]
    # The surest mistake first, in the album and among those explained.
    assert re.findall(r"(99\.0|80\.0|70\.0|60\.0) % is", text) == ["99.0", "80.0", "70.0", "60.0"]


def test_the_page_needs_nothing_else_and_runs_nothing(made: tuple[Splits, dict[str, Any], dict[str, bytes]]) -> None:
    html = made[2]["report.html"].decode()
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(sources) > 20
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not [attributes for _, attributes in page.tags if "href" in attributes]
    assert not re.search(r"url\(|@import|https?://", html)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert EVIL in page.text
    assert "ant & bee" in page.text
    assert "$x^2$ 猫 \ufffd" in page.text


def test_the_confusion_matrix_is_in_three_forms(made: tuple[Splits, dict[str, Any], dict[str, bytes]]) -> None:
    text = made[2]["confusion.csv"].decode(errors="surrogateescape")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["true \\ predicted", *made[1]["labels"]]
    assert [row[1:] for row in rows[1:]] == [["8", "1", "1"], ["1", "8", "1"], ["0", "0", "10"]]
    cells = [attributes for tag, attributes in Page(made[2]["report.html"].decode()).tags if tag == "td"]
    assert [each["title"] for each in cells if (each.get("class") or "").startswith("wrong")] == [
        f"1 pictures of ant & bee called {EVIL}",
        "1 pictures of ant & bee called $x^2$ 猫 \ufffd",
        f"1 pictures of {EVIL} called ant & bee",
        f"1 pictures of {EVIL} called $x^2$ 猫 \ufffd",
    ]


def test_a_thousand_labels_break_nothing() -> None:
    labels = tuple(f"label number {place} with a name" for place in range(1000))
    test = pictures_of(labels, 2000, (16, 12))
    wrong = {place: ((place + 7) % 1000, 0.5) for place in range(0, 2000, 11)}
    started = time.process_time()
    files = make_run_report(
        model_of(1000, (16, 12)), Splits(test, test.take([0]), test), {}, {}, scores=scores_of(test, wrong)
    )
    assert time.process_time() - started < 30
    assert len(files["report.html"]) < 2_000_000
    page = Page(files["report.html"].decode())
    assert len([tag for tag, _ in page.tags if tag == "tr"]) < 100
    assert "960 more in confusion.csv" in page.text
    matrix = decode(files["confusion.png"])
    assert 1000 < min(matrix.shape[:2]) < 1300, "each cell has a pixel"
    orange = np.abs(matrix.astype(int) - (35, 73, 205)).sum(2) < 160
    assert orange.sum() > 150
    assert len(files["confusion.csv"].splitlines()) == 1001


def test_forty_labels_are_written_and_more_are_not() -> None:
    from edgevision._looking import draw_confusion

    sizes = {}
    for count in (2, 40, 41):
        labels = [f"{'a long name ' * 4}{place}" for place in range(count)]
        sizes[count] = decode(draw_confusion(np.diag(np.full(count, 123)), labels, "t" * 300)).shape[:2]
    assert 400 < sizes[2][1] < 600
    assert 1200 < min(sizes[40]) < max(sizes[40]) < 1900, "each number has room"
    assert max(sizes[41]) < 1000


def test_without_a_test_part_val_is_looked_at_and_the_page_says_so() -> None:
    labels = ("a", "b")
    val = pictures_of(labels, 8)
    files = make_run_report(
        model_of(2, convolutions=False), Splits(val, val, val.take([])), {}, {"loss": [1.0]}, scores=scores_of(val, {})
    )
    assert "filters.png" not in files, "a network without convolutions has none"
    text = Page(files["report.html"].decode()).text.replace("\u00a0", " ")
    assert "100.0 % of 8 val pictures right" in text
    assert "the val pictures have chosen the epoch" in text
    assert "None among 8 val pictures" in text


def test_scores_are_computed_where_they_are_not_given() -> None:
    labels = ("a", "b", "c")
    test = pictures_of(labels, 7)
    model = model_of(3)
    files = make_run_report(model, Splits(test, test, test), {}, {})
    predicted = model(test.pixels(slice(None)).astype(np.float32)).numpy().argmax(1)
    rows = list(csv.reader(io.StringIO(files["confusion.csv"].decode())))[1:]
    counts = np.array([row[1:] for row in rows], int)
    assert (counts == confusion_of(np.eye(3)[predicted], test.targets)).all()
    with pytest.raises(ValueError, match=r"scores have shape \(2, 3\), expected \(7, 3\)"):
        make_run_report(model, Splits(test, test, test), {}, {}, scores=np.zeros((2, 3), np.float32))


def test_mistakes_are_sorted_by_how_sure_they_were() -> None:
    pictures = pictures_of(("a", "b"), 6)
    scores = scores_of(pictures, {1: (0, 0.6), 2: (1, 0.95), 5: (0, 0.6)})
    found = find_mistakes(scores, pictures, 2)
    assert [(each.place, each.true, each.predicted) for each in found] == [(2, "a", "b"), (1, "b", "a")]
    assert (found[0].score, found[0].true_score) == (pytest.approx(0.95), pytest.approx(0.05))
    assert found[1].file == "b/0001.png"
    assert find_mistakes(scores_of(pictures, {}), pictures, 2) == []
    recalls = recalls_of(confusion_of(scores, pictures.targets), pictures.labels)
    assert list(recalls.values()) == [Accuracy(2, 3), Accuracy(1, 3)]


def test_labels_of_other_data_are_counted_as_the_model_does() -> None:
    pictures = pictures_of(("b", "c"), 4)
    assert with_labels_of(pictures, ("a", "c", "b")).targets.tolist() == [2, 1, 2, 1]
    with pytest.raises(DataError, match="the label 'c', which the model does not know; it knows 2: a, b"):
        with_labels_of(pictures, ("a", "b"))


def test_charts_hold_what_can_be_drawn() -> None:
    chart = chart_of("Loss", HISTORY, {"loss": "train", "val_loss": "val", "absent": "no"})
    assert chart is not None
    assert [(line.name, line.last) for line in chart.lines] == [("train", "0.5"), ("val", "1.5")]
    left, top, right, bottom = chart.frame
    first, last = ([float(number) for number in point.split(",")] for point in chart.lines[0].points.split())
    assert (first[0], last[0]) == (left, right)
    assert top < first[1] < last[1] < bottom, "a falling loss falls"
    assert [text for _, text in chart.x_ticks] == ["1", "2"]
    assert chart_of("Loss", {"loss": [float("nan")]}, {"loss": "train"}) is None
    single = chart_of("Loss", {"loss": [0.0]}, {"loss": "train"})
    assert single is not None
    assert len(single.lines[0].points.split()) == 1


@pytest.fixture
def folder(paint: Callable[..., Path], tmp_path: Path) -> Path:
    """A run folder as `edgevision train` leaves it, of a network that learned nothing, beside its pictures."""
    data = paint(tmp_path / "photos", {"red": 40, "green": 40, "blue": 40})
    splits = load_data(str(data), (WIDTH, HEIGHT), "stretch")
    record = {
        "model": "slim",
        "labels": list(splits.labels),
        "size_wh": [WIDTH, HEIGHT],
        "resize": "stretch",
        "data": str(data),
        "data_dir": None,
        "seed": 0,
        "trained_on": {"name": "photos", "sha256": splits.train.origin.sha256, "pictures": len(splits.train)},
        "pictures": {"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)},
        "val_accuracy": 0.5,
        "test_accuracy": 0.5,
        "options": {"validation_split": None},
    }

    def fill(place: Path) -> None:
        model_of(3).save(place / "model.keras")
        (place / "history.csv").write_text("epoch,phase,loss,val_loss\n1,head,2.0,1.5\n2,head,1.0,1.25\n")

    write_run(tmp_path / "run", record, fill, overwrite=False)
    return tmp_path


def test_look_mistakes_and_report_on_a_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = run_cli("edgevision", "", {"look": look}, ["look", *line.split()], version="0")
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(line, code, printed.out, printed.err)

    done = shell("mistakes run --out m.png --json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["part"] == "test"
    assert 1 < record["mistakes"] == len(record["shown"]) <= record["pictures"]
    for each in record["shown"]:
        assert each["file"].startswith(f"{each['true']}/")
        assert each["predicted"] != each["true"]
        assert each["score"] >= each["true_score"]
    assert [each["score"] for each in record["shown"]] == sorted(
        (each["score"] for each in record["shown"]), reverse=True
    )
    one = shell("mistakes run --out m.png --count 1 --overwrite --data photos")
    assert f"m.png: {record['mistakes']} of {record['pictures']} test pictures got another label" in one.stdout
    assert record["shown"][0]["file"] in one.stdout

    done = shell("report run")
    assert done.returncode == 0, done.stderr
    assert [line.removeprefix("run/") for line in done.stdout.splitlines()] == list(REPORT_FILES)
    page = (folder / "run" / "report.html").read_text()
    assert "last 1.25" in page, "what the epochs measured"
    assert (
        "confusion.csv exists already" in shell("report run").stderr or "exists already" in shell("report run").stderr
    )
    assert shell("report run --out other --json").returncode == 0
    assert (folder / "other" / "report.html").read_text() == page
