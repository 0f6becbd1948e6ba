"""A benchmark that is killed in the middle, and gone on with."""

import json
import os
import signal
import subprocess
import sys

import pytest

from edgevision_benchmarks import _processes, main, read_report

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
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *line, "--thread-sweep", "1,2"], env={**os.environ}, check=False
    )
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
    assert [found.thread_sweep.recommended in (1, 2) for _, found in report.measured] == [True] * 3
    assert report.noise_floor.rounds == 6
    assert not (tmp_path / "out" / "unfinished.json").exists()


def test_it_is_not_thrown_away_unasked_nor_mixed_with_another(killed, tmp_path, capsys):
    assert main(killed) == 2
    assert "give --resume to go on with it, or --overwrite" in capsys.readouterr().err
    assert main([*killed, "--resume", "--seed", "7"]) == 2
    assert "of other files, pictures or settings" in capsys.readouterr().err
    (tmp_path / "out" / "unfinished.json").write_text("[]")
    assert main([*killed, "--resume"]) != 0
    assert "is no unfinished benchmark" in capsys.readouterr().err


def test_resume_needs_a_folder_and_may_have_nothing_to_go_on_with(model, pictures, tmp_path, capsys):
    line = [str(model()), "--data", str(pictures()), "--runs", "1", "--warmup", "0", "--resume"]
    assert main(line) == 2
    assert "name it with --out" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "new")]) == 0
