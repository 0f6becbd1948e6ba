"""`benchmark` on a real file, real pictures and real child processes."""

import hashlib
import importlib.util
import inspect
import json
import sys

import pytest

from edgevision_benchmarks import (
    Accuracy,
    LabelScores,
    _accuracy,
    _processes,
    benchmark,
    read_report,
    render_html,
    write_report,
)
from edgevision_benchmarks._notes import file_notes
from edgevision_device import DataOrigin, FileError, Metadata, Normalization, PictureError, UsageError, hash_pictures

#: A child that dies of SIGSEGV on files called crash.tflite and does its work on others.
CRASHES = """
import json, os, signal, sys
sys.path[:] = {path!r}
text = sys.stdin.readline()
if json.loads(text)["file"].endswith("crash.tflite"):
    os.kill(os.getpid(), signal.SIGSEGV)
lines = iter([text])
class Again:
    readline = staticmethod(lambda: next(lines))
    __iter__ = staticmethod(lambda: iter(sys.__stdin__.readline, ""))
sys.stdin = Again()
from edgevision_benchmarks._child import main
main()
"""


def hash_of(folder):
    return hash_pictures((p.parent.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in folder.rglob("*.png"))


def test_accuracy_latency_and_memory_of_a_file(model, pictures):
    path, folder = model(), pictures()
    report = benchmark([path], folder, runs=5, warmup=2, threads=1)
    (file,) = report.files
    found = file.measured
    assert (file.name, file.format, file.recipe, file.error) == ("colors.float32.tflite", "tflite", "float32", None)
    assert file.size_bytes == path.stat().st_size
    assert found.top1 == Accuracy(12, 13)
    right = {label: {label: 3} for label in ("green", "blue", "dark")}
    assert found.confusion == {"red": {"red": 3, "blue": 1}, **right}
    assert found.top1.interval[0] < found.top1.share == 12 / 13 < found.top1.interval[1] < 1
    assert {label: each.recall for label, each in found.per_label.items()} == {"red": 0.75, **dict.fromkeys(right, 1)}
    assert (found.warmup_runs, found.latency.count, found.threads) == (2, 5, 1)
    assert found.runtime in ("litert", "tflite-runtime")
    assert 0 < found.latency.p50_ms <= found.latency.p90_ms <= found.latency.p99_ms
    assert found.preprocess.count == found.decide.count == 13
    assert found.warmup.count == 2
    assert found.first_ms > 0 < found.open_ms
    assert report.pictures.labels == ("blue", "dark", "green", "red")
    assert report.pictures.sha256 == hash_of(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/self/status")
def test_peak_memory_is_the_childs_own(model, pictures):
    ballast = bytearray(b"x") * 200_000_000
    (file,) = benchmark([model()], pictures(), runs=1, warmup=0).files
    found = file.measured
    assert found.memory_before_bytes <= found.memory_peak_bytes < len(ballast)
    if found.memory_file_bytes is not None:
        assert found.memory_file_bytes == found.memory_peak_bytes - found.memory_before_bytes


def test_labels_are_matched_by_name(model, pictures):
    # The model's first score is still what it gives red; only here it is called green.
    swapped = model(labels=("green", "red", "blue", "dark"))
    (file,) = benchmark([swapped], pictures(), runs=1, warmup=0).files
    assert file.measured.confusion["green"] == {"red": 3}
    assert list(file.measured.confusion) == ["green", "red", "blue", "dark"]


def test_the_test_split_is_used_and_said(model, pictures, tmp_path):
    pictures("splits/test", shown=1)
    pictures("splits/train", shown=2)
    report = benchmark([model()], tmp_path / "splits", runs=1, warmup=0, data_name="colors")
    assert (report.pictures.split, report.pictures.count, report.pictures.name) == ("test", 5, "colors")


def test_a_label_may_be_called_test(model, pictures):
    report = benchmark([model(labels=("red", "green", "blue", "test"))], pictures(names={"dark": "test"}), runs=1)
    assert report.pictures.split is None
    assert report.files[0].measured.confusion["test"] == {"test": 3}


def test_unreadable_pictures_are_named_and_counted(model, pictures):
    folder = pictures()
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    report = benchmark([model()], folder, runs=1, warmup=0)
    assert report.files[0].measured.top1.pictures == 13
    assert report.pictures.count == 14
    assert "broken.png" in report.pictures.skipped[0]
    with pytest.raises(PictureError, match=r"broken\.png"):
        benchmark([model()], folder, strict=True)


@pytest.mark.parametrize("workers", [1, 3])
def test_each_worker_holds_one_picture(model, pictures, monkeypatch, workers):
    """Of each decoded picture only the reference in a worker's loop is left when the next one is read."""
    import threading
    import weakref

    from edgevision_device import Classifier, LabelledPicture, read_picture

    alive, lock = [], threading.Lock()

    def counting(path):
        picture = read_picture(path)
        with lock:
            alive.append(weakref.ref(picture))
            assert sum(each() is not None for each in alive) <= 2 * workers
        return picture

    monkeypatch.setattr(_accuracy, "read_picture", counting)
    found = [LabelledPicture(path, path.parent.name) for path in sorted(pictures().rglob("*.png"))]
    path = model()
    _accuracy.classify_all([Classifier(path, threads=1) for _ in range(workers)], found)
    assert len(alive) == 13


def test_many_cores_answer_like_one(model, pictures):
    from edgevision_device import Classifier, LabelledPicture

    path, folder = model(), pictures(shown=20)
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    found = [LabelledPicture(path, path.parent.name) for path in sorted(folder.rglob("*.png"))]
    alone, together = (
        _accuracy.classify_all([Classifier(path, threads=1) for _ in range(workers)], found) for workers in (1, 4)
    )
    assert alone == together
    assert alone["predicted"].count(None) == 1
    assert "broken.png" in alone["skipped"][0]
    assert alone["top5_right"] is None


def test_what_fails_in_a_worker_is_raised(model, pictures, monkeypatch):
    from edgevision_device import Classifier, LabelledPicture

    def failing(path):
        raise FileError("the runtime gave up")

    monkeypatch.setattr(_accuracy, "read_picture", failing)
    found = [LabelledPicture(path, path.parent.name) for path in sorted(pictures().rglob("*.png"))]
    with pytest.raises(FileError, match="gave up"):
        _accuracy.classify_all([Classifier(model()) for _ in range(2)], found)


def test_files_are_compared_picture_by_picture(model, pictures):
    folder = pictures()
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    # The second one calls green what is red, and the other way round: wrong on 6 of 13, where the first is right.
    files = [model("a.tflite"), model("b.tflite", labels=("green", "red", "blue", "dark"))]
    first, second = (file.measured for file in benchmark(files, folder, runs=1, warmup=0).files)
    assert first.paired is None
    assert (second.paired.reference, second.paired.flips) == ("a.tflite", 6)
    difference = second.paired.difference
    assert (difference.both, difference.only_a, difference.only_b, difference.neither) == (6, 6, 0, 1)
    assert difference.p == pytest.approx(2 * 0.5**6)
    assert first.per_label["blue"] == LabelScores(right=3, pictures=3, called=4)


def test_a_damaged_and_a_foreign_file_are_rows(model, pictures, tmp_path):
    good, damaged, foreign = model(), model("damaged.tflite"), tmp_path / "foreign.tflite"
    content = bytearray(damaged.read_bytes())
    content[200] ^= 1
    damaged.write_bytes(content)
    foreign.write_bytes(b"\0\0\0\0TFL3 of somebody else")
    report = benchmark([damaged, good, foreign], pictures(), runs=1, warmup=0)
    errors = [file.error for file in report.files]
    assert "is damaged" in errors[0]
    assert errors[1] is None
    assert "was not written by edgevision" in errors[2]
    assert all("\n" not in error for error in errors if error)


def test_a_crash_is_a_row(model, pictures, monkeypatch):
    monkeypatch.setattr(_processes, "child_command", lambda: [sys.executable, "-c", CRASHES.format(path=sys.path)])
    report = benchmark([model("crash.tflite"), model("good.tflite")], pictures(), runs=1, warmup=0)
    assert report.files[0].error == "the runtime crashed: its process died of SIGSEGV"
    assert report.files[1].measured is not None


def test_a_child_that_fails_says_why(model, pictures, monkeypatch):
    monkeypatch.setattr(_processes, "child_command", lambda: [sys.executable, "-c", "raise MemoryError('too big')"])
    with pytest.raises(FileError, match="its process ended with code 1: MemoryError: too big"):
        benchmark([model()], pictures())


def test_a_file_in_the_working_directory_replaces_no_module(model, pictures, monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert benchmark([model()], pictures(), runs=1, warmup=0).files[0].error is None


def test_a_foreign_file_runs_with_what_it_lacks(pictures, tmp_path):
    if not any(importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite_runtime")):
        pytest.skip("no TFLite runtime is installed")
    from pathlib import Path

    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes((Path(__file__).parent / "data" / "colors.tflite").read_bytes())
    # This model normalizes inside, so its pixels are taken as they are.
    given = Metadata("foreign", ("red", "green", "blue", "dark"), (1, 1), "stretch", Normalization((0.0,), (1.0,)))
    (file,) = benchmark([foreign], pictures(), runs=1, warmup=0, given=given).files
    assert file.measured.top1.right == 12


@pytest.mark.parametrize("origin", ["trained_on", "calibrated_on"])
def test_pictures_that_the_model_has_seen_are_a_warning(model, pictures, origin):
    folder = pictures()
    seen = DataOrigin("colors", hash_of(folder), 13)
    other = DataOrigin("others", "00" * 32, 13)
    leaky, clean = model("leaky.tflite", **{origin: seen}), model("clean.tflite", **{origin: other})
    leaked, kept = benchmark([leaky, clean], folder, runs=1, warmup=0).files
    assert f"{origin.split('_')[0]} on these very pictures (colors)" in leaked.warnings[0]
    assert kept.warnings == ()


def test_files_are_timed_in_turns_and_compared_with_the_first(model, pictures):
    """One after the other, a spell of load would meet one file only."""
    asked = []

    def note(name, stage, done, total):
        if stage == "latency":
            asked.append((name, done))

    report = benchmark(
        [model("a.tflite"), model("b.tflite"), model("c.tflite")], pictures(), runs=12, warmup=2, on_progress=note
    )
    # The first file twice, for the noise floor; the last run of a file comes after the first of each other.
    assert len(asked) == 4 * 12
    assert {name for name, _ in asked[:4]} == {"a.tflite", "b.tflite", "c.tflite"}
    orders = {tuple(name for name, _ in asked[start : start + 4]) for start in range(0, 48, 4)}
    assert len(orders) > 3
    first, *others = (file.measured for file in report.files)
    assert first.speed is None
    for found in others:
        assert found.speed.reference == "a.tflite"
        assert found.speed.time.low <= found.speed.time.ratio <= found.speed.time.high
        assert found.speed.time.rounds == len(found.round_p50_ms) == 12
        assert found.speed.verdict in ("faster", "slower", "no difference")
    assert report.noise_floor.rounds == 12


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/stat")
def test_the_load_of_others_is_in_the_report(model, pictures):
    report = benchmark([model()], pictures(), runs=2, warmup=0)
    found = report.files[0].measured
    shares = [report.before.others_share, report.after.others_share, found.others_share, found.steal_share]
    assert all(share is None or 0 <= share <= 1 for share in shares)
    assert report.conditions.numpy
    assert found.opencv


def test_a_file_is_timed_with_several_numbers_of_threads(model, pictures):
    report = benchmark([model()], pictures(), runs=6, warmup=0, thread_sweep=[2, 1, 2])
    found = report.files[0].measured
    assert [(each.threads, each.latency.count) for each in found.thread_sweep.counts] == [(2, 6), (1, 6)]
    assert found.thread_sweep.recommended in (1, 2)
    assert set(found.latency_intervals) == {"p50_ms", "p90_ms", "p99_ms"}
    with pytest.raises(UsageError, match="between 1 and 256, got 0"):
        benchmark([model()], pictures("other"), thread_sweep=[1, 0])


def test_few_runs_recommend_no_number_of_threads(model, pictures, tmp_path):
    report = benchmark([model()], pictures(), runs=1, warmup=0, thread_sweep=[1, 2])
    (file,) = report.files
    assert file.measured.thread_sweep.recommended is None
    (line,) = [line for line in file_notes(report)[file.name] if line.startswith("p50 ms by threads 1: ")]
    assert line.endswith("; none recommended on fewer than 6 rounds")
    assert read_report(write_report(report, tmp_path / "report")[0]) == report


def test_the_cost_of_a_file_is_counted(model, pictures):
    (file,) = benchmark([model()], pictures(), runs=1, warmup=0).files
    cost = file.measured.cost
    assert cost.parameters > 0 < cost.macs
    assert 0 <= cost.delegated <= cost.operators
    assert (cost.partitions == 0) == (cost.delegated == 0)


def test_no_two_interpreters_run_at_the_same_time(model, pictures, monkeypatch):
    running = []
    ask = _processes.Process._ask

    def asking(self, question, on_stage=None):
        running.append(question)
        assert len(running) == 1
        try:
            return ask(self, question, on_stage)
        finally:
            running.pop()

    monkeypatch.setattr(_processes.Process, "_ask", asking)
    benchmark([model("a.tflite"), model("b.tflite")], pictures(), runs=2, warmup=1)


def test_one_file_alone_is_compared_with_nothing(model, pictures):
    report = benchmark([model()], pictures(), runs=3, warmup=0)
    assert report.noise_floor is None
    assert report.files[0].measured.speed is None


def test_no_process_is_left(model, pictures, monkeypatch):
    started = []
    start = _processes.Process.__init__

    def starting(self, request):
        start(self, request)
        started.append(self)

    monkeypatch.setattr(_processes.Process, "__init__", starting)
    benchmark([model("a.tflite"), model("b.tflite")], pictures(), runs=2, warmup=0)
    assert len(started) == 3
    assert all(process._child.returncode is not None for process in started)


def test_names_tell_files_apart(model, pictures):
    report = benchmark([model("a/x.tflite"), model("b/x.tflite")], pictures(), runs=1, warmup=0)
    assert [file.name for file in report.files] == ["a/x.tflite", "b/x.tflite"]


def test_progress_is_told(model, pictures):
    told = []
    benchmark([model()], pictures(), runs=1, warmup=0, on_progress=lambda *each: told.append(each))
    stages = list(dict.fromkeys(stage for _, stage, _, _ in told))
    assert stages == ["reading", "open", "latency", "accuracy", "done"]


def test_a_file_given_twice_is_refused(model, pictures, tmp_path):
    path = model()
    with pytest.raises(UsageError, match="given twice"):
        benchmark([path, tmp_path / "." / path.name], pictures())


def test_what_benchmark_and_command_take_is_documented():
    names = set(inspect.signature(benchmark).parameters)
    documented = inspect.getdoc(benchmark)
    assert [name for name in sorted(names) if f"{name}:" not in documented] == []


def test_pictures_that_flip_are_told_worst_first_and_shown(model, pictures, tmp_path):
    folder = pictures()
    (folder / "red" / "broken.png").write_bytes(b"no picture")
    # The second one calls green what is red, and the other way round.
    files = [model("a.tflite"), model("b.tflite", labels=("green", "red", "blue", "dark"))]
    report = benchmark(files, folder, runs=1, warmup=0)
    paired = report.files[1].measured.paired
    assert {(flip.kind, flip.label, flip.answer_a, flip.answer_b) for flip in paired.flipped} == {
        ("lost", "red", "red", "green"),
        ("lost", "green", "green", "red"),
    }
    scores = [flip.score_b for flip in paired.flipped]
    assert scores == sorted(scores, reverse=True)
    assert all(
        hashlib.sha256((folder / flip.picture).read_bytes()).hexdigest() == flip.sha256 for flip in paired.flipped
    )
    json_path, html_path = write_report(report, tmp_path / "report")
    page = html_path.read_text(encoding="utf-8")
    assert page.count('<img src="data:image/png;base64,') == 6
    assert '<b class="lost">6 lost</b>' in page
    assert "data:image" not in json_path.read_text(encoding="utf-8")
    again = read_report(json_path)
    assert again == report
    assert render_html(again).count("not there any more") == 6


def test_an_address_in_a_report_is_not_shown(model, pictures, tmp_path):
    files = [model("a.tflite"), model("b.tflite", labels=("green", "red", "blue", "dark"))]
    path, _ = write_report(benchmark(files, pictures(), runs=1, warmup=0), tmp_path / "report")
    record = json.loads(path.read_text(encoding="utf-8"))
    sha256 = record["files"][1]["measured"]["paired"]["flipped"][0]["sha256"]
    record["thumbnails"] = {sha256: "http://example.com/picture.png"}
    path.write_text(json.dumps(record), encoding="utf-8")
    assert "example.com" not in render_html(read_report(path))
