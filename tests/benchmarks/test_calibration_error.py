"""The expected calibration error: against scikit-learn's bins, ties, order, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision_benchmarks import calibration_error, chance_error

# Drawn from U(0.3, 1), right as often as they say.
_SCORES = """
0.864 0.866 0.661 0.500 0.338 0.568 0.586 0.332 0.334 0.999 0.757 0.464 0.604 0.982 0.928 0.891 0.575 0.645 0.774 0.343
"""
SCORES = np.array(_SCORES.split(), float)
RIGHT = np.array([1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0], bool)


def test_bins_are_those_of_scikit_learn():
    found = calibration_error(SCORES, RIGHT, bins=5)
    # sklearn.calibration.calibration_curve(RIGHT, SCORES, n_bins=5, strategy="quantile"), scikit-learn 1.9.1
    assert [each.mean_score for each in found.bins] == pytest.approx([0.33675, 0.52675, 0.624, 0.81525, 0.95])
    assert [each.right_share for each in found.bins] == [0.0, 0.5, 0.75, 1.0, 1.0]
    assert [each.pictures for each in found.bins] == [4] * 5
    assert found.error == pytest.approx(0.14485)
    assert (found.mean_score, found.right_share) == (pytest.approx(0.65055), 0.65)


def test_one_bin_is_the_distance_of_the_means():
    found = calibration_error(SCORES, RIGHT, bins=1)
    assert found.error == pytest.approx(abs(SCORES.mean() - RIGHT.mean()))


def test_equal_scores_share_a_bin_whatever_the_order():
    # Of 8-bit scores most are 1.0: in the order of the pictures they would be right in one bin, wrong in another.
    scores, right = np.array([1.0] * 8 + [0.5] * 2), np.array([True] * 4 + [False] * 4 + [True, False])
    found = calibration_error(scores, right, bins=5)
    assert [(each.pictures, each.mean_score, each.right_share) for each in found.bins] == [(2, 0.5, 0.5), (8, 1, 0.5)]
    assert found.error == pytest.approx(0.8 * 0.5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.9, 0.95, 1.0]), st.booleans()), min_size=1), st.randoms())
def test_the_order_of_pictures_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    one, other = (
        calibration_error(np.array([s for s, _ in p]), np.array([r for _, r in p])) for p in (pairs, shuffled)
    )
    assert one.error == pytest.approx(other.error, abs=1e-12)
    assert sum(each.pictures for each in one.bins) == len(pairs)
    assert 0 <= one.error <= 1


def test_scores_that_mean_what_they_say_have_little_error():
    generator = np.random.default_rng(3)
    scores = generator.uniform(0.3, 1, 20_000)
    honest = calibration_error(scores, generator.random(20_000) < scores)
    boasting = calibration_error(scores, generator.random(20_000) < scores - 0.2)
    assert honest.error < 0.015
    assert boasting.error == pytest.approx(0.2, abs=0.015)
    assert boasting.mean_score > boasting.right_share


def test_the_record_is_json():
    record = json.loads(json.dumps(calibration_error(SCORES, RIGHT, bins=5).to_record()))
    assert record["binning"] == "equal mass"
    assert record["bins"][0] == {"pictures": 4, "mean_score": pytest.approx(0.33675), "right_share": 0.0}


@pytest.mark.parametrize(
    ("scores", "right", "bins"),
    [
        (SCORES, RIGHT[1:], 5),
        (SCORES, RIGHT.astype(int), 5),
        (SCORES[:0], RIGHT[:0], 5),
        (SCORES, RIGHT, 0),
        (SCORES.reshape(4, 5), RIGHT.reshape(4, 5), 5),
    ],
    ids=["lengths", "numbers", "none", "no bins", "shape"],
)
def test_what_is_no_row_of_answers_is_refused(scores, right, bins):
    with pytest.raises(ValueError, match="at least one bin"):
        calibration_error(scores, right, bins)


def test_few_pictures_get_few_bins_and_chance_says_what_they_are_worth():
    generator = np.random.default_rng(5)
    for count, bins in ((12, 1), (39, 1), (60, 3), (5000, 15)):
        scores = generator.uniform(0.5, 1, count)
        found = calibration_error(scores, generator.random(count) < scores)
        assert len(found.bins) == bins
    scores = generator.uniform(0.5, 1, 30)
    drawn = [calibration_error(scores, generator.random(30) < scores).error for _ in range(400)]
    assert chance_error(scores) == pytest.approx(np.mean(drawn), abs=0.015)
    # In 15 bins of two pictures each it says nothing: honest scores have an error of a fifth and more.
    assert chance_error(scores, bins=15) > 0.18 > 0.1 > chance_error(scores)
    assert chance_error(scores) == chance_error(scores)
