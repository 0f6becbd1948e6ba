"""Protobuf messages field by field, without a schema: what sealing and counting `.onnx` files need of `onnx`.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Field", "encode_field", "read_fields", "read_varints"]

_LONGEST_VARINT = 10  # 64 bits, 7 in each byte


class Field(NamedTuple):
    """Where one field lies in its message.

    Attributes:
        number: the field's number.
        start: offset of its tag.
        value: offset of its value, which follows the tag and, if it has one, the length.
        end: offset behind its value.
    """

    number: int
    start: int
    value: int
    end: int


def read_fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message in the order they have in it.

    Raises:
        ValueError: what follows is no field, or runs past the end.
    """
    start = 0
    while start < len(message):
        tag, value = _read_varint(message, start)
        wire = tag & 7
        if wire == 0:
            _, end = _read_varint(message, value)
        elif wire == 1:
            end = value + 8
        elif wire == 2:
            length, value = _read_varint(message, value)
            end = value + length
        elif wire == 5:
            end = value + 4
        else:
            raise ValueError(f"wire type {wire}")
        if end > len(message):
            raise ValueError("field runs past the end")
        yield Field(tag >> 3, start, value, end)
        start = end


def read_varints(value: bytes) -> Iterator[int]:
    """Yield the numbers in the value of a field: one, or several that are packed.

    Raises:
        ValueError: one is cut short, or longer than 64 bits.
    """
    at = 0
    while at < len(value):
        number, at = _read_varint(value, at)
        yield number


def encode_field(number: int, value: bytes) -> bytes:
    """Encode a field of bytes: a text, or another message."""
    return _encode_varint(number << 3 | 2) + _encode_varint(len(value)) + value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError(f"no varint at {at}")


def _encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
