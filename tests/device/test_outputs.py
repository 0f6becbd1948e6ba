"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgevision_device import UsageError, check_outputs, write_atomically, writing


@pytest.mark.parametrize("content", ["grün\n", b"\0\xff"])
def test_what_is_written_is_there(tmp_path: Path, content: bytes | str) -> None:
    target = tmp_path / "new" / "folder" / "out.json"
    write_atomically(target, content)
    assert target.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [entry.name for entry in target.parent.iterdir()] == ["out.json"]


def test_the_temporary_file_stands_beside_the_target_with_its_suffix(tmp_path: Path) -> None:
    with writing(tmp_path / "plot.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert not (tmp_path / "plot.png").exists()
        temporary.write_bytes(b"x")


def fail(temporary: Path) -> None:
    temporary.write_text("half of the new")
    raise RuntimeError


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), writing(target) as temporary:
        fail(temporary)
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_the_file_follows_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "out", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == mode


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UsageError, match=f"{name} is no regular file"):
            write_atomically(tmp_path / name, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_the_umask_of_other_threads_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "umask")
    write_atomically(tmp_path / "out", "x")


#: Writes 1 MB over a small file; says on stdout with which error, and what is in the folder afterwards.
OVERFLOW = """
import errno, os, signal, sys
from edgevision_device import write_atomically
folder = sys.argv[1]
target = os.path.join(folder, "out.bin")
write_atomically(target, b"old")
if sys.argv[2] == "limit":
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, 64_000))
try:
    write_atomically(target, bytes(1_000_000))
except OSError as error:
    assert error.filename == target, error.filename
    print(errno.errorcode[error.errno], sorted(os.listdir(folder)), open(target, "rb").read())
"""


def test_a_file_too_large_for_the_process_leaves_the_old_one(tmp_path: Path) -> None:
    line = [sys.executable, "-c", OVERFLOW, str(tmp_path), "limit"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.stdout == "EFBIG ['out.bin'] b'old'\n", done.stderr


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    # A disk of 64 kB in a mount namespace of its own: it is gone when the process ends.
    line = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=64k none "$1" || exit 77; shift; exec "$@"',
        "sh",
        str(tmp_path),
        sys.executable,
        "-c",
        OVERFLOW,
        str(tmp_path),
        "disk",
    ]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    assert done.stdout == "ENOSPC ['out.bin'] b'old'\n", done.stderr


def test_an_existing_output_is_refused_before_the_work(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    check_outputs(paths, overwrite=False)
    for path in paths[1:]:
        path.touch()
    with pytest.raises(UsageError, match=r"b \(and 1 more\) exists already; choose another --out, or pass --overwrite"):
        check_outputs(paths, overwrite=False)
    check_outputs(paths, overwrite=True)


def test_what_cannot_be_written_is_said_before_slow_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file is no folder that can be written to; choose another --out"):
        check_outputs([tmp_path / "file" / "deep" / "a.tflite"], overwrite=True)
    check_outputs([tmp_path / "new" / "deep" / "a.tflite"], overwrite=False)
