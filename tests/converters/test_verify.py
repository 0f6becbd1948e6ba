"""Agreement of scores: over all pictures, and label by label."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import RECIPES, ExportedFile, compare, compare_scores
from edgevision_converters import _verify as verify
from edgevision_device import CheckError, FileError

if TYPE_CHECKING:
    from edgevision_converters import SourceModel

LABELS = ("cat", "dog", "hen")
EXPECTED = np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.1, 0.9, 0.0], [0.2, 0.5, 0.3]], np.float32)
#: The second and the fourth change their best label.
SCORES = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]], np.float32)


def test_agreement_is_counted_over_all_and_by_label() -> None:
    found = compare_scores(EXPECTED, SCORES, LABELS, np.array([0, 0, 1, 2]), runtime="litert 2.3.0")
    assert (found.pictures, found.same_top1, found.runtime) == (4, 0.5, "litert 2.3.0")
    # Of each picture the largest difference: 0.1, 0.1, 0.1, 0.2.
    assert found.largest_difference == pytest.approx(0.2)
    assert found.mean_difference == pytest.approx(0.125)
    assert [(each.label, each.pictures, each.same_top1) for each in found.labels] == [
        ("cat", 2, 0.5),
        ("dog", 1, 1.0),
        ("hen", 1, 0.0),
    ]
    assert [each.largest_difference for each in found.labels] == pytest.approx([0.1, 0.1, 0.2])
    assert [each.label for each in found.worst_labels] == ["hen", "cat"]


def test_without_labels_a_picture_counts_to_what_the_source_calls_it() -> None:
    found = compare_scores(EXPECTED, SCORES, LABELS)
    assert [(each.label, each.pictures, each.same_top1) for each in found.labels] == [("cat", 2, 0.5), ("dog", 2, 0.5)]


def test_a_label_without_pictures_is_left_out_and_the_rest_adds_up() -> None:
    generator = np.random.default_rng(0)
    expected, scores = (generator.dirichlet(np.ones(5), 40).astype(np.float32) for _ in range(2))
    targets = generator.integers(0, 4, 40)
    found = compare_scores(expected, scores, list("abcde"), targets)
    assert [each.label for each in found.labels] == list("abcd")
    assert sum(each.pictures for each in found.labels) == 40
    mean = sum(each.pictures * each.same_top1 for each in found.labels) / 40
    assert mean == pytest.approx(found.same_top1)
    assert max(each.largest_difference for each in found.labels) == found.largest_difference


@pytest.mark.parametrize("wrong", [SCORES[:3], SCORES[:, :2], SCORES[0]], ids=["pictures", "labels", "one picture"])
def test_scores_of_other_shapes_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two arrays"):
        compare_scores(EXPECTED, wrong, LABELS)
    with pytest.raises(ValueError, match="at least one picture"):
        compare_scores(EXPECTED[:0], SCORES[:0], LABELS)


def test_a_file_is_compared_in_its_runtime(
    exported: dict[str, ExportedFile], source: SourceModel, held_out: Any
) -> None:
    expected = source.scores(held_out.pixels)
    found = compare(exported["patches.int8.tflite"].path, held_out.pixels, expected, held_out.targets)
    assert found.runtime.startswith("litert ")
    assert [(each.label, each.pictures) for each in found.labels] == [(label, 15) for label in source.metadata.labels]
    assert 0 < found.mean_difference < found.largest_difference < 0.1
    record = json.loads(json.dumps(found.to_record()))
    assert record["labels"][0]["label"] == "red"
    assert record["mean_score_difference"] == found.mean_difference


def test_workers_share_the_pictures_in_order_and_do_not_copy_a_large_file(
    exported: dict[str, ExportedFile], source: SourceModel, held_out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported["patches.float32.tflite"].path
    expected = source.scores(held_out.pixels)
    opened: list[int] = []

    class Counted(verify.Classifier):
        def __init__(self, path: Any, *, threads: int) -> None:
            opened.append(threads)
            super().__init__(path, threads=threads)

    monkeypatch.setattr(verify, "Classifier", Counted)
    monkeypatch.setattr(verify, "default_threads", lambda: 4)
    for copies, threads in ((4, [1, 1, 1, 1]), (2, [2, 2]), (1, [4]), (0.5, [4])):
        opened.clear()
        monkeypatch.setattr(verify, "_COPIES", int(copies * path.stat().st_size))
        found = compare(path, held_out.pixels[:23], expected[:23])
        assert opened == threads
        # Pictures that had changed places would be far from what is expected.
        assert found.largest_difference < 1e-3
        assert found.pictures == 23


def test_what_is_wrong_in_a_worker_is_said_as_without(exported: dict[str, ExportedFile], held_out: Any) -> None:
    path = exported["patches.float32.tflite"].path
    small = held_out.pixels[:4, :5]
    with pytest.raises(FileError) as alone:
        verify.Classifier(path).run(small[:1])
    with pytest.raises(FileError) as raised:
        compare(path, small, np.zeros((4, 4), np.float32))
    assert str(raised.value) == str(alone.value)
    with pytest.raises(ValueError, match="at least one picture"):
        compare(path, held_out.pixels[:0], np.zeros((0, 4), np.float32))


@pytest.mark.parametrize(("format", "name"), [(format, name) for format in RECIPES for name in RECIPES[format]])
def test_a_file_is_judged_by_the_tolerance_of_its_recipe(format: str, name: str) -> None:
    tolerance, file = RECIPES[format][name].tolerance, f"a.b.{name}.{format}"

    def agreement(difference: float) -> verify.Agreement:
        return verify.Agreement(4, 1.0, difference, "litert", 0.0, ())

    if tolerance is None:
        verify.require_agreement(file, name, agreement(1.0))
        return
    verify.require_agreement(file, name, agreement(tolerance))
    for difference in (1.001 * tolerance, float("nan")):
        with pytest.raises(CheckError, match=f"allowed {tolerance:g}"):
            verify.require_agreement(file, name, agreement(difference))
