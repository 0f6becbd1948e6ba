"""An export that is stopped half way: nothing half-written under a final name, and the next one works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision_device import read_model_file

Paint = Callable[..., Path]

RECIPES = ("float32", "dynamic", "int8")
FILES = [f"net.{recipe}.onnx" for recipe in RECIPES]

#: Exports `net.onnx` to the first argument; kills itself when the file named second is to get its name.
EXPORT = """
import os, signal, sys
from edgevision import main
out, fatal = sys.argv[1:3]
replace = os.replace
def fail(source, target):
    if str(target).endswith(fatal):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
if fatal:
    os.replace = fail
sys.exit(main(["export", "net.onnx", "--labels", "labels.txt", "--pixels", "0..1", "--calibrate", "data",
               "--recipes", "float32,dynamic,int8", "--out", out, *sys.argv[3:]]))
"""

#: Runs a command with a file system of its own in the place of a folder; it is gone when the process ends.
MOUNT = 'mount -t tmpfs -o "$2" none "$1" || exit 77; shift 2; exec "$@"'


@pytest.fixture(scope="module")
def home(paint: Paint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of 60 kB, its labels and pictures; without TensorFlow, so that a run takes seconds."""
    folder = tmp_path_factory.mktemp("home")
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(550, 3, 3, 3)).astype(np.float32) / 5
    matrix = generator.normal(size=(550, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], "conv", strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "w"], ["l"], "head"),
        helper.make_node("Softmax", ["l"], ["y"], "softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 20, 28))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
        [numpy_helper.from_array(kernel, "k"), numpy_helper.from_array(matrix, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    (folder / "labels.txt").write_text("ant\nbee\n")
    paint(folder / "data", {"ant": 8, "bee": 8})
    return folder


def run(home: Path, out: Path, *more: Any, fatal: str = "", mount: str | None = None) -> Any:
    """Export in a process of its own, with a file system of its own at `out` if one is given."""
    line = [sys.executable, "-c", EXPORT, out, fatal, *more]
    if mount is not None:
        line = ["unshare", "--mount", "sh", "-c", MOUNT, "sh", out, mount, *line]
    try:
        done = subprocess.run(list(map(str, line)), cwd=home, capture_output=True, text=True, timeout=180)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if mount is not None and (done.returncode == 77 or "unshare failed" in done.stderr):
        pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
    return done


def last_line(done: Any) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_kill_leaves_whole_files_and_the_next_run_works(home: Path, tmp_path: Path) -> None:
    killed = run(home, tmp_path / "out", fatal=FILES[1])
    assert killed.returncode == -9, killed.stderr
    visible = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    assert visible == FILES[:1]
    assert read_model_file(tmp_path / "out" / FILES[0]).metadata.recipe == "float32"
    hidden = [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert [path.suffix for path in hidden] == [".onnx"]  # whole, and never named
    refused = run(home, tmp_path / "out")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert last_line(refused).endswith("net.float32.onnx exists already; choose another --out, or pass --overwrite")
    done = run(home, tmp_path / "out", "--overwrite")
    assert done.returncode == 0, done.stderr
    for name, recipe in zip(FILES, RECIPES, strict=True):
        assert read_model_file(tmp_path / "out" / name).metadata.recipe == recipe
    clean = run(home, tmp_path / "clean")
    assert clean.returncode == 0, clean.stderr
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "clean" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_full_disk_is_one_line_and_keeps_the_files_before_it(home: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    code = EXPORT.replace("sys.exit(main(", "code = (main(").replace("*sys.argv[3:]]))", "*sys.argv[3:]]))\n")
    code += "print(sorted(os.listdir(out)))\nsys.exit(code)"
    # The float file of 65 kB fits, the next one does not.
    line = ["unshare", "--mount", "sh", "-c", MOUNT, "sh", tmp_path / "out", "size=72k"]
    line += [sys.executable, "-c", code, tmp_path / "out", ""]
    try:
        done = subprocess.run(list(map(str, line)), cwd=home, capture_output=True, text=True, timeout=180)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    assert done.returncode == 2, done.stderr
    assert done.stdout == f"{[FILES[0]]}\n"
    full = tmp_path / "out" / FILES[1]
    assert last_line(done) == (
        f"edgevision: error: {full}: No space left on device; free some space, or choose another place"
    )


def test_a_place_that_cannot_be_written_is_said_before_the_work(home: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = run(home, tmp_path / "out", mount="ro")
    assert (done.returncode, done.stdout) == (2, "")
    # One line: not even the model was read.
    assert done.stderr == (
        f"edgevision: error: cannot write {tmp_path / 'out' / FILES[0]}: {tmp_path / 'out'} is no folder that can be "
        "written to; choose another --out\n"
    )
    (tmp_path / "file").touch()
    done = run(home, tmp_path / "file" / "out")
    assert done.returncode == 2
    assert last_line(done).endswith(f"{tmp_path / 'file'} is no folder that can be written to; choose another --out")
