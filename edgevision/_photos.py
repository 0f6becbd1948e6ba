"""Photographs that are at hand anywhere: random crops of the pictures inside scikit-image."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import MissingPackageError, decode_picture, preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["CALIBRATION_PHOTOS", "VERIFICATION_PHOTOS", "photo_crops", "photo_digests"]

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


def photo_crops(names: Sequence[str], count: int, size_wh: tuple[int, int], seed: int) -> npt.NDArray[np.uint8]:
    """Return crops of 0.4 to 1 of the shorter side, half of them mirrored, the same ones for the same seed.

    Returns:
        uint8 RGB pixels, `(count, height, width, 3)`.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    photos = list(map(decode_picture, _read(names)))
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


def photo_digests(names: Sequence[str]) -> list[str]:
    """Return the SHA-256, in hex, of the photographs' files. Raises as `photo_crops`."""
    return [hashlib.sha256(content).hexdigest() for content in _read(names)]


def _read(names: Sequence[str]) -> list[bytes]:
    try:
        folder = resources.files("skimage") / "data"
        return [(folder / name).read_bytes() for name in names]
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingPackageError(
            "without --calibrate DATA, files are calibrated and verified on the photographs inside scikit-image, "
            "which is not installed; pip install 'edgevision[pretrained]'"
        ) from error
