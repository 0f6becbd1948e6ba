"""Photographs that are at hand anywhere: random crops of the pictures inside scikit-image."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from edgevision_converters import Calibration
from edgevision_device import DataOrigin, MissingPackageError, decode_picture, hash_pictures, mark_pictures, preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["CALIBRATION_PHOTOS", "VERIFICATION_PHOTOS", "calibration_photos", "check_photos", "photo_crops"]

CALIBRATION_PHOTOS = (
    "astronaut.png",
    "brick.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
    "rocket.jpg",
)

#: Others, because agreement on what was calibrated on says little. The first is a cat.
VERIFICATION_PHOTOS = ("chelsea.png", "coffee.png", "camera.png", "gravel.png", "moon.png", "motorcycle_left.png")


def check_photos(instead: str) -> None:
    """Raise MissingPackageError, before anything slow, if the photographs are not there; see `photo_crops`."""
    _read(CALIBRATION_PHOTOS, instead)


def calibration_photos(count: int, size_wh: tuple[int, int], seed: int, instead: str) -> Calibration:
    """Return crops of the photographs that are for calibration; see `photo_crops`."""
    crops = photo_crops(CALIBRATION_PHOTOS, count, size_wh, seed, instead)
    digests = [("", hashlib.sha256(crop).hexdigest()) for crop in crops]
    files = [hashlib.sha256(content).hexdigest() for content in _read(CALIBRATION_PHOTOS, instead)]
    marks = mark_pictures(files, len(files))
    return Calibration(crops, DataOrigin("photos inside scikit-image", hash_pictures(digests), count, marks))


def photo_crops(
    names: Sequence[str], count: int, size_wh: tuple[int, int], seed: int, instead: str | None = None
) -> npt.NDArray[np.uint8]:
    """Return crops of 0.4 to 1 of the shorter side, half of them mirrored, the same ones for the same seed.

    Args:
        names: of the photographs.
        count: of the crops.
        size_wh: of the crops.
        seed: of the choice.
        instead: what a user can do who does not want to install scikit-image.

    Returns:
        uint8 RGB pixels, `(count, height, width, 3)`.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    photos = list(map(decode_picture, _read(names, instead)))
    generator = np.random.default_rng(seed)
    crops: list[npt.NDArray[np.uint8]] = []
    for place in range(count):
        photo = photos[place % len(photos)]
        side = int(min(photo.shape[:2]) * generator.uniform(0.4, 1))
        top, left = (int(generator.integers(0, length - side + 1)) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        if generator.random() < 0.5:
            crop = crop[:, ::-1]
        crops.append(preprocess(np.ascontiguousarray(crop), size_wh, "stretch"))
    return np.concatenate(crops)


def _read(names: Sequence[str], instead: str | None) -> list[bytes]:
    try:
        folder = resources.files("skimage") / "data"
        return [(folder / name).read_bytes() for name in names]
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingPackageError(
            "calibration takes the photographs inside scikit-image, which is not installed; "
            f"pip install 'edgevision[pretrained]'{f', or {instead}' if instead else ''}"
        ) from error
