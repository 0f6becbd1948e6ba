import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision_benchmarks._statistics import (
    Accuracy,
    PairedDifference,
    compare_paired,
    mcnemar_p,
    paired_interval,
    unpaired_interval,
    wilson_interval,
)


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


def test_an_accuracy_is_its_count_with_the_interval():
    found = Accuracy(15, 148)
    assert found == Accuracy.of(np.arange(148) < 15)
    assert found.interval == wilson_interval(15, 148)
    assert found.describe() == "10.1 % (6.2 to 16.0)"
    record = found.to_record()
    assert (record["right"], record["pictures"], record["accuracy_share"]) == (15, 148, 15 / 148)
    assert (record["accuracy_low_share"], record["accuracy_high_share"]) == found.interval


def test_of_no_pictures_nothing_is_known():
    assert (Accuracy(0, 0).share, Accuracy(0, 0).interval) == (0.0, (0.0, 1.0))


@pytest.mark.parametrize(
    ("right_a", "total_a", "right_b", "total_b", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10.
        pytest.param(48, 80, 56, 70, 0.0524, 0.3339, id="a"),
        pytest.param(3, 10, 9, 10, 0.1705, 0.8090, id="b"),
        pytest.param(2, 7, 6, 7, 0.0582, 0.8062, id="c"),
        pytest.param(0, 29, 5, 56, -0.0381, 0.1926, id="d"),
    ],
)
def test_unpaired_interval_equals_published_values(right_a, total_a, right_b, total_b, low, high):
    assert unpaired_interval(right_a, total_a, right_b, total_b) == pytest.approx((low, high), abs=5e-5)
    mirrored = unpaired_interval(right_b, total_b, right_a, total_a)
    assert mirrored == pytest.approx((-high, -low), abs=5e-5)
    assert unpaired_interval(0, 0, right_b, total_b) == (-1.0, 1.0)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_unpaired_interval_stays_within_its_range(right_a, right_b):
    low, high = unpaired_interval(right_a, 40, right_b, 40)
    assert -1 - 1e-12 <= low < high <= 1 + 1e-12
    assert low - 1e-12 <= (right_b - right_a) / 40 <= high + 1e-12


@pytest.mark.parametrize(
    ("only_a", "only_b", "total", "confidence", "low", "high"),
    [
        # T. Tango, Statistics in Medicine 17 (1998), 891-908, the two examples.
        pytest.param(3, 9, 32, 0.95, -0.027, 0.390, id="tango-1"),
        pytest.param(1, 0, 44, 0.90, -0.096, 0.037, id="tango-2"),
        # A. Agresti and Y. Min, Statistics in Medicine 24 (2005), 729-740.
        pytest.param(8, 16, 86, 0.95, -0.020, 0.207, id="agresti-min"),
        # M. W. Fagerland, S. Lydersen and P. Laake, Statistics in Medicine 33 (2014), 2850-2875.
        pytest.param(7, 1, 21, 0.95, -0.517, -0.026, id="fagerland"),
    ],
)
def test_paired_interval_equals_published_values(only_a, only_b, total, confidence, low, high):
    assert paired_interval(only_a, only_b, total, confidence) == pytest.approx((low, high), abs=5e-4)


def test_paired_interval_where_nothing_differs_has_the_width_of_its_formula():
    # Without a picture on which they differ the score equation can be solved by hand: z² / (n + z²).
    z2 = 1.959964**2
    assert paired_interval(0, 0, 500) == pytest.approx((-z2 / (500 + z2), z2 / (500 + z2)), rel=1e-5)
    assert paired_interval(0, 0, 0) == (-1.0, 1.0)
    assert paired_interval(9, 0, 9)[0] == -1.0
    assert paired_interval(0, 9, 9)[1] == 1.0


Tables = st.integers(1, 5000).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)).filter(lambda table: sum(table[:2]) <= n)
)


@settings(deadline=None)
@given(Tables)
def test_paired_interval_holds_what_was_measured_and_mirrors(table):
    only_a, only_b, total = table
    low, high = paired_interval(only_a, only_b, total)
    assert -1 <= low <= (only_b - only_a) / total <= high <= 1
    assert high - low > 0
    assert paired_interval(only_b, only_a, total) == pytest.approx((-high, -low), abs=1e-9)
    wide = paired_interval(only_a, only_b, total, 0.99)
    assert wide[0] <= low
    assert high <= wide[1]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 500))
def test_more_pictures_without_a_difference_bring_the_interval_nearer_to_0(only_a, only_b, same):
    total = only_a + only_b + same
    near, far = (max(map(abs, paired_interval(only_a, only_b, n))) for n in (total + 100, total))
    assert near < far


