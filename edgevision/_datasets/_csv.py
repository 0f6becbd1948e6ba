"""A CSV file with a label and the pixels of one picture per line, as Kaggle's digits: `label,pixel0,pixel1,…`."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import math
import re
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edgevision_device import DataError

from .._cache import keep_pixels, map_pixels
from .._pictures import Splits
from ._arrays import digest_pixels, pictures_from_array
from ._shares import split_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["is_csv", "load", "read_size"]

#: Raised when reading changes, so that old caches are not used.
_VERSION = 1
_LABEL = "label"
#: What is parsed at a time. The header alone has 0.3 MB for pictures of 100 x 100 in color.
_BLOCK_BYTES = 8 << 20
_HEADER_BYTES = 16 << 20
_LAYOUT = f"expected a line of names, {_LABEL},pixel0,pixel1,…, then one picture per line"


@dataclass(frozen=True)
class _Layout:
    """The columns of a file: one label, `side * side * channels` pixels."""

    names: tuple[str, ...]
    label: int
    side: int
    channels: int


@dataclass(frozen=True)
class _Row:
    number: int
    label: str
    pixels: str


def is_csv(path: Path) -> bool:
    """Say whether a path is that of a CSV file, by its name: `.csv` or `.csv.gz`."""
    return path.name.lower().endswith((".csv", ".csv.gz")) and not path.is_dir()


def read_size(path: Path) -> tuple[int, int]:
    """Return width and height of the pictures in a CSV file; only the header is read.

    Raises:
        DataError: as `load`.
    """
    with _opened(path) as stream:
        side = _read_layout(stream, path).side
    return side, side


def load(
    path: Path,
    size_wh: tuple[int, int],
    resize: str,
    on_progress: Callable[[int, int], None],
    validation_split: float | None = None,
) -> Splits:
    """Read a CSV file and split it by the content of its pictures, as a folder is: see `split_by_content`.

    Every value is a whole number, 0 to 255, row by row from the top left: `side * side` of them for grey pictures,
    `side * side * 3`, red, green and blue of each pixel together, for color. The column `label` may stand anywhere; its
    values may be numbers or words. The parsed pixels are kept in the cache.

    Raises:
        DataError: no such file, no column `label`, pictures that are not square, or the first bad line.
    """
    with _opened(path) as stream:
        layout = _read_layout(stream, path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()

    def parse(pixels: IO[bytes]) -> dict[str, list[Any]]:
        found: list[str] = []
        numbers: list[int] = []
        for rows, values in _parse(path, layout):
            pixels.write(values.tobytes())
            found += [row.label for row in rows]
            numbers += [row.number for row in rows]
        if not found:
            raise DataError(f"{path} holds no picture; {_LAYOUT}")
        _refuse_bad_labels(dict(zip(reversed(found), reversed(numbers), strict=True)), path)
        return {"labels": found, "numbers": numbers}

    pixels_file, record = keep_pixels(["csv", _VERSION, digest], parse)
    found: list[str] = record["labels"]
    labels = _in_order(set(found))
    if len(labels) < 2:
        raise DataError(f"{path} holds one label only, {labels[0]!r}; a classifier needs at least two")
    shape = (len(found), layout.side, layout.side, layout.channels)
    pixels = map_pixels(pixels_file, shape[:3] if layout.channels == 1 else shape)
    index = {label: place for place, label in enumerate(labels)}
    targets = np.array([index[label] for label in found], np.int64)
    names = [f"{path.name}:{number}" for number in record["numbers"]]
    pictures = pictures_from_array(
        pixels, targets, labels, path.name, size_wh, resize, names=names, on_progress=on_progress
    )
    train, val, test = split_pictures(pictures, digest_pixels(pixels), validation_split)
    return Splits(train, val, test)


@contextlib.contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    """Open a file, unpacked if it is gzip, whatever it is called."""
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            # Reading lines from a GzipFile itself is slow.
            yield io.BufferedReader(stream) if isinstance(stream, gzip.GzipFile) else stream
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _read_layout(stream: IO[bytes], path: Path) -> _Layout:
    """Read the line of names."""
    try:
        header = stream.readline(_HEADER_BYTES).decode("utf-8-sig")
        names = tuple(name.strip() for name in next(csv.reader([header]), []))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8 ({error}); {_LAYOUT}") from error
    if not names:
        raise DataError(f"{path} is empty; {_LAYOUT}")
    places = [place for place, name in enumerate(names) if name.casefold() == _LABEL]
    if not places and all(re.fullmatch(r"-?[0-9.]+", name) for name in names[1:]):
        raise DataError(f"{path} has no line of names; add {_LABEL},pixel0,pixel1,… as its first line")
    if len(places) != 1:
        got = f"{len(names)} columns, {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        none = f"no column {_LABEL!r}, so that nothing says what its pictures show"
        raise DataError(f"{path} has {none if not places else f'{len(places)} columns {_LABEL!r}'}; it has {got}")
    pixels = [name for place, name in enumerate(names) if place != places[0]]
    for channels in (1, 3):
        side = math.isqrt(len(pixels) // channels)
        if side > 1 and side * side * channels == len(pixels):
            _refuse_other_order(pixels, path)
            return _Layout(names, places[0], side, channels)
    raise DataError(
        f"{path} has {len(pixels)} columns beside {_LABEL!r}, which make no square picture; "
        "allowed: side x side (grey), such as 784 for 28, or side x side x 3 (color)"
    )


def _refuse_other_order(names: Sequence[str], path: Path) -> None:
    """Columns that were sorted by name (pixel1, pixel10, pixel100) hold no pictures any more."""
    numbers = [tuple(int(digits) for digits in re.findall(r"\d+", name)) for name in names]
    if len({len(each) for each in numbers}) != 1 or not numbers[0]:
        return
    for (name, number), (following, next_number) in itertools.pairwise(zip(names, numbers, strict=True)):
        if next_number <= number:
            raise DataError(f"{path} has its pixels out of order: {following} comes after {name}")


def _parse(path: Path, layout: _Layout) -> Iterator[tuple[list[_Row], npt.NDArray[np.uint8]]]:
    """Yield some rows at a time, and their pixels `(n, side * side * channels)`."""
    count = len(layout.names) - 1
    number = 2
    with _opened(path) as stream:
        stream.readline(_HEADER_BYTES)
        while block := stream.read(_BLOCK_BYTES) + stream.readline():
            try:
                lines = block.decode("utf-8").split("\n")
            except UnicodeDecodeError as error:
                bad = number + block[: error.start].count(b"\n")
                raise DataError(f"{path}, line {bad}: no UTF-8 ({error.reason})") from error
            rows = [
                _read_row(line, number + place, layout, path) for place, line in enumerate(lines) if line.strip("\r \t")
            ]
            number += len(lines) - 1
            if not rows:
                continue
            try:
                values = np.loadtxt([row.pixels for row in rows], np.uint8, delimiter=",", comments=None, ndmin=2)
            except ValueError as error:
                _refuse_bad_row(rows, layout, path)
                raise DataError(f"cannot read {path}: {error}") from error
            # Of lines that are all alike wrong, or empty, loadtxt says nothing.
            if values.shape != (len(rows), count) or not all(row.label for row in rows):
                _refuse_bad_row(rows, layout, path)
            yield rows, values


def _read_row(line: str, number: int, layout: _Layout, path: Path) -> _Row:
    """Take the label out of a line; the rest is checked later, many lines at once."""
    last = len(layout.names) - 1
    if '"' not in line and layout.label == 0:
        label, _, pixels = line.partition(",")
    elif '"' not in line and layout.label == last:
        pixels, _, label = line.rpartition(",")
    else:
        try:
            cells = next(csv.reader([line]))
        except csv.Error as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        if len(cells) != last + 1:
            raise DataError(_columns(path, number, len(cells), layout))
        label = cells.pop(layout.label)
        pixels = ",".join(cells)
    return _Row(number, label.strip(), pixels)


def _refuse_bad_row(rows: Iterable[_Row], layout: _Layout, path: Path) -> None:
    names = [name for place, name in enumerate(layout.names) if place != layout.label]
    for row in rows:
        cells = row.pixels.split(",")
        if len(cells) != len(names):
            raise DataError(_columns(path, row.number, len(cells) + 1, layout))
        if not row.label:
            raise DataError(f"{path}, line {row.number}: the label is empty")
        for name, cell in zip(names, cells, strict=True):
            value = cell.strip()
            if not re.fullmatch(r"\+?[0-9]+", value, re.ASCII) or int(value[-20:]) > 255:
                raise DataError(
                    f"{path}, line {row.number}, column {name}: "
                    f"expected a whole number from 0 to 255, got {value[:20]!r}"
                )


def _columns(path: Path, number: int, got: int, layout: _Layout) -> str:
    return f"{path}, line {number}: {got} columns, where the first line names {len(layout.names)}"


def _refuse_bad_labels(line_of: dict[str, int], path: Path) -> None:
    """A label is a line of labels.txt, and the name of a folder when test pictures are written."""
    for label, number in sorted(line_of.items(), key=lambda item: item[1]):
        if label.startswith(".") or not label.isprintable() or set(label) & set("/\\"):
            raise DataError(f"{path}, line {number}: the label {label!r} cannot name a folder; no /, \\ or leading dot")


def _in_order(labels: set[str]) -> list[str]:
    """Sort numbers by their value, and anything else as words.

    >>> _in_order({"10", "9", "1"}), _in_order({"10", "9", "a"})
    (['1', '9', '10'], ['10', '9', 'a'])
    """
    if all(re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", label) for label in labels):
        return sorted(labels, key=lambda label: (float(label), label))
    return sorted(labels)
