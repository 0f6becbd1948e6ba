"""Several devices side by side: matched by content, and honest about other pictures."""

import dataclasses
import html.parser
import json

import pytest

from edgevision_benchmarks import main, merge, write_merged, write_report
from edgevision_device import UsageError

CONFUSION = {"red": {"red": 9, "blue": 1}, "blue": {"blue": 10}}
OTHER = {"red": {"red": 8, "blue": 2}, "blue": {"blue": 10}}


@pytest.fixture
def device(make_report, measurement):
    """Build a report of a board: files by name with SHA-256, p50 and confusion, or the error."""

    def make(board, *files, pictures="cd"):
        rows = [
            (name, "tflite", "int8", 1000, found if isinstance(found, str) else measurement(*found))
            for name, _, found in files
        ]
        report = make_report(*rows)
        return dataclasses.replace(
            report,
            conditions=dataclasses.replace(report.conditions, board=board),
            pictures=dataclasses.replace(report.pictures, sha256=pictures * 32),
            files=tuple(dataclasses.replace(row, sha256=sha * 32) for row, (_, sha, _) in zip(report.files, files)),
        )

    return make


def test_files_are_matched_by_content_not_by_name(device):
    merged = merge(
        [
            device("Pi 4", ("a.tflite", "aa", (CONFUSION, 2.0)), ("b.tflite", "bb", (CONFUSION, 4.0))),
            device("Pi 5", ("moved/a.tflite", "aa", (CONFUSION, 1.0)), ("b.tflite", "ee", (CONFUSION, 1.0))),
        ]
    )
    (table,) = merged.tables
    assert [(row.sha256[:2], row.names) for row in table.rows] == [
        ("aa", ("a.tflite", "moved/a.tflite")),
        ("bb", ("b.tflite",)),
        ("ee", ("b.tflite",)),
    ]
    assert [row.ratio(1) for row in table.rows] == [0.5, None, None]
    assert table.rows[1].cells[1] is None
    assert merged.notes == [
        "a.tflite is the same file, by its SHA-256, as moved/a.tflite",
        "b.tflite is the name of files that differ: bbbbbbbbbbbb… and eeeeeeeeeeee…",
    ]


def test_other_pictures_stand_in_a_table_of_their_own_that_says_so(device):
    file = ("a.tflite", "aa", (CONFUSION, 2.0))
    merged = merge([device("Pi 4", file), device("Pi 5", file, pictures="ef"), device("PC", file)])
    assert [[each.title for each in table.devices] for table in merged.tables] == [["Pi 4", "PC"], ["Pi 5"]]
    (note,) = merged.notes
    assert note.startswith(
        "not measured on the same pictures, so top-1 cannot be compared between the tables: devices 1, 3"
    )
    assert "device 2: 100 pictures from data (SHA-256 efefefefefef…)" in note


def test_a_file_that_answers_differently_elsewhere_is_named(device):
    reports = [device("Pi 4", ("a.tflite", "aa", (CONFUSION,))), device("PC", ("a.tflite", "aa", (OTHER,)))]
    assert merge(reports).notes == ["a.tflite does not answer the same on every device: 19, 18 pictures right"]


def test_devices_of_one_name_are_told_apart(device):
    first = device("Pi 4", ("a.tflite", "aa", (CONFUSION, 2.0)))
    later = dataclasses.replace(first, created="2026-02-03T00:00:00+00:00")
    hotter = device("Pi 4", ("a.tflite", "aa", (CONFUSION, 3.0)))
    titles = [each.title for each in merge([first, later, hotter]).devices]
    assert titles == [f"Pi 4, {first.created} (1)", "Pi 4, 2026-02-03T00:00:00+00:00", f"Pi 4, {first.created} (3)"]
    with pytest.raises(UsageError, match="given twice"):
        merge([first, later, first])
    with pytest.raises(UsageError, match="at least two reports"):
        merge([first])


def test_copies_of_a_file_in_one_report_keep_their_rows(device):
    both = (("a.tflite", "aa", (CONFUSION, 2.0)), ("copy.tflite", "aa", (CONFUSION, 3.0)))
    (table,) = merge([device("Pi 4", *both), device("Pi 5", *both)]).tables
    assert [row.names for row in table.rows] == [("a.tflite",), ("copy.tflite",)]
    assert [row.cells[0].measured.latency.p50_ms for row in table.rows] == [2.0, 3.0]


