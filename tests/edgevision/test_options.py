"""Training options: their TOML file, their flags, and what is refused."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from edgevision import Augmentation, TrainingOptions
from edgevision._commands import train as command
from edgevision._commands._training_flags import training_options
from edgevision._options import format_options, read_options
from edgevision_device import FileError, UsageError


def parse(*line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    command.add_arguments(parser)
    return parser.parse_args(line)


FULL = TrainingOptions(
    "slim",
    (96, 64),
    strides=(1, 2, 2),
    width=0.5,
    convolution="full",
    augmentation=Augmentation(flip=True, shift_width=0.2, fill="reflect"),
    stop_at_accuracy=0.995,
    validation_split=0.25,
)


def test_a_file_gives_back_the_options_that_were_written(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(format_options(FULL, "digits"))
    values = read_options(file)
    assert values.pop("data") == "digits"
    assert TrainingOptions(**values) == FULL


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(format_options(FULL, "digits"))
    options, data, out = training_options(parse("--config", str(file), "--width", "2", "--no-flip", "--zoom", "0.3"))
    moved = replace(FULL.changes, flip=False, zoom=0.3)
    assert (options, data, out) == (replace(FULL, width=2.0, augmentation=moved), "digits", None)


def test_a_runs_own_file_repeats_it(tmp_path: Path) -> None:
    """Also where the augmentation alone would be refused."""
    options = TrainingOptions("efficientnet-lite0", augmentation=Augmentation(flip=True), copies=4)
    file = tmp_path / "config.toml"
    file.write_text(format_options(options, "digits"))
    assert training_options(parse("--config", str(file)))[0] == options
    more = training_options(parse("--config", str(file), "--zoom", "0.2"))[0]
    assert more == replace(options, augmentation=Augmentation(flip=True, zoom=0.2))


def test_flags_alone_give_what_the_code_gives() -> None:
    assert training_options(parse("digits", "--model", "slim"))[0] == TrainingOptions()
    flags = "--model slim --size 96x64 --strides 1,2,2 --width 0.5 --convolution full --augment off --flip"
    flags += " --shift-width 0.2 --fill reflect --stop-at-accuracy 0.995 --validation-split 0.25"
    assert training_options(parse(*flags.split()))[0] == FULL
    # One move more, on top of those that a network from scratch gets anyway.
    options = training_options(parse("--model", "slim", "--flip"))[0]
    assert options.changes == replace(TrainingOptions().changes, flip=True)


def test_every_option_has_a_flag() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    command.add_arguments(parser)
    known = {action.dest for action in parser._actions} | {"size_wh", "augmentation"}
    assert {field.name for field in fields(TrainingOptions)} <= known
    moves = {"rotation_deg": "rotation", "shear_deg": "shear"}
    assert {moves.get(field.name, field.name) for field in fields(Augmentation)} <= known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "config.toml 'epoch'; did you mean 'epochs'?"),
        ("[augmentation]\nflips = true", "'flips'; did you mean 'flip'?"),
        ('epochs = "3"', "epochs must be of type int, got '3'"),
        ("epochs = true", "epochs must be of type int, got True"),
        ("size_wh = [96]", "size_wh must be a list of two whole numbers, got [96]"),
        ("augmentation = true", "augmentation must be a table, such as [augmentation] with flip = true, got True"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_options(file)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_no_toml_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("epochs: 3")
    with pytest.raises(FileError, match=r"a\.toml is no TOML file: .*line 1"):
        read_options(tmp_path / "a.toml")
    with pytest.raises(FileError, match=r"cannot read .*b\.toml: No such file"):
        read_options(tmp_path / "b.toml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "dense", "width": 2.0}, "dense has no knob 'width'; its knobs: units"),
        ({"optimizer": "adamax"}, "unknown optimizer 'adamax'"),
        ({"unfreeze_from": "block5_conv1"}, "--unfreeze-from is for pretrained models"),
        ({"fine_tune_epochs": 3}, "--fine-tune-epochs needs --unfreeze-from LAYER"),
        ({"strides": (3, 1)}, "strides must be 1 or 2"),
        ({"copies": 3, "augmentation": Augmentation()}, "copies are of changed pictures, and no augmentation"),
        (
            {"model": "efficientnet-lite0", "augmentation": Augmentation(flip=True)},
            "add --copies K for those of K changed copies of each picture, or --unfreeze-from LAYER to fine-tune",
        ),
        (
            {"teacher": "run", "head": "logits"},
            "a pupil is trained with a softmax head, not logits; give --head softmax",
        ),
        ({"temperature": 3.0}, "--temperature needs --teacher RUN"),
        ({"optimizer": "sgd", "weight_decay": 0.1}, "--weight-decay needs --optimizer adamw"),
        ({"temperature": 0.0}, "temperature must lie between 0.1 and 100, got 0.0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        TrainingOptions(**values)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
