"""The arithmetic of layers: sizes, parameters, multiplications, and the two commands that show them."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from rich.console import Console

from edgevision._arithmetic import LayerCost, layer_costs, output_size, total_costs
from edgevision._commands import layers as layers_command
from edgevision._commands import models as models_command
from edgevision._networks import NETWORKS, RANDOM
from edgevision_device import FileError, UsageError


@settings(deadline=None)
@given(size=st.integers(1, 40), kernel=st.integers(1, 9), stride=st.integers(1, 5), padding=st.integers(0, 4))
def test_the_formula_counts_the_places_of_a_window(size: int, kernel: int, stride: int, padding: int) -> None:
    places = len(range(0, size + 2 * padding - kernel + 1, stride))
    if not places:
        with pytest.raises(UsageError, match=f"a window of {kernel} does not fit on {size} pixels"):
            output_size(size, kernel, stride, padding)
        return
    assert output_size(size, kernel, stride, padding, exact=False) == places
    reaches_the_end = (size + 2 * padding - kernel) % stride == 0
    if reaches_the_end:
        assert output_size(size, kernel, stride, padding) == places
    else:
        with pytest.raises(UsageError, match="is no whole number; what fits: ") as refused:
            output_size(size, kernel, stride, padding)
        for name, values in offered(str(refused.value)).items():
            for value in values:
                changed = {"size": size, "kernel": kernel, "stride": stride, "padding": padding, name: value}
                assert output_size(*changed.values(), exact=True) >= 1


def offered(message: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for part in message.split("what fits: ")[1].replace(", or ", ", ").split(", "):
        name, values = part.removeprefix("or ").split(" ", 1)
        found[name] = [int(value) for value in values.split(" or ")]
    assert found
    return found


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "kernel", "stride"), [(28, 3, 1), (28, 3, 2), (29, 3, 2), (13, 2, 2), (7, 5, 3)])
def test_the_named_rules_are_those_of_keras(size: int, kernel: int, stride: int, padding: str) -> None:
    convolution = layers.Conv2D(1, kernel, stride, padding)
    assert convolution.compute_output_shape((None, size, size, 3))[1] == output_size(size, kernel, stride, padding)
    pooling = layers.MaxPooling2D(kernel, stride, padding)
    assert pooling.compute_output_shape((None, size, size, 3))[1] == output_size(size, kernel, stride, padding)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((0, 3), "size must be at least 1, got 0"),
        ((8, 3, 0), "stride must be at least 1, got 0"),
        ((8, 3, 1, -1), "padding must be at least 0, got -1"),
        ((8, 3, 1, "full"), "unknown padding 'full'; allowed: a number of pixels, valid, same"),
        ((3, 7, 1, 1), "a window of 7 does not fit on 3 pixels with 1 added at each end; give at least 5 pixels"),
    ],
)
def test_nonsense_is_refused(arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        output_size(*arguments)


def test_each_kind_of_layer_is_counted() -> None:
    inputs = keras.Input((10, 12, 4), name="pixels")
    x = layers.Conv2D(8, (3, 2), strides=2, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv2D(8, 3, groups=4, padding="same", use_bias=False, name="grouped")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(5, 3, name="separable")(x)
    x = layers.Conv2DTranspose(2, 3, strides=2, name="transposed")(x)
    x = layers.PReLU(name="prelu")(x)
    x = layers.Dense(7, name="per_pixel")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(3, name="scores")(x)
    model = keras.Model(inputs, x)
    costs = {cost.name: cost for cost in layer_costs(model)}
    macs = {
        "pixels": 0,
        "conv": 5 * 6 * 3 * 2 * 4 * 8,
        "bn": 0,
        "grouped": 5 * 6 * 3 * 3 * 2 * 8,
        "depthwise": 3 * 4 * 3 * 3 * 16,
        "separable": 1 * 2 * (3 * 3 * 16 + 16 * 5),
        "transposed": 1 * 2 * 3 * 3 * 5 * 2,  # each pixel of its input is spread once
        "prelu": None,
        "per_pixel": 3 * 5 * 2 * 7,
        "flatten": 0,
        "dropout": 0,
        "scores": 3 * 5 * 7 * 3,
    }
    assert {name: cost.macs for name, cost in costs.items()} == macs
    assert costs["conv"] == LayerCost("conv", "Conv2D", (5, 6, 8), 3 * 2 * 4 * 8 + 8, macs["conv"])
    assert total_costs(list(costs.values())) == (model.count_params(), sum(filter(None, macs.values())))


def test_nested_models_are_opened_and_models_without_a_size_refused() -> None:
    inner = keras.Sequential([keras.Input((8, 6, 3)), layers.Conv2D(4, 3, name="conv")], name="inner")
    outer = keras.Sequential([keras.Input((8, 6, 3)), inner, layers.Flatten(name="flatten")])
    assert [(cost.name, cost.macs) for cost in layer_costs(outer)] == [("inner/conv", 6 * 4 * 27 * 4), ("flatten", 0)]
    anywhere = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv")])
    with pytest.raises(UsageError, match=r"layer 'conv' has no fixed output size, \(None, None, 4\)"):
        layer_costs(anywhere)


@pytest.mark.parametrize(
    ("build", "parameters", "macs", "published"),
    [
        # Howard et al. 2017, table 8: 569 M and 4.2 M.
        (partial(keras.applications.MobileNet, weights=cast("str", None)), 4_253_864, 568_740_352, (4.2e6, 569e6)),
        # Sandler et al. 2018, table 4: 300 M and 3.4 M (without the statistics of batch normalization; Keras: 3.5 M).
        (partial(NETWORKS["mobilenetv2"].classifier, RANDOM), 3_538_984, 300_774_272, (3.47e6, 300e6)),
        # Its table: 407 M and 4.7 M; see `layer_costs` for what it counts.
        (partial(NETWORKS["efficientnet-lite0"].classifier, RANDOM), 4_694_024, 385_187_552, (4.7e6, 407e6)),
    ],
    ids=["MobileNetV1", "MobileNetV2", "EfficientNet-Lite0"],
)
def test_published_networks_cost_what_is_published(
    build: Callable[[], Any], parameters: int, macs: int, published: tuple[float, float]
) -> None:
    model = build()
    costs = layer_costs(model)
    assert total_costs(costs) == (parameters, macs)
    assert model.count_params() == parameters
    assert parameters == pytest.approx(published[0], rel=0.025)
    # A table rounds to a million; that of EfficientNet-Lite counts 5 to 6 % more.
    assert macs == pytest.approx(published[1], rel=0.06 if "lite" in model.name else 0.003)
    assert None not in [cost.macs for cost in costs]


def call(command: ModuleType, *line: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in line]))


def test_models_lists_every_network_without_keras_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(models_command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(NETWORKS)  # what is no terminal gets whole lines
    assert "dropout; knobs: width 1.0, depth 1, dropout 0.2, strides auto" in lines[1]
    assert call(models_command, "binary", "resnet50", "--json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["name"] for record in records] == ["binary", "resnet50"]
    assert records[0]["knobs"] == {"units": 512}
    assert records[1]["pretrained"]
    assert "macs" not in records[0]


@pytest.mark.parametrize("width", [80, 165])
@pytest.mark.parametrize("counts", [{}, {"classes": 100_000, "parameters": 138_357_544, "macs": 15_470_264_320}])
def test_a_terminal_cuts_no_name_and_no_number(width: int, counts: dict[str, int]) -> None:
    shown = io.StringIO()
    records = [{**models_command.described(network), **counts} for network in NETWORKS.values()]
    models_command.print_networks(records, Console(file=shown, width=width, force_terminal=True, color_system=None))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in shown.getvalue()
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == list(NETWORKS)
    assert all(f"{number:,}" in lines[1] for number in counts.values())
    if not counts or width == 165:
        words = shown.getvalue().split()
        assert all(word in words for network in NETWORKS.values() for word in network.summary.split())
        assert any(line.strip().startswith("knobs: units 512") for line in lines)


def test_models_counts_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(models_command, "dense", "slim", "--costs", "--size", "28x20", "--classes", 3, "--json") == 0
    printed = capsys.readouterr()
    dense, slim = (json.loads(line) for line in printed.out.splitlines())
    assert dense["macs"] == 28 * 20 * 3 * 128 + 128 * 3
    assert dense["parameters"] == dense["macs"] + 128 + 3
    assert (slim["counted_size_wh"], slim["classes"]) == ([28, 20], 3)
    assert "building slim" in printed.err
    assert call(models_command, "binary", "--costs") == 0
    assert "150x150        2   9,495,074  64,128,768" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--classes is what to count for; add --costs"):
        call(models_command, "--classes", 3)
    with pytest.raises(UsageError, match="unknown model 'slime'; did you mean 'slim'"):
        call(models_command, "slime")
    with pytest.raises(UsageError, match="classes must lie between 2 and 100000, got 1"):
        call(models_command, "--costs", "--classes", 1)


def test_layers_of_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    line = ("conv-pool", "--size", "28x20", "--set", "filters=16", "--set", "depth=1", "--classes", 4)
    assert call(layers_command, *line) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table[0] == ["layer", "kind", "output", "parameters", "MACs"]
    assert ["conv1", "Conv2D", "26x18x16", "448", f"{26 * 18 * 27 * 16:,}"] in table
    assert ["pool1", "MaxPooling2D", "13x9x16", "0", "0"] in table
    assert ["scores", "Dense", "4", "516", "512"] in table
    model = NETWORKS["conv-pool"].with_head((28, 20), 4, filters=16, depth=1)
    assert table[-1][:2] == ["all", f"{model.count_params():,}"]
    assert call(layers_command, *line, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["parameters"] == model.count_params()
    assert sum(layer["macs"] for layer in record["layers"]) == record["macs"]
    assert record["layers"][2]["output_shape"] == [18, 26, 16]


def test_layers_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6, 8, 3)), layers.Flatten(), layers.PReLU(name="prelu"), layers.Dense(2)])
    model.save(tmp_path / "own.keras")
    assert call(layers_command, tmp_path / "own.keras") == 0
    printed = capsys.readouterr().out
    assert f"{6 * 8 * 3 * 2 + 2 + 6 * 8 * 3}" in printed
    assert "not counted: prelu" in printed
    for line, reason in (
        ((tmp_path / "own.keras", "--size", 9), "--size is for a network's name"),
        ((tmp_path / "none.keras",), "no such model file"),
        ((tmp_path,), "is no run folder"),
    ):
        with pytest.raises((UsageError, FileError), match=reason):
            call(layers_command, *line)


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ((227, "--kernel", 11, "--stride", 4), "(227 - 11 + 2 * 0) / 4 + 1 = 55"),
        ((28, "--kernel", 3, "--padding", 1), "(28 - 3 + 2 * 1) / 1 + 1 = 28"),
        ((29, "--kernel", 3, "--stride", 2, "--padding", "same"), "ceil(29 / 2) = 15"),
        ((28, "--kernel", 3, "--stride", 2, "--padding", "valid"), "floor((28 - 3) / 2) + 1 = 13"),
    ],
)
def test_the_arithmetic_of_one_layer(line: tuple[Any, ...], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(layers_command, "--input-size", *line) == 0
    assert capsys.readouterr().out == printed + "\n"
    assert call(layers_command, "--input-size", *line, "--json") == 0
    assert json.loads(capsys.readouterr().out)["output_size"] == int(printed.split(" = ")[1])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (("--input-size", 28, "--kernel", 3, "--stride", 2), r"= 13\.5 is no whole number; what fits: size 27 or 29"),
        (("--input-size", 28), "--input-size needs --kernel N"),
        (("slim", "--input-size", 28, "--kernel", 3), "leave out slim"),
        (("slim", "--kernel", 3), "--kernel belongs to --input-size"),
        ((), "give a MODEL, or --input-size"),
        (("slim", "--set", "width"), "cannot read the knob 'width'; allowed: KNOB=VALUE"),
        (("slim", "--set", "wide=1"), "slim has no knob 'wide'"),
        (("slimm",), "unknown model 'slimm'; did you mean 'slim'"),
    ],
)
def test_layers_refuses(line: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        call(layers_command, *line)


def test_macs_are_what_the_kernel_multiplies() -> None:
    """Count the products one by one for a small convolution with stride and padding."""
    height, width, kernel, stride = 5, 7, 3, 2
    model = keras.Sequential([keras.Input((height, width, 2)), layers.Conv2D(4, kernel, stride, name="conv")])
    tops, lefts = range(0, height - kernel + 1, stride), range(0, width - kernel + 1, stride)
    products = sum(np.ones((kernel, kernel, 2, 4)).sum() for _ in tops for _ in lefts)
    assert layer_costs(model)[0].macs == products
