"""Random changes to training pictures: which ones, how far, and the same ones for the same seed."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision import Augmentation
from edgevision._augmentation import CHANGES, FILLS
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


def one(**changes: float) -> np.ndarray:
    """Draws for one picture."""
    assert set(changes) <= set(CHANGES)
    return np.array([[changes.get(name, still) for name, still in CHANGES.items()]])


def noise(count: int = 1, height: int = 20, width: int = 28) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize(("columns", "rows"), [(3, 0), (0, -2), (-4, 5)])
def test_a_shift_moves_each_pixel_by_its_share_of_the_side(flip: int, columns: int, rows: int) -> None:
    pixels = noise()
    moved = Augmentation().apply(pixels, one(shift_x=columns / 28, shift_y=rows / 20, flip=flip))
    y, x = np.clip(np.arange(20) - rows, 0, 19), np.clip(np.arange(28) - columns, 0, 27)
    expected = pixels[0][y[:, None], x]
    # Shifted, then mirrored.
    assert np.array_equal(moved[0], expected[:, ::-1] if flip else expected)


@pytest.mark.parametrize(
    ("fill", "mode"), [("edge", "edge"), ("reflect", "symmetric"), ("wrap", "wrap"), ("constant", "constant")]
)
def test_fills_are_what_numpy_pads_with(fill: str, mode: str) -> None:
    pixels = noise(height=9, width=14)
    value = {"constant_values": 77} if fill == "constant" else {}
    moved = Augmentation(fill=fill, fill_value=77 if value else 0).apply(pixels, one(shift_x=5 / 14, shift_y=-3 / 9))
    padded = np.pad(pixels[0], ((0, 3), (5, 0), (0, 0)), mode, **value)
    assert np.array_equal(moved[0], padded[3:, :14])


def test_shear_moves_rows_by_the_tangent_of_the_angle() -> None:
    # An odd number of rows: the middle one stays.
    pixels = noise(height=21)
    slanted = Augmentation(fill="wrap").apply(pixels, one(shear_deg=45))[0]
    for row in range(21):
        assert np.array_equal(slanted[row], np.roll(pixels[0, row], row - 10, axis=0))


def test_a_positive_rotation_is_counter_clockwise() -> None:
    pixels = noise(height=20, width=20)
    turned = Augmentation().apply(pixels, one(rotation_deg=90))
    assert np.array_equal(turned[0], np.rot90(pixels[0]))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.floats(-90, 90),
    st.floats(-40, 40),
    st.floats(0.6, 1.6),
    st.floats(-0.2, 0.2),
    st.floats(-0.2, 0.2),
    st.booleans(),
)
def test_changes_follow_one_another(
    angle: float, slant: float, scale: float, shift_x: float, shift_y: float, flip: bool
) -> None:
    picture = cv2.GaussianBlur(noise(height=40, width=60)[0], (0, 0), 3)
    draws = one(rotation_deg=angle, shear_deg=slant, scale=scale, shift_x=shift_x, shift_y=shift_y, flip=flip)
    changed = Augmentation().apply(picture[np.newaxis], draws)[0]
    # The same change as a product of matrices, made by OpenCV from corners.
    x, y = 29.5, 19.5
    steps = [
        np.array([[1, math.tan(math.radians(slant)), -math.tan(math.radians(slant)) * y], [0, 1, 0], [0, 0, 1]]),
        np.vstack([cv2.getRotationMatrix2D((x, y), angle, scale), [0, 0, 1]]),
        np.array([[1, 0, shift_x * 60], [0, 1, shift_y * 40], [0, 0, 1]]),
        np.array([[-1, 0, 59], [0, 1, 0], [0, 0, 1]]) if flip else np.eye(3),
    ]
    matrix = steps[3] @ steps[2] @ steps[1] @ steps[0]
    expected = cv2.warpAffine(picture, matrix[:2], (60, 40), borderMode=cv2.BORDER_REPLICATE)
    if (draws[0, 1:6] == list(CHANGES.values())[1:6]).all():
        assert np.array_equal(changed, picture[:, ::-1] if flip else picture)
    else:
        assert np.abs(changed.astype(int) - expected).max() <= 2


def test_brightness_adds_a_share_of_white() -> None:
    pixels = noise()
    lit = Augmentation().apply(pixels, one(brightness=-0.2))
    assert np.array_equal(lit, (pixels.astype(int) - 51).clip(0))


def test_contrast_keeps_the_mean() -> None:
    pixels = noise() // 2 + 60
    flat = Augmentation().apply(pixels, one(contrast=0.25))
    assert flat.mean() == pytest.approx(pixels.mean(), abs=0.5)
    assert flat.std() == pytest.approx(pixels.std() / 4, rel=0.02)


def test_an_erased_rectangle_lies_where_it_is_drawn() -> None:
    pixels = noise() | 128  # nothing is 127
    erased = Augmentation().apply(pixels, one(erase_area=72 / 560, erase_aspect=0.5, erase_x=0.999, erase_y=0))[0]
    rows, columns = np.nonzero((erased == 127).all(2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 5, 16, 27)
    assert len(rows) == 72
    untouched = (erased != 127).all(2)
    assert np.array_equal(erased[untouched], pixels[0][untouched])


def test_erasing_takes_a_share_of_pictures_and_of_their_area() -> None:
    pixels = np.zeros((400, 40, 50, 3), np.uint8)
    shares = (apply(Augmentation(erase=0.3), pixels) == 127).all(3).mean((1, 2))
    assert 90 < np.count_nonzero(shares) < 150
    present = shares[shares > 0]
    assert present.min() >= 0.015
    assert 0.15 < present.mean() < 0.25
    assert 0.3 < present.max() <= 0.41


EVERYTHING = Augmentation(0.2, 20, 0.2, True, shear_deg=10, brightness=0.2, contrast=0.3, erase=0.5)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.lists(st.integers(0, 36), min_size=1, max_size=40), st.sampled_from(sorted(FILLS)), st.integers(0, 2**32))
def test_a_picture_is_changed_alike_in_any_company(places: list[int], fill: str, seed: int) -> None:
    augmentation = Augmentation(**{**vars(EVERYTHING), "fill": fill})
    pixels = noise(37, 18, 24)
    draws = augmentation.draw(37, np.random.default_rng(seed))
    whole = augmentation.apply(pixels, draws)
    assert np.array_equal(augmentation.apply(pixels[places], draws[places]), whole[places])


def test_what_is_drawn_for_one_change_depends_on_no_other() -> None:
    every = EVERYTHING.draw(50, np.random.default_rng(3))
    for alone, columns in (
        (Augmentation(rotation_deg=20), ["rotation_deg"]),
        (Augmentation(flip=True), ["flip"]),
        (Augmentation(shift=0.2), ["shift_x", "shift_y"]),
        (Augmentation(erase=0.5), ["erase_area"]),
    ):
        drawn = alone.draw(50, np.random.default_rng(3))
        for place, (name, still) in enumerate(CHANGES.items()):
            if name in columns:
                assert np.array_equal(drawn[:, place], every[:, place])
                assert len(np.unique(drawn[:, place])) > 1
            elif not name.startswith("erase"):
                assert (drawn[:, place] == still).all()
    assert np.array_equal(EVERYTHING.draw(9, np.random.default_rng(3)), every[:9])


def test_a_name_stands_for_the_same_changes() -> None:
    names = [f"{place} \udcff" for place in range(50)]
    drawn = EVERYTHING.draw_for(names)
    assert drawn.shape == (50, len(CHANGES))
    assert len(np.unique(drawn[:, 1])) == 50
    assert np.array_equal(EVERYTHING.draw_for(names[::-1])[::-1], drawn)
    assert np.array_equal(EVERYTHING.draw_for(names[7:8]), drawn[7:8])
    assert EVERYTHING.draw_for([]).shape == (0, len(CHANGES))


@pytest.mark.parametrize("by_name", [False, True])
def test_what_is_drawn_lies_within_its_extent(by_name: bool) -> None:
    augmentation = Augmentation(0.1, 20, 0.3, shift_height=0.4, shear_deg=5, brightness=0.2, contrast=0.6, erase=0.5)
    names = [str(place) for place in range(4000)]
    draws = augmentation.draw_for(names) if by_name else augmentation.draw(4000, np.random.default_rng(0))
    drawn = dict(zip(CHANGES, draws.T, strict=True))
    for name, low, high in (
        ("shift_x", -0.1, 0.1),
        ("shift_y", -0.4, 0.4),
        ("rotation_deg", -20, 20),
        ("shear_deg", -5, 5),
        ("scale", 0.7, 1.3),
        ("brightness", -0.2, 0.2),
        ("contrast", 0.4, 1.6),
        ("erase_aspect", 0.3, 1 / 0.3),
    ):
        assert low <= drawn[name].min() < low + 0.01 * (high - low), name
        assert high - 0.01 * (high - low) < drawn[name].max() <= high, name
    assert np.mean(drawn["erase_area"] > 0) == pytest.approx(0.5, abs=0.03)
    assert not drawn["flip"].any()


def test_no_change_is_the_same_array_and_a_flip_is_exact(pixels: np.ndarray) -> None:
    everything = EVERYTHING
    assert everything.apply(pixels, np.repeat(one(), 10, 0)) is pixels
    draws = np.repeat(one(), 10, 0)
    draws[3] = one(flip=1)
    changed = everything.apply(pixels, draws)
    assert np.array_equal(changed[3], pixels[3, :, ::-1])
    assert np.array_equal(np.delete(changed, 3, 0), np.delete(pixels, 3, 0))
    assert changed is not pixels


def test_each_side_can_have_its_own_shift() -> None:
    assert Augmentation(shift=0.1).shift_xy == (0.1, 0.1)
    assert Augmentation(shift=0.1, shift_width=0.0).shift_xy == (0.0, 0.1)
    assert Augmentation(shift_height=0.3).shift_xy == (0.0, 0.3)
    assert Augmentation(shift=0.1, shift_width=0.0, shift_height=0.0).changes_nothing
    assert Augmentation(fill="wrap").changes_nothing
    assert not Augmentation(shift_height=0.3).changes_nothing


def test_draws_must_belong_to_the_pictures(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"10 pictures need draws of the shape \(10, 12\), got \(1, 12\)"):
        EVERYTHING.apply(pixels, one())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shift": -0.1}, "shift must lie between 0 and 1, got -0.1"),
        ({"shift": float("nan")}, "shift must lie between 0 and 1, got nan"),
        ({"shift_width": 1.5}, "shift of width must lie between 0 and 1, got 1.5"),
        ({"shift_height": -1.0}, "shift of height must lie between 0 and 1, got -1.0"),
        ({"rotation_deg": 181}, "rotation must lie between 0 and 180, got 181"),
        ({"zoom": 1.0}, "zoom must lie between 0 and 0.9, got 1.0"),
        ({"shear_deg": 90}, "shear must lie between 0 and 60, got 90"),
        ({"erase": 2}, "erase must lie between 0 and 1, got 2"),
        ({"brightness": -1}, "brightness must lie between 0 and 1, got -1"),
        ({"fill": "mirror"}, "unknown fill 'mirror'; known: edge, constant, reflect, wrap"),
        ({"fill": "constant", "fill_value": 256}, "fill value must lie between 0 and 255, got 256"),
        ({"fill_value": 9}, "a fill value is for the fill constant, got 9 with edge"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split(" got")[0].replace(" ", "-"),
)
def test_impossible_changes_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Augmentation(**values)
    assert str(raised.value) == message
