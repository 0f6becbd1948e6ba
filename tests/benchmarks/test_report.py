"""`report.json`, `report.html` and the table, from reports that were not measured."""

import dataclasses
import html
import html.parser
import io
import json
import re

import pytest
from rich.console import Console

import edgevision_benchmarks
from edgevision_benchmarks import (
    Accuracy,
    Cost,
    MachineState,
    Paired,
    PairedDifference,
    SingleStream,
    Speed,
    StreamPass,
    ThreadCount,
    ThreadSweep,
    TimeRatio,
    render_html,
    write_report,
)
from edgevision_benchmarks._plot import BYTES, LATENCY, arrange, pareto_front
from edgevision_benchmarks._table import print_table
from edgevision_device import Percentiles, UsageError

CONFUSION = {
    "red": {"red": 24, "blue": 1},
    "green": {"green": 25},
    "blue": {"blue": 25},
    "dark": {"red": 2, "dark": 23},
}


@pytest.fixture
def report(make_report, measurement):
    return make_report(
        ("a.float32.tflite", "tflite", "float32", 400_000, measurement(CONFUSION, 2.0)),
        ("a.int8.tflite", "tflite", "int8", 110_000, measurement(CONFUSION, 0.5)),
        ("a.float32.onnx", "onnx", "float32", 410_000, measurement(CONFUSION, 2.1)),
        ("broken.onnx", "onnx", "int8", 90_000, "it crashed"),
    )


def attributes(text):
    """Return the tags with their attributes."""
    found = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(text)
    return found


def test_public_names_are_sorted_and_exist():
    names = edgevision_benchmarks.__all__
    assert names == sorted(names)
    assert all(hasattr(edgevision_benchmarks, name) for name in names)