def test_the_command_writes_a_record_and_a_page_that_needs_nothing_else(device, tmp_path, capsys):
    evil = "<script>alert(1)</script>"
    write_report(device("Pi [4]", ("a.tflite", "aa", (CONFUSION, 2.0)), (evil, "bb", (CONFUSION,))), tmp_path / "a")
    write_report(device(evil, ("a.tflite", "aa", (CONFUSION, 1.0)), ("c.onnx", "cc", f"no {evil}")), tmp_path / "b")
    line = ["report", "merge", str(tmp_path / "a" / "report.json"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "1: p50 ms" in out
    assert "1: a, Pi [4], 4 cores; litert 2.3.0, 2 threads; A system" in out
    record = json.loads((tmp_path / "out" / "merged.json").read_text(encoding="utf-8"))
    (table,) = record["tables"]
    assert [each["names"] for each in table["files"]] == [["a.tflite"], [evil], ["c.onnx"]]
    assert table["files"][0]["devices"][1]["measured"]["latency"]["p50_ms"] == 1.0
    assert table["files"][2]["devices"][0] is None
    page = (tmp_path / "out" / "merged.html").read_text(encoding="utf-8")
    found = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(page)
    assert not {tag for tag, _ in found} & {"script", "link", "img", "iframe", "object", "embed"}
    assert [attrs for _, attrs in found if "href" in attrs or "src" in attrs] == []
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found
    assert "\N{MULTIPLICATION SIGN} 0.50" in page
    assert "not in this report" in page
    assert "not measured: no &lt;script" in page
    assert "edgevision-benchmark report merge" in page
    assert main(line) == 2, "--overwrite is needed"
    capsys.readouterr()
    assert main([*line, "--overwrite", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["tables"] == record["tables"]


def test_the_terminal_names_columns_as_they_were_given_and_what_was_disturbed(device, tmp_path, capsys, monkeypatch):
    found = {"a": 4.0, "b/report": 2.0, "c/report": 1.0}
    for folder, p50_ms in found.items():
        report = device("Pi 5", ("a.tflite", "aa", (CONFUSION, p50_ms)))
        if folder == "c/report":
            rows = tuple(
                dataclasses.replace(row, measured=dataclasses.replace(row.measured, others_share=0.48))
                for row in report.files
            )
            report = dataclasses.replace(report, files=rows)
        write_report(report, tmp_path / folder)
    monkeypatch.chdir(tmp_path / "a")
    line = ["report", "merge", "report.json", "../b/report/", "../c/report/report.json", "--out", str(tmp_path / "out")]
    assert main(line) == 0
    out = capsys.readouterr().out
    lines = [each.strip() for each in out.splitlines()]
    for number, name in enumerate(("a", "../b/report", "../c/report"), 1):
        assert any(each.startswith(f"{number}: {name}, Pi 5, 4 cores") for each in lines), name
    (row,) = [each.split() for each in lines if each.startswith("a.tflite")]
    assert " ".join(row[1:]) == "1.00 kB 95.0 4.00 4.40 95.0 2.00 2.20 0.50 95.0 1.00 1.10 0.25"
    assert "2: time ratio" in out
    assert "1: time ratio" not in out
    assert "time ratio: p50 over that of device 1" in lines
    assert "3: others used 48% of the machine" in lines
    assert "3</b> ../c/report, Pi 5" in (tmp_path / "out" / "merged.html").read_text(encoding="utf-8")


def test_what_is_refused_leaves_nothing_behind(device, tmp_path, capsys):
    write_report(device("Pi 4", ("a.tflite", "aa", (CONFUSION, 2.0))), tmp_path / "a")
    assert main(["report", "merge", str(tmp_path / "a"), str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "cannot read the report" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_that_are_no_utf8_survive(device, tmp_path):
    name = b"caf\xe9.tflite".decode(errors="surrogateescape")
    file = (name, "aa", (CONFUSION, 2.0))
    json_path, page = write_merged(merge([device("Pi 4", file), device("Pi 5", file)]), tmp_path)
    assert json.loads(json_path.read_text(encoding="utf-8"))["tables"][0]["files"][0]["names"] == [name]
    assert "caf" in page.read_text(encoding="utf-8")


def test_a_run_that_was_resumed_is_said(device, tmp_path):
    file = ("a.tflite", "aa", (CONFUSION, 2.0))
    resumed = dataclasses.replace(device("Pi 5", file), resumed=True)
    merged = merge([device("Pi 4", file), resumed])
    (note,) = merged.notes
    assert note.startswith("device 2, Pi 5: killed when the turns had been timed, and resumed")
    assert note in merged.to_json()
    write_merged(merged, tmp_path)
    assert note in (tmp_path / "merged.html").read_text(encoding="utf-8")
