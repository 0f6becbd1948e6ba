"""The pictures of a benchmark: which folder, which labels, and a hash that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from edgevision_device import (
    DataError,
    DataOrigin,
    LabelledPicture,
    Metadata,
    PictureError,
    decode_picture,
    find_labelled,
    find_parts,
    hash_pictures,
    split_by_content,
)

__all__ = ["choose_split", "digest_files", "find_known", "held_out", "refuse_seen", "seen_pictures"]


def choose_split(folder: Path) -> tuple[Path, Optional[str]]:
    """Return the folder that holds one folder per label, and the name of the part if it is one.

    `folder/<label>/<picture>` is taken as it is; of `folder/{train,val,test}/<label>/<picture>` the test part.

    Raises:
        DataError: no such folder, or parts without `test`.
    """
    parts = find_parts(folder)
    if parts and "test" not in parts:
        raise DataError(
            f"{folder} holds {', '.join(sorted(parts))} and no test; accuracy on pictures that trained the model says "
            f"nothing: add {folder}/test, or name a part, such as {next(iter(parts.values()))}"
        )
    return (parts["test"], "test") if parts else (folder, None)


def held_out(
    pictures: Sequence[LabelledPicture], digests: Sequence[Optional[str]], folder: Path, files: Sequence[Metadata]
) -> Optional[list[bool]]:
    """Say which pictures of an unsplit folder are its test part; None if no file was made from this folder.

    Training and calibration split such a folder by content, and so does this; a validation split leaves the test part
    as it is. The folder is known again by the hash of its training part; by the marks of single pictures, of which at
    least half must be there, whatever the folder is called now; or, of a file without marks, by its name.
    """
    readable = [(picture.label, digest) for picture, digest in zip(pictures, digests) if digest is not None]
    try:
        parts = split_by_content([label for label, _ in readable], [digest for _, digest in readable])
    except DataError:  # too few pictures to train on
        return None
    train = hash_pictures(pair for pair, part in zip(readable, parts) if part == "train")

    def is_from_here(origin: DataOrigin) -> bool:
        there = {digest for _, digest in readable if origin.holds(digest)}
        return origin.sha256 == train or (bool(origin.marks) and 2 * len(there) >= len(origin.marked))

    trained = [each.trained_on for each in files if each.trained_on is not None]
    calibrated = [each.calibrated_on for each in files if each.calibrated_on is not None]
    named = any(not origin.marks and origin.name == folder.resolve().name for origin in trained)
    if not named and not any(is_from_here(origin) for origin in (*trained, *calibrated)):
        return None
    test = {pair for pair, part in zip(readable, parts) if part == "test"}
    return [(picture.label, digest) in test for picture, digest in zip(pictures, digests)]


def seen_pictures(metadata: Metadata, digests: Sequence[Optional[str]]) -> dict[str, list[int]]:
    """Return the places of the pictures that a file was `trained`, `calibrated` or `fitted` on; those are the keys.

    Of the pictures of a training a file marks only some, so these places may not be all. Pictures on which its
    temperature and threshold were fitted are no leak into its top-1, but into what is said of its confidence.

    Args:
        metadata: of the file.
        digests: SHA-256, in hex, of each picture's file; None for one that cannot be read.
    """
    origins = {"calibrated": metadata.calibrated_on, "trained": metadata.trained_on, "fitted": metadata.fitted_on}
    places = {
        verb: [place for place, digest in enumerate(digests) if origin.holds(digest)]
        for verb, origin in origins.items()
        if origin is not None
    }
    return {verb: found for verb, found in places.items() if found}


def refuse_seen(names: Sequence[str], digests: Sequence[Optional[str]], files: Sequence[tuple[str, Metadata]]) -> None:
    """Raise DataError if a file was trained or calibrated on one of the pictures that are to judge it.

    Args:
        names: what the message calls each picture.
        digests: SHA-256, in hex, of each picture's file; None for one that cannot be read.
        files: name and metadata of each file.
    """
    for file, metadata in files:
        for verb, places in seen_pictures(metadata, digests).items():
            if verb == "fitted":
                continue
            first = ", ".join(names[place] for place in places[:3])
            origin = metadata.calibrated_on if verb == "calibrated" else metadata.trained_on
            some = " or more" if origin is not None and len(origin.marked) < origin.pictures else ""
            raise DataError(
                f"{file} was {verb} on {len(places):,}{some} of these {len(names):,} pictures: {first}"
                f"{', …' if len(places) > 3 else ''}; its top-1 on them says nothing about new ones: take other "
                "pictures, or --whole to measure on them all the same"
            )


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


def digest_files(
    pictures: Sequence[LabelledPicture], *, decode: bool, on_read: Callable[[int], None]
) -> list[Optional[str]]:
    """Return the SHA-256 of each picture's file, None where it cannot be read; one file in memory at a time.

    Args:
        pictures: what to hash.
        decode: raise at the first picture that cannot be read or decoded, instead of leaving it to the measurement.
        on_read: told how many were read so far.

    Raises:
        PictureError: only if `decode`.
    """
    digests: list[Optional[str]] = []
    for done, picture in enumerate(pictures):
        on_read(done)
        try:
            content = picture.path.read_bytes()
        except OSError as error:
            if decode:
                raise PictureError(f"cannot read the picture {picture.path}: {error.strerror}") from error
            digests.append(None)
            continue
        if decode:
            try:
                decode_picture(content)
            except PictureError as error:
                raise PictureError(f"{picture.path}: {error}; remove it, or leave out --strict") from None
        digests.append(hashlib.sha256(content).hexdigest())
    return digests
