"""Damaged model files, thousands of them, through the command's own code: no crash, and no answer.

Each set runs in one process of its own, so that a crash in native code fails the test and not the test run.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

#: Runs `classify` on every file of a folder; prints name, exit code and output of those that are not refused.
CLASSIFY_ALL = """
import contextlib, faulthandler, io, os, sys
from edgevision_device import main
faulthandler.enable()
folder, picture, *described = sys.argv[1:]
refused = 0
for name in sorted(os.listdir(folder)):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["classify", os.path.join(folder, name), picture, *described])
    if code == 2 and not out.getvalue() and err.getvalue().count("\\n") == 1:
        refused += 1
    else:
        print(name, code, out.getvalue(), err.getvalue())
print("refused", refused)
"""


def damage(whole: bytes, other: bytes, count: int) -> dict[str, bytes]:
    """Make `count` damaged copies and more, the same ones every time.

    Cut short, a bit flipped, bytes replaced, zeroed, taken out, put in, put at the end, spliced with `other`, moved.
    """
    generator = random.Random(1)
    suffix = 40  # only to vary what is hit near the end, where the metadata stands
    copies = {"empty": b"", "doubled": whole + whole, "reversed": whole[::-1]}
    for index in range(count):
        kind = index % 9
        at = generator.randrange(len(whole) - suffix) if index % 2 else len(whole) - 1 - generator.randrange(1200)
        size = generator.choice([1, 4, 16, 64])
        damaged = bytearray(whole)
        if kind == 0:
            damaged = damaged[:at]
        elif kind == 1:
            damaged[at] ^= 1 << generator.randrange(8)
        elif kind == 2:
            damaged[at : at + size] = generator.randbytes(len(damaged[at : at + size]))
        elif kind == 3:
            damaged[at : at + size] = bytes(len(damaged[at : at + size]))
        elif kind == 4:
            del damaged[at : at + size]
        elif kind == 5:
            damaged[at:at] = generator.randbytes(size)
        elif kind == 6:
            damaged += whole[at : at + size] if index % 2 else generator.randbytes(size)
        elif kind == 7:
            # Head of one file, tail of another: both halves are what some file holds there.
            damaged = damaged[:at] + other[max(0, len(other) - (len(whole) - at)) :]
        else:
            to = generator.randrange(len(whole) - suffix)
            damaged[to : to + size] = whole[at : at + size]
        if bytes(damaged) != whole:
            copies[f"{index:04}-{kind}"] = bytes(damaged)
    return copies


@pytest.mark.parametrize("name", ["tiny.int8.tflite", "tiny.float32.onnx"])
@pytest.mark.parametrize("described", [False, True], ids=["bare", "described"])
def test_no_damaged_file_gives_an_answer(
    data: Path,
    name: str,
    described: bool,
    tmp_path: Path,
    picture_file: Path,
    labels_file: Path,
    require: Callable[[str], None],
) -> None:
    require(name.rsplit(".", 1)[1])
    whole = (data / name).read_bytes()
    mark = whole.index(b"edgevision.json") + len(b"edgevision.json")
    folder = tmp_path / "damaged"
    folder.mkdir()
    written = 0
    other = (data / {"tiny.int8.tflite": "tiny.float32.tflite"}.get(name, "foreign.float32.onnx")).read_bytes()
    for label, content in damage(whole, other, 300 if described else 1150).items():
        # A copy without edgevision's mark is a foreign file: when the user describes it, the runtime is asked.
        if not described or b"edgevision.json" in content or b"edgevision.seal" in content:
            (folder / f"{label}-{name}").write_bytes(content)
            written += 1
    assert mark < len(whole)
    flags = ["--labels", str(labels_file), "--resize", "stretch", "--pixels", "0..255"] if described else []
    done = subprocess.run(
        [sys.executable, "-c", CLASSIFY_ALL, str(folder), str(picture_file), *flags],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"died of {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout == f"refused {written}\n"
    assert written >= (150 if described else 1100)
