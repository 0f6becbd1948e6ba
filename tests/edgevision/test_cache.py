"""Decoded pictures on disk: decoded once, mapped afterwards, decoded anew when a file has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from edgevision._cache import Decoded, cache_folder, decode_all
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


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEVISION_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("EDGEVISION_CACHE")
    assert cache_folder() == tmp_path / "b" / "edgevision"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c" / ".cache" / "edgevision"
