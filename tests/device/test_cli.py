"""`edgevision-device classify` as a shell sees it: exit codes, stdout, and one line on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import struct
import subprocess
import sys
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from edgevision_device import __version__

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def model(data: Path, require: Callable[[str], None]) -> Path:
    require("tflite")
    return data / "tiny.int8.tflite"


def one_error(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Return the only line on stderr, after the program's name."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("edgevision-device: error: ")
    return done.stderr[len("edgevision-device: error: ") : -1]


def test_the_program_is_installed(model: Path, picture_file: Path) -> None:
    program = Path(sys.executable).with_name("edgevision-device")
    for line in ([str(program)], [sys.executable, "-m", "edgevision_device"]):
        done = subprocess.run(
            [*line, "classify", str(model), str(picture_file)], capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert ": red upright " in done.stdout


def test_the_label_is_printed(command: Command, model: Path, picture_file: Path) -> None:
    done = command("classify", model, picture_file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{picture_file}: red upright ")
    assert done.stdout.endswith(" %\n")


def test_json_is_one_record_a_line(command: Command, model: Path, picture_file: Path) -> None:
    done = command("classify", model, picture_file, picture_file.parent, "--top", 2, "--json")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == second
    assert first["picture"] == str(picture_file)
    assert first["label"] == "red upright"
    assert first["top"][0]["label"] == "red upright"
    assert len(first["top"]) == 2
    assert first["score"] == first["top"][0]["score"] == pytest.approx(0.8, abs=0.1)


def test_every_runtime_installed_answers(command: Command, runnable: Path, picture_file: Path) -> None:
    assert "red upright" in command("classify", runnable, picture_file, "--threads", 1).stdout


def test_a_score_below_the_threshold_is_unknown(
    command: Command, model: Path, resealed: Callable[..., Path], picture_file: Path
) -> None:
    strict = resealed(model.name, reject_threshold=0.99)
    assert ": unknown: red upright" in command("classify", strict, picture_file).stdout
    record = json.loads(command("classify", strict, picture_file, "--json").stdout)
    assert record["label"] is None
    assert record["top"][0]["label"] == "red upright"


@pytest.mark.parametrize("arguments", [[], ["classify"]], ids=["program", "classify"])
def test_help_is_printed(command: Command, arguments: list[str]) -> None:
    done = command(*arguments, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: edgevision-device" in done.stdout


def help_at(terminal_columns: int, columns: str) -> str:
    """Return what a terminal of so many columns, 0 where it does not know, shows of the help."""
    import fcntl
    import termios

    ours, programs = os.openpty()
    fcntl.ioctl(programs, termios.TIOCSWINSZ, struct.pack("4H", 24, terminal_columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "edgevision_device", "--help"],
        stdout=programs,
        env={**os.environ, "COLUMNS": columns, "TERM": "dumb", "NO_COLOR": "1"},
    ):
        os.close(programs)
        shown = b""
        with contextlib.suppress(OSError):  # what Linux says at the end
            while got := os.read(ours, 4096):
                shown += got
    os.close(ours)
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of that kind")
def test_help_is_as_wide_as_the_terminal_or_as_asked_for() -> None:
    wide, narrow = help_at(0, "80"), help_at(0, "40")
    assert max(map(len, wide.splitlines())) > 60
    assert max(map(len, narrow.splitlines())) <= 38
    for terminal_columns, columns, expected in (
        (0, "", wide),
        (0, "-1", wide),
        (0, "0", wide),
        (0, "abc", wide),
        (40, "", narrow),
        (40, "-1", narrow),
        (40, "abc", narrow),
        (40, "80", wide),
    ):
        assert help_at(terminal_columns, columns) == expected, (terminal_columns, columns)


def test_the_version_is_printed(command: Command) -> None:
    assert command("--version").stdout == f"edgevision-device {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "are required: COMMAND; edgevision-device --help tells more"),
        (["clasify"], "; did you mean classify?; edgevision-device --help tells more"),
        (["classify"], "are required: FILE, PICTURE; edgevision-device classify --help tells more"),
        (["classify", "a.tflite", "b.png", "--thread", "1"], "unknown argument --thread; did you mean --threads?"),
        (["classify", "a", "b", "--thraeds=1"], "unknown argument --thraeds=1; did you mean --threads?"),
        (
            ["stream", "a", "--sorce", "0"],
            "--source; did you mean --source in place of --sorce?; edgevision-device str",
        ),
        (["classify", "a", "b", "--top", "x"], "classify: error: argument --top: invalid int value: 'x'"),
        (["service", "remove"], "choose from 'install', 'uninstall'); edgevision-device service --help tells more"),
    ],
    ids=["none", "unknown", "missing", "abbreviated", "misspelt", "required", "value", "action"],
)
def test_wrong_usage_is_one_line(command: Command, arguments: list[str], says: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top", "0"], "--top must be at least 1, got 0"),
        (["--threads", "0"], "threads must lie between 1 and 256, got 0"),
        (["--runtime", "lite-rt"], "unknown tflite runtime 'lite-rt'; did you mean 'litert'?"),
        (["--labels", "x.txt"], "missing: --resize, --pixels"),
        (["--color-order", "bgr"], "a file that edgevision did not write needs"),
        (["--logits"], "a file that edgevision did not write needs"),
    ],
    ids=["top", "threads", "runtime", "labels", "color", "logits"],
)
def test_a_bad_value_is_one_line(
    command: Command, model: Path, picture_file: Path, arguments: list[str], message: str
) -> None:
    assert message in one_error(command("classify", model, picture_file, *arguments))


def test_a_missing_picture_is_one_line(command: Command, model: Path) -> None:
    assert (
        one_error(command("classify", model, "gone.png"))
        == "cannot read the picture gone.png: No such file or directory"
    )


def test_a_missing_model_is_one_line(command: Command, picture_file: Path) -> None:
    assert "cannot read the model file gone.tflite" in one_error(command("classify", "gone.tflite", picture_file))


def test_traceback_shows_where_an_error_came_from(picture_file: Path) -> None:
    line = [sys.executable, "-m", "edgevision_device", "classify", "gone.tflite", str(picture_file), "--traceback"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "FileError: cannot read the model file" in done.stderr


def test_a_damaged_model_is_one_line(command: Command, model: Path, tmp_path: Path, picture_file: Path) -> None:
    damaged = bytearray(model.read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(damaged)
    assert "damaged.tflite is damaged" in one_error(command("classify", "damaged.tflite", picture_file))


def test_a_foreign_model_runs_when_what_it_lacks_is_given(
    command: Command, model: Path, data: Path, picture_file: Path, labels_file: Path
) -> None:
    foreign = data / "foreign.float32.tflite"
    assert "--labels FILE, --resize MODE and --pixels RANGE" in one_error(command("classify", foreign, picture_file))
    described = ["--labels", labels_file, "--resize", "stretch", "--pixels", "127:128"]
    assert "red upright" in command("classify", foreign, picture_file, *described).stdout
    assert "describes itself" in one_error(command("classify", model, picture_file, *described))
    swapped = command("classify", foreign, picture_file, *described, "--color-order", "bgr")
    assert "blue upright" in swapped.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"red upright\nr\xf6t\n", "is not UTF-8"), (b"\xef\xbb\xbfred upright\nred flat\nblue upright\nblue flat\n", "")],
    ids=["latin-1", "mark"],
)
def test_labels_are_utf8_with_or_without_a_mark(
    command: Command, model: Path, data: Path, picture_file: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    described = ["--labels", "labels.txt", "--resize", "stretch", "--pixels", "127:128"]
    done = command("classify", data / "foreign.float32.tflite", picture_file, *described, "--json")
    if said:
        assert said in one_error(done)
    else:
        assert json.loads(done.stdout)["label"] == "red upright"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are not bytes")
@pytest.mark.parametrize("arguments", [["classify"], ["classify", "--json"], ["stream", "--source"]], ids=" ".join)
def test_a_name_that_is_no_utf8_is_printed(
    command: Command, model: Path, picture_file: Path, arguments: list[str]
) -> None:
    strange = picture_file.rename(picture_file.with_name(os.fsdecode(b"caf\xe9.png")))
    done = command(arguments[0], model, *arguments[1:], strange)
    assert done.returncode == 0, done.stderr
    assert "caf\\udce9.png" in done.stdout


@pytest.fixture
def mixed(picture_file: Path) -> Path:
    """A folder with one picture and one file that is none."""
    (picture_file.parent / "a text.jpg").write_text("hello")
    return picture_file.parent


@pytest.mark.parametrize("bad", ["", "a text.jpg", "gone.png", "empty"], ids=["inside", "broken", "missing", "empty"])
def test_of_several_pictures_the_good_ones_are_labelled(
    command: Command, model: Path, mixed: Path, picture_file: Path, bad: str
) -> None:
    (mixed / "empty").mkdir()
    done = command("classify", model, mixed / bad, picture_file)
    assert done.returncode == 1
    assert {line.split(": ")[0] for line in done.stdout.splitlines()} == {str(picture_file)}
    assert done.stdout.count("\n") == (1 if bad else 2)
    assert done.stderr.startswith("skipped: ")
    assert str(mixed / (bad or "a text.jpg")) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_strict_stops_at_what_is_no_picture(command: Command, model: Path, mixed: Path) -> None:
    assert "a text.jpg: not a picture" in one_error(command("classify", model, mixed, "--strict"))


def test_no_picture_at_all_is_an_error(command: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    assert "text.png: not a picture" in one_error(command("classify", model, "text.png"))
    done = command("classify", model, "text.png", "gone.png")
    assert done.returncode == 2
    first, second, last = done.stderr.splitlines()
    assert first == "skipped: cannot read the picture gone.png: No such file or directory"
    assert second.startswith("skipped: text.png: not a picture")
    assert last.endswith("none of the 2 can be read; give PNG, JPEG or other pictures")


def test_pictures_that_are_missing_are_found_before_the_model_is_opened(command: Command, picture_file: Path) -> None:
    absent = "cannot read the picture gone.png: No such file or directory"
    assert one_error(command("classify", "gone.tflite", "gone.png")) == absent
    assert one_error(command("classify", "gone.tflite", picture_file, "gone.png", "--strict")) == absent
    done = command("classify", "gone.tflite", picture_file, "gone.png")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == f"skipped: {absent}"
    assert "cannot read the model file gone.tflite" in second
    done = command("classify", "gone.tflite", "gone.png", "gone too.png")
    assert done.returncode == 2
    assert done.stderr.splitlines()[2] == "edgevision-device: error: none of the 2 is a file or a folder"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_picture(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    line = [sys.executable, "-m", "edgevision_device", "classify", str(model), "pipe.png"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert one_error(done) == "cannot read the picture pipe.png: it is neither a file nor a folder"


def test_a_reader_that_leaves_is_no_error(model: Path, tmp_path: Path, picture_file: Path) -> None:
    # Far more than a pipe holds, so that the program is still writing when head has gone.
    line = shlex.join([sys.executable, "-m", "edgevision_device", "classify", str(model)])
    pictures = " ".join(["'red upright.png'"] * 1500)
    done = subprocess.run(
        ["bash", "-c", f"{line} {pictures} | head -n 1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert done.returncode == 141


def test_a_closed_stdout_does_not_crash(model: Path, picture_file: Path) -> None:
    line = shlex.join([sys.executable, "-m", "edgevision_device", "classify", str(model), str(picture_file)])
    done = subprocess.run(["bash", "-c", f"{line} >&-"], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_one_line(model: Path, picture_file: Path) -> None:
    line = [sys.executable, "-m", "edgevision_device", "classify", str(model), str(picture_file)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "No space left on device" in done.stderr


def test_pictures_of_any_size_are_classified(command: Command, model: Path, tmp_path: Path, cv2: object) -> None:
    for width, height in ((1, 1), (3, 500), (640, 480)):
        cv2.imwrite(str(tmp_path / f"{width}x{height}.png"), np.zeros((height, width, 3), np.uint8))  # type: ignore[attr-defined]
    done = command("classify", model, tmp_path)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 3
