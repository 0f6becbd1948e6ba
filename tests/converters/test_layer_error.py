"""The quantization error of each layer: against TensorFlow's Quantization Debugger, and with a layer spoilt."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import ExportedFile, LayerError, layer_errors, worst_layers
from edgevision_converters._layer_error import IDEAL_RMS_OVER_SCALE
from edgevision_converters._tflite_flatbuffer import pack, unpack
from edgevision_converters._tflite_names import layers_with_matrix, name_tensors
from edgevision_device import read_model_file

if TYPE_CHECKING:
    import keras

    from edgevision_converters import Calibration, SourceModel


def model_of(exported: dict[str, ExportedFile], name: str) -> bytes:
    return read_model_file(exported[name].path).model


@pytest.fixture(scope="module")
def int8(exported: dict[str, ExportedFile]) -> bytes:
    return model_of(exported, "patches.int8.tflite")


@pytest.fixture(scope="module")
def float32(exported: dict[str, ExportedFile]) -> bytes:
    return model_of(exported, "patches.float32.tflite")


@pytest.fixture(scope="module")
def errors(int8: bytes, float32: bytes, held_out: Any) -> list[LayerError]:
    return list(layer_errors(int8, float32, held_out.pixels[:16]).layers)


def test_every_layer_is_named_as_in_keras(errors: list[LayerError]) -> None:
    by_name = {each.layer: each for each in errors}
    assert list(by_name)[:2] == ["first", "second"]
    assert (by_name["first"].operator, by_name["second"].operator) == ("CONV_2D", "DEPTHWISE_CONV_2D")
    assert {"third", "scores"} <= set(by_name)
    assert all(each.scale for each in errors)


def test_own_errors_are_about_those_of_rounding(errors: list[LayerError]) -> None:
    for each in errors:
        assert each.rms_over_scale is not None
        # The few pictures of calibration leave some logits outside of the range that they found.
        if each.clipped < 0.001:
            assert 0.1 < each.rms_over_scale < 0.6, each
            assert not each.suspect
    assert sum(each.clipped < 0.001 for each in errors) >= 5
    assert pytest.approx(0.288675, abs=1e-6) == IDEAL_RMS_OVER_SCALE
    # Bytes go in without rounding, so that the first layer inherits nothing.
    assert errors[0].snr_db == errors[0].total_snr_db
    # Behind it all layers inherit; the softmax may forget.
    assert all(each.total_snr_db < each.snr_db for each in errors[1:])


def test_the_source_itself_can_be_compared_with(
    int8: bytes, errors: list[LayerError], source: SourceModel, held_out: Any
) -> None:
    found = layer_errors(int8, source, held_out.pixels[:16]).layers
    assert [each.layer for each in found] == [each.layer for each in errors]
    assert [each.snr_db for each in found] == pytest.approx([each.snr_db for each in errors], abs=0.05)


def spoil(model: bytes, name: str) -> bytes:
    """Return the model with the weights of one layer's channels in the opposite order."""
    parsed = unpack(model)
    graph = parsed.subgraphs[0]
    (tensor,) = (each for each in graph.tensors if each.name.decode() == f"{name}/weights")
    buffer = parsed.buffers[tensor.buffer]
    buffer.data = np.ascontiguousarray(buffer.data.reshape(tuple(tensor.shape))[::-1]).reshape(-1)
    return pack(parsed)


def test_a_spoilt_layer_is_told_from_those_behind_it(
    int8: bytes, float32: bytes, errors: list[LayerError], held_out: Any
) -> None:
    found = layer_errors(spoil(int8, "third"), float32, held_out.pixels[:16]).layers
    assert {each.layer for each in found if each.suspect} - {each.layer for each in errors if each.suspect} == {"third"}
    assert worst_layers(found, 1)[0].layer == "third"
    for before, after in zip(errors, found, strict=True):
        if after.layer in ("first", "second", "add"):
            assert after == before
        elif after.layer == "third":
            assert after.snr_db < 10 < before.snr_db
        else:
            # Behind it their own error is about what it was, and the total one is not.
            assert after.rms_over_scale < 2 * before.rms_over_scale + 0.1
            assert after.total_snr_db < min(before.total_snr_db, 10)


def test_values_outside_of_the_range_are_counted(
    int8: bytes, float32: bytes, errors: list[LayerError], held_out: Any
) -> None:
    parsed = unpack(int8)
    graph = parsed.subgraphs[0]
    (tensor,) = (each for each in graph.tensors if each.name == b"third")
    tensor.quantization.scale = tensor.quantization.scale / 4
    found = {each.layer: each for each in layer_errors(pack(parsed), float32, held_out.pixels[:16]).layers}
    before = {each.layer: each for each in errors}
    assert found["third"].scale == before["third"].scale / 4
    assert before["third"].clipped < 0.001 < 0.01 < found["third"].clipped < 0.5
    assert found["third"].suspect


def test_sixteen_bits_are_not_judged_by_the_rule_for_eight(
    exported: dict[str, ExportedFile], float32: bytes, held_out: Any
) -> None:
    found = layer_errors(model_of(exported, "patches.int8x16.tflite"), float32, held_out.pixels[:4]).layers
    first = next(each for each in found if each.layer == "first")
    assert first.bits == 16
    assert first.rms_over_scale is not None
    assert first.rms_over_scale > 1
    assert not any(each.suspect for each in found)


def test_worst_layers_come_first(errors: list[LayerError]) -> None:
    worst = worst_layers(errors, 3)
    assert len(worst) == 3
    assert [each.snr_db for each in worst] == sorted(each.snr_db for each in errors)[:3]


