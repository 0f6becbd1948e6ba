"""A benchmark that is killed in the middle, and gone on with."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from edgevision_benchmarks import _measure, _processes, benchmark, main, read_report
from edgevision_benchmarks._notes import general_notes

#: Dies as by `kill -9` when the second file is asked for its pictures.
KILLED = """
import os, signal, sys
from edgevision_benchmarks import _processes, main
finish, asked = _processes.Process.finish, []
def finishing(self, *args):
    asked.append(self)
    if len(asked) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return finish(self, *args)
_processes.Process.finish = finishing
main(sys.argv[1:])
"""


@pytest.fixture
def killed(model, pictures, tmp_path):
    """The command line of a benchmark that was killed when one of its three files was finished."""
    files = [str(model(f"{name}.tflite")) for name in "abc"]
    line = [*files, "--data", str(pictures()), "--out", str(tmp_path / "out"), "--runs", "6", "--warmup", "1"]
    done = subprocess.run([sys.executable, "-c", KILLED, *line, "--thread-sweep", "1,2"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["unfinished.json"]
    return [*line, "--thread-sweep", "1,2"]


def test_what_is_finished_is_not_done_again(killed, tmp_path, monkeypatch):
    kept = json.loads((tmp_path / "out" / "unfinished.json").read_text())
    assert list(kept["answers"]) == ["a.tflite"]
    opened = []
    start = _processes.Process.__init__

    def starting(self, request):
        opened.append((os.path.basename(request.file), request.threads))
        start(self, request)

    monkeypatch.setattr(_processes.Process, "__init__", starting)
    assert main([*killed, "--resume"]) == 0
    assert [name for name, threads in opened if threads is None] == ["b.tflite", "c.tflite"]
    report = read_report(tmp_path / "out")
    assert [file.error for file in report.files] == [None] * 3
    assert [found.latency.count for _, found in report.measured] == [6] * 3
    assert [[each.threads for each in found.thread_sweep.counts] for _, found in report.measured] == [[1, 2]] * 3
    assert report.resumed
    assert any("and resumed" in line for line in general_notes(report))
    assert report.noise_floor.rounds == 6
    assert not (tmp_path / "out" / "unfinished.json").exists()


def test_it_is_not_thrown_away_unasked_nor_mixed_with_another(killed, tmp_path, capsys):
    assert main(killed) == 2
    assert "give --resume to go on with it, or --overwrite" in capsys.readouterr().err
    assert main([*killed, "--resume", "--seed", "7"]) == 2
    assert "with other seed (0, now 7); make that as it was" in capsys.readouterr().err
    (tmp_path / "out" / "unfinished.json").write_text("[]")
    assert main([*killed, "--resume"]) != 0
    assert "is no unfinished benchmark" in capsys.readouterr().err


def test_resume_needs_a_folder_and_may_have_nothing_to_go_on_with(model, pictures, tmp_path, capsys):
    line = [str(model()), "--data", str(pictures()), "--runs", "1", "--warmup", "0", "--resume"]
    assert main(line) == 2
    assert "name it with --out" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "new")]) == 0


def test_pictures_that_change_their_names_are_others(killed, tmp_path, capsys):
    """Labels and contents are the same; what was found of a picture is told by its place."""
    home = tmp_path / "data" / "red"
    (home / "0.png").rename(home / "kept.png")
    (home / "wrong.png").rename(home / "0.png")
    (home / "kept.png").rename(home / "wrong.png")
    assert main([*killed, "--resume"]) == 2
    assert "with other pictures; make that as it was" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="no /proc here")
def test_an_unreadable_picture_that_is_gone_is_another_set(killed, tmp_path, capsys):
    unreadable = tmp_path / "data" / "blue" / "0.png"
    again = [*killed, "--overwrite"]
    unreadable.unlink()
    unreadable.symlink_to("/proc/self/mem")  # a file that not even root can read from the start
    subprocess.run([sys.executable, "-c", KILLED, *again], check=False)
    unreadable.unlink()
    assert main([*killed, "--resume"]) == 2
    assert "with other pictures" in capsys.readouterr().err


def test_overwrite_begins_anew_at_once(killed, tmp_path, monkeypatch):
    def stop(self, request):
        assert not (tmp_path / "out" / "unfinished.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(_processes.Process, "__init__", stop)
    assert main([*killed, "--overwrite"]) == 130
    assert not (tmp_path / "out" / "unfinished.json").exists(), "the rounds of the first run"


def test_what_was_tampered_with_is_refused(killed, tmp_path, capsys):
    unfinished = tmp_path / "out" / "unfinished.json"
    kept = unfinished.read_text()
    for key in ("predicted", "scores", "confusion", "memory_peak_bytes"):
        record = json.loads(kept)
        del record["answers"]["a.tflite"][key]
        unfinished.write_text(json.dumps(record))
        assert main([*killed, "--resume"]) == 2
        assert "is no unfinished benchmark (its SHA-256 is not that of what it holds)" in capsys.readouterr().err


def test_a_full_disk_costs_only_the_resuming(model, pictures, tmp_path, capsys):
    files = [model(f"{name}.tflite") for name in "ab"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = pictures()
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, hard))
    try:
        report = benchmark(files, folder, runs=2, warmup=0, unfinished=tmp_path / "new" / "unfinished.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(report.measured) == 2
    assert not report.resumed
    err = capsys.readouterr().err
    assert err.count("cannot write") == 1, "once"
    assert "unfinished.json: File too large; measuring goes on" in err
    assert list((tmp_path / "new").iterdir()) == []


def test_another_governor_or_version_is_named(killed, tmp_path, capsys, monkeypatch):
    known = _measure.read_conditions()
    with monkeypatch.context() as patch:
        patch.setattr(_measure, "read_conditions", lambda: dataclasses.replace(known, governor="powersave"))
        assert main([*killed, "--resume"]) == 2
    err = capsys.readouterr().err
    assert f'with other governor ({json.dumps(known.governor)}, now "powersave"); make' in err
    assert "machine" not in err
    start = _processes.Process.__init__

    def updated(self, request):
        start(self, request)
        self.opened["runtime_version"] = "99"

    monkeypatch.setattr(_processes.Process, "__init__", updated)
    assert main([*killed, "--resume"]) == 2
    assert 'now "99"); make that as it was' in capsys.readouterr().err
    assert (tmp_path / "out" / "unfinished.json").exists()
