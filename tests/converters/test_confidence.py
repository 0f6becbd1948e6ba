"""Temperature and reject threshold: against SciPy's minimum, on files, and sealed again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision_converters import ExportedFile, fit_confidence, fit_rejection, fit_temperature, reseal
from edgevision_device import CheckError, Classifier, ForeignFileError, UsageError, read_model_file

if TYPE_CHECKING:
    from collections.abc import Sequence

SCORES = np.array(
    [
        *([0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]),
        *([0.05, 0.05, 0.9], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.45, 0.35, 0.2]),
    ]
)
TARGETS = np.array([0, 1, 1, 0, 2, 0, 2, 0])


def test_the_temperature_is_the_minimum_that_scipy_finds() -> None:
    found = fit_temperature(SCORES, TARGETS)
    # scipy.optimize.minimize_scalar(method="bounded") on 1 / T, and brentq where the sum is 1.9207 more; SciPy 1.17.1
    assert found.best == pytest.approx(0.45302712, abs=5e-5)
    assert found.interval == pytest.approx((0.17148686, 1.71622265), rel=1e-6)
    assert (found.pictures, found.wrong) == (8, 2)
    # The same with ten times as many pictures, which tell it from 1.
    found = fit_temperature(np.tile(SCORES, (10, 1)), np.tile(TARGETS, 10))
    assert found.temperature == found.best == pytest.approx(0.45302712, abs=5e-5)
    assert found.interval == pytest.approx((0.32530292, 0.64691685), rel=1e-6)
    assert (found.nll_before, found.nll_after) == pytest.approx((0.60099038, 0.49599833), rel=1e-6)
    assert found.describe() == "temperature 0.45 (0.33 to 0.65) on 80 pictures, 20 of them named wrongly"


def test_a_temperature_that_cannot_be_told_from_1_is_not_applied() -> None:
    found = fit_temperature(SCORES, TARGETS)
    assert found.temperature == 1
    assert found.nll_after == found.nll_before
    assert found.describe() == (
        "temperature 1: 0.45 (0.17 to 1.72) fits best and cannot be told from 1 on 8 pictures, 2 of them named wrongly"
    )
    # Answers that are all alike say next to nothing; the ends lie outside of what is searched.
    found = fit_temperature(np.tile([0.51, 0.49], (30, 1)), np.arange(30) % 15 // 8)
    assert (found.temperature, found.interval, found.wrong) == (1, (None, None), 14)
    assert "(below 0.1 to above 10) fits best and cannot be told from 1" in found.describe()


def test_an_end_outside_of_what_is_searched_is_marked() -> None:
    # Two of 40 answers are wrong, and each is unsure: scores may be much sharper, unknown how much.
    found = fit_temperature(np.tile([0.61, 0.39], (40, 1)), (np.arange(40) < 2).astype(int))
    assert found.best is not None
    assert found.interval is not None
    assert found.temperature == found.best < 0.2
    assert found.interval[0] is None
    assert found.describe().startswith(f"temperature {found.best:.2f} (below 0.1 to ")
    assert json.loads(json.dumps(dataclasses.asdict(found)))["interval"][0] is None


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_what_was_sharpened_is_softened_again(sharpness: float) -> None:
    generator = np.random.default_rng(4)
    logits = generator.normal(0, 1.5, (3000, 10))
    # The labels are as likely as the scores say; then these are sharpened.
    targets = np.array([generator.choice(10, p=row) for row in softmax(logits)])
    found = fit_temperature(softmax(sharpness * logits), targets)
    assert found.best == pytest.approx(sharpness, rel=0.08)
    assert found.temperature == (1 if sharpness == 1 else found.best)
    assert found.interval is not None
    low, high = found.interval
    assert low is not None
    assert high is not None
    assert low < sharpness < high
    assert found.nll_after <= found.nll_before
    assert found.nll_after == pytest.approx(fit_temperature(softmax(logits), targets).nll_after, abs=1e-3)


def test_without_a_mistake_there_is_no_temperature() -> None:
    found = fit_temperature(SCORES, SCORES.argmax(1))
    assert (found.temperature, found.interval, found.wrong) == (1.0, None, 0)
    assert found.describe() == "temperature 1: none could be fitted on 8 pictures, 0 of them named wrongly"


def test_scores_that_say_nothing_have_no_temperature() -> None:
    generator = np.random.default_rng(0)
    found = fit_temperature(softmax(generator.normal(0, 3, (500, 10))), generator.integers(0, 10, 500))
    assert found.temperature == 1.0
    assert found.interval is None


def test_scores_that_are_rounded_to_0_can_be_fitted() -> None:
    generator = np.random.default_rng(4)
    logits = generator.normal(0, 1.5, (2000, 10))
    targets = np.array([generator.choice(10, p=row) for row in softmax(logits)])
    rounded = np.rint(softmax(2 * logits) * 256) / 256
    assert (rounded[np.arange(2000), targets] == 0).sum() > 20
    found = fit_temperature(rounded, targets)
    assert found.temperature == pytest.approx(2, rel=0.25)
    assert math.isfinite(found.nll_after)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.5])
def test_what_is_no_score_is_refused(bad: float) -> None:
    scores = SCORES.copy()
    scores[3, 1] = bad
    with pytest.raises(CheckError, match="negative, NaN or all 0"):
        fit_temperature(scores, TARGETS)
    with pytest.raises(CheckError, match="negative, NaN or all 0"):
        fit_temperature(np.zeros((8, 3)), TARGETS)


Answers = st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 0.99]), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None)
@given(Answers, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.9]))
def test_no_other_threshold_accepts_more_with_so_few_mistakes(
    answers: Sequence[tuple[float, bool]], max_error: float
) -> None:
    scores, right = np.array([score for score, _ in answers]), np.array([each for _, each in answers])
    allowed = [
        int((scores >= threshold).sum())
        for threshold in np.unique(scores)
        if (~right[scores >= threshold]).mean() <= max_error + 1e-12
    ]
    if not allowed:
        with pytest.raises(CheckError, match="no reject threshold keeps the error of the accepted at"):
            fit_rejection(scores, right, max_error)
        return
    found = fit_rejection(scores, right, max_error)
    accepted = scores >= found.threshold
    assert accepted.sum() == found.accepted == max(allowed)
    assert (~right[accepted]).sum() == found.wrong <= max_error * found.accepted
    # Another runtime rounds otherwise; a threshold on the edge of a score would decide by that.
    assert np.abs(scores - found.threshold).min() > 0.004


@pytest.mark.parametrize(
    ("wrong", "total", "limit"),
    # scipy.stats.beta.ppf(0.95, wrong + 1, total - wrong), SciPy 1.17.1; without mistakes 1 - 0.05 ** (1 / total).
    [(0, 300, 1 - 0.05 ** (1 / 300)), (4, 479, 0.0190070248628025)],
)
def test_the_limit_of_the_error_is_clopper_and_pearsons(wrong: int, total: int, limit: float) -> None:
    found = fit_rejection(np.full(total, 0.9), np.arange(total) >= wrong, wrong / total)
    assert (found.accepted, found.wrong, found.threshold) == (total, wrong, 0.0)
    assert found.upper_error == pytest.approx(limit, rel=1e-9)


def test_a_threshold_is_described() -> None:
    found = fit_rejection(np.array([0.9, 0.8, 0.6, 0.5]), np.array([True, True, False, True]), 0.1)
    assert found.describe() == (
        "reject threshold 0.700: 0 of the 2 answers that it accepts are wrong (0.0 %, 10 % allowed; below 77.6 % with "
        "95 % confidence), 50.0 % of 4 pictures are rejected"
    )


@pytest.fixture(scope="module")
def faint(held_out: Any) -> np.ndarray:
    """The pictures with so little contrast that the classifier is wrong here and there."""
    return (128 + (held_out.pixels.astype(float) - 128) * 0.35).astype(np.uint8)


@pytest.mark.parametrize("name", ["patches.int8.tflite", "patches.float32.tflite", "patches.int8.onnx"])
def test_a_file_is_fitted_and_sealed_again(
    exported: dict[str, ExportedFile], faint: np.ndarray, held_out: Any, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(exported[name].path.read_bytes())
    before = read_model_file(path)
    fitted = fit_confidence(path, faint, held_out.targets, max_error=0.05)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before.sha256  # nothing is written yet
    assert fitted.temperature.wrong > 0
    assert fitted.metadata.temperature == fitted.temperature.temperature != 1
    assert fitted.rejection is not None
    assert 0 < fitted.metadata.reject_threshold == fitted.rejection.threshold
    restored = dataclasses.replace(fitted.metadata, temperature=1.0, reject_threshold=0.0)
    assert restored == before.metadata

    reseal(path, fitted.metadata)
    after = read_model_file(path)
    assert after.metadata == fitted.metadata
    assert after.model == before.model
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [name]
    # What the device says of these pictures has the error that was asked for.
    classifier = Classifier(path)
    best = [classifier.rank(classifier.scores(picture))[0] for picture in faint]
    accepted = [
        each.index == target
        for each, target in zip(best, held_out.targets, strict=True)
        if each.score >= after.metadata.reject_threshold
    ]
    assert len(accepted) == fitted.rejection.accepted
    assert accepted.count(False) == fitted.rejection.wrong <= 0.05 * len(accepted)

    # Fitted to the file's own answers, not to those that its old temperature made of them.
    again = fit_confidence(path, faint, held_out.targets, max_error=0.05)
    assert again == fitted
    reseal(path, again.metadata)
    assert read_model_file(path).sha256 == after.sha256


def test_without_an_error_to_keep_nothing_is_rejected(
    exported: dict[str, ExportedFile], faint: np.ndarray, held_out: Any
) -> None:
    fitted = fit_confidence(exported["patches.int8.tflite"].path, faint, held_out.targets)
    assert fitted.rejection is None
    assert fitted.metadata.reject_threshold == 0
    assert fitted.metadata.temperature != 1


def test_pictures_and_shares_that_do_not_fit_are_refused(
    exported: dict[str, ExportedFile], faint: np.ndarray, held_out: Any
) -> None:
    path = exported["patches.int8.tflite"].path
    with pytest.raises(UsageError, match="got 0 pictures and 0 labels"):
        fit_confidence(path, faint[:0], held_out.targets[:0])
    with pytest.raises(UsageError, match="got 0 pictures and 0 labels"):
        fit_temperature(np.zeros((0, 4)), held_out.targets[:0])
    with pytest.raises(UsageError, match="got 60 pictures and 3 labels"):
        fit_confidence(path, faint, held_out.targets[:3])
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(UsageError, match="the error of accepted answers is a share"):
            fit_confidence(path, faint, held_out.targets, max_error=share)


def test_a_file_of_somebody_else_is_not_sealed(exported: dict[str, ExportedFile], tmp_path: Path) -> None:
    file = read_model_file(exported["patches.int8.tflite"].path)
    theirs = tmp_path / "theirs.tflite"
    # The file as another tool would have written it holds nothing of ours.
    theirs.write_bytes(Path(__file__).parents[1].joinpath("device/data/foreign.int8.tflite").read_bytes())
    content = theirs.read_bytes()
    with pytest.raises(ForeignFileError):
        reseal(theirs, file.metadata)
    with pytest.raises(ForeignFileError):
        fit_confidence(theirs, np.zeros((1, 20, 28, 3), np.uint8), np.array([0]))
    assert theirs.read_bytes() == content
