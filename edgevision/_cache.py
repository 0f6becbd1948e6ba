"""Decoded pictures on disk, so that every training after the first, and every epoch, decodes nothing."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import PictureError, decode_picture, preprocess, write_atomically, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

__all__ = ["Decoded", "cache_folder", "decode_all", "resize_all"]

#: Raised when decoding or preprocessing changes, so that old caches are not used.
_VERSION = 2


def cache_folder() -> Path:
    """Return the folder for what can be made again: `$EDGEVISION_CACHE`, else `edgevision` in the user's cache."""
    chosen = os.environ.get("EDGEVISION_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgevision"


@dataclass(frozen=True)
class Decoded:
    """Pictures decoded to one size.

    Attributes:
        store: uint8 `(readable, height, width, 3)`, mapped from a file: memory holds only what is in use.
        places: which of the given paths each row is.
        hashes: SHA-256 of each row's file content.
        skipped: one message per path that holds no readable picture.
    """

    store: npt.NDArray[np.uint8]
    places: tuple[int, ...]
    hashes: tuple[str, ...]
    skipped: tuple[str, ...]


def decode_all(
    paths: Sequence[Path],
    size_wh: tuple[int, int],
    resize: str,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Decoded:
    """Decode picture files, or map the result of last time if no file has changed since (by path, size and time)."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(json.dumps([_VERSION, size_wh, resize, stats]).encode()).hexdigest()[:32]
    pixels_file, record_file = (cache_folder() / "pictures" / f"{key}{suffix}" for suffix in (".rgb", ".json"))
    if not (pixels_file.is_file() and record_file.is_file()):
        _decode(paths, size_wh, resize, pixels_file, record_file, on_progress)
    record = json.loads(record_file.read_text(encoding="utf-8"))
    store = _map(pixels_file, len(record["places"]), size_wh)
    return Decoded(store, tuple(record["places"]), tuple(record["hashes"]), tuple(record["skipped"]))


def resize_all(
    rgb: Iterable[npt.NDArray[np.uint8]], key: Sequence[object], count: int, size_wh: tuple[int, int], resize: str
) -> npt.NDArray[np.uint8]:
    """Bring pictures of one data set to one size, or map the result of last time.

    Args:
        rgb: uint8 `(height, width, 3)` each.
        key: what they are; the same key must mean the same pictures.
        count: how many there are.
        size_wh, resize: see `preprocess`.

    Returns:
        uint8 `(count, height, width, 3)`, mapped from a file.
    """
    name = hashlib.sha256(json.dumps([_VERSION, size_wh, resize, *key]).encode()).hexdigest()[:32]
    pixels_file = cache_folder() / "pictures" / f"{name}.rgb"
    if not pixels_file.is_file():
        with writing(pixels_file) as temporary, temporary.open("wb") as stream:
            for picture in rgb:
                stream.write(preprocess(picture, size_wh, resize).tobytes())
    return _map(pixels_file, count, size_wh)


def _map(pixels_file: Path, count: int, size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    shape = (count, size_wh[1], size_wh[0], 3)
    # An empty file cannot be mapped.
    return np.memmap(pixels_file, np.uint8, "r", shape=shape) if count else np.empty(shape, np.uint8)


def _decode(
    paths: Sequence[Path],
    size_wh: tuple[int, int],
    resize: str,
    pixels_file: Path,
    record_file: Path,
    on_progress: Callable[[int, int], None],
) -> None:
    places: list[int] = []
    hashes: list[str] = []
    skipped: list[str] = []
    # Written, not mapped: on a full disk a write fails, where a mapping kills the process (SIGBUS).
    with writing(pixels_file) as temporary, temporary.open("wb") as stream:
        for place, path in enumerate(paths):
            content = path.read_bytes()
            try:
                pixels = preprocess(decode_picture(content), size_wh, resize)
            except PictureError as error:
                skipped.append(f"{path}: {error}")
            else:
                stream.write(pixels.tobytes())
                places.append(place)
                hashes.append(hashlib.sha256(content).hexdigest())
            on_progress(place + 1, len(paths))
    record = {"places": places, "hashes": hashes, "skipped": skipped}
    write_atomically(record_file, json.dumps(record))
