"""Which file the others are compared with."""

import argparse
from pathlib import Path

import pytest

from edgevision_benchmarks import _processes, _remote, benchmark, command, main, read_report, write_report
from edgevision_benchmarks._measure import prepare
from edgevision_benchmarks._notes import file_notes, general_notes
from edgevision_device import FileError, Metadata, Normalization, read_model_file, seal

FAST = dict(runs=6, warmup=0)


@pytest.fixture
def sealed(tmp_path):
    """Seal a network that nobody runs as `a.RECIPE.FORMAT`."""

    def make(name):
        _, recipe, format = name.split(".")
        content = Path(__file__).parents[1] / "device" / "data" / f"tiny.float32.{format}"
        metadata = Metadata("a", ("red", "blue"), (8, 8), "stretch", Normalization((0.0,), (255.0,)), recipe=recipe)
        path = tmp_path / name
        path.write_bytes(seal(read_model_file(content).model, metadata, format))
        return path

    return make


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        (["a.dynamic.onnx", "a.float32.onnx", "a.float32.tflite", "a.int8.tflite"], "a.float32.tflite"),
        (["a.dynamic.onnx", "a.float32.onnx", "b.float32.onnx", "a.int8.tflite"], "a.float32.onnx"),
        (["a.int8.tflite", "b.float32.tflite", "a.float32.tflite"], "b.float32.tflite"),
        (["a.int8.tflite", "a.dynamic.onnx"], "a.int8.tflite"),
    ],
)
def test_the_first_float32_file_is_the_reference_best_a_tflite(sealed, names, reference):
    ready = prepare([sealed(name) for name in names], None)
    assert ready.reference == reference
    assert [each.row.name for each in ready.candidates] == names


def test_what_cannot_be_read_is_no_reference(sealed, tmp_path):
    damaged = sealed("a.float32.tflite")
    damaged.write_bytes(damaged.read_bytes()[:-30])
    other = sealed("a.int8.tflite")
    assert prepare([damaged, other], None).reference == "a.int8.tflite"
    with pytest.raises(FileError, match=r"a\.float32\.tflite .*is damaged"):
        prepare([damaged, other], None, reference="a.float32.tflite")


def test_all_is_compared_with_the_reference_in_the_order_that_was_given(model, pictures):
    files = [model("a.dynamic.tflite", "dynamic"), model("a.float32.tflite"), model("a.int8.tflite", "int8")]
    report = benchmark(files, pictures(), **FAST)
    assert [file.name for file in report.files] == ["a.dynamic.tflite", "a.float32.tflite", "a.int8.tflite"]
    dynamic, float32, int8 = (file.measured for file in report.files)
    assert (float32.speed, float32.paired) == (None, None)
    for found in (dynamic, int8):
        assert (found.speed.reference, found.paired.reference) == ("a.float32.tflite",) * 2
    assert any("time ratio: against a.float32.tflite in the same rounds" in line for line in general_notes(report))


@pytest.mark.parametrize("given", ["b/a.int8.tflite", "path"])
def test_the_reference_can_be_chosen_by_name_or_file(model, pictures, given):
    files = [model("a/a.float32.tflite"), model("b/a.int8.tflite", "int8")]
    reference = str(files[1]) if given == "path" else given
    float32, int8 = (file.measured for file in benchmark(files, pictures(), reference=reference, **FAST).files)
    assert int8.speed is None
    assert (float32.speed.reference, float32.paired.reference) == ("b/a.int8.tflite",) * 2


#: The process that opens a.tflite as the `number`th one dies in its third turn; with 0 turns already at opening.
DIES = """
import os, edgevision_benchmarks._child as c
opening, timing, turns = c._Opened.__init__, c._Opened.time, []
def open_and_count(self, request):
    self.number = 0
    while request.file.endswith("a.tflite"):
        self.number += 1
        try:
            os.close(os.open(os.path.join({folder!r}, str(self.number)), os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            pass
    if self.number == {number} and not {turns}:
        os.abort()
    opening(self, request)
def time_or_die(self, runs):
    turns.append(runs)
    if self.number == {number} and len(turns) == {turns}:
        os.abort()
    return timing(self, runs)
c._Opened.__init__, c._Opened.time = open_and_count, time_or_die
"""


@pytest.mark.parametrize(
    ("number", "turns", "dead"),
    [
        pytest.param(1, 3, True, id="itself"),
        pytest.param(2, 3, False, id="twin"),
        pytest.param(2, 0, False, id="twin at once"),
    ],
)
def test_without_a_noise_floor_there_are_ratios_and_no_verdict(model, tmp_path, monkeypatch, number, turns, dead):
    files = [model(f"{name}.tflite") for name in "abc"]
    (tmp_path / "opened").mkdir()
    program, flag, code = _processes.child_command()
    dies = DIES.format(folder=str(tmp_path / "opened"), number=number, turns=turns)
    own = "from edgevision_benchmarks._child"
    text = code.replace(own, f"exec({dies!r}); {own}")
    monkeypatch.setattr(_processes, "child_command", lambda: [program, flag, text])
    report = benchmark(files, None, runs=8, warmup=0)
    rows = {file.name: file.measured for file in report.files}
    assert (rows["a.tflite"] is None) is dead
    assert report.noise_floor is None
    reference, others = ("b.tflite", ["c.tflite"]) if dead else ("a.tflite", ["b.tflite", "c.tflite"])
    assert rows[reference].speed is None
    for name in others:
        speed = rows[name].speed
        assert (speed.reference, speed.time.rounds, speed.verdict) == (reference, 8, None)
        lines = file_notes(report)[name]
        assert lines[0].startswith("no verdict, ")
        assert (
            "verdict: not measured: without a noise floor: a.tflite could not be timed as two: the runtime crashed: "
            "its process died of SIGABRT"
        ) in lines
    write_report(report, tmp_path / "report")
    assert read_report(tmp_path / "report") == report


def test_an_unknown_reference_is_one_line_that_names_what_there_is(model, capsys):
    files = [str(model(f"{name}.tflite")) for name in ("a.float32", "a.int8")]
    assert main([*files, "--no-accuracy", "--reference", "a.int9.tflite"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown reference 'a.int9.tflite'; did you mean 'a.int8.tflite'? known: a.float32.tflite, a.int8" in line


def test_another_device_compares_with_the_same_file(sealed):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    paths = [sealed(f"a.{recipe}.tflite") for recipe in ("float32", "int8")]
    args = parser.parse_args([*map(str, paths), "--no-accuracy", "--reference", str(paths[1])])
    ready = prepare(args.files, None, reference=args.reference)
    there = parser.parse_args(_remote._words(ready, args))
    assert there.reference == "files/a.int8.tflite"
    assert there.files == ["files/a.float32.tflite", "files/a.int8.tflite"]


def test_what_is_unfinished_goes_on_only_with_the_same_reference(model, tmp_path, monkeypatch, capsys):
    files = [str(model(f"a.{recipe}.tflite", recipe)) for recipe in ("int8", "float32")]
    line = [*files, "--no-accuracy", "--out", str(tmp_path / "out"), "--runs", "6", "--warmup", "0"]

    def stop(self, *args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_processes.Process, "finish", stop)
        main(line)
    assert (tmp_path / "out" / "unfinished.json").exists()
    assert main([*line, "--resume", "--reference", "a.int8.tflite"]) == 2
    assert "with other reference" in capsys.readouterr().err
    assert main([*line, "--resume", "--reference", "a.float32.tflite"]) == 0
