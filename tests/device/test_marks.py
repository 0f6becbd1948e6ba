"""A few bytes by which single pictures are known again."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json

import pytest

from edgevision_device import DataOrigin, FileError, Metadata, Normalization, UsageError, mark_pictures

DIGESTS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(200)]
BARE = Metadata(
    name="x",
    labels=("a", "b"),
    size_wh=(8, 6),
    resize="stretch",
    normalization=Normalization((0.0,), (1.0,)),
    trained_on=DataOrigin("t", "0" * 64, 60_000),
    calibrated_on=DataOrigin("c", "1" * 64, 100),
)
MARKED = dataclasses.replace(
    BARE,
    trained_on=DataOrigin("t", "0" * 64, 60_000, mark_pictures(DIGESTS, 64)),
    calibrated_on=DataOrigin("c", "1" * 64, 100, mark_pictures(DIGESTS[:100], 1000)),
)


def record(metadata: Metadata) -> str:
    return metadata.to_json(sha256="", size_bytes=1)


def test_marked_pictures_are_known_and_others_are_not() -> None:
    origin = MARKED.calibrated_on
    assert origin is not None
    assert [origin.holds(digest) for digest in DIGESTS] == [True] * 100 + [False] * 100
    assert not origin.holds(None)


def test_of_many_pictures_the_highest_digests_are_kept() -> None:
    origin = MARKED.trained_on
    assert origin is not None
    assert {digest for digest in DIGESTS if origin.holds(digest)} == set(sorted(DIGESTS)[-64:])


def test_marks_survive_the_file_and_cost_few_bytes() -> None:
    read = Metadata.from_record(json.loads(record(MARKED)))
    for origin, before in ((read.trained_on, MARKED.trained_on), (read.calibrated_on, MARKED.calibrated_on)):
        assert origin is not None
        assert before is not None
        assert origin.marked == before.marked
    assert len(record(MARKED)) - len(record(BARE)) == 428 + 668 + 2 * len(',"marks":""')


def test_a_file_from_before_there_were_marks_is_read() -> None:
    assert "marks" not in record(BARE)
    read = Metadata.from_record(json.loads(record(BARE)))
    assert read == BARE
    assert read.calibrated_on is not None
    assert not read.calibrated_on.holds(DIGESTS[0])


def test_origins_are_equal_by_what_they_hold_not_by_how_it_is_marked() -> None:
    assert MARKED == BARE


@pytest.mark.parametrize("marks", ["AAAA", "no base64!", 7])
def test_marks_that_make_no_sense_are_refused(marks: object) -> None:
    changed = json.loads(record(MARKED))
    changed["calibrated_on"]["marks"] = marks
    with pytest.raises(FileError, match="the metadata cannot be read"):
        Metadata.from_record(changed)


def test_a_mark_is_whole() -> None:
    with pytest.raises(UsageError, match="marks hold whole pictures of 5 bytes, got 7 bytes"):
        DataOrigin("x", "0" * 64, 1, base64.b64encode(bytes(7)).decode())
