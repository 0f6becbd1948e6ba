"""Pictures as people have them: odd depths, transparency, cameras held sideways, and files that are no pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgevision_device import (
    DataError,
    LabelledPicture,
    PictureError,
    decode_picture,
    find_labelled,
    find_pictures,
    read_picture,
)

RED, GREEN, BLUE, WHITE = (200, 30, 40), (20, 220, 20), (30, 60, 200), (240, 240, 240)
#: Not square, and different in every corner: 32 wide, 16 high.
QUARTERS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8).repeat(8, axis=0).repeat(16, axis=1)

Encode = Callable[..., bytes]


@pytest.fixture
def encode(cv2: Any) -> Encode:
    """Encode RGB or RGBA pixels as OpenCV does."""

    def run(suffix: str, pixels: np.ndarray = QUARTERS, flags: tuple[int, ...] = ()) -> bytes:
        if pixels.ndim == 3:
            pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
        done, content = cv2.imencode(suffix, pixels, flags)
        assert done
        return content.tobytes()

    return run


def close(pixels: np.ndarray, expected: np.ndarray, within: float = 6) -> bool:
    """Say whether two pictures look the same; JPEG blurs where colors meet."""
    return pixels.shape == expected.shape and abs(pixels.astype(int) - expected).mean() < within


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tiff"])
def test_a_lossless_picture_is_read_exactly(encode: Encode, suffix: str) -> None:
    assert np.array_equal(decode_picture(encode(suffix)), QUARTERS)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_lossy_picture_is_read_closely(encode: Encode, suffix: str) -> None:
    assert close(decode_picture(encode(suffix)), QUARTERS)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".pgm", ".tiff"])
def test_grey_becomes_three_equal_channels(encode: Encode, suffix: str) -> None:
    grey = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (16, 1))
    pixels = decode_picture(encode(suffix, grey))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    assert close(pixels, grey[..., np.newaxis].repeat(3, axis=2), within=2)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_become_eight(encode: Encode, suffix: str) -> None:
    deep = QUARTERS.astype(np.uint16) * 257
    assert np.array_equal(decode_picture(encode(suffix, deep)), QUARTERS)
    assert np.array_equal(decode_picture(encode(suffix, deep[..., 0]))[..., 0], QUARTERS[..., 0])


def test_cmyk_becomes_rgb(data: Path) -> None:
    pixels = read_picture(data / "cmyk.jpg")
    expected = np.array([[(200, 30, 40), (30, 60, 200)]], np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    assert (data / "cmyk.jpg").read_bytes().count(b"Adobe") == 1
    assert close(pixels, expected, within=3)


def translucent(dtype: type) -> np.ndarray:
    """The quarters, transparent above and half transparent below, in RGBA."""
    alpha = np.full((16, 32, 1), 0, np.uint8)
    alpha[8:] = 128
    rgba = np.concatenate([QUARTERS, alpha], axis=2)
    return rgba if dtype is np.uint8 else rgba.astype(np.uint16) * 257


def tiff(rgba: np.ndarray) -> bytes:
    """A TIFF that says what its fourth channel is, as OpenCV's do not: alpha that the colors are not multiplied by."""
    height, width = rgba.shape[:2]
    at = 8 + 2 + 11 * 12 + 4
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 4, at),  # bits per sample, four of them
        (259, 3, 1, 1),  # not compressed
        (262, 3, 1, 2),  # RGB
        (273, 4, 1, at + 8),  # where the only strip starts
        (277, 3, 1, 4),
        (278, 3, 1, height),
        (279, 4, 1, rgba.size),
        (284, 3, 1, 1),  # channels of a pixel stand together
        (338, 3, 1, 2),  # the extra channel is unassociated alpha
    ]
    directory = b"".join(struct.pack("<HHI", *entry[:3]) + struct.pack("<I", entry[3]) for entry in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + struct.pack("<I", 0)
    return header + struct.pack("<4H", 8, 8, 8, 8) + rgba.tobytes()


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", np.uint8), (".png", np.uint16), (".tiff", np.uint8), (".tiff", np.uint16), (".webp", np.uint8)],
)
def test_transparency_is_laid_over_white(encode: Encode, suffix: str, dtype: type) -> None:
    flags = (64, 101) if suffix == ".webp" else ()  # IMWRITE_WEBP_QUALITY above 100 is lossless
    rgba = translucent(dtype)
    content = tiff(rgba) if (suffix, dtype) == (".tiff", np.uint8) else encode(suffix, rgba, flags)
    pixels = decode_picture(content)
    half = 128 / 255
    assert np.all(pixels[:8] == 255)
    assert np.all(abs(pixels[8:] - (QUARTERS[8:] * half + 255 * (1 - half))) <= 1)


