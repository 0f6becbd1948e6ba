"""Which pictures of a folder train a model, and which ones may judge it: one rule for training and benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ._errors import DataError

__all__ = ["PARTS", "find_parts", "split_by_content"]

PARTS = ("train", "val", "test")
_SHARE = 0.1


def find_parts(folder: Path) -> dict[str, Path]:
    """Return the parts of a folder that is split already, `folder/{train,val,test}/<label>/<picture>`.

    Empty for `folder/<label>/<picture>`, where a label may be called `train`: a part holds folders, and beside parts
    there are only parts.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}; expected {folder}/<label>/<picture>")
    entries = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    parts = {entry.name: entry for entry in entries if entry.name in PARTS and _holds_folders(entry)}
    return parts if len(parts) == len(entries) else {}


def _holds_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in folder.iterdir())


def split_by_content(labels: Sequence[str], digests: Sequence[str], parts: Sequence[str] = PARTS) -> list[str]:
    """Assign each picture to a part by what is in it: a tenth to `val`, a tenth to `test`, the rest to `train`.

    Which part a picture belongs to depends on its content alone, so that equal pictures stay together, adding pictures
    moves no others, and a benchmark knows without being told what a training has seen. Only a label with few pictures
    gets help: where a part would be left without any of it, the picture next to the border moves.

    Args:
        labels: of each picture.
        digests: SHA-256, in hex, of each picture's file.
        parts: `PARTS`, or without `test`.

    Returns:
        The name of a part for each picture.

    Raises:
        DataError: a label has fewer different pictures than there are parts.
    """
    chosen: dict[tuple[str, str], str] = {}
    for label in sorted(set(labels)):
        own = sorted({digest for each, digest in zip(labels, digests) if each == label})
        if len(own) < len(parts):
            raise DataError(
                f"label {label!r} has too few different pictures, {len(own)}; a split into {', '.join(parts)} needs "
                f"at least {len(parts)}, and many more to mean something: add some, or remove the folder"
            )
        held_out = list(parts[:0:-1])  # test, val: the lowest digests
        borders = [sum(_place(digest) < _SHARE * (count + 1) for digest in own) for count in range(len(held_out))]
        start = 0
        for count, part in enumerate(held_out):
            # At least one for this part, and one left for each part after it.
            end = min(max(borders[count], start + 1), len(own) - (len(held_out) - count))
            chosen.update({(label, digest): part for digest in own[start:end]})
            start = end
        chosen.update({(label, digest): parts[0] for digest in own[start:]})
    return [chosen[pair] for pair in zip(labels, digests)]


def _place(digest: str) -> float:
    """Map a digest to [0, 1), evenly."""
    return int(digest[:13], 16) / 16**13
