"""Finding pictures on disk and decoding them to 8-bit RGB, whatever is inside."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import numpy.typing as npt

from ._encoded import inspect, is_tiff, turn_upright
from ._errors import DataError, PictureError
from ._preprocess import load_opencv

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "LabelledPicture",
    "decode_picture",
    "find_labelled",
    "find_pictures",
    "hash_pictures",
    "read_picture",
]

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class LabelledPicture:
    """A picture file and the label that its folder's name gives it."""

    path: Path
    label: str


def read_picture(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Decode a picture file; see `decode_picture`. Raises PictureError that names the file."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise PictureError(f"cannot read the picture {path}: {error.strerror}") from error
    try:
        return decode_picture(content)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from None


def decode_picture(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode the bytes of a picture to RGB.

    Grey becomes three equal channels, 16 bits become 8, CMYK becomes RGB, transparency is laid over white, and the
    EXIF orientation is applied.

    Returns:
        uint8 pixels, shape `(height, width, 3)`.
    """
    cv2 = load_opencv()
    orientation = inspect(content)
    encoded = np.frombuffer(content, np.uint8)
    in_color = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    # OpenCV reports what it cannot decode by None, and some corrupt headers by an exception.
    try:
        # JPEG knows no transparency, and "unchanged" CMYK comes out as if it were RGB plus alpha in some versions.
        is_jpeg = content[:2] == b"\xff\xd8"
        decoded = cv2.imdecode(encoded, in_color if is_jpeg else cv2.IMREAD_UNCHANGED) if content else None
        transparent = decoded is not None and decoded.ndim == 3 and decoded.shape[2] == 4
        if decoded is not None and decoded.dtype != np.uint8 and not transparent:
            decoded = cv2.imdecode(encoded, in_color)
    except cv2.error as error:
        raise PictureError(f"not a picture that can be decoded ({error.err})") from error
    if decoded is None:
        raise PictureError(f"not a picture that can be decoded ({len(content)} bytes)")
    if transparent:
        # libtiff multiplies 8-bit colors by their alpha itself.
        decoded = _over_white(decoded, multiplied=is_tiff(content) and decoded.dtype == np.uint8)
    rgb = cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB if decoded.ndim == 2 else cv2.COLOR_BGR2RGB)
    return rgb if orientation == 1 else turn_upright(rgb, orientation)


def _over_white(bgra: npt.NDArray[Any], *, multiplied: bool) -> npt.NDArray[np.uint8]:
    full = float(np.iinfo(bgra.dtype).max)
    alpha = bgra[..., 3:].astype(np.float32) / full
    color = bgra[..., :3].astype(np.float32) * (255 / full)
    if not multiplied:
        color *= alpha
    return np.rint(np.minimum(color + 255 * (1 - alpha), 255)).astype(np.uint8)


def find_pictures(path: str | os.PathLike[str]) -> list[Path]:
    """Return `path` itself if it is a file, or all picture files below it, sorted by name.

    Raises DataError if there is no such path or no picture below it.
    """
    from pathlib import Path  # takes longer than the rest of this module, and one picture needs none of it

    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"no such file or folder: {path}")
    found = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in PICTURE_SUFFIXES and entry.is_file())
    if not found:
        raise DataError(f"{path} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
    return found


def find_labelled(folder: str | os.PathLike[str], labels: Optional[Sequence[str]] = None) -> list[LabelledPicture]:
    """Return the pictures of `folder/<label>/`, sorted by label and name.

    Args:
        folder: holds one folder of pictures per label.
        labels: if given, every label of the folder must be one of these.

    Raises:
        DataError: no such folder, fewer than two labels, a label without pictures, or a label that `labels` lacks.
    """
    from pathlib import Path

    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}; expected {folder}/<label>/<picture>")
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"{folder} holds no folders; expected {folder}/<label>/<picture>, one folder per label")
    if len(classes) == 1 and labels is None:
        raise DataError(f"{folder} holds one label only, {classes[0].name!r}; a classifier needs at least two")
    if labels is not None:
        strangers = [entry.name for entry in classes if entry.name not in labels]
        if strangers:
            raise DataError(
                f"{folder} holds the label {strangers[0]!r}, which the model does not know; "
                f"it knows {len(labels)}: {', '.join(labels[:8])}{', …' if len(labels) > 8 else ''}"
            )
    found: list[LabelledPicture] = []
    for entry in classes:
        try:
            found += [LabelledPicture(path, entry.name) for path in find_pictures(entry)]
        except DataError:
            raise DataError(f"label {entry.name!r} is empty: no pictures in {entry}; add some or remove it") from None
    return found


def hash_pictures(pairs: Iterable[tuple[str, str]]) -> str:
    r"""Identify a set of labelled pictures by what is in it, whatever the order and the names of the files.

    Args:
        pairs: label and SHA-256, in hex, of the content of each picture file.

    Returns:
        SHA-256, in hex, of the sorted lines `label TAB sha256 NEWLINE`.

    >>> hash_pictures([("dog", hashlib.sha256(b"...").hexdigest()), ("cat", hashlib.sha256(b"...").hexdigest())])
    '09aa3bb23f22e18228047db8b1151bdd6314a08d17e1eba5341d18f8bbf08966'
    """
    lines = sorted(f"{label}\t{digest}\n" for label, digest in pairs)
    # A folder's name may hold bytes that are no UTF-8; Python keeps them as surrogates.
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
