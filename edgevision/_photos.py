"""Photographs that are at hand anywhere: random crops of the pictures inside scikit-image."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import MissingPackageError, decode_picture, preprocess

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["photo_crops"]

#: The cat, the coffee cup and the camera man are left out, so that they can be test pictures.
_FILES = (
    "astronaut.png",
    "brick.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


def photo_crops(count: int, size_wh: tuple[int, int], seed: int) -> npt.NDArray[np.uint8]:
    """Return crops of 0.4 to 1 of the shorter side, half of them mirrored, the same ones for the same seed.

    Returns:
        uint8 RGB pixels, `(count, height, width, 3)`.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    try:
        folder = resources.files("skimage") / "data"
        photos = [decode_picture((folder / name).read_bytes()) for name in _FILES]
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingPackageError(
            "without --calibrate DATA, files are calibrated and verified on the photographs inside scikit-image, "
            "which is not installed; pip install 'edgevision[pretrained]'"
        ) from error
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
