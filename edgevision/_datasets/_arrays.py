"""What the data sets that come as arrays have in common."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import load_opencv

from .._cache import resize_all
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
    store = rgb = np.repeat(grey[..., np.newaxis], 3, axis=3)
    hashes = tuple(hashlib.sha256(cv2.imencode(".png", picture)[1]).hexdigest() for picture in rgb)
    if size_wh != (grey.shape[2], grey.shape[1]):
        # Enlarged, they can be larger than memory: 60,000 pictures of 224 x 224 are 9 GB.
        store = resize_all(rgb, [source, hashlib.sha256(grey.tobytes()).hexdigest()], len(rgb), size_wh, resize)
    names = tuple(f"{source}/{place:05d}" for place in range(len(rgb)))
    return Pictures(store, np.arange(len(rgb)), targets, tuple(labels), names, hashes, source)
