"""The pictures of a benchmark: which folder, which labels, and a hash that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Optional

from edgevision_device import DataError, LabelledPicture, PictureError, decode_picture, find_labelled, hash_pictures

__all__ = ["choose_split", "find_known", "hash_files"]

_SPLITS = ("train", "val", "test")


def choose_split(folder: Path) -> tuple[Path, Optional[str]]:
    """Return the folder that holds one folder per label, and the name of the split if it is one.

    `folder/<label>/<picture>` is taken as it is; of `folder/{train,val,test}/<label>/<picture>` the test split.

    Raises:
        DataError: no such folder, or splits without `test`.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}; expected {folder}/<label>/<picture>")
    entries = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    # A label may be called "test"; a split holds folders.
    splits = [entry.name for entry in entries if entry.name in _SPLITS and any(sub.is_dir() for sub in entry.iterdir())]
    if not splits or len(splits) < len(entries):
        return folder, None
    if "test" not in splits:
        raise DataError(
            f"{folder} holds the splits {', '.join(sorted(splits))} and no test; accuracy on pictures that trained the "
            f"model says nothing: add {folder}/test, or name a split, such as {folder / splits[0]}"
        )
    return folder / "test", "test"


def find_known(folder: Path, labels_of_files: Sequence[tuple[str, Sequence[str]]]) -> list[LabelledPicture]:
    """Return the pictures of `folder/<label>/`; every file must know every label of the folder.

    Raises:
        DataError: as `find_labelled`, or a file that lacks a label.
    """
    known = list(dict.fromkeys(label for _, labels in labels_of_files for label in labels))
    pictures = find_labelled(folder, known)
    for name, labels in labels_of_files:
        strangers = sorted({picture.label for picture in pictures}.difference(labels))
        if strangers:
            raise DataError(
                f"{folder} holds the label {strangers[0]!r}, which {name} does not know; leave one of them out"
            )
    return pictures


def hash_files(pictures: Sequence[LabelledPicture], *, decode: bool, on_read: Callable[[int], None]) -> str:
    """Hash labels and contents, one file in memory at a time.

    Args:
        pictures: what to hash.
        decode: raise at the first picture that cannot be read or decoded, instead of leaving it to the measurement.
        on_read: told how many were read so far.

    Raises:
        PictureError: only if `decode`.
    """

    def digests() -> Iterator[tuple[str, str]]:
        for done, picture in enumerate(pictures):
            on_read(done)
            try:
                content = picture.path.read_bytes()
            except OSError as error:
                if not decode:
                    continue
                raise PictureError(f"cannot read the picture {picture.path}: {error.strerror}") from error
            if decode:
                try:
                    decode_picture(content)
                except PictureError as error:
                    raise PictureError(f"{picture.path}: {error}; remove it, or leave out --strict") from None
            yield picture.label, hashlib.sha256(content).hexdigest()

    return hash_pictures(digests())
