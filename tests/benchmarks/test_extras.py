"""What is asked for beside accuracy, latency and size costs none of these, whatever becomes of it."""

import pytest

from edgevision_benchmarks import _processes, _turns, benchmark, main, read_report, write_report
from edgevision_benchmarks._notes import file_notes
from edgevision_benchmarks._processes import Process

#: Dies when asked for `name`, or when it is to open a file with two threads.
DIES = """
import os, edgevision_benchmarks._child as c
opening = c._Opened.__init__
def open_or_die(self, request):
    if {name!r} == "threads" and request.threads == 2:
        os.abort()
    opening(self, request)
c._Opened.__init__ = open_or_die
if {name!r} != "threads":
    setattr(c._Opened, {name!r}, lambda self, *args: os.abort())
"""
DIED = "the runtime crashed: its process died of SIGABRT"


@pytest.fixture
def dying(monkeypatch):
    """Let the process of every file die at one of its questions."""
    program, flag, code = _processes.child_command()

    def make(name):
        text = code.replace(
            "from edgevision_benchmarks._child",
            f"exec({DIES.format(name=name)!r}); " + "from edgevision_benchmarks._child",
        )
        monkeypatch.setattr(_processes, "child_command", lambda: [program, flag, text])

    return make


@pytest.mark.parametrize(
    ("name", "asked", "figure"),
    [
        ("sustain", {"sustained_s": 0.1}, "sustained"),
        ("stream", {"mlperf": True}, "mlperf"),
        ("threads", {"thread_sweep": [1, 2]}, "thread_sweep"),
    ],
)
def test_what_dies_of_an_extra_question_is_measured_without_it(model, pictures, tmp_path, dying, name, asked, figure):
    dying(name)
    report = benchmark([model()], pictures(), runs=1, warmup=0, operators=True, **asked)
    (file,) = report.files
    assert file.error is None
    assert file.measured.top1.right == 12
    assert file.measured.memory_peak_bytes
    assert file.measured.operator_times.not_measured is None, "another question is asked of a new process"
    assert getattr(file.measured, figure) is None
    assert file.measured.not_measured == {figure: DIED}
    write_report(report, tmp_path / "report")
    again = read_report(tmp_path / "report")
    assert again == report
    assert f"{figure.replace('_', ' ')}: not measured: {DIED}" in file_notes(again)[file.name]


def test_a_file_without_a_figure_is_finished(model, pictures, tmp_path, dying, monkeypatch):
    line = [str(model()), "--data", str(pictures()), "--runs", "1", "--warmup", "0", "--thread-sweep", "1,2"]
    line += ["--out", str(tmp_path / "out")]
    dying("threads")

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_turns, "_conclude", stop)
        assert main(line) == 130
    with monkeypatch.context() as patched:
        patched.setattr(Process, "__init__", stop)  # nothing is opened again
        assert main([*line, "--resume"]) == 0
    assert read_report(tmp_path / "out").files[0].measured.not_measured == {"thread_sweep": DIED}


def test_when_threads_are_tried_no_other_file_is_open(model, pictures, monkeypatch):
    started, during = [], []
    start, sweep = Process.__init__, _turns.time_threads

    def starting(self, request):
        start(self, request)
        started.append(self)

    def sweeping(*args):
        during.append([each for each in started if each._child.poll() is None])
        return sweep(*args)

    monkeypatch.setattr(Process, "__init__", starting)
    monkeypatch.setattr(_turns, "time_threads", sweeping)
    benchmark([model("a.tflite"), model("b.tflite")], pictures(), runs=1, warmup=0, thread_sweep=[1, 2])
    assert during == [[], []]
    assert all(each._child.poll() is not None for each in started)