def test_paired_interval_covers_as_often_as_it_says():
    # 95 % of intervals should hold the true difference. Drawn 4,000 times, that is 95 ± 1.
    generator = np.random.default_rng(7)
    shares = [0.90, 0.02, 0.05, 0.03]  # both, only a, only b, neither
    drawn = generator.multinomial(300, shares, size=4000)
    intervals = [paired_interval(int(only_a), int(only_b), 300) for _, only_a, only_b, _ in drawn]
    covered = np.mean([low <= 0.03 <= high for low, high in intervals])
    assert 0.94 <= covered <= 0.965


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        # M. W. Fagerland and others, BMC Medical Research Methodology 13 (2013), 91: 0.0703.
        pytest.param(1, 7, 0.0703125, id="fagerland"),
        pytest.param(0, 5, 2 / 32, id="one-sided"),
        pytest.param(6, 6, 1.0, id="even"),
        pytest.param(3, 4, 1.0, id="as-even-as-can-be"),
        pytest.param(0, 0, 1.0, id="none"),
        pytest.param(0, 1, 1.0, id="one"),
    ],
)
def test_mcnemar_p_equals_known_values(only_a, only_b, p):
    assert mcnemar_p(only_a, only_b) == pytest.approx(p, abs=1e-12)
    assert mcnemar_p(only_b, only_a) == pytest.approx(p, abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_p_is_the_tail_of_the_binomial_distribution(only_a, only_b):
    apart = only_a + only_b
    # Whole numbers, so that nothing is rounded before the end.
    tail = sum(math.comb(apart, count) for count in range(min(only_a, only_b) + 1))
    assert mcnemar_p(only_a, only_b) == pytest.approx(min(1.0, 2 * tail / 2**apart), rel=1e-9)


@pytest.mark.parametrize(("only_a", "only_b"), [(17, 35), (480, 520), (5100, 4900), (40_000, 41_000)])
def test_mcnemar_p_equals_scipy(only_a, only_b):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    expected = stats.binomtest(min(only_a, only_b), only_a + only_b).pvalue
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, rel=1e-8)


def test_mcnemar_p_of_very_many_pictures_is_a_number():
    assert mcnemar_p(0, 10_000_000) == 0.0
    assert 0.9 < mcnemar_p(5_000_000, 5_000_100) < 1


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="at least 0"):
        mcnemar_p(-1, 3)
    with pytest.raises(ValueError, match="between 0 and total"):
        paired_interval(5, 6, 10)
    with pytest.raises(ValueError, match="confidence must lie"):
        paired_interval(1, 2, 10, 0.0)


def test_compare_paired_counts_the_four_ways():
    right_a = np.array([True, True, True, False, False, True])
    right_b = np.array([True, False, False, True, False, True])
    found = compare_paired(right_a, right_b)
    assert (found.both, found.only_a, found.only_b, found.neither) == (2, 2, 1, 1)
    assert found.difference == pytest.approx(right_b.mean() - right_a.mean())
    assert compare_paired(right_b, right_a).difference == -found.difference


@pytest.mark.parametrize(
    ("right_a", "right_b"),
    [([True], [True, False]), ([1, 0], [1, 1]), ([[True]], [[True]])],
    ids=["lengths", "numbers", "shape"],
)
def test_compare_paired_refuses_what_is_not_paired(right_a, right_b):
    with pytest.raises(ValueError, match="two bool arrays of one shape"):
        compare_paired(np.array(right_a), np.array(right_b))


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ((470, 5, 9, 16), "+0.8 points on 500 pictures (-0.8 to +2.5), p = 0.42: not distinguishable from 0"),
        ((900, 60, 20, 20), "-4.0 points on 1,000 pictures (-5.8 to -2.3), p < 0.001: distinguishable from 0"),
        ((480, 0, 0, 20), "0.0 points on 500 pictures (-0.8 to +0.8), p = 1: not distinguishable from 0"),
        ((0, 0, 0, 0), "no pictures in common: nothing to compare"),
    ],
)
def test_the_verdict_is_worded(table, line):
    line = line.replace("-", "\N{MINUS SIGN}")
    found = PairedDifference(*table)
    assert found.describe() == line
    assert found.to_record()["verdict"] == line


def test_the_verdict_asks_the_exact_test_too():
    # The interval leaves 0 out, and chance alone parts eight pictures like this in 7 % of cases.
    found = PairedDifference(both=1, only_a=7, only_b=1, neither=12)
    assert found.interval[1] < 0
    assert not found.distinguishable


@settings(deadline=None)
@given(Tables)
def test_the_verdict_agrees_with_its_interval(table):
    only_a, only_b, total = table
    found = PairedDifference(total - only_a - only_b, only_a, only_b, 0)
    low, high = found.interval
    if found.distinguishable:
        assert low * high > 0
        assert (low > 0) == (only_b > only_a)
