"""Which files a choice of formats and recipes means."""

from __future__ import annotations

import pytest

from edgevision_converters import FLOAT_RECIPES, RECIPES, chosen
from edgevision_device import FORMATS, UsageError


def test_everything_is_the_default() -> None:
    everything = [(format, recipe) for format, recipes in RECIPES.items() for recipe in recipes]
    assert chosen() == chosen(None, None) == chosen([], []) == everything
    assert len(everything) == 10
    assert set(RECIPES) == set(FORMATS)
    assert set(FLOAT_RECIPES) < set(RECIPES["tflite"])


@pytest.mark.parametrize(
    ("formats", "recipes", "pairs"),
    [
        (["onnx"], None, [("onnx", name) for name in ("float32", "float16", "dynamic", "int8")]),
        (None, ["int8"], [("tflite", "int8"), ("onnx", "int8")]),
        (["onnx", "tflite"], ["int8x16"], [("tflite", "int8x16")]),
        (["tflite"], ["int8", "float32", "int8"], [("tflite", "float32"), ("tflite", "int8")]),
    ],
    ids=["a format", "a recipe", "a recipe of one format", "order and repetition do not matter"],
)
def test_a_choice_keeps_the_order_of_recipes(
    formats: list[str] | None, recipes: list[str] | None, pairs: list[tuple[str, str]]
) -> None:
    assert chosen(formats, recipes) == pairs


KNOWN = "float32, float16, dynamic, int8, int8-selective, int8x16"


@pytest.mark.parametrize(
    ("formats", "recipes", "message"),
    [
        (["tflit"], None, "unknown format 'tflit'; did you mean 'tflite'? known: tflite, onnx"),
        (
            None,
            ["int9"],
            f"unknown recipe 'int9'; did you mean 'int8'? known: {KNOWN}",
        ),
        (None, ["quick"], f"unknown recipe 'quick'; known: {KNOWN}"),
        (
            ["onnx"],
            ["int8x16"],
            "int8x16 exists for .tflite only; recipes of .onnx: float32, float16, dynamic, int8",
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


def test_a_recipe_decodes_its_name() -> None:
    lines = {name: recipe.describe() for recipes in RECIPES.values() for name, recipe in recipes.items()}
    assert lines["int8x16"] == "weights int8, activations int16, ranges from calibration pictures"
    assert lines["float16"] == "weights float16, activations float16"
    assert len(set(lines.values())) == len(lines)
    calibrated = {name for name, recipe in RECIPES["tflite"].items() if recipe.calibrated}
    assert calibrated == {name for name in lines if name.startswith("int8")}
