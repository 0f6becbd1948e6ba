"""Geometry and channel order of the one preprocessing."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision_device import RESIZE_MODES, PictureError, UsageError, preprocess

pytestmark = pytest.mark.usefixtures("cv2")

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
GOLDEN = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
BAR = (127, 127, 127)


def quarters(width: int, height: int) -> np.ndarray:
    """Red and green above, blue and white below."""
    return GOLDEN.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


@pytest.mark.parametrize("resize", RESIZE_MODES)
def test_pixels_of_the_right_size_pass_unchanged(resize: str) -> None:
    assert np.array_equal(preprocess(GOLDEN, (2, 2), resize), GOLDEN[np.newaxis])


@pytest.mark.parametrize(("picture_order", "network_order"), [("bgr", "rgb"), ("rgb", "bgr")])
def test_channels_change_places_where_the_orders_differ(picture_order: str, network_order: str) -> None:
    pixels = preprocess(GOLDEN, (2, 2), "stretch", picture_order=picture_order, network_order=network_order)
    assert pixels.tolist() == [[[list(BLUE), list(GREEN)], [list(RED), list(WHITE)]]]


def test_equal_orders_change_nothing() -> None:
    pixels = preprocess(GOLDEN, (2, 2), "stretch", picture_order="bgr", network_order="bgr")
    assert np.array_equal(pixels[0], GOLDEN)


def test_width_and_height_are_not_confused() -> None:
    pixels = preprocess(quarters(8, 6), (12, 4), "stretch")
    assert pixels.shape == (1, 4, 12, 3)
    assert pixels[0, 0, 11].tolist() == list(GREEN)
    assert pixels[0, 3, 0].tolist() == list(BLUE)


@pytest.mark.parametrize(("side", "wanted"), [(640, 160), (641, 160), (999, 224), (301, 96), (480, 160), (1001, 96)])
def test_fine_stripes_become_grey(side: int, wanted: int) -> None:
    stripes = np.zeros((wanted, side, 3), np.uint8)
    stripes[:, ::2] = 255
    for picture in (stripes, stripes.transpose(1, 0, 2)):
        pixels = preprocess(picture, (wanted, wanted), "stretch")
        assert np.all(abs(pixels.astype(int) - 127.5) <= 1)


def test_shrinking_averages_every_pixel() -> None:
    checkered = np.indices((64, 96)).sum(axis=0) % 2 * np.uint8(255)
    pixels = preprocess(np.repeat(checkered[..., np.newaxis].astype(np.uint8), 3, axis=2), (12, 8), "stretch")
    assert np.all(abs(pixels.astype(int) - 127.5) <= 0.5)


@pytest.mark.parametrize("picture_wh", [(640, 480), (1279, 717), (451, 300), (97, 1001), (1600, 230)])
@pytest.mark.parametrize("size_wh", [(28, 28), (96, 60)])
def test_shrinking_is_close_to_the_average_over_areas(
    cv2: Any, picture_wh: tuple[int, int], size_wh: tuple[int, int]
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), np.uint8)
    picture = cv2.resize(noise, picture_wh, interpolation=cv2.INTER_CUBIC)
    averaged = cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA).astype(int)
    apart = abs(preprocess(picture, size_wh, "stretch")[0] - averaged)
    skipping = abs(cv2.resize(picture, size_wh, interpolation=cv2.INTER_LINEAR) - averaged)
    assert apart.mean() < 0.75 * skipping.mean()


@pytest.mark.parametrize(
    ("width", "height", "kept"),
    [(12, 4, np.s_[:, 4:8]), (4, 12, np.s_[4:8, :]), (5, 4, np.s_[:, 0:4])],
    ids=["wide", "tall", "odd"],
)
def test_crop_keeps_the_middle(width: int, height: int, kept: Any) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    assert np.array_equal(preprocess(picture, (4, 4), "crop")[0], picture[kept])


def test_letterbox_adds_bars_above_and_below_a_wide_picture() -> None:
    pixels = preprocess(quarters(8, 4), (8, 8), "letterbox")[0]
    assert np.array_equal(pixels[2:6], quarters(8, 4))
    assert np.all(pixels[[0, 1, 6, 7]] == BAR)


def test_letterbox_adds_bars_beside_a_tall_picture() -> None:
    pixels = preprocess(quarters(4, 8), (9, 8), "letterbox")[0]
    assert np.array_equal(pixels[:, 2:6], quarters(4, 8))
    assert np.all(pixels[:, [0, 1, 6, 7, 8]] == BAR)


def test_a_crop_and_a_letterbox_of_the_right_shape_are_a_stretch() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    stretched, cropped, boxed = (preprocess(picture, (16, 12), mode) for mode in RESIZE_MODES)
    assert np.array_equal(stretched, cropped)
    assert np.array_equal(stretched, boxed)


sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(picture_wh=sizes, size_wh=sizes, resize=st.sampled_from(RESIZE_MODES), value=st.integers(0, 255))
def test_any_size_becomes_the_networks(
    picture_wh: tuple[int, int], size_wh: tuple[int, int], resize: str, value: int
) -> None:
    picture = np.full((picture_wh[1], picture_wh[0], 3), value, np.uint8)
    pixels = preprocess(picture, size_wh, resize)
    assert pixels.shape == (1, size_wh[1], size_wh[0], 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    # A picture of one color stays that color; only a letterbox may add another.
    colors = {int(color) for color in np.unique(pixels)}
    assert value in colors
    assert colors <= ({value, 127} if resize == "letterbox" else {value})


def test_a_view_with_strides_is_taken() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (8, 24, 3), np.uint8)
    for view in (picture[:, ::2], picture[::-1], picture[..., ::-1]):
        copied = preprocess(view.copy(), (6, 4), "stretch", picture_order="bgr")
        assert np.array_equal(preprocess(view, (6, 4), "stretch", picture_order="bgr"), copied)


def test_the_picture_is_not_changed() -> None:
    picture = quarters(8, 8)
    for mode in RESIZE_MODES:
        preprocess(picture, (8, 8), mode, network_order="bgr")
    assert np.array_equal(picture, quarters(8, 8))


@pytest.mark.parametrize("resize", RESIZE_MODES)
def test_the_result_is_no_view_of_the_picture(resize: str) -> None:
    for picture in (quarters(8, 8), quarters(8, 12), quarters(12, 8)):
        assert not np.shares_memory(preprocess(picture, (8, 8), resize), picture)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty", "batch"],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(PictureError, match=r"a picture is uint8 \(height, width, 3\), got"):
        preprocess(picture, (2, 2), "stretch")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": "strech"}, "did you mean 'stretch'"),
        ({"picture_order": "RGB"}, "unknown color order 'RGB'"),
        ({"network_order": "gbr"}, "unknown color order 'gbr'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_closest(change: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        preprocess(GOLDEN, (2, 2), **{"resize": "stretch", **change})


def test_opencv_missing_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    from edgevision_device import MissingPackageError, load_opencv

    with pytest.raises(MissingPackageError, match=r"pip install opencv-python-headless, .*python3-opencv"):
        load_opencv()


# By 3: halved to 18 pixels, the bar ends at 10.5. Column 6 reads 3/4 of pixel 9 and 1/4 of pixel 10, half of it bar.
# By 5: halved to 30 and 15, it ends at 8.75. Column 6 reads 3/8 of pixel 7 and 5/8 of pixel 8, 1/4 of it no bar.
@pytest.mark.parametrize(("factor", "share"), [(2, 0), (3, 1 / 4 * 1 / 2), (4, 0), (5, 5 / 8 * 1 / 4), (8, 0)])
def test_the_same_picture_gives_the_same_answer_at_two_sizes(
    bar: Callable[..., np.ndarray], factor: int, share: float
) -> None:
    small, large = (preprocess(bar(enlarged=by), (12, 8), "stretch")[0].astype(int) for by in (1, factor))
    apart = abs(large - small)
    assert np.array_equal(np.delete(apart, (6, 7), axis=1), np.zeros((8, 10, 3)))
    # Rounded once when it is halved, and once more.
    assert np.all(apart[:, 6:8] <= share * abs(small[0, 6] - small[0, 7]) + (1 if share else 0))
    assert np.allclose(apart[:, 6], share * abs(small[0, 6] - small[0, 7]), atol=1)
