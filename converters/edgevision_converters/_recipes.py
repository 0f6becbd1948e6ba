"""How a file can be quantized.

A recipe's name says what the numbers are:

    float32          weights and activations as trained
    float16          weights stored in 16 bits; ONNX Runtime computes in 16, TFLite in 32, or in 16 by choice
    dynamic          weights stored in 8 bits, activations quantized while running
    int8             weights and activations in 8 bits, with ranges found on calibration pictures
    int8-selective   int8, but for the layers that lose most, which compute in float32
    int8x16          weights in 8 bits, activations in 16, with ranges found on calibration pictures
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgevision_device import UsageError, require_known

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FLOAT_RECIPES", "RECIPES", "Recipe", "chosen", "find_recipe"]


@dataclass(frozen=True)
class Recipe:
    """What a recipe's name stands for; `describe` is what a file says of it.

    Attributes:
        name: as in file names and flags.
        weights: their type in the file.
        activations: their type while it runs.
        calibrated: ranges come from calibration pictures.
        tolerance: how far a score may lie from the model's before the export fails; None where that is measured only.
        most_verified: pictures on which an export compares the file with the model, if it has more; None for all.
    """

    name: str
    weights: str
    activations: str
    calibrated: bool = False
    tolerance: float | None = None
    most_verified: int | None = None

    def describe(self) -> str:
        """Return one line that decodes the name."""
        ranges = ", ranges from calibration pictures" if self.calibrated else ""
        return f"weights {self.weights}, activations {self.activations}{ranges}"


# float32 differs by the order of sums; float16 rounds each weight, and in ONNX each activation, by up to 2**-11 of it.
_FLOAT32 = Recipe("float32", "float32", "float32", tolerance=1e-3)

#: Recipes by file format and name.
RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    format: {recipe.name: recipe for recipe in recipes}
    for format, recipes in {
        "tflite": (
            _FLOAT32,
            Recipe("float16", "float16", "float32, or float16 where the runtime prefers it", tolerance=2e-2),
            Recipe("dynamic", "int8", "quantized to 8 bits while running"),
            Recipe("int8", "int8", "int8", calibrated=True),
            Recipe("int8-selective", "int8", "int8, float32 in the layers that lose most", calibrated=True),
            # Kernels for it use one core and take 20 times as long as those for int8.
            Recipe("int8x16", "int8", "int16", calibrated=True, most_verified=32),
        ),
        "onnx": (
            _FLOAT32,
            Recipe("float16", "float16", "float16", tolerance=2e-2),
            Recipe("dynamic", "uint8", "quantized to 8 bits while running"),
            Recipe("int8", "int8", "uint8", calibrated=True),
        ),
    }.items()
}

#: Recipes whose files must agree with the model, or the export fails.
FLOAT_RECIPES = tuple(name for name, recipe in RECIPES["tflite"].items() if recipe.tolerance is not None)


def find_recipe(format: str, name: str) -> Recipe:
    """Return a format's recipe. Raises UsageError with the closest match."""
    require_known("format", format, RECIPES)
    require_known(f"{format} recipe", name, RECIPES[format])
    return RECIPES[format][name]


def chosen(formats: list[str] | None = None, recipes: list[str] | None = None) -> list[tuple[str, str]]:
    """Return the (format, recipe) pairs that a user's choice means; None means all.

    >>> chosen(["onnx"], ["int8", "float16"])
    [('onnx', 'float16'), ('onnx', 'int8')]

    Raises:
        UsageError: an unknown name, or a choice that leaves nothing.
    """
    known = list(dict.fromkeys(recipe for each in RECIPES.values() for recipe in each))
    for name in formats or ():
        require_known("format", name, RECIPES)
    for name in recipes or ():
        require_known("recipe", name, known)
    pairs = [
        (format, recipe)
        for format in RECIPES
        for recipe in RECIPES[format]
        if (not formats or format in formats) and (not recipes or recipe in recipes)
    ]
    if not pairs:
        format, recipe = (formats or [*RECIPES])[0], (recipes or [""])[0]
        others = " and ".join(f".{each}" for each in RECIPES if recipe in RECIPES[each])
        raise UsageError(f"{recipe} exists for {others} only; recipes of .{format}: {', '.join(RECIPES[format])}")
    return pairs
