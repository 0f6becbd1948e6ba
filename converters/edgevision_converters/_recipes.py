"""How a file can be quantized.

A recipe's name says what the numbers are:

    float32   weights and activations as trained
    float16   weights stored in 16 bits, computed in 32
    dynamic   weights stored in 8 bits, activations quantized while running
    int8      weights and activations in 8 bits, with ranges found on calibration pictures
"""

from __future__ import annotations

from edgevision_device import require_known

__all__ = ["FLOAT_RECIPES", "RECIPES", "chosen"]

#: Recipes by file format.
RECIPES: dict[str, tuple[str, ...]] = {
    "tflite": ("float32", "float16", "dynamic", "int8"),
    "onnx": ("float32", "dynamic", "int8"),
}

#: Recipes whose files must agree with the Keras model, or the export fails.
FLOAT_RECIPES = ("float32", "float16")


def chosen(formats: list[str] | None = None, recipes: list[str] | None = None) -> list[tuple[str, str]]:
    """Return the (format, recipe) pairs that a user's choice means; None means all.

    >>> chosen(["onnx"], ["int8", "float16"])
    [('onnx', 'int8')]

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
        require_known(f"{' or '.join(formats or ())} recipe", (recipes or [""])[0], RECIPES[(formats or ["tflite"])[0]])
    return pairs