def exif(orientation: int, order: str = "<") -> bytes:
    """A TIFF block with the orientation as its only entry."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_exif(suffix: str, content: bytes, block: bytes) -> bytes:
    if suffix == ".jpg":
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block + content[2:]
    if suffix == ".png":
        end_of_header = 8 + 25
        return content[:end_of_header] + png_chunk(b"eXIf", block) + content[end_of_header:]
    size = struct.pack("<I", 31)[:3] + struct.pack("<I", 15)[:3]
    extended = b"VP8X" + struct.pack("<II", 10, 0x18 if b"VP8L" in content[:20] else 0x08) + size
    body = b"WEBP" + extended + content[12:] + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(body)) + body


#: What the stored pixels of a picture look like that is upright after applying each orientation.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_taken_sideways_is_turned_upright(encode: Encode, suffix: str, orientation: int) -> None:
    upright = QUARTERS[:, :16] if suffix == ".webp" else QUARTERS
    upright = np.ascontiguousarray(upright)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    content = with_exif(suffix, encode(suffix, stored), exif(orientation))
    if suffix == ".webp":
        content = content.replace(struct.pack("<I", 31)[:3] + struct.pack("<I", 15)[:3], webp_size(stored), 1)
    assert close(decode_picture(content), upright)


def webp_size(stored: np.ndarray) -> bytes:
    return b"".join(struct.pack("<I", side - 1)[:3] for side in (stored.shape[1], stored.shape[0]))


def test_a_transparent_picture_is_turned_too(encode: Encode) -> None:
    stored = np.ascontiguousarray(np.rot90(translucent(np.uint8)))
    pixels = decode_picture(with_exif(".png", encode(".png", stored), exif(6)))
    assert pixels.shape == (16, 32, 3)
    assert np.all(pixels[:8] == 255)


@pytest.mark.parametrize("block", [exif(6, ">"), exif(6)], ids=["big-endian", "little-endian"])
def test_both_byte_orders_of_exif_are_read(encode: Encode, block: bytes) -> None:
    assert decode_picture(with_exif(".jpg", encode(".jpg"), block)).shape == (32, 16, 3)


@pytest.mark.parametrize("block", [b"", b"II*\0", exif(0), exif(9), exif(6)[:14], b"II*\0" + b"\xff" * 40])
def test_senseless_exif_turns_nothing(encode: Encode, block: bytes) -> None:
    assert close(decode_picture(with_exif(".png", encode(".png"), block)), QUARTERS)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_cut_short_is_refused(encode: Encode, suffix: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    content = encode(suffix, noise)
    assert decode_picture(content).shape == (60, 80, 3)
    for kept in (len(content) - 2, len(content) // 2, 40, 3):
        with pytest.raises(PictureError, match=r"cut short|not a picture"):
            decode_picture(content[:kept])


def test_a_damaged_png_is_refused_by_its_checksum(encode: Encode) -> None:
    content = bytearray(encode(".png"))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(PictureError, match="does not match its checksum"):
        decode_picture(bytes(content))


def test_a_jpeg_with_a_trailer_is_read(encode: Encode) -> None:
    # Phones append depth maps, clips and maker's notes after the end mark.
    assert close(decode_picture(encode(".jpg") + b"SEFT" * 50), QUARTERS)


def test_a_thumbnail_in_exif_does_not_end_the_picture(encode: Encode) -> None:
    content = with_exif(".jpg", encode(".jpg"), exif(1) + b"\xff\xd8 a thumbnail \xff\xd9")
    assert close(decode_picture(content), QUARTERS)
    with pytest.raises(PictureError, match="cut short"):
        decode_picture(content[:-20])


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.jpg", b"hello"), ("empty.png", b""), ("zeros.bmp", bytes(500)), ("head.jpg", b"\xff\xd8\xff\xe0")],
)
def test_what_is_no_picture_is_refused_by_name(cv2: Any, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PictureError, match=name) as caught:
        read_picture(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_picture_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"cannot read the picture .*gone.png: No such file"):
        read_picture(tmp_path / "gone.png")


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_pictures_are_found_below_a_folder_in_order(tmp_path: Path) -> None:
    wanted = [touch(tmp_path / name) for name in ("a.PNG", "b/c.jpeg", "b/d/e.webp", "f.tif")]
    touch(tmp_path / "notes.txt")
    assert find_pictures(tmp_path) == wanted
    assert find_pictures(tmp_path / "a.PNG") == wanted[:1]


@pytest.mark.parametrize(("name", "message"), [("gone", "no such file or folder"), ("", "holds no pictures")])
def test_a_place_without_pictures_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_pictures(tmp_path / name)


def test_a_folders_name_is_its_pictures_label(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/2.png", "cat/1.png", ".cache/x.png"):
        touch(tmp_path / name)
    assert find_labelled(tmp_path) == [
        LabelledPicture(tmp_path / "cat/1.png", "cat"),
        LabelledPicture(tmp_path / "cat/2.png", "cat"),
        LabelledPicture(tmp_path / "dog/1.png", "dog"),
    ]


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        ([], None, "holds no folders; expected"),
        (["cat/1.png"], None, "one label only, 'cat'"),
        (["cat/1.png", "dog/notes.txt"], None, "label 'dog' is empty"),
        (["cat/1.png", "cow/1.png"], ["cat", "dog"], "holds the label 'cow', which the model does not know"),
    ],
    ids=["flat", "one", "empty", "stranger"],
)
def test_a_badly_laid_out_folder_is_an_error(
    tmp_path: Path, names: list[str], labels: list[str] | None, message: str
) -> None:
    for name in names:
        touch(tmp_path / name)
    with pytest.raises(DataError, match=message):
        find_labelled(tmp_path, labels)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_labelled(tmp_path / "gone")
