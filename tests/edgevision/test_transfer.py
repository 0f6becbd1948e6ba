"""Transfer learning: frozen layers, features that are computed once, heads, fine-tuning, teachers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision import Run, TrainingOptions, load_data, train
from edgevision._augmentation import Augmentation
from edgevision._networks import NETWORKS
from edgevision._transfer import as_classifier, freeze_before, make_head, split_before
from edgevision_device import UsageError

Paint = Callable[..., Path]

OPTIONS = TrainingOptions("efficientnet-lite0", (32, 32), epochs=4, batch_size=8, weights="random")


@pytest.fixture(scope="module")
def data(paint: Paint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("data") / "colors", {"red": 16, "green": 16})


def rows_on_disk(cache: Path) -> int:
    return sum(len(np.load(path, mmap_mode="r")) for path in cache.rglob("features/*/*.npy"))


def load(run: Run) -> Any:
    import keras

    return keras.models.load_model(run.model_path, compile=False)


def test_a_feature_is_never_computed_twice(paint: Paint, tmp_path: Path, own_cache: Path) -> None:
    data = paint(tmp_path / "data", {"red": 16, "green": 16})
    first = train(data, tmp_path / "first", OPTIONS)
    assert rows_on_disk(own_cache) == 32, "one per picture, whatever its part"
    second = train(data, tmp_path / "second", replace(OPTIONS, optimizer="rmsprop", label_smoothing=0.1))
    assert rows_on_disk(own_cache) == 32

    more = paint(tmp_path / "more", {"one": 1, "two": 1, "new": 5})
    for path in sorted((more / "new").iterdir()):
        path.rename(data / "red" / f"new {path.name}")
    train(data, tmp_path / "third", OPTIONS)
    assert rows_on_disk(own_cache) == 37, "only the new pictures'"

    # 4 copies of each training picture, the first of which is the picture as it is.
    pictures = len(load_data(data, (32, 32), "stretch").train)
    train(data, tmp_path / "copies", replace(OPTIONS, augmentation=Augmentation(flip=True, shift=0.1), copies=4))
    assert rows_on_disk(own_cache) == 37 + 3 * pictures
    assert first.trained_on == second.trained_on


def test_the_accuracy_told_is_that_of_the_saved_model(data: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, unfreeze_from="block15_expand_conv", fine_tune_epochs=1, head="logits")
    run = train(data, tmp_path / "run", options)
    model = load(run)
    record = json.loads((run.folder / "run.json").read_text())
    splits = load_data(data, (32, 32), "stretch")
    for part in ("train", "val", "test"):
        pictures = getattr(splits, part)
        scores = np.asarray(model(pictures.pixels(slice(None)).astype(np.float32), training=False))
        np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
        assert np.mean(scores.argmax(1) == pictures.targets) == pytest.approx(record[f"{part}_accuracy"])


@pytest.mark.parametrize(
    "options",
    [
        TrainingOptions("dense", (8, 8), epochs=1, units=8),
        TrainingOptions("efficientnet-lite0", (64, 64), epochs=1),
        TrainingOptions("efficientnet-lite0", (64, 64), epochs=1, unfreeze_from="top_conv", fine_tune_epochs=1),
    ],
    ids=["from scratch", "on features", "fine-tuned"],
)
def test_what_is_told_of_a_training_in_bfloat16_is_true_of_the_saved_model(
    data: Path, lite0_weights: str, options: TrainingOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one computes in float32; bfloat16 has three digits, so that some pictures would get another label."""
    told: list[np.ndarray] = []

    def look(*given: Any, scores: np.ndarray, **more: Any) -> dict[str, bytes]:
        told.append(scores)
        return {}

    monkeypatch.setattr("edgevision._training.make_run_report", look)
    run = train(data, tmp_path / "run", replace(options, precision="mixed_bfloat16"))
    test = load_data(data, run.size_wh, "stretch").test
    scores = np.asarray(load(run)(test.pixels(slice(None)).astype(np.float32), training=False))
    assert len(np.unique(scores[:, 0])) > 1, "pictures are told apart"
    np.testing.assert_allclose(told[0], scores, atol=1e-5)
    assert run.test_accuracy == np.mean(scores.argmax(1) == test.targets)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True)], ids=["cached", "every epoch anew"])
def test_fine_tuning_moves_the_layers_that_it_was_told_to(
    data: Path, tmp_path: Path, augmentation: Augmentation
) -> None:
    import keras

    options = replace(OPTIONS, epochs=1, augmentation=augmentation, unfreeze_from="block15_project_conv")
    run = train(data, tmp_path / "run", replace(options, fine_tune_epochs=2, fine_tune_learning_rate=1e-3))
    keras.utils.set_random_seed(options.seed)
    before = NETWORKS["efficientnet-lite0"].body((32, 32))
    after = load(run)
    names = [layer.name for layer in before.layers]
    moved: set[str] = set()
    for layer in before.layers:
        pairs = zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True)
        if not all(np.array_equal(one, other) for one, other in pairs):
            moved.add(layer.name)
    assert moved == {"block15_project_conv", "top_conv"}, "and no batch normalization"
    # The only layers from there on that have weights and are no batch normalization.
    behind = before.layers[names.index("block15_project_conv") :]
    assert {layer.name for layer in behind if layer.weights and "bn" not in layer.name} == moved


