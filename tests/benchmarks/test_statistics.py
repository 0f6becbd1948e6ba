import pytest

from edgevision_benchmarks import wilson_interval


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
        pytest.param(81, 263, 0.2553, 0.3662, id="81-of-263"),
        pytest.param(15, 148, 0.0624, 0.1605, id="15-of-148"),
        pytest.param(0, 20, 0.0, 0.1611, id="none-right"),
        pytest.param(1, 29, 0.0061, 0.1718, id="1-of-29"),
        pytest.param(20, 20, 0.8389, 1.0, id="all-right"),
    ],
)
def test_wilson_interval_equals_published_values(right, total, low, high):
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


def test_more_confidence_is_wider():
    low, high = wilson_interval(90, 100, 0.99)
    assert low < wilson_interval(90, 100)[0] < 0.9 < wilson_interval(90, 100)[1] < high


@pytest.mark.parametrize(("right", "total", "confidence"), [(5, 4, 0.95), (-1, 4, 0.95), (1, 4, 1.0)])
def test_impossible_numbers_are_refused(right, total, confidence):
    with pytest.raises(ValueError, match="must lie between"):
        wilson_interval(right, total, confidence)
