"""Which layers `int8-selective` computes in float: those that lose most, on pictures of all labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import Calibration, SourceModel, float_operators
from edgevision_converters import _tflite as tflite

if TYPE_CHECKING:
    import keras

LAYERS = ("first", "second", "third", "logits")


def with_a_spoilt_layer(spoilt: str) -> keras.Model:
    """Four layers, one with outliers among its weights that leave the others next to no steps.

    They stand where only 0 comes in, behind a channel that is off, so that the float model does not know of them.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    inputs = x = keras.Input((20, 28, 3), name="pixels")
    x = layers.Rescaling(1 / 128, -127 / 128, name="normalization")(x)
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="first")(x)
    x = layers.Conv2D(12, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Conv2D(12, 3, 2, "same", activation="relu", name="third")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="logits")(x))
    before = LAYERS[LAYERS.index(spoilt) - 1]
    weights, bias = model.get_layer(before).get_weights()
    weights[..., 0], bias[0] = 0, -1
    model.get_layer(before).set_weights([weights, bias])
    weights, bias = model.get_layer(spoilt).get_weights()
    weights[..., 0, :] = 300 * np.abs(weights).max()
    model.get_layer(spoilt).set_weights([weights, bias])
    return model


@pytest.mark.parametrize("spoilt", LAYERS[1:])
def test_the_layer_that_loses_most_and_no_other_computes_in_float(spoilt: str, calibration: Calibration) -> None:
    source = SourceModel.of(with_a_spoilt_layer(spoilt), ("a", "b", "c", "d"), name="spoilt")
    made = tflite.TfliteConversion(source, calibration.pixels_nhwc)
    assert float_operators(made.convert("int8")) == []
    found = [name.split() for name in float_operators(made.convert("int8-selective"))]
    computing = {(kind, tensor.split("/")[0]) for kind, tensor in found if kind not in ("QUANTIZE", "DEQUANTIZE")}
    assert computing == {("FULLY_CONNECTED" if spoilt == "logits" else "CONV_2D", spoilt)}


def test_layers_are_judged_on_pictures_of_all_labels(
    source: SourceModel, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibration pictures come sorted by label."""
    pixels = np.repeat(calibration.pixels_nhwc, 3, axis=0)
    seen: list[Any] = []
    judge = tflite.layer_errors

    def watched(quantized: bytes, reference: bytes, pixels_nhwc: Any) -> Any:
        seen.append(pixels_nhwc)
        return judge(quantized, reference, pixels_nhwc[:2])

    monkeypatch.setattr(tflite, "layer_errors", watched)
    tflite.TfliteConversion(source, pixels).convert("int8-selective")
    (shown,) = seen
    assert len(shown) == 16
    assert np.array_equal(shown[0], pixels[0])
    assert np.array_equal(shown[-1], pixels[-1])
    different = {each.tobytes() for each in shown}
    assert len(different) > 12
