"""What may differ between arm64 and x86-64 in the layers of an int8 file, by arithmetic alone."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

#: Of one picture of tiny.int8.tflite. The last score's exact value is 41.49997 steps.
LOGITS, SCALE = np.array([[30, -48, 19, -17]], np.int8), 0.02009168453514576
LAYERS = [("SOFTMAX", [9], 10), ("DEQUANTIZE", [10], 11)]


@pytest.fixture
def rounding(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "tests" / "arm64"))
    import rounding

    return rounding


def softmax(steps: list[int]) -> dict[str, np.ndarray]:
    """What scores.py writes of a file that ends in a softmax."""
    scores = np.array([steps], np.int16)
    return {
        "tensors/f/9": LOGITS,
        "scales/f/9": np.array([SCALE], np.float32),
        "tensors/f/10": (scores - 128).astype(np.int8),
        "scales/f/10": np.array([1 / 256], np.float32),
        "zeros/f/10": np.array([-128], np.int32),
        "tensors/f/11": scores / np.float32(256),
        "scales/f/11": np.empty(0, np.float32),
        "zeros/f/11": np.empty(0, np.int32),
    }


def test_a_softmax_may_round_to_either_side_of_a_half(rounding: ModuleType) -> None:
    lowest, highest = rounding.softmax_bounds(LOGITS, SCALE, 1 / 256)
    assert lowest.tolist() == [[107, 22, 86, 41]]
    assert highest.tolist() == [[107, 22, 86, 42]]
    arm, native = softmax([107, 22, 86, 42]), softmax([107, 22, 86, 41])
    assert rounding.compare_layers(arm, native, "f", LAYERS, "litert") == ({"SOFTMAX": 1}, 0)
    assert rounding.compare_layers(native, native, "f", LAYERS, "litert") == ({}, 0)


@pytest.mark.parametrize("steps", [[107, 22, 85, 41], [107, 22, 86, 43], [106, 23, 86, 41]])
def test_any_other_difference_is_unknown(rounding: ModuleType, steps: list[int]) -> None:
    arm, native = softmax(steps), softmax([107, 22, 86, 41])
    known, unknown = rounding.compare_layers(arm, native, "f", LAYERS, "litert")
    assert not known
    assert unknown == sum(a != b for a, b in zip(steps, [107, 22, 86, 41], strict=True))
    assert rounding.compare_layers(native, arm, "f", LAYERS, "litert") == ({}, unknown)


def test_what_both_get_wrong_is_unknown_too(rounding: ModuleType) -> None:
    assert (
        rounding.compare_layers(softmax([107, 22, 86, 40]), softmax([107, 22, 86, 40]), "f", LAYERS, "litert")[1] == 1
    )


def test_other_runtimes_softmax_gives_the_same_bytes(rounding: ModuleType) -> None:
    arm, native = softmax([107, 22, 86, 42]), softmax([107, 22, 86, 41])
    assert rounding.compare_layers(arm, native, "f", LAYERS, "tflite-runtime") == ({}, 1)


def test_a_softmax_of_too_many_labels_cannot_be_judged(rounding: ModuleType) -> None:
    """Four labels: within 0.012 steps of a half. From 254 on each score may be any of its neighbours."""
    for labels in (4, 253):
        lowest, highest = rounding.softmax_bounds(np.zeros((1, labels), np.int8), SCALE, 1 / 256)
        assert (highest - lowest <= 1).all()
    with pytest.raises(ValueError, match="254 labels"):
        rounding.softmax_bounds(np.zeros((1, 254), np.int8), SCALE, 1 / 256)


def test_all_that_layers_read_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A depthwise convolution may read the file's input."""
    pytest.importorskip("ai_edge_litert")
    monkeypatch.syspath_prepend(str(root / "tests" / "arm64"))
    import scores

    file = root / "tests" / "device" / "data" / "tiny.int8.tflite"
    pixels = [np.full((1, 8, 12, 3), value, np.uint8) for value in (0, 200)]
    made: dict[str, np.ndarray] = {}
    layers = scores.keep_layers(file, "litert", pixels, made)
    read = {index for _, inputs, _ in layers for index in inputs}
    kept = {int(name.rsplit("/", 1)[1]) for name in made if name.startswith(("tensors/", "constants/"))}
    assert read <= kept
    assert {int(name.rsplit("/", 1)[1]) for name in made if name.startswith("zeros/")} == kept
    first = layers[0][1][0]
    assert (made[f"tensors/{file.name}/{first}"] == np.concatenate(pixels)).all()


def test_only_negative_halves_of_the_shift_are_rounded_two_ways(rounding: ModuleType) -> None:
    # -2072 in channel 54 of the digits file is -6.49814; rounded to -1664 / 256, a half, before the shift.
    factor = 1724126262 / 2**31 / 2**8
    sums = np.array([[-2072], [2072], [-2071], [-2074], [0]])
    away, up = rounding.halves(sums, np.array([factor]))
    assert away.ravel().tolist() == [-7, 7, -6, -7, 0]
    assert up.ravel().tolist() == [-6, 7, -6, -7, 0]


def test_a_depthwise_convolution_of_its_whole_input_rounds_halves_two_ways(rounding: ModuleType) -> None:
    # One channel of 2 x 2 pixels, -2072 in all.
    factor = np.float64(1724126262 / 2**31 / 2**8)
    shared = {
        "tensors/f/1": np.array([[[[-100], [-100]], [[-100], [116]]]], np.int8),
        "scales/f/1": np.ones(1),
        "zeros/f/1": np.array([-128], np.int32),
        "constants/f/2": np.array([[[[-8], [-7]], [[-8], [-7]]]], np.int8),
        "scales/f/2": np.array([factor]),
        "constants/f/3": np.array([280], np.int32),
        "scales/f/4": np.ones(1),
        "zeros/f/4": np.array([-13], np.int32),
    }

    def gives(steps: int) -> dict[str, np.ndarray]:
        return {**shared, "tensors/f/4": np.array([[[[steps - 13]]]], np.int8)}

    layers = [("DEPTHWISE_CONV_2D", [1, 2, 3], 4)]
    assert rounding.compare_layers(gives(-6), gives(-7), "f", layers, "tflite-runtime") == ({layers[0][0]: 1}, 0)
    assert rounding.compare_layers(gives(-5), gives(-7), "f", layers, "tflite-runtime") == ({}, 1)
    assert rounding.compare_layers(gives(-6), gives(-7), "f", layers, "litert") == ({}, 1)
