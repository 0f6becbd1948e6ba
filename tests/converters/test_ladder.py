"""The gate and the ladder: what passes, what fails and why, and in which order recipes are tried."""

from __future__ import annotations

import math

import pytest

from edgevision_converters import LADDER, Gate, Rung, ladder
from edgevision_device import CheckError, FileError, MissingPackageError, UsageError


@pytest.mark.parametrize(
    ("max_drop", "source", "file", "pictures", "passes"),
    [
        # MLPerf Mobile: 76.19 % in float32, so at least 74.6662 % of 50,000 pictures, which is 37,333.1.
        (None, 38_095, 37_334, 50_000, True),
        (None, 38_095, 37_333, 50_000, False),
        (None, 100, 98, 100, True),
        (None, 100, 97, 100, False),
        (None, 0, 0, 10, True),
        (None, 50, 60, 100, True),
        (0.3, 900, 897, 1000, True),
        (0.3, 900, 896, 1000, False),
        (0.7, 900, 893, 1000, True),
        (0.0, 900, 900, 1000, True),
        (0.0, 900, 899, 1000, False),
        (100.0, 10, 0, 10, True),
    ],
)
def test_the_gate_opens_up_to_its_limit(max_drop, source, file, pictures, passes):
    assert (Gate(max_drop).failure(source, file, pictures) is None) == passes


def test_a_failure_names_both_figures_and_the_limit():
    assert Gate(0.5).failure(976, 962, 1000) == (
        "top-1 96.2 % is 1.4 points below the source's 97.6 %, more than the 0.5 allowed"
    )
    assert Gate().failure(976, 950, 1000) == (
        "top-1 95.0 % is 97.3 % of the source's 97.6 %, less than the 98 % that MLPerf asks for"
    )


@pytest.mark.parametrize("max_drop", [-0.1, 100.5, math.nan, math.inf])
def test_a_limit_is_a_number_of_points(max_drop):
    with pytest.raises(UsageError, match="--max-drop takes percentage points between 0 and 100, got"):
        Gate(max_drop)


@pytest.mark.parametrize("counts", [(5, 11, 10), (-1, 5, 10), (0, 0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="right of"):
        Gate().failure(*counts)


def test_the_ladder_stops_at_the_first_that_passes():
    made: list[str] = []
    told: list[Rung[int]] = []

    def make(recipe: str) -> int:
        made.append(recipe)
        if recipe == "int8-selective":
            raise FileError("litert refuses the model")
        return {"int8": 900, "int8x16": 960}[recipe]

    climbed = ladder(make, lambda right: Gate(0.5).failure(962, right, 1000), on_rung=told.append)
    assert LADDER == ("int8", "int8-selective", "int8x16", "dynamic", "float16")
    assert made == ["int8", "int8-selective", "int8x16"]
    assert tuple(told) == climbed.rungs
    assert [rung.describe() for rung in climbed.rungs] == [
        "int8: top-1 90.0 % is 6.2 points below the source's 96.2 %, more than the 0.5 allowed",
        "int8-selective: litert refuses the model",
        "int8x16: passed",
    ]
    assert [rung.made for rung in climbed.rungs] == [900, None, 960]
    assert climbed.passed is climbed.require() is climbed.rungs[2]


@pytest.mark.parametrize("error", [CheckError("it"), MissingPackageError("it")])
def test_where_none_passes_the_error_holds_every_reason(error):
    def make(recipe: str) -> str:
        if recipe == "b":
            raise error
        return recipe

    climbed = ladder(make, lambda made: f"{made} is too coarse", ["a", "b"])
    assert climbed.passed is None
    with pytest.raises(CheckError) as raised:
        climbed.require()
    assert str(raised.value) == "no recipe passes: a: a is too coarse; b: it"
    assert raised.value.exit_code == 1


def test_where_no_file_can_be_made_the_error_says_so_and_each_reason_once():
    def make(recipe: str) -> str:
        reason = "no kernel" if recipe == "dynamic" else "no shape"
        raise FileError(f"own.{recipe}.onnx cannot be made: {reason}")

    climbed = ladder(make, lambda made: None, ["int8", "dynamic", "float16"])
    assert climbed.passed is None
    assert climbed.refused
    with pytest.raises(FileError) as raised:
        climbed.require()
    assert str(raised.value) == (
        "no file can be made: int8, float16: own.onnx cannot be made: no shape; "
        "dynamic: own.onnx cannot be made: no kernel"
    )
    assert raised.value.exit_code == 2


def test_a_file_that_was_made_and_failed_a_check_is_no_refusal():
    def make(recipe: str) -> str:
        raise CheckError("scores differ") if recipe == "b" else FileError("no kernel")

    climbed = ladder(make, lambda made: None, ["a", "b"])
    assert not climbed.refused
    with pytest.raises(CheckError, match=r"^no recipe passes: a: no kernel; b: scores differ$"):
        climbed.require()


def test_a_mistake_of_the_caller_ends_the_climb():
    def make(recipe: str) -> str:
        raise UsageError("int8 needs calibration pictures")

    with pytest.raises(UsageError, match="needs calibration"):
        ladder(make, lambda made: None)


def test_no_rungs_are_no_pass():
    assert ladder(str, lambda made: None, []).passed is None
