"""The flips of a benchmark's files against the reference: which are shown, and their thumbnails."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgevision_device import PictureError, read_picture

from ._flips import group_alike
from ._flips_page import FlipCard, FlipSection, limit_flips, thumbnail
from ._measurement import Paired
from ._report import FileResult

__all__ = ["flip_sections", "make_thumbnails"]

#: Flips in the page, and at least so many per section: what is worst comes first, and report.json has them all.
_SHOWN, _LEAST = 96, 8


def flip_sections(files: Sequence[FileResult], thumbnails: Mapping[str, str]) -> list[FlipSection]:
    """Return a section for each file whose labels differ from those of the reference; one for files that differ alike.

    Args:
        files: of a report.
        thumbnails: SHA-256 of a picture → address; one may be missing.
    """
    pairs = [
        (file.name, file.measured.paired)
        for file in files
        if file.measured is not None and file.measured.paired is not None and file.measured.paired.flipped
    ]
    groups = group_alike(pairs, _difference)
    limit = limit_flips(len(groups), _SHOWN, _LEAST)
    sections: list[FlipSection] = []
    for group in groups:
        paired = group[0][1]
        cards = [
            FlipCard(flip, [thumbnails[flip.sha256]] if flip.sha256 in thumbnails else [])
            for flip in paired.flipped[:limit]
        ]
        names = [name for name, _ in group]
        sections.append(FlipSection(names, paired.reference, paired.difference, paired.flipped, cards))
    return sections


def make_thumbnails(files: Sequence[FileResult], pictures: Mapping[str, Path]) -> dict[str, str]:
    """Return the thumbnails of what `flip_sections` shows.

    Args:
        files: of a report.
        pictures: SHA-256 of each picture → its file.
    """
    made: dict[str, str] = {}
    for section in flip_sections(files, {}):
        for card in section.cards:
            sha256 = card.flip.sha256
            if sha256 in pictures and sha256 not in made:
                with contextlib.suppress(PictureError):
                    made[sha256] = thumbnail(read_picture(pictures[sha256]))
    return made


def _difference(row: tuple[str, Paired]) -> object:
    return row[1].difference, row[1].flipped
