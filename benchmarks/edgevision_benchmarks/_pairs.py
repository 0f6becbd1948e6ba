"""How two files of one report compare on the same pictures, whichever of them is the reference."""

from __future__ import annotations

from typing import Optional

from ._measurement import Measurement
from ._report import FileResult
from ._statistics import PairedDifference

__all__ = ["paired_difference"]

Row = tuple[FileResult, Measurement]


def paired_difference(a: Row, b: Row) -> Optional[PairedDifference]:
    """Return the difference of b's accuracy to a's, picture by picture; None where the report does not hold it.

    Both were compared with the reference. Where neither flips, both say what that one does: they differ only on the
    pictures that are a flip of either.
    """
    (file_a, found_a), (file_b, found_b) = a, b
    references = {found.paired.reference for found in (found_a, found_b) if found.paired is not None}
    whole = all(_is_told(each, references) for each in (a, b))
    if file_a is file_b or len(references) != 1 or not whole or found_a.top1.pictures != found_b.top1.pictures:
        return None
    calls_a, calls_b = _calls(found_a), _calls(found_b)
    only_a = only_b = 0
    for key in calls_a.keys() | calls_b.keys():
        label, reference = (calls_a.get(key) or calls_b[key])[:2]
        said_a, said_b = (calls[key][2] if key in calls else reference for calls in (calls_a, calls_b))
        right_a, right_b = said_a == label, said_b == label
        only_a += right_a and not right_b
        only_b += right_b and not right_a
    both = found_a.top1.right - only_a
    neither = found_a.top1.pictures - both - only_a - only_b
    # A report that was put together by hand need not add up.
    return PairedDifference(both, only_a, only_b, neither) if min(both, neither) >= 0 else None


def _is_told(row: Row, references: set[str]) -> bool:
    """Say whether the report holds which pictures a file flips: reports of older versions hold only how many."""
    file, found = row
    if found.paired is None:
        return file.name in references
    return len(found.paired.flipped) == found.paired.flips


def _calls(found: Measurement) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Return, by name and SHA-256 of each picture that flips: label, the reference's answer, this one's."""
    flips = () if found.paired is None else found.paired.flipped
    return {(each.picture, each.sha256): (each.label, each.answer_a, each.answer_b) for each in flips}
