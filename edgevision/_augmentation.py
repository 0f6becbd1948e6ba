"""Random changes to training pictures, one affine map each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import UsageError, load_opencv

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures may be moved. All zero leaves them as they are.

    Attributes:
        shift: up to this share of width and height.
        rotation_deg: up to this angle either way.
        zoom: scale between `1 - zoom` and `1 + zoom`.
        flip: mirror left and right, half of the time.
    """

    shift: float = 0.0
    rotation_deg: float = 0.0
    zoom: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        for name, value, high in (
            ("shift", self.shift, 1),
            ("rotation", self.rotation_deg, 180),
            ("zoom", self.zoom, 0.9),
        ):
            if not 0 <= value <= high:
                raise UsageError(f"{name} must lie between 0 and {high}, got {value}")

    def apply(self, pixels_nhwc: npt.NDArray[np.uint8], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Return changed copies of uint8 pixels `(n, height, width, 3)`; edges are repeated outwards."""
        if self == Augmentation():
            return pixels_nhwc
        cv2 = load_opencv()
        height, width = pixels_nhwc.shape[1:3]
        changed = np.empty_like(pixels_nhwc)
        for place, picture in enumerate(pixels_nhwc):
            angle = generator.uniform(-self.rotation_deg, self.rotation_deg)
            scale = generator.uniform(1 - self.zoom, 1 + self.zoom)
            moved = generator.uniform(-self.shift, self.shift, 2) * (width, height)
            matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
            matrix[:, 2] += moved
            warped = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
            changed[place] = warped[:, ::-1] if self.flip and generator.random() < 0.5 else warped
        return changed
