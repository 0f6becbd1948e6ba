"""What the data sets that come as arrays have in common."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import load_opencv, preprocess

from .._pictures import Pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["pictures_from_grey"]


def pictures_from_grey(
    grey: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    labels: Sequence[str],
    source: str,
    size_wh: tuple[int, int],
    resize: str,
) -> Pictures:
    """Turn grey pixels `(n, height, width)` into RGB pictures of one size.

    A picture's hash is that of its PNG file at the size it came in, so that it is known again when written to disk.
    """
    cv2 = load_opencv()
    rgb = np.repeat(grey[..., np.newaxis], 3, axis=3)
    hashes = tuple(hashlib.sha256(cv2.imencode(".png", picture)[1]).hexdigest() for picture in rgb)
    if size_wh != (grey.shape[2], grey.shape[1]):
        rgb = np.concatenate([preprocess(picture, size_wh, resize) for picture in rgb])
    names = tuple(f"{source}/{place:05d}" for place in range(len(rgb)))
    return Pictures(rgb, np.arange(len(rgb)), targets, tuple(labels), names, hashes, source)
