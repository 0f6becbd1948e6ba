"""The one way from a picture to the network's input, for training, calibration, benchmarks and the camera alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import MissingPackageError, PictureError, require_known
from ._metadata import COLOR_ORDERS, RESIZE_MODES

__all__ = ["load_opencv", "preprocess"]

#: What `pip install` needs to be told; the wheel without a window system.
OPENCV = "opencv-python-headless"

#: Letterbox bars. Mid-grey is near zero after every normalization in use, like the padding inside the network.
_BAR = 127

#: A side that is to shrink by more is halved first.
_SKIPS = 2.2


def load_opencv() -> Any:
    """Import cv2, or raise MissingPackageError with the command that installs it."""
    try:
        import cv2
    except ImportError as error:
        raise MissingPackageError(
            f"pictures and cameras need OpenCV ({error}); pip install {OPENCV}, "
            "or on Raspberry Pi OS: sudo apt install python3-opencv"
        ) from error
    return cv2


def preprocess(
    picture: npt.NDArray[np.uint8],
    size_wh: tuple[int, int],
    resize: str,
    *,
    picture_order: str = "rgb",
    network_order: str = "rgb",
) -> npt.NDArray[np.uint8]:
    """Resize a picture and order its channels for a network.

    Args:
        picture: uint8 pixels, shape `(height, width, 3)`.
        size_wh: the network's input width and height.
        resize: `stretch` ignores the aspect ratio, `crop` keeps the middle, `letterbox` adds grey bars.
        picture_order, network_order: `rgb` or `bgr`.

    Returns:
        uint8 pixels, shape `(1, height, width, 3)`, contiguous; never a view of `picture`.

    Raises:
        PictureError: `picture` is not uint8 with three channels, or is empty.
    """
    cv2 = load_opencv()
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise PictureError(f"a picture is uint8 (height, width, 3), got {picture.dtype} {picture.shape}")
    require_known("resize mode", resize, RESIZE_MODES)
    require_known("color order", picture_order, COLOR_ORDERS)
    require_known("color order", network_order, COLOR_ORDERS)
    if resize == "stretch":
        pixels = _resize(cv2, picture, size_wh)
    elif resize == "crop":
        pixels = _resize(cv2, _middle(picture, size_wh), size_wh)
    else:
        pixels = _letterbox(cv2, picture, size_wh)
    # After resizing there are fewer pixels whose channels must change places.
    if picture_order != network_order:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(pixels)[np.newaxis]


def _resize(cv2: Any, picture: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if (width, height) == size_wh:
        return picture.copy()  # not a view: the caller may keep the result and use the picture for something else
    # Sampling that skips pixels gives moiré, so shrinking averages first: by halves, where OpenCV is fast, until
    # INTER_LINEAR, which reads two pixels each way, skips hardly any. `benchmarks/resize.py` measures it.
    while width > _SKIPS * size_wh[0] or height > _SKIPS * size_wh[1]:
        # Both ways at once where there is enough: 2 x 2 pixels take less time than 2 x 1.
        shrinks = [had >= 2 * wanted for had, wanted in zip((width, height), size_wh)]
        # An odd side is made even first, else samples drift from averages to single pixels along it. Not by INTER_AREA,
        # which computes in floats there: the pixels on a board would not be those of training.
        even = [had + had % 2 if shrink else had for had, shrink in zip((width, height), shrinks)]
        if even != [width, height]:
            picture = cv2.resize(picture, even, interpolation=cv2.INTER_LINEAR)
        width, height = (side // 2 if shrink else side for side, shrink in zip(even, shrinks))
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture if (width, height) == size_wh else cv2.resize(picture, size_wh, interpolation=cv2.INTER_LINEAR)


def _middle(picture: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = min(width / size_wh[0], height / size_wh[1])
    crop_w = min(width, max(1, round(size_wh[0] * scale)))
    crop_h = min(height, max(1, round(size_wh[1] * scale)))
    left, top = (width - crop_w) // 2, (height - crop_h) // 2
    return picture[top : top + crop_h, left : left + crop_w]


def _letterbox(cv2: Any, picture: npt.NDArray[np.uint8], size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    left, top = (size_wh[0] - inner_wh[0]) // 2, (size_wh[1] - inner_wh[1]) // 2
    framed = np.full((size_wh[1], size_wh[0], 3), _BAR, np.uint8)
    framed[top : top + inner_wh[1], left : left + inner_wh[0]] = _resize(cv2, picture, inner_wh)
    return framed