def test_the_record_is_json_with_documented_keys(report):
    record = json.loads(json.dumps(report.to_record(), allow_nan=False))
    assert record["format"] == 1
    assert set(record) == {
        *(
            "format",
            "edgevision",
            "created",
            "command",
            "resumed",
            "conditions",
            "pictures",
            "settings",
            "noise_floor",
            "before",
            "after",
            "files",
        )
    }

    def keys(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                # Their keys are labels.
                if key == "per_label":
                    inner = list(inner.values())
                if key not in ("confusion", "kernels"):
                    yield from keys(inner)
                yield key
        elif isinstance(value, list):
            for inner in value:
                yield from keys(inner)

    undocumented = {key for key in keys(record) if not re.search(rf"\b{key}\b", edgevision_benchmarks.__doc__)}
    assert undocumented == set()
    first, failed = record["files"][0], record["files"][3]
    assert first["measured"]["confusion"] == CONFUSION
    assert (first["measured"]["right"], first["measured"]["pictures"]) == (97, 100)
    assert (failed["measured"], failed["error"]) == (None, "it crashed")


def test_reports_are_written_whole_and_never_over_another(report, tmp_path):
    paths = write_report(report, tmp_path / "new" / "report")
    assert [path.name for path in paths] == ["report.json", "report.html"]
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == ["report.html", "report.json"]
    with pytest.raises(UsageError, match="--overwrite"):
        write_report(report, tmp_path / "new" / "report")
    write_report(report, tmp_path / "new" / "report", overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="no folder"):
        write_report(report, tmp_path / "file")


def test_names_that_are_no_utf8_survive(make_report, measurement, tmp_path):
    name = b"caf\xe9.tflite".decode(errors="surrogateescape")
    report = make_report((name, "tflite", "int8", 1000, measurement(CONFUSION)))
    json_path, html_path = write_report(report, tmp_path)
    assert json.loads(json_path.read_text(encoding="utf-8"))["files"][0]["name"] == name
    assert "caf" in html_path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(report):
    text = render_html(report)
    tags = attributes(text)
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed"}
    assert [attrs for _, attrs in tags if "href" in attrs or "src" in attrs] == []
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags


def test_the_page_escapes_what_users_name(make_report, measurement):
    evil = '<script>alert("1")</script>'
    confusion = {evil: {evil: 4, "plain": 1}, "plain": {"plain": 5}}
    report = make_report(
        (f"{evil}.tflite", "tflite", "int8", 1000, measurement(confusion)),
        ("other.onnx", "onnx", evil, 1000, measurement(confusion)),
        ("failed.onnx", "onnx", "int8", 1000, f"error about {evil}"),
        labels=(evil, "plain"),
    )
    text = render_html(report)
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in text
    # Neither does a quote in a label end an attribute.
    assert all(not key.startswith("on") and "alert" not in key for _, attrs in attributes(text) for key in attrs)


@pytest.mark.parametrize(
    ("featured", "expected"),
    [
        pytest.param(None, "a.int8.tflite", id="the int8 .tflite"),
        pytest.param("a.float32.onnx", "a.float32.onnx", id="chosen"),
    ],
)
def test_one_file_is_featured(report, featured, expected):
    text = render_html(report, featured)
    assert f"{expected}, label by label" in text
    with pytest.raises(UsageError, match=r"broken\.onnx was not measured"):
        render_html(report, "broken.onnx")


def test_without_an_int8_file_the_most_accurate_is_featured(make_report, measurement):
    worse = {"red": {"red": 20, "blue": 5}}
    better = {"red": {"red": 25}}
    rows = [(f"{name}.onnx", "onnx", name, 1000, measurement(found)) for name, found in (("x", worse), ("y", better))]
    assert "y.onnx, label by label" in render_html(make_report(*rows))


def test_many_labels_become_a_list(make_report, measurement):
    labels = [f"label{number:04}" for number in range(1000)]
    confusion = {label: {label: 9, labels[index - 1]: 1} for index, label in enumerate(labels)}
    confusion["label0007"] = {"label0008": 6, "label0007": 4}
    report = make_report(("a.tflite", "tflite", "int8", 1000, measurement(confusion)))
    text = render_html(report)
    assert "Commonest confusions" in text
    assert "<td>label0007</td><td>label0008</td>" in text
    assert "970 more in report.json" in text
    assert len(text) < 100_000


def test_best_values_are_marked_once_per_reading(report):
    text = render_html(report)
    # Size, p50, p90 and p99 have one best file; top-1 reads the same in all, so it has none.
    assert text.count('class="best"') == 4


def rows_of(make_report, measurement, times_ms, sizes):
    files = [
        (f"{n}.tflite", "tflite", f"r{n}", size, measurement(CONFUSION, time_ms))
        for n, (time_ms, size) in enumerate(zip(times_ms, sizes))
    ]
    return make_report(*files).measured


@pytest.mark.parametrize("width", [1040.0, 400.0])
@pytest.mark.parametrize(
    "times_ms",
    [
        pytest.param([1.0], id="one"),
        pytest.param([1.0, 1.5], id="linear"),
        pytest.param([0.05, 0.0501, 0.052, 0.07, 0.1, 0.24, 0.25], id="crowded"),
        pytest.param([0.5, 5.0, 50.0, 4000.0], id="wide"),
    ],
)
def test_labels_in_the_plot_do_not_overlap(make_report, measurement, times_ms, width):
    rows = rows_of(make_report, measurement, times_ms, [40_000 + 9000 * n for n in range(len(times_ms))])
    titles = [f"TFLite float{n}" for n in range(len(rows))]
    plot = arrange(rows, titles, rows[0][0], width, 430.0, 18.0, True)
    labels = [dot.label for dot in plot.dots]
    for index, label in enumerate(labels):
        assert label.outside(plot.frame) == 0
        assert all(label.overlap(other) == 0 for other in labels[:index])
    assert len(plot.x_ticks) >= 2
    assert len(plot.y_ticks) >= 2
    assert all(plot.frame.left <= dot.x <= plot.frame.right for dot in plot.dots)
    assert all(plot.frame.top <= dot.high <= dot.y <= dot.low <= plot.frame.bottom for dot in plot.dots)
    assert [dot.x for dot in plot.dots] == sorted(dot.x for dot in plot.dots)


def test_area_in_the_plot_is_proportional_to_bytes(make_report, measurement):
    rows = rows_of(make_report, measurement, [1.0, 2.0], [10_000, 40_000])
    plot = arrange(rows, ["a", "b"], rows[0][0], 1040.0, 430.0, 20.0, True)
    assert [dot.radius for dot in plot.dots] == [10.0, 20.0]


def front_of(make_report, measurement, files, cost):
    """Name the front of `name: (p50_ms, size_bytes, right of 100)`."""
    rows = [
        (name, "tflite", name, size, measurement({"red": {"red": right, "blue": 100 - right}}, time_ms))
        for name, (time_ms, size, right) in files.items()
    ]
    measured = make_report(*rows).measured
    return {file.name for (file, _), front in zip(measured, pareto_front(measured, cost)) if front}


def test_the_pareto_front_holds_what_no_other_file_beats(make_report, measurement):
    files = {"slow": (9, 1000, 99), "fast": (1, 9000, 90), "as fast": (1, 500, 90), "beaten": (5, 2000, 90)}
    assert front_of(make_report, measurement, files, LATENCY) == {"slow", "fast", "as fast"}
    assert front_of(make_report, measurement, files, BYTES) == {"slow", "as fast"}
    assert front_of(make_report, measurement, {"only": (9, 1, 1)}, BYTES) == {"only"}


def test_the_front_rises_in_steps_to_the_right(make_report, measurement):
    confusions = [{"red": {"red": right, "blue": 100 - right}} for right in (95, 90, 80, 85)]
    sizes = (40_000, 20_000, 10_000, 30_000)
    files = [
        (f"{n}.onnx", "onnx", f"r{n}", size, measurement(found, 1.0))
        for n, (found, size) in enumerate(zip(confusions, sizes))
    ]
    rows = make_report(*files).measured
    plot = arrange(rows, ["a", "b", "c", "d"], rows[0][0], 1040.0, 430.0, 20.0, True, BYTES)
    assert [dot.front for dot in plot.dots] == [True, True, True, False]
    at = {dot.title: (dot.x, dot.y) for dot in plot.dots}
    (ax, ay), (bx, by), (cx, cy) = at["a"], at["b"], at["c"]
    assert plot.front == [(cx, cy), (bx, cy), (bx, by), (ax, by), (ax, ay), (plot.frame.right, ay)]
    assert {dot.radius for dot in plot.dots} == {10.0}, "bytes are the axis: the area says nothing"
    assert plot.dots[0].beside == "1.00 ms"


def test_the_page_draws_both_costs_and_says_what_made_it(report):
    text = render_html(report)
    assert text.count('aria-label="Accuracy against latency"') == 2, "on a desk, and on a phone"
    assert text.count('aria-label="Accuracy against bytes"') == 2
    assert text.count('class="front"') == 4
    # By time and by bytes, the int8 file beats the others, whose top-1 is the same.
    assert text.count(", on the Pareto front</title>") == 4
    assert f"<code>{report.command}</code>" in text
    assert "Made from Python" in render_html(dataclasses.replace(report, command=None))


@pytest.mark.parametrize("width", [80, 110, 165, 200])
def test_the_table_fits_its_terminal(report, width):
    speed = Speed("a.float32.tflite", TimeRatio(1.25, 1.24, 1.27, 20), "slower")
    rows = [
        file
        if file.measured is None
        else dataclasses.replace(
            file, measured=dataclasses.replace(file.measured, speed=speed, top5=Accuracy(100, 100), others_share=0.5)
        )
        for file in report.files
    ]
    report = dataclasses.replace(report, files=tuple(rows))
    stream = io.StringIO()
    print_table(report, Console(file=stream, width=width))
    text = stream.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert "97.0" in text
    assert "…" not in text.replace("cdcdcdcdcdcd…", "")
    assert "failed: broken.onnx: it crashed" in text
    assert ("p90 ms" in text) == (width >= 165)


def test_which_file_is_faster_is_told_in_words(make_report, measurement):
    speed = Speed("a.tflite", TimeRatio(0.25, 0.24, 0.27, 20), "faster")
    few = Speed("a.tflite", TimeRatio(0.9, 0.8, 1.2, 3), None)
    report = make_report(
        ("a.tflite", "tflite", "float32", 1000, measurement(CONFUSION)),
        ("b.tflite", "tflite", "int8", 1000, dataclasses.replace(measurement(CONFUSION), speed=speed)),
        ("c.tflite", "tflite", "int8", 1000, dataclasses.replace(measurement(CONFUSION), speed=few)),
    )
    report = dataclasses.replace(report, noise_floor=TimeRatio(1.01, 0.98, 1.03, 20))
    stream = io.StringIO()
    print_table(report, Console(file=stream, width=200))
    for text in (stream.getvalue(), render_html(report)):
        assert "time ratio" in text
        assert "faster, 0.25 of its time (0.24 to 0.27)" in text
        assert "no verdict on fewer than 6 rounds, 0.90 of its time" in text
        assert "itself, timed as two, 1.01 of its time (0.98 to 1.03): no verdict on less" in text
    assert "b.tflite: faster" in stream.getvalue()
    assert "<dt>b.tflite</dt><dd>faster" in render_html(report)
    record = report.to_record()
    assert record["files"][1]["measured"]["speed"]["verdict"] == "faster"
    assert record["noise_floor"]["ratio"] == 1.01


def test_macro_f1_is_that_of_scikit_learn(measurement):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    confusion = {"red": {"red": 5, "blue": 2, "stray": 1}, "blue": {"red": 4}, "dark": {"dark": 3, "blue": 1}}
    pairs = [(true, said) for true, row in confusion.items() for said, count in row.items() for _ in range(count)]
    true, said = zip(*pairs)
    labels = list(confusion)
    found = measurement(confusion)
    precision, recall, f1, shown = metrics.precision_recall_fscore_support(true, said, labels=labels, zero_division=0)
    scores = [found.per_label[label] for label in labels]
    assert [each.recall for each in scores] == pytest.approx(recall)
    assert [each.precision for each in scores] == pytest.approx(precision)
    assert [each.f1 for each in scores] == pytest.approx(f1)
    assert [each.pictures for each in scores] == list(shown)
    assert found.macro_f1 == pytest.approx(f1.mean())


def test_a_label_that_is_never_named_has_no_precision(measurement):
    scores = measurement({"red": {"blue": 2}, "blue": {"blue": 1}}).per_label
    assert (scores["red"].precision, scores["red"].f1) == (None, 0.0)
    assert scores["red"].to_record()["precision_share"] is None


def test_accuracy_against_the_first_file_is_told(make_report, measurement):
    found = dataclasses.replace(
        measurement(CONFUSION), top5=Accuracy(99, 100), paired=Paired("a.tflite", PairedDifference(95, 3, 1, 1), 7)
    )
    passes = StreamPass(Percentiles(1024, 2.0, 2.5, 3.0), 61.0), StreamPass(Percentiles(1030, 2.0, 2.6, 3.0), 60.0)
    found = dataclasses.replace(
        found, mlperf=SingleStream(passes), cost=Cost(39978, 1237984, 21, 18, 1), energy_mj=1.234
    )
    report = make_report(("a.tflite", "tflite", "int8", 1, found), ("b.tflite", "tflite", "int8", 1, found))
    stream = io.StringIO()
    print_table(report, Console(file=stream, width=200))
    for text in (stream.getvalue(), render_html(report)):
        assert "top-5 %" in text
        assert "against a.tflite: top-1 \N{MINUS SIGN}2.0 points on 100 pictures" in text
        assert "7 flips" in text
        assert "MLPerf's single stream, p90 2.5 ms (1,024 runs in 61 s), repeated 2.6 ms (1,030): within 5%" in (
            html.unescape(text)
        )
        assert "99.0" in text
        assert "39,978 parameters, 1.2 million MACs; of 21 operators delegated: 18, in 1 part" in text
        assert "energy: a.tflite 1.23, b.tflite 1.23 mJ a run" in text


def test_threads_and_intervals_are_told(make_report, measurement):
    counts = (
        ThreadCount(1, Percentiles(200, 2.0, 2.2, 3.0), TimeRatio(2.0, 1.9, 2.1, 20)),
        ThreadCount(2, Percentiles(200, 1.0, 1.1, 1.5), TimeRatio(1.0, 1.0, 1.0, 20)),
    )
    found = dataclasses.replace(
        measurement(CONFUSION),
        thread_sweep=ThreadSweep(counts, 2),
        latency_intervals={"p50_ms": (0.98, 1.02), "p90_ms": (1.0, 1.3), "p99_ms": (1.2, 1.9)},
        decide=Percentiles(100, 0.02, 0.03, 0.04),
    )
    report = make_report(("a.tflite", "tflite", "int8", 1, found))
    stream = io.StringIO()
    print_table(report, Console(file=stream, width=200))
    for text in (stream.getvalue(), render_html(report)):
        assert "p50 ms by threads 1: 2.00, 2: 1.00; 2 recommended" in text
        assert "95 % intervals of p50 reach at most 2.0% to either side" in text
        assert "preprocessing not included: 0.100 ms a picture (p50), nor deciding: 0.020 ms" in text
    (row,) = report.to_record()["files"]
    assert row["measured"]["thread_sweep"]["recommended_threads"] == 2
    assert row["measured"]["latency_intervals"]["p90_ms"] == [1.0, 1.3]


def test_a_disturbed_row_says_so_itself(make_report, measurement):
    calm = measurement(CONFUSION)
    disturbed = dataclasses.replace(
        calm, others_share=0.46, steal_share=0.08, throttled=True, drift=TimeRatio(1.2, 1.1, 1.3, 6), drifted=True
    )
    slight = dataclasses.replace(
        calm, others_share=0.04, steal_share=0.01, throttled=False, drift=TimeRatio(1.2, 0.9, 1.3, 6)
    )
    state = MachineState(1500.0, 61.3, ("under-voltage",), ("under-voltage",), None, 0.46, 0.08)
    report = make_report(("a.tflite", "tflite", "int8", 1, disturbed), ("b.tflite", "tflite", "int8", 1, slight))
    report = dataclasses.replace(report, before=state, after=state)
    stream = io.StringIO()
    print_table(report, Console(file=stream, width=200))
    lines = [
        "others used 46% of the machine",
        "other virtual machines took 8%",
        "the processor was throttled",
        "drifted: its last runs took 20% longer than its first",
    ]
    rows = [record["measured"]["disturbed"] for record in report.to_record()["files"]]
    assert rows == [lines, []]
    for text in (stream.getvalue(), render_html(report)):
        assert all(text.count(line) == 1 for line in lines)
        assert "before: others use 46% of it, 8% stolen, 1,500 MHz, 61 °C, under-voltage; after: " in text


def test_the_table_prints_brackets_as_they_are(make_report, measurement):
    stream = io.StringIO()
    report = make_report(("a[bold].tflite", "tflite", "int8", 1000, measurement(CONFUSION)))
    print_table(report, Console(file=stream, width=200))
    assert "a[bold].tflite" in stream.getvalue()
