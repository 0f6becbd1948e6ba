"""What the files of each recipe compute in, as the benchmark reads it from them."""

from __future__ import annotations

from typing import Any

import pytest

from edgevision_benchmarks._cost import read_cost
from edgevision_device import read_model_file


@pytest.mark.parametrize(
    ("recipe", "kernels"),
    [
        ("float32", {"float32"}),
        ("float16", {"float32"}),
        ("int8", {"int8"}),
        ("int8x16", {"int16"}),
    ],
)
def test_a_recipe_s_kernels_are_told(exported: dict[str, Any], recipe: str, kernels: set[str]) -> None:
    file = next(each for each in exported.values() if each.path.name.endswith(f".{recipe}.tflite"))
    cost = read_cost(read_model_file(file.path).model, "litert")
    assert cost is not None
    assert set(cost.kernels) == kernels


def test_weights_in_8_bits_with_float_activations_are_hybrid(exported: dict[str, Any]) -> None:
    file = next(each for each in exported.values() if each.path.name.endswith(".dynamic.tflite"))
    cost = read_cost(read_model_file(file.path).model, "litert")
    assert cost is not None
    assert "hybrid" in cost.kernels
