from __future__ import annotations

import pytest

from edgevision_device._protobuf import Field, encode_field, read_fields, read_varints


def test_every_wire_type_is_read() -> None:
    varint, eight, text, four = b"\x08\xac\x02", b"\x11" + bytes(8), b"\x1a\x03abc", b"\x25" + bytes(4)
    assert list(read_fields(varint + eight + text + four)) == [
        Field(1, 0, 1, 3),
        Field(2, 3, 4, 12),
        Field(3, 12, 14, 17),
        Field(4, 17, 18, 22),
    ]


@pytest.mark.parametrize(("number", "length"), [(1, 0), (15, 127), (16, 128), (2000, 70_000)])
def test_what_is_written_is_read(number: int, length: int) -> None:
    value = b"x" * length
    message = encode_field(number, value)
    (field,) = read_fields(message)
    assert (field.number, field.start, field.end) == (number, 0, len(message))
    assert message[field.value : field.end] == value


@pytest.mark.parametrize(
    "damaged", [b"\x08", b"\x08\x80", b"\x11\x00", b"\x1a\x05ab", b"\x1b", b"\x25\x00", b"\xff" * 20]
)
def test_what_is_no_field_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"varint|wire type|past the end"):
        list(read_fields(damaged))


def test_numbers_are_read_alone_and_packed() -> None:
    assert list(read_varints(b"\x03")) == [3]
    assert list(read_varints(b"\x03\xac\x02\x00")) == [3, 300, 0]
    assert list(read_varints(b"\xff" * 9 + b"\x01")) == [2**64 - 1]
    with pytest.raises(ValueError, match="no varint at 1"):
        list(read_varints(b"\x03\xac"))