@pytest.mark.parametrize("recipe", ["float16", "dynamic"])
def test_recipes_that_compute_in_float_have_no_steps(
    exported: dict[str, ExportedFile], float32: bytes, held_out: Any, recipe: str
) -> None:
    found = layer_errors(model_of(exported, f"patches.{recipe}.tflite"), float32, held_out.pixels[:4]).layers
    assert all(each.scale is each.rms_over_scale is None and not each.suspect for each in found)
    exact = [each.layer for each in found if each.snr_db == math.inf]
    assert "pixels/mul" in exact
    assert {each.layer for each in worst_layers(found, 99)} == {each.layer for each in found} - set(exact)
    noisy = [each for each in found if each.layer == "third"]
    assert 30 < noisy[0].snr_db < 100
    # An infinite ratio has no number in JSON.
    records = json.loads(json.dumps([each.to_record() for each in found], allow_nan=False))
    assert [each["snr_db"] is None for each in records] == [each.snr_db == math.inf for each in found]
    assert [each["exact"] for each in records] == [each.snr_db == math.inf for each in found]


def test_a_dead_layer_is_not_taken_for_a_perfect_one(int8: bytes, float32: bytes, held_out: Any) -> None:
    parsed = unpack(float32)
    graph = parsed.subgraphs[0]
    for tensor in graph.tensors:
        if tensor.name in (b"third/weights", b"third/bias"):
            parsed.buffers[tensor.buffer].data = np.zeros_like(parsed.buffers[tensor.buffer].data)
    found = {each.layer: each for each in layer_errors(int8, pack(parsed), held_out.pixels[:4]).layers}
    record = json.loads(json.dumps(found["third"].to_record(), allow_nan=False))
    assert record["snr_db"] is record["total_snr_db"] is None
    assert record["exact"] is record["total_exact"] is False
    assert worst_layers(list(found.values()), 1) == [found["third"]]


def test_of_a_file_of_another_network_nothing_is_said(int8: bytes, float32: bytes, held_out: Any) -> None:
    import keras

    inputs = keras.Input((20, 28, 3))
    other = keras.layers.Dense(4, activation="softmax", name="third")(keras.layers.Flatten(name="first")(inputs))
    network = convert(keras.Model(inputs, other), held_out.pixels[:4].astype(np.float32), int8=True)
    found = layer_errors(named(network, {"first": False, "third": True}), float32, held_out.pixels[:1])
    assert found.layers == ()
    assert {"first", "third"} <= {name.split("/")[0] for name in found.unmatched}


def test_tensors_are_matched_by_their_place_and_not_by_their_names(
    int8: bytes, float32: bytes, errors: list[LayerError], held_out: Any
) -> None:
    parsed = unpack(int8)
    for tensor in parsed.subgraphs[0].tensors:
        tensor.name = b"third"
    found = layer_errors(pack(parsed), float32, held_out.pixels[:16])
    assert (list(found.layers), found.unmatched) == (errors, ())


def test_a_layer_that_computes_something_else_is_not_compared_nor_are_those_that_read_it(
    int8: bytes, float32: bytes, errors: list[LayerError], held_out: Any
) -> None:
    parsed = unpack(float32)
    graph = parsed.subgraphs[0]
    changed = next(each for each in graph.operators if graph.tensors[each.outputs[0]].name == b"third")
    changed.builtinOptions.fusedActivationFunction = 1 - changed.builtinOptions.fusedActivationFunction
    found = layer_errors(int8, pack(parsed), held_out.pixels[:16])
    assert "third" in found.unmatched
    kept = [each.layer for each in found.layers]
    assert "first" not in kept  # nothing leads there any more
    assert kept == [each.layer for each in errors][-len(kept) :]
    own = {each.layer: each.snr_db for each in errors}
    assert {each.layer: each.snr_db for each in found.layers} == {name: own[name] for name in kept}


def converter(model: keras.Model, pictures: np.ndarray, *, int8: bool) -> Any:
    import tensorflow as tf

    def representative() -> Iterator[list[np.ndarray]]:
        for picture in pictures:
            yield [picture[np.newaxis]]

    made = tf.lite.TFLiteConverter.from_keras_model(model)
    if int8:
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = representative
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return made


def convert(model: keras.Model, pictures: np.ndarray, *, int8: bool) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return converter(model, pictures, int8=int8).convert()


def named(model: bytes, layers: dict[str, bool]) -> bytes:
    parsed = unpack(model)
    name_tensors(parsed, layers)
    return pack(parsed)


def test_own_errors_are_those_of_tensorflows_debugger(
    source: SourceModel, calibration: Calibration, held_out: Any
) -> None:
    import tensorflow as tf

    mapped = ((calibration.pixels_nhwc.astype(np.float32) - 127) / 128)[:20]
    seen = ((held_out.pixels.astype(np.float32) - 127) / 128)[:8]
    layers = layers_with_matrix(source.core)
    quantized, reference = (named(convert(source.core, mapped, int8=each), layers) for each in (True, False))
    found: Any = layer_errors(quantized, reference, seen).layers  # pyright: ignore[reportArgumentType]
    own = [each.rms_over_scale for each in found if each.operator in ("CONV_2D", "DEPTHWISE_CONV_2D")]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that its interpreter is deprecated
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter(source.core, mapped, int8=True),
            debug_dataset=lambda: ([picture[np.newaxis]] for picture in seen),
        )
        debugger.run()
        text = io.StringIO()
        debugger.layer_statistics_dump(text)
    text.seek(0)
    theirs = [
        math.sqrt(float(row["mean_squared_error"])) / float(row["scale"])
        for row in csv.DictReader(text)
        if row["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]
    assert len(own) == len(theirs) == 3
    # Its kernels round the sums in their own way, by less than a tenth of a step.
    assert own == pytest.approx(theirs, abs=0.03)
