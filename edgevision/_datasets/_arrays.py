"""What the data sets that come as arrays have in common."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import load_opencv

from .._cache import keep_record, resize_all
from .._pictures import Pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

__all__ = ["digest_pixels", "pictures_from_array"]

#: RGB pictures that are larger than this together lie in a file and are mapped from there.
_IN_MEMORY_BYTES = 256 << 20


def pictures_from_array(
    pixels: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    labels: Sequence[str],
    source: str,
    size_wh: tuple[int, int],
    resize: str,
    *,
    names: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pictures:
    """Turn uint8 pixels, grey `(n, height, width)` or RGB `(n, height, width, 3)`, into RGB pictures of one size.

    A picture's hash is that of its PNG file at the size it came in, so that it is known again when written to disk.
    """
    cv2 = load_opencv()
    # Slices of a memmap take 10 times as long as those of the same memory as a plain array.
    pixels = np.asarray(pixels)

    def rgb() -> Iterator[npt.NDArray[np.uint8]]:
        for picture in pixels:
            yield picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)

    def hash_files() -> Iterator[str]:
        for place, picture in enumerate(rgb()):
            # The order of the channels is that of `write_pictures`.
            encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
            on_progress(place + 1, len(pixels))
            yield hashlib.sha256(encoded).hexdigest()

    content = hashlib.sha256(str(pixels.shape).encode())
    content.update(pixels.reshape(-1).data)
    key = content.hexdigest()
    # Another version of OpenCV may compress otherwise. 70,000 pictures take 6 s.
    hashes = keep_record(["png", cv2.__version__, key], lambda: list(hash_files()))
    height, width = pixels.shape[1:3]
    if size_wh != (width, height) or (pixels.ndim == 3 and 3 * pixels.size > _IN_MEMORY_BYTES):
        # Enlarged, they can be larger than memory: 60,000 pictures of 224 x 224 are 9 GB.
        store = resize_all(rgb(), [source, key], len(pixels), size_wh, resize)
    elif pixels.ndim == 3:
        store = np.repeat(pixels[..., np.newaxis], 3, axis=3)
    else:
        store = pixels
    if names is None:
        names = [f"{source}/{place:05d}" for place in range(len(pixels))]
    return Pictures(store, np.arange(len(pixels)), targets, tuple(labels), tuple(names), tuple(hashes), source)


def digest_pixels(pixels: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the SHA-256 of each picture's pixels: splits go by it, because no version of an encoder changes it."""
    return tuple(hashlib.sha256(picture.tobytes()).hexdigest() for picture in np.asarray(pixels))
