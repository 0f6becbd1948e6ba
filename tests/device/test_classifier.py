"""From a picture to labels: ranking, temperature, and files of our own and of others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

import edgevision_device
from edgevision_device import Classifier, FileError, Metadata, Normalization, Prediction, UsageError, preprocess

LABELS = ("red upright", "red flat", "blue upright", "blue flat")

#: How far the scores of a recipe may be from those of the float network: two steps of 1/256 after int8 arithmetic.
TOLERANCE = {"float32": 1e-4, "int8": 0.02}


@pytest.fixture
def given() -> Metadata:
    return Metadata("foreign", LABELS, (1, 1), "stretch", Normalization((127.0,), (128.0,)))


@pytest.mark.parametrize("label", LABELS)
def test_every_runtime_gives_the_networks_scores(
    runnable: Path, label: str, bar: Callable[..., np.ndarray], expected: dict[str, Any], cv2: Any
) -> None:
    classifier = Classifier(runnable)
    scores = classifier.scores(bar(*label.split()))
    assert scores.dtype == np.float32
    assert scores.shape == (4,)
    assert scores == pytest.approx(expected["scores"][label], abs=TOLERANCE[classifier.metadata.recipe])
    assert classifier.classify(bar(*label.split(), enlarged=7))[0].label == label


def test_swapped_channels_change_the_answer(runnable: Path, bar: Callable[..., np.ndarray], cv2: Any) -> None:
    classifier = Classifier(runnable)
    picture_bgr = bar("red", "flat")[..., ::-1]
    assert classifier.rank(classifier.scores(picture_bgr))[0].label == "blue flat"
    assert classifier.rank(classifier.scores(picture_bgr, "bgr"))[0].label == "red flat"


def test_the_answer_is_the_callers_to_keep(runnable: Path, bar: Callable[..., np.ndarray]) -> None:
    classifier = Classifier(runnable)
    first = classifier.run(bar("red", "upright")[np.newaxis])
    kept = first.copy()
    classifier.run(bar("blue", "flat")[np.newaxis])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_the_answer(
    runnable: Path, bar: Callable[..., np.ndarray], threads: int
) -> None:
    pixels = bar()[np.newaxis]
    assert np.allclose(Classifier(runnable, threads=threads).run(pixels), Classifier(runnable).run(pixels), atol=1e-6)


@pytest.mark.parametrize(
    ("foreign", "own"),
    [
        ("foreign.float32.tflite", "tiny.float32.tflite"),
        ("foreign.int8.tflite", "tiny.int8.tflite"),
        ("foreign.float32.onnx", "tiny.float32.onnx"),
    ],
    ids=["nhwc", "quantized", "nchw"],
)
@pytest.mark.parametrize("label", LABELS)
def test_a_foreign_file_gives_the_answer_of_our_own(
    data: Path, require: Callable[[str], None], given: Metadata, foreign: str, own: str, label: str,
    bar: Callable[..., np.ndarray], cv2: Any,
) -> None:  # fmt: skip
    require(foreign.rsplit(".", 1)[1])
    theirs, ours = Classifier(data / foreign, given=given), Classifier(data / own)
    picture = bar(*label.split(), enlarged=3)
    assert theirs.metadata.size_wh == (12, 8)
    assert theirs.scores(picture) == pytest.approx(ours.scores(picture), abs=1e-5)


@pytest.fixture(params=["tiny.tflite", "tiny.onnx"])
def without_softmax(request: pytest.FixtureRequest, require: Callable[[str], None]) -> Path:
    """A model of one pixel that gives its channels, divided by 255."""
    require(request.param.rsplit(".", 1)[1])
    return Path(edgevision_device.__file__).parent / "_probe" / request.param


@pytest.mark.parametrize(
    ("pixel", "said"),
    [((255, 255, 255), "are 1 to 1 and 3 in all"), ((0, 0, 0), "are 0 to 0 and 0 in all")],
    ids=["large", "small"],
)
def test_scores_that_are_no_shares_of_one_are_refused(
    without_softmax: Path, pixel: tuple[int, ...], said: str, cv2: Any
) -> None:
    pixels = "0..1" if without_softmax.suffix == ".tflite" else "0..255"
    given = Metadata("foreign", LABELS[:3], (1, 1), "stretch", Normalization.parse(pixels))
    picture = np.array(pixel, np.uint8).reshape(1, 1, 3)
    with pytest.raises(FileError, match=f"{said}; --logits"):
        Classifier(without_softmax, given=given).classify(picture)
    softened = Classifier(without_softmax, given=dataclasses.replace(given, logits=True)).scores(picture)
    assert softened == pytest.approx([1 / 3] * 3)


def test_logits_get_a_softmax(without_softmax: Path, cv2: Any) -> None:
    pixels = "0..1" if without_softmax.suffix == ".tflite" else "0..255"
    given = Metadata("foreign", LABELS[:3], (1, 1), "stretch", Normalization.parse(pixels), logits=True)
    scores = Classifier(without_softmax, given=given).scores(np.array([[[0, 51, 255]]], np.uint8))
    powers = np.exp([0, 0.2, 1])
    assert scores == pytest.approx(powers / powers.sum())


def test_a_foreign_file_with_another_pixel_range_gives_another_answer(
    data: Path, require: Callable[[str], None], bar: Callable[..., np.ndarray], cv2: Any
) -> None:
    require("tflite")
    wrong = Metadata("foreign", LABELS, (1, 1), "stretch", Normalization.parse("0..255"))
    right = Classifier(data / "tiny.float32.tflite").scores(bar())
    assert abs(Classifier(data / "foreign.float32.tflite", given=wrong).scores(bar()) - right).max() > 0.05


@pytest.mark.parametrize("labels", [LABELS[:3], (*LABELS, "green")], ids=["fewer", "more"])
def test_labels_and_scores_must_be_as_many(
    runnable: Path, resealed: Callable[..., Path], labels: tuple[str, ...]
) -> None:
    with pytest.raises(FileError, match=f"gives 4 scores, and there are {len(labels)} labels"):
        Classifier(resealed(runnable.name, labels=labels))


def test_our_own_file_keeps_to_its_size(
    runnable: Path, resealed: Callable[..., Path], bar: Callable[..., np.ndarray], cv2: Any
) -> None:
    with pytest.raises(FileError, match="the model in it takes uint8"):
        Classifier(resealed(runnable.name, size_wh=(8, 12)))


@pytest.fixture
def classifier(data: Path, require: Callable[[str], None]) -> Classifier:
    require("tflite")
    return Classifier(data / "tiny.float32.tflite")


def test_the_best_come_first(classifier: Classifier) -> None:
    ranked = classifier.rank(np.array([0.1, 0.6, 0.05, 0.25], np.float32), top=3)
    assert [(each.label, each.index) for each in ranked] == [("red flat", 1), ("blue flat", 3), ("red upright", 0)]
    assert ranked[0] == Prediction("red flat", 1, pytest.approx(0.6))


def test_equal_scores_keep_the_order_of_the_labels(classifier: Classifier) -> None:
    ranked = classifier.rank(np.array([0.25, 0.25, 0.25, 0.25], np.float32), top=4)
    assert [each.index for each in ranked] == [0, 1, 2, 3]


def test_more_labels_than_there_are_gives_all(classifier: Classifier) -> None:
    assert len(classifier.rank(np.zeros(4, np.float32), top=99)) == 4


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_softmax_temperature(
    runnable: Path,
    resealed: Callable[..., Path],
    bar: Callable[..., np.ndarray],
    expected: dict[str, Any],
    temperature: float,
    cv2: Any,
) -> None:
    scores = Classifier(resealed(runnable.name, temperature=temperature)).scores(bar("red", "flat"))
    logits = np.log(expected["scores"]["red flat"]) / temperature
    softened = np.exp(logits) / np.exp(logits).sum()
    assert float(scores.sum()) == pytest.approx(1, abs=0.01)
    assert scores == pytest.approx(softened, abs=0.03)


def test_temperature_survives_scores_of_zero(classifier: Classifier, resealed: Callable[..., Path]) -> None:
    cold = Classifier(resealed("tiny.float32.tflite", temperature=0.05))
    assert cold.temper(np.zeros(4, np.float32)).tolist() == [0, 0, 0, 0]
    assert cold.temper(np.array([0, 1e-30, 0, 1e-31], np.float32)).max() <= 1
    assert cold.temper(np.array([0.5, 0.5, -1e-8, 0], np.float32)).tolist() == [0.5, 0.5, 0, 0]


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("color_order", ["rgb", "bgr"])
def test_the_files_own_preprocessing_is_used(
    resealed: Callable[..., Path],
    require: Callable[[str], None],
    bar: Callable[..., np.ndarray],
    cv2: Any,
    resize: str,
    color_order: str,
) -> None:
    require("tflite")
    classifier = Classifier(resealed("tiny.float32.tflite", resize=resize, color_order=color_order))
    picture = bar("red", "upright", enlarged=4)[:20]
    pixels = preprocess(picture, (12, 8), resize, network_order=color_order)
    assert np.array_equal(classifier.preprocess(picture), pixels)


def test_an_unknown_runtime_is_a_usage_error(runnable: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown .* runtime 'gpu'"):
        Classifier(runnable, runtime="gpu")
