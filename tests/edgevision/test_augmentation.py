"""Random changes to training pictures: which ones, how far, and the same ones for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision import Augmentation
from edgevision_device import UsageError


@pytest.fixture
def pixels() -> np.ndarray:
    """Ten pictures, 28 wide and 20 high, dark but for a bright dot left of the middle."""
    pictures = np.full((10, 20, 28, 3), 10, np.uint8)
    pictures[:, 8:12, 6:10] = 250
    return pictures


def center(picture: np.ndarray) -> tuple[float, float]:
    """Return x and y of the bright dot's center, from the picture's middle."""
    weights = picture[..., 0].astype(float) - picture.min()
    rows, columns = np.indices(weights.shape)
    return float((columns * weights).sum() / weights.sum() - 13.5), float((rows * weights).sum() / weights.sum() - 9.5)


def apply(augmentation: Augmentation, pixels: np.ndarray, seed: int = 1) -> np.ndarray:
    return augmentation.apply(pixels, np.random.default_rng(seed))


def test_nothing_changes_by_default(pixels: np.ndarray) -> None:
    assert apply(Augmentation(), pixels) is pixels


def test_pictures_stay_pictures_and_the_originals_as_they_are(pixels: np.ndarray) -> None:
    before = pixels.copy()
    changed = apply(Augmentation(0.2, 20, 0.2, True), pixels)
    assert (changed.dtype, changed.shape) == (np.uint8, pixels.shape)
    assert np.array_equal(pixels, before)
    assert not np.array_equal(changed, pixels)
    assert len(np.unique(changed, axis=0)) == 10, "each picture is changed in its own way"


def test_a_seed_gives_the_same_changes(pixels: np.ndarray) -> None:
    everything = Augmentation(0.2, 20, 0.2, True)
    assert np.array_equal(apply(everything, pixels, 5), apply(everything, pixels, 5))
    assert not np.array_equal(apply(everything, pixels, 5), apply(everything, pixels, 6))


def test_shifts_stay_within_their_share_of_each_side(pixels: np.ndarray) -> None:
    moved = [center(picture) for picture in apply(Augmentation(shift=0.1), pixels.repeat(5, axis=0))]
    x, y = np.abs(np.array(moved) - center(pixels[0])).max(0)
    assert 1.4 < x <= 2.9
    assert 1.0 < y <= 2.1


def test_rotation_keeps_the_distance_from_the_middle(pixels: np.ndarray) -> None:
    turned = np.array([center(picture) for picture in apply(Augmentation(rotation_deg=30), pixels)])
    assert np.hypot(*turned.T) == pytest.approx(np.hypot(*center(pixels[0])), abs=0.5)
    angles = np.degrees(np.arctan2(turned[:, 1], -turned[:, 0]))
    assert 10 < np.abs(angles).max() <= 31
    assert angles.min() < 0 < angles.max()


def test_zoom_changes_the_distance_from_the_middle(pixels: np.ndarray) -> None:
    distances = np.array([-center(picture)[0] for picture in apply(Augmentation(zoom=0.3), pixels.repeat(3, axis=0))])
    ratio = distances / -center(pixels[0])[0]
    assert 0.65 < ratio.min() < 0.85
    assert 1.15 < ratio.max() < 1.35


def test_flips_mirror_about_half(pixels: np.ndarray) -> None:
    flipped = apply(Augmentation(flip=True), pixels.repeat(20, axis=0))
    mirrored = [np.array_equal(picture, pixels[0, :, ::-1]) for picture in flipped]
    same = [np.array_equal(picture, pixels[0]) for picture in flipped]
    assert sum(mirrored) + sum(same) == 200
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shift": -0.1}, "shift must lie between 0 and 1, got -0.1"),
        ({"shift": float("nan")}, "shift must lie between 0 and 1, got nan"),
        ({"rotation_deg": 181}, "rotation must lie between 0 and 180, got 181"),
        ({"zoom": 1.0}, "zoom must lie between 0 and 0.9, got 1.0"),
    ],
    ids=["negative", "NaN", "too far", "to a point"],
)
def test_impossible_changes_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Augmentation(**values)
    assert str(raised.value) == message
