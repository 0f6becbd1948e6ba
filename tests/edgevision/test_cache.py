"""Decoded pictures on disk: decoded once, mapped afterwards, decoded anew when a file has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from edgevision._cache import Decoded, cache_folder, decode_all, keep_pixels, keep_record, map_pixels
from edgevision_device import decode_picture, preprocess

Paint = Callable[..., Path]


def decode(paths: list[Path], size_wh: tuple[int, int] = (12, 8), resize: str = "stretch") -> tuple[Decoded, int]:
    """Return the pictures, and how many were decoded for them."""
    done: list[int] = []
    decoded = decode_all(paths, size_wh, resize, lambda count, total: done.append(count))
    return decoded, len(done)


@pytest.fixture
def paths(paint: Paint, tmp_path: Path) -> list[Path]:
    return sorted(paint(tmp_path / "data", {"ant": 3, "bee": 2}).rglob("*.png"))


def test_pictures_are_decoded_once(own_cache: Path, paths: list[Path]) -> None:
    first, decoded = decode(paths)
    assert decoded == 5
    second, decoded = decode(paths)
    assert decoded == 0
    assert np.array_equal(first.store, second.store)
    assert (first.places, first.hashes, first.skipped) == (second.places, second.hashes, second.skipped)
    expected = [preprocess(decode_picture(path.read_bytes()), (12, 8), "stretch")[0] for path in paths]
    assert np.array_equal(second.store, expected)


def test_pictures_are_mapped_not_loaded(own_cache: Path, paths: list[Path]) -> None:
    decoded, _ = decode(paths)
    assert isinstance(decoded.store, np.memmap)
    assert decoded.store.mode == "r"
    assert Path(str(decoded.store.filename)).is_relative_to(own_cache)


def test_another_size_or_mode_is_another_entry(own_cache: Path, paths: list[Path]) -> None:
    for size_wh, resize in (((12, 8), "stretch"), ((8, 12), "stretch"), ((12, 8), "letterbox")):
        store = decode(paths, size_wh, resize)[0].store
        assert store.shape == (5, size_wh[1], size_wh[0], 3)
        assert decode(paths, size_wh, resize)[1] == 0
    assert decode(paths[:4])[1] == 4


def test_a_changed_file_is_decoded_anew(own_cache: Path, paths: list[Path]) -> None:
    before, _ = decode(paths)
    stat = paths[0].stat()
    paths[0].write_bytes(paths[4].read_bytes())
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000))
    after, decoded = decode(paths)
    assert decoded == 5
    assert np.array_equal(after.store[0], before.store[4])
    assert after.hashes[0] == before.hashes[4]


def test_unreadable_pictures_leave_no_gap(own_cache: Path, paths: list[Path]) -> None:
    whole, _ = decode(paths)
    paths[1].write_bytes(b"no picture")
    for decoded in (decode(paths)[0], decode(paths)[0]):
        assert decoded.places == (0, 2, 3, 4)
        assert np.array_equal(decoded.store, whole.store[[0, 2, 3, 4]])
        assert len(decoded.hashes) == 4
        (message,) = decoded.skipped
        assert message.startswith(f"{paths[1]}: not a picture")


def test_nothing_readable_is_an_empty_store(own_cache: Path, paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(b"no picture")
    decoded, _ = decode(paths)
    assert decoded.store.shape == (0, 8, 12, 3)
    assert len(decoded.skipped) == 5


def test_a_full_disk_is_an_error_and_leaves_nothing(
    own_cache: Path, paths: list[Path], disk_full_at: Callable[[int], AbstractContextManager[None]]
) -> None:
    with disk_full_at(1000), pytest.raises(OSError, match="File too large"):
        decode(paths)
    assert not [path for path in own_cache.rglob("*") if path.is_file()]
    assert decode(paths)[1] == 5


_AT_ONCE = """
import hashlib, sys, time
from pathlib import Path
from edgevision._cache import decode_all

paths = sorted(Path(sys.argv[1]).rglob("*.png"))
print("ready", flush=True)
sys.stdin.readline()

def slowly(done, total):
    time.sleep(0.02)  # so that they overlap

decoded = decode_all(paths, (12, 8), "stretch", slowly)
print(hashlib.sha256(decoded.store.tobytes()).hexdigest(), decoded.places == tuple(range(len(paths))))
"""


def test_several_processes_may_decode_the_same_at_once(own_cache: Path, paths: list[Path]) -> None:
    command = [sys.executable, "-c", _AT_ONCE, str(paths[0].parents[1])]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(set(answers)) == 1
    assert answers[0].endswith("True\n")
    files = sorted(path.suffix for path in own_cache.rglob("*") if path.is_file())
    assert files == [".json", ".rgb"], "no temporary file stays"
    decoded, anew = decode(paths)
    assert (anew, len(decoded.places)) == (0, 5)


def test_a_record_is_made_once_per_key(own_cache: Path) -> None:
    made: list[int] = []

    def make() -> list[int]:
        made.append(1)
        return [len(made), 7]

    assert keep_record(["a", 1], make) == keep_record(["a", 1], make) == [1, 7]
    assert keep_record(["a", 2], make) == [2, 7]


def test_pixels_without_their_record_are_made_anew(own_cache: Path) -> None:
    file, record = keep_pixels(["x"], lambda stream: {"bytes": stream.write(bytes(range(24)))})
    assert record == {"bytes": 24}
    assert map_pixels(file, (2, 2, 2, 3))[1, 1, 1].tolist() == [21, 22, 23]
    file.with_suffix(".json").unlink()
    _, record = keep_pixels(["x"], lambda stream: {"bytes": stream.write(bytes(12))})
    assert record == {"bytes": 12}
    assert keep_pixels(["x"], lambda stream: {"bytes": -1}) == (file, {"bytes": 12})


def test_pixels_that_cannot_be_made_leave_nothing(own_cache: Path) -> None:
    def fail(stream: object) -> None:
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        keep_pixels(["x"], fail)
    assert not [path for path in own_cache.rglob("*") if path.is_file()]


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("EDGEVISION_CACHE")
    assert cache_folder() == tmp_path / "b" / "edgevision"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / ".cache" / "edgevision"
