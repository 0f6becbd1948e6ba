"""Which files a choice of formats and recipes means."""

from __future__ import annotations

import pytest

from edgevision_converters import FLOAT_RECIPES, RECIPES, chosen
from edgevision_device import FORMATS, UsageError


def test_everything_is_the_default() -> None:
    everything = [(format, recipe) for format, recipes in RECIPES.items() for recipe in recipes]
    assert chosen() == chosen(None, None) == chosen([], []) == everything
    assert len(everything) == 7
    assert set(RECIPES) == set(FORMATS)
    assert set(FLOAT_RECIPES) < set(RECIPES["tflite"])


@pytest.mark.parametrize(
    ("formats", "recipes", "pairs"),
    [
        (["onnx"], None, [("onnx", "float32"), ("onnx", "dynamic"), ("onnx", "int8")]),
        (None, ["int8"], [("tflite", "int8"), ("onnx", "int8")]),
        (["onnx", "tflite"], ["float16"], [("tflite", "float16")]),
        (["tflite"], ["int8", "float32", "int8"], [("tflite", "float32"), ("tflite", "int8")]),
    ],
    ids=["a format", "a recipe", "a recipe of one format", "order and repetition do not matter"],
)
def test_a_choice_keeps_the_order_of_recipes(
    formats: list[str] | None, recipes: list[str] | None, pairs: list[tuple[str, str]]
) -> None:
    assert chosen(formats, recipes) == pairs


@pytest.mark.parametrize(
    ("formats", "recipes", "message"),
    [
        (["tflit"], None, "unknown format 'tflit'; did you mean 'tflite'? known: tflite, onnx"),
        (None, ["int9"], "unknown recipe 'int9'; did you mean 'int8'? known: float32, float16, dynamic, int8"),
        (None, ["quick"], "unknown recipe 'quick'; known: float32, float16, dynamic, int8"),
        (
            ["onnx"],
            ["float16"],
            "unknown onnx recipe 'float16'; did you mean 'float32'? known: float32, dynamic, int8",
        ),
    ],
    ids=["format", "recipe", "nothing close", "a recipe that the format lacks"],
)
def test_an_unknown_name_is_told_its_closest_match(
    formats: list[str] | None, recipes: list[str] | None, message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        chosen(formats, recipes)
    assert str(raised.value) == message
