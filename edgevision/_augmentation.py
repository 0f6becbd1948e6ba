"""Random changes to training pictures: one affine map, one change of brightness and one erased rectangle each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import UsageError, load_opencv, require_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["CHANGES", "FILLS", "Augmentation"]

#: What stands outside a picture that was moved, and OpenCV's name for it.
FILLS = {"edge": "BORDER_REPLICATE", "constant": "BORDER_CONSTANT", "reflect": "BORDER_REFLECT", "wrap": "BORDER_WRAP"}

#: The columns of `Augmentation.draw`, and what leaves a picture as it is. Shifts, brightness and the erased area are
#: shares; an erased rectangle has a height over width (`erase_aspect`) and a place within what room it leaves (0 to 1).
CHANGES = {
    "flip": 0.0,
    "shift_x": 0.0,
    "shift_y": 0.0,
    "rotation_deg": 0.0,
    "shear_deg": 0.0,
    "scale": 1.0,
    "brightness": 0.0,
    "contrast": 1.0,
    "erase_area": 0.0,
    "erase_aspect": 1.0,
    "erase_x": 0.0,
    "erase_y": 0.0,
}
_UNCHANGED = np.array(list(CHANGES.values()))
_AT = {name: place for place, name in enumerate(CHANGES)}
#: Random numbers per picture: one per column, and one for whether it is erased.
_CHANCES = len(CHANGES) + 1

# Zhong et al. 2017, https://arxiv.org/abs/1708.04896, section 4: areas, aspect ratios.
_ERASED_AREA = (0.02, 0.4)
_ERASED_ASPECT = 0.3
_ERASED_GREY = 127


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures may be changed. All zero leaves them as they are.

    Attributes:
        shift: up to this share of width and height, either way.
        rotation_deg: up to this angle either way.
        zoom: scale between `1 - zoom` and `1 + zoom`.
        flip: mirror left and right, half of the time.
        shift_width, shift_height: of one side only; None stands for `shift`.
        shear_deg: slant by up to this angle either way: a row moves sideways by the angle's tangent times its distance
            from the middle row.
        fill: what comes in from outside: `edge` (the outermost pixels again), `constant`, `reflect` (the picture
            mirrored at its edge) or `wrap` (its other side).
        fill_value: grey of a `constant` fill, 0 to 255.
        brightness: up to this share of white is added or taken away.
        contrast: distances from the picture's mean times `1 - contrast` to `1 + contrast`.
        erase: share of pictures that lose a rectangle of 2 to 40 % of their area to grey (Random Erasing, Zhong et al.
            2017, with grey for noise; a rectangle that is longer than the picture is cut off).
    """

    shift: float = 0.0
    rotation_deg: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    shift_width: float | None = None
    shift_height: float | None = None
    shear_deg: float = 0.0
    fill: str = "edge"
    fill_value: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name, value, high in (
            ("shift", self.shift, 1),
            ("rotation", self.rotation_deg, 180),
            ("zoom", self.zoom, 0.9),
            ("shift of width", self.shift_width, 1),
            ("shift of height", self.shift_height, 1),
            ("shear", self.shear_deg, 60),
            ("fill value", self.fill_value, 255),
            ("brightness", self.brightness, 1),
            ("contrast", self.contrast, 1),
            ("erase", self.erase, 1),
        ):
            if value is not None and not 0 <= value <= high:
                raise UsageError(f"{name} must lie between 0 and {high}, got {value}")
        require_known("fill", self.fill, FILLS)
        if self.fill_value and self.fill != "constant":
            raise UsageError(f"a fill value is for the fill constant, got {self.fill_value} with {self.fill}")

    @property
    def shift_xy(self) -> tuple[float, float]:
        """Largest shift as a share of the width, and of the height."""
        width, height = self.shift_width, self.shift_height
        return self.shift if width is None else width, self.shift if height is None else height

    @property
    def changes_nothing(self) -> bool:
        """Whether every picture stays as it is."""
        extents = (*self.shift_xy, self.rotation_deg, self.zoom, self.shear_deg)
        return not any((*extents, self.flip, self.brightness, self.contrast, self.erase))

    def draw(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
        """Draw one picture's changes per row, float64 `(count, len(CHANGES))`.

        What is drawn for one kind of change depends on no other: with more zoom, pictures turn by the same angles. The
        first rows of many are those of few.
        """
        return self._from_chance(generator.random((count, _CHANCES)))

    def draw_for(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Draw as `draw` does, one row per name: a name stands for the same changes always, whatever the others are."""
        drawn = b"".join(
            hashlib.shake_256(name.encode(errors="surrogateescape")).digest(8 * _CHANCES) for name in names
        )
        # The upper 53 bits, as a generator makes its random numbers.
        chance = (np.frombuffer(drawn, "<u8") >> np.uint64(11)).astype(np.float64) / 2**53
        return self._from_chance(chance.reshape(len(names), _CHANCES))

    def _from_chance(self, chance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Turn even chances in [0, 1), `(count, _CHANCES)`, into draws."""
        drawn = np.tile(_UNCHANGED, (len(chance), 1))
        shift_x, shift_y = self.shift_xy
        for name, extent in (
            ("shift_x", shift_x),
            ("shift_y", shift_y),
            ("rotation_deg", self.rotation_deg),
            ("shear_deg", self.shear_deg),
            ("scale", self.zoom),
            ("brightness", self.brightness),
            ("contrast", self.contrast),
        ):
            drawn[:, _AT[name]] += extent * (2 * chance[:, _AT[name]] - 1)
        if self.flip:
            drawn[:, _AT["flip"]] = chance[:, _AT["flip"]] < 0.5
        low, high = _ERASED_AREA
        area = low + (high - low) * chance[:, _AT["erase_area"]]
        drawn[:, _AT["erase_area"]] = np.where(chance[:, -1] < self.erase, area, 0)
        drawn[:, _AT["erase_aspect"]] = _ERASED_ASPECT ** (2 * chance[:, _AT["erase_aspect"]] - 1)
        drawn[:, [_AT["erase_x"], _AT["erase_y"]]] = chance[:, [_AT["erase_x"], _AT["erase_y"]]]
        return drawn

    def apply(
        self, pixels_nhwc: npt.NDArray[np.uint8], draws: npt.NDArray[np.float64] | np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Change uint8 pixels `(n, height, width, 3)`, each picture by its own row of draws and nothing else.

        Zoom, rotation and shear keep the middle of the picture in place; then it is shifted, then mirrored. Positive
        angles turn it counter-clockwise. Brightness, then contrast, then erasing follow.

        Args:
            pixels_nhwc: the pictures; they stay as they are.
            draws: from `draw`, or what to draw them from.

        Returns:
            A new array, or `pixels_nhwc` itself if nothing changes.

        Raises:
            UsageError: not one row of draws per picture.
        """
        count, height, width = pixels_nhwc.shape[:3]
        if isinstance(draws, np.random.Generator):
            draws = self.draw(count, draws)
        if draws.shape != (count, len(CHANGES)):
            raise UsageError(f"{count} pictures need draws of the shape {(count, len(CHANGES))}, got {draws.shape}")
        off = draws != _UNCHANGED
        moved = off[:, _AT["shift_x"] : _AT["scale"] + 1].any(1)
        lit = off[:, _AT["brightness"] : _AT["contrast"] + 1].any(1)
        erased = off[:, _AT["erase_area"]]
        flipped = off[:, _AT["flip"]] & ~moved
        if not (moved | lit | erased | flipped).any():
            return pixels_nhwc
        changed = pixels_nhwc.copy()
        changed[flipped] = changed[flipped, :, ::-1]
        cv2 = load_opencv()
        border, fill = getattr(cv2, FILLS[self.fill]), (self.fill_value,) * 3
        matrices = _matrices(draws[moved], width, height) if moved.any() else ()
        for place, matrix in zip(np.flatnonzero(moved), matrices, strict=True):
            into = changed[place]
            cv2.warpAffine(pixels_nhwc[place], matrix, (width, height), dst=into, borderMode=border, borderValue=fill)
        tones = _tones(draws[lit], changed[lit]) if lit.any() else ()
        for place, table in zip(np.flatnonzero(lit), tones, strict=True):
            cv2.LUT(changed[place], table, dst=changed[place])
        for place in np.flatnonzero(erased):
            rows, columns = _rectangle(draws[place], width, height)
            changed[place, rows, columns] = _ERASED_GREY
        return changed


def _matrices(draws: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.float64]:
    """Return each picture's map from old to new x and y, `(n, 2, 3)`."""
    # Contiguous columns: numpy may take another road, and round otherwise, for others.
    column = dict(zip(CHANGES, np.ascontiguousarray(draws.T), strict=True))
    angle, slant = np.radians(column["rotation_deg"]), np.tan(np.radians(column["shear_deg"]))
    sine, cosine = column["scale"] * np.sin(angle), column["scale"] * np.cos(angle)
    mirror = np.where(column["flip"] != 0, -1.0, 1.0)
    x, y = (width - 1) / 2, (height - 1) / 2
    # Mirror and rotation times [[1, slant], [0, 1]]; y points down.
    a, b = mirror * cosine, mirror * (cosine * slant + sine)
    c, d = -sine, cosine - sine * slant
    to_x = x + mirror * column["shift_x"] * width - a * x - b * y
    to_y = y + column["shift_y"] * height - c * x - d * y
    return np.stack([a, b, to_x, c, d, to_y], axis=1).reshape(-1, 2, 3)


def _tones(draws: npt.NDArray[np.float64], pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return what each value 0..255 becomes in each picture, `(n, 256)`."""
    # Contrast is about the mean that brightness has moved, so that the two do not depend on each other.
    means = pixels.mean(axis=(1, 2, 3))[:, np.newaxis]
    light, contrast = (draws[:, _AT[name], np.newaxis] for name in ("brightness", "contrast"))
    tones = (np.arange(256) - means) * contrast + means + 255 * light
    return tones.round().clip(0, 255).astype(np.uint8)


def _rectangle(draw: npt.NDArray[np.float64], width: int, height: int) -> tuple[slice, slice]:
    """Return the rows and columns that are erased; at least one pixel."""
    area = draw[_AT["erase_area"]] * width * height
    aspect = draw[_AT["erase_aspect"]]
    tall = min(height, max(1, round((area * aspect) ** 0.5)))
    wide = min(width, max(1, round((area / aspect) ** 0.5)))
    top = int(draw[_AT["erase_y"]] * (height - tall + 1))
    left = int(draw[_AT["erase_x"]] * (width - wide + 1))
    return slice(top, top + tall), slice(left, left + wide)