def test_an_unknown_layer_is_named_before_training(data: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, unfreeze_from="block15_projectconv")
    with pytest.raises(UsageError, match="unknown layer 'block15_projectconv'; did you mean 'block15_project_conv'"):
        train(data, tmp_path / "run", options)
    assert list(tmp_path.iterdir()) == []


def test_a_cut_network_is_the_same_function() -> None:
    whole = NETWORKS["efficientnet-lite0"].body((32, 32))
    # A shortcut leads around block 12, whose second convolution this is: the cut is before the block.
    front, back = split_before(whole, "block12_depthwise_conv")
    assert front is not None
    assert front.layers[-1].name == "block11_project_bn"
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    assert np.array_equal(np.asarray(back(front(pixels))), np.asarray(whole(pixels)))
    freeze_before(whole, "block12_depthwise_conv")
    trainable = [layer.name for layer in whole.layers if layer.trainable and layer.weights]
    assert trainable[0] == "block12_depthwise_conv"
    assert not any("bn" in name for name in trainable)


@pytest.mark.parametrize("kind", ["softmax", "logits", "sigmoid"])
def test_every_head_ends_as_the_same_scores(kind: str) -> None:
    import keras

    body = NETWORKS["dense"].body((9, 7), units=5)
    last = make_head(kind, 2)
    model = keras.Model(body.inputs[0], last(body.outputs[0]))
    pixels = np.random.default_rng(0).uniform(0, 255, (6, 7, 9, 3)).astype(np.float32)
    raw = np.asarray(model(pixels))
    expected = {
        "softmax": raw,
        "logits": np.exp(raw) / np.exp(raw).sum(1, keepdims=True),
        "sigmoid": np.concatenate([1 - raw[:, :1], raw[:, :1]], axis=1),
    }[kind]
    made = as_classifier(model, "made")
    assert made.output_shape == (None, 2)
    np.testing.assert_allclose(np.asarray(made(pixels)), expected, atol=1e-6)


def test_a_sigmoid_head_needs_two_labels(paint: Paint, tmp_path: Path) -> None:
    data = paint(tmp_path / "data", {"red": 6, "green": 6, "blue": 6})
    with pytest.raises(UsageError, match="a sigmoid head tells two labels apart, the data has 3; use --head softmax"):
        train(data, tmp_path / "run", TrainingOptions("binary", (32, 32)))


def test_rare_labels_can_weigh_more(paint: Paint, tmp_path: Path) -> None:
    """Same pictures under both labels: only the weights decide which one wins."""
    data = paint(tmp_path / "data", {"common": 40, "rare": 8})
    pictures = sorted((data / "common").iterdir())
    for place, path in enumerate(sorted((data / "rare").iterdir())):
        # One byte behind the end of a PNG changes its hash and not its pixels.
        path.write_bytes(pictures[place].read_bytes() + b"\0")
    options = TrainingOptions("dense", (8, 8), epochs=6, units=8, batch_size=16, augmentation=Augmentation())
    scores = {}
    for how in ("none", "balanced"):
        model = load(train(data, tmp_path / how, replace(options, class_weights=how)))
        pixels = load_data(data, (8, 8), "stretch").train.pixels(slice(None)).astype(np.float32)
        scores[how] = np.asarray(model(pixels))[:, 1].mean()
    assert scores["none"] < 0.35 < scores["balanced"]


def test_a_pupil_learns_what_only_the_teacher_knows(data: Path, tmp_path: Path) -> None:
    """With every label smoothed to nothing, the teacher is all there is to learn from."""
    options = TrainingOptions("dense", (8, 8), epochs=8, units=8, batch_size=8, schedule="constant")
    teacher = train(data, tmp_path / "teacher", options)
    assert teacher.val_accuracy == 1
    for name, augmentation, copies in (("fresh", None, 0), ("cached", Augmentation(flip=True), 2)):
        pupil = replace(options, teacher=str(teacher.folder), teacher_share=1.0, copies=copies, seed=1)
        pupil = replace(pupil, augmentation=augmentation)
        run = train(data, tmp_path / name, pupil)
        assert run.val_accuracy == 1
    with pytest.raises(UsageError, match=r"takes 8x8 \(stretch\), the pupil 9x9 \(stretch\)"):
        train(data, tmp_path / "other", replace(pupil, size_wh=(9, 9)))


def test_a_pupil_and_its_teacher_have_the_same_labels(data: Path, paint: Paint, tmp_path: Path) -> None:
    options = TrainingOptions("dense", (8, 8), epochs=1, units=4)
    teacher = train(data, tmp_path / "teacher", options)
    other = paint(tmp_path / "other", {"cat": 6, "dog": 6})
    with pytest.raises(UsageError, match="the teacher knows green, red; the data has cat, dog"):
        train(other, tmp_path / "run", replace(options, teacher=str(teacher.folder)))
