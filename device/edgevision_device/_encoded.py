"""What a picture file says before a decoder sees it: whether it is whole, and which way is up.

Here, and not left to OpenCV, because its versions differ: 4.x fills the missing half of a JPEG with grey and says
nothing, 5.0 refuses it; 4.8 ignores the orientation of WebP; all of them ignore it where there is transparency.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import PictureError

__all__ = ["inspect", "is_tiff", "turn_upright"]

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112


def inspect(content: bytes) -> int:
    """Return the EXIF orientation of an encoded JPEG, PNG or WebP picture, 1 to 8; 1, upright, for anything else.

    Raises:
        PictureError: the file is cut short, or a PNG chunk does not match its checksum.
    """
    if content[:2] == b"\xff\xd8":
        return _inspect_jpeg(content)
    if content[:8] == _PNG:
        return _inspect_png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _inspect_webp(content)
    return 1


def is_tiff(content: bytes) -> bool:
    """Say whether an encoded picture is a TIFF."""
    return content[:4] in (b"II*\0", b"MM\0*")


def turn_upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Undo an EXIF orientation: 1 to 8, what the first row and column of the picture show (EXIF 2.32, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _inspect_jpeg(content: bytes) -> int:
    """Walk the segments to the start of scan; inside it the end mark cannot occur by chance, before it it can."""
    orientation = 1
    at = 2
    while content[at : at + 1] == b"\xff":
        marker = content[at + 1] if at + 1 < len(content) else 0
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == 0xDA:  # start of scan
            if content.find(b"\xff\xd9", at) < 0:
                raise _cut_short(content)
            return orientation
        if marker == 0xE1 and content[at + 4 : at + 10] == _EXIF and orientation == 1:
            orientation = _tiff_orientation(content[at + 10 : at + 2 + length])
        at += 2 + length
    if at >= len(content):
        raise _cut_short(content)
    return orientation  # not what a JPEG looks like: the decoder shall judge


def _inspect_png(content: bytes) -> int:
    orientation = 1
    at = len(_PNG)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind, end = content[at + 4 : at + 8], at + 8 + length
        if zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            if end + 4 > len(content):
                break
            raise PictureError(f"the picture is damaged: a chunk of type {kind!r} does not match its checksum")
        if kind == b"eXIf":
            orientation = _tiff_orientation(content[at + 8 : end])
        if kind == b"IEND":
            return orientation
        at = end + 4
    raise _cut_short(content)


def _inspect_webp(content: bytes) -> int:
    if len(content) < 8 + int.from_bytes(content[4:8], "little"):
        raise _cut_short(content)
    orientation = 1
    at = 12
    while at + 8 <= len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"EXIF":
            block = content[at + 8 : at + 8 + length]
            orientation = _tiff_orientation(block[len(_EXIF) :] if block.startswith(_EXIF) else block)
        at += 8 + length + length % 2
    return orientation


def _tiff_orientation(tiff: bytes) -> int:
    """Read the orientation from the first directory of a TIFF block; 1 where there is none or it makes no sense."""
    if not is_tiff(tiff):
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], "little" if tiff[:1] == b"I" else "big")

    directory = number(4, 4)
    for entry in range(number(directory, 2)):
        at = directory + 2 + 12 * entry
        if number(at, 2) == _ORIENTATION:
            orientation = number(at + 8, 2)
            return orientation if 1 <= orientation <= 8 else 1
    return 1


def _cut_short(content: bytes) -> PictureError:
    return PictureError(f"the picture is cut short ({len(content)} bytes)")
