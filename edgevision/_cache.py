"""Decoded pictures on disk, so that every training after the first, and every epoch, decodes nothing."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edgevision_device import PictureError, decode_picture, preprocess, write_atomically, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt

__all__ = ["VERSION", "Decoded", "cache_folder", "decode_all", "keep_pixels", "keep_record", "map_pixels", "resize_all"]

#: Raised when decoding or preprocessing changes, so that old caches are not used.
VERSION = 5


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


def keep_record(key: Sequence[object], make: Callable[[], Any]) -> Any:
    """Return what `make` gives, as JSON keeps it, or what it gave last time.

    Args:
        key: what decides the result, as JSON can say it.
        make: called if there is no result yet.
    """
    file = _file(key, ".json")
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    text = json.dumps(make())
    write_atomically(file, text)
    return json.loads(text)


def keep_pixels(key: Sequence[object], make: Callable[[IO[bytes]], Any]) -> tuple[Path, Any]:
    """Return a file of pixels and a record of what is in it, both from last time if there was one.

    Several processes may do this at once: each writes under a name of its own, and the last to finish stays.

    Args:
        key: what decides the result, as JSON can say it.
        make: writes the pixels and returns the record.
    """
    pixels_file, record_file = _file(key, ".rgb"), _file(key, ".json")
    if pixels_file.is_file() and record_file.is_file():
        return pixels_file, json.loads(record_file.read_text(encoding="utf-8"))
    # Written, not mapped: on a full disk a write fails, where a mapping kills the process (SIGBUS).
    with writing(pixels_file) as temporary, temporary.open("wb") as stream:
        text = json.dumps(make(stream))
    write_atomically(record_file, text)
    return pixels_file, json.loads(text)


def map_pixels(pixels_file: Path, shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Map a file of uint8 pixels, so that memory holds only what is in use."""
    # An empty file cannot be mapped.
    return np.memmap(pixels_file, np.uint8, "r", shape=tuple(shape)) if shape[0] else np.empty(shape, np.uint8)


def _file(key: Sequence[object], suffix: str) -> Path:
    name = hashlib.sha256(json.dumps([VERSION, *key]).encode()).hexdigest()[:32]
    return cache_folder() / "pictures" / f"{name}{suffix}"


def decode_all(
    paths: Sequence[Path],
    size_wh: tuple[int, int],
    resize: str,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Decoded:
    """Decode picture files, or map the result of last time if no file has changed since (by path, size and time)."""

    def decode(stream: IO[bytes]) -> dict[str, list[Any]]:
        record: dict[str, list[Any]] = {"places": [], "hashes": [], "skipped": []}
        for place, path in enumerate(paths):
            content = path.read_bytes()
            try:
                pixels = preprocess(decode_picture(content), size_wh, resize)
            except PictureError as error:
                record["skipped"].append(f"{path}: {error}")
            else:
                stream.write(pixels.tobytes())
                record["places"].append(place)
                record["hashes"].append(hashlib.sha256(content).hexdigest())
            on_progress(place + 1, len(paths))
        return record

    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    pixels_file, record = keep_pixels([size_wh, resize, stats], decode)
    store = map_pixels(pixels_file, (len(record["places"]), size_wh[1], size_wh[0], 3))
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

    def write(stream: IO[bytes]) -> None:
        for picture in rgb:
            stream.write(preprocess(picture, size_wh, resize).tobytes())

    pixels_file, _ = keep_pixels([size_wh, resize, *key], write)
    return map_pixels(pixels_file, (count, size_wh[1], size_wh[0], 3))
