"""The JSON record, and what it refuses to say."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from edgevision_device import DataOrigin, FileError, Metadata, Normalization, UsageError, mark_pictures

FULL = Metadata(
    name="pets",
    labels=("cat", "dog"),
    size_wh=(224, 160),
    resize="letterbox",
    normalization=Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    color_order="bgr",
    recipe="int8",
    recipe_meaning="weights and activations in 8 bits",
    trained_on=DataOrigin("pets", "ab" * 32, 3000),
    calibrated_on=DataOrigin("pets", "cd" * 32, 200),
    temperature=1.25,
    reject_threshold=0.4,
    edgevision="0.1.0",
    fitted_on=DataOrigin("pets", "ef" * 32, 500, mark_pictures(["ef" * 32], most=64)),
)


def record(**changes: Any) -> dict[str, Any]:
    return {**json.loads(FULL.to_json(sha256="0" * 64, size_bytes=7)), **changes}


def test_the_record_is_read_back_as_it_was() -> None:
    assert Metadata.from_record(record()) == FULL


def test_the_record_is_one_line_and_names_the_model_part() -> None:
    text = FULL.to_json(sha256="0" * 64, size_bytes=7)
    assert "\n" not in text
    assert json.loads(text)["sha256"] == "0" * 64
    assert json.loads(text)["size_bytes"] == 7


def test_a_file_from_before_fits_were_written_down_is_read() -> None:
    plain = dataclasses.replace(FULL, fitted_on=None)
    text = plain.to_json(sha256="0" * 64, size_bytes=7)
    assert "fitted_on" not in text
    assert Metadata.from_record(json.loads(text)) == plain


OPTIONAL = ("logits", "recipe_meaning", "fitted_on", "random_weights")


@pytest.mark.parametrize("missing", [each.name for each in dataclasses.fields(Metadata) if each.name not in OPTIONAL])
def test_a_missing_key_is_named(missing: str) -> None:
    short = record()
    del short[missing]
    with pytest.raises(FileError, match=missing):
        Metadata.from_record(short)


@pytest.mark.parametrize("key", ["normalization", "trained_on", "labels", "size_wh", "temperature"])
def test_a_value_of_the_wrong_type_is_refused(key: str) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        Metadata.from_record(record(**{key: 3 if key != "temperature" else "hot"}))


@pytest.mark.parametrize("size_wh", [[], [8], [8, 8, 3], [0, 8]])
def test_a_record_that_makes_no_sense_is_a_file_error(size_wh: list[int]) -> None:
    with pytest.raises(FileError, match="input width and height"):
        Metadata.from_record(record(size_wh=size_wh))


def test_logits_are_recorded_only_of_a_file_that_gives_them() -> None:
    assert "logits" not in record()
    logits = dataclasses.replace(FULL, logits=True)
    assert Metadata.from_record(json.loads(logits.to_json(sha256="0" * 64, size_bytes=7))) == logits


def test_a_record_from_before_recipes_were_decoded_is_read() -> None:
    old = record()
    del old["recipe_meaning"]
    assert Metadata.from_record(old) == dataclasses.replace(FULL, recipe_meaning="")
    # Nothing to say is not written down: such a record stays what it was.
    assert json.loads(Metadata.from_record(old).to_json(sha256="0" * 64, size_bytes=7)) == old


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize": "letter"}, "unknown resize mode 'letter'; did you mean 'letterbox'?"),
        ({"color_order": "grb"}, "unknown color order 'grb'"),
        ({"labels": ()}, "a classifier needs labels, got none"),
        ({"labels": ("cat", "dog", "cat")}, "label 'cat' stands 2 times"),
        ({"size_wh": (0, 8)}, "must be positive, got (0, 8)"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"temperature": float("nan")}, "temperature must be positive, got nan"),
        ({"reject_threshold": 1.5}, "between 0 and 1, got 1.5"),
    ],
    ids=["resize", "color", "no-labels", "twice", "size", "temperature", "nan", "threshold"],
)
def test_metadata_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        dataclasses.replace(FULL, **changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("0..255", (0.0,), (1.0,)),
        ("0..1", (0.0,), (255.0,)),
        ("-1..1", (127.5,), (127.5,)),
        ("127:128", (127.0,), (128.0,)),
        ("1,2,3:4,5,6", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    ],
)
def test_a_pixel_range_is_read(text: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    assert Normalization.parse(text) == Normalization(mean, std)


@pytest.mark.parametrize("text", ["", "0-255", "1:2:3", "a:b", "1,2:3,4", "1,2,3:4", "0:0", "0:-1", "nan:nan"])
def test_a_pixel_range_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Normalization.parse(text)
