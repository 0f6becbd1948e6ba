"""What the tensors of a .tflite file are called, whatever the network's layers are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import SourceModel, layer_errors
from edgevision_converters._tflite import TfliteConversion
from edgevision_converters._tflite_edit import operator_name
from edgevision_converters._tflite_flatbuffer import builtin_code, unpack

if TYPE_CHECKING:
    import keras


def described(model: keras.Model) -> list[str]:
    """Convert to float32 and write each operator as `OPERATOR inputs -> outputs`."""
    from ai_edge_litert import schema_py_generated as schema

    generator = np.random.default_rng(0)
    # Constants that are equal, as fresh biases are, would become one.
    model.set_weights([generator.uniform(0.1, 1, weights.shape) for weights in model.get_weights()])
    parsed = unpack(TfliteConversion(SourceModel.of(model, ("a", "b"), name="names"), None).convert("float32"))
    graph = parsed.subgraphs[0]
    codes = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}

    def names(indices: Any) -> str:
        return " ".join(graph.tensors[index].name.decode() for index in indices if index >= 0)

    return [
        f"{codes[builtin_code(parsed, operator)]} {names(operator.inputs)} -> {names(operator.outputs)}"
        for operator in graph.operators
    ]


def test_layers_called_like_operators_and_like_each_other() -> None:
    import keras
    from keras import layers

    keras.utils.clear_session()  # so that layers without a name are called `conv2d` and `add`
    inputs = x = keras.Input((6, 8, 3))
    x = layers.Rescaling(1 / 128, -127 / 128, name="normalization")(x)
    for name in ("conv_1", "conv", "conv_1_1"):
        x = layers.Conv2D(4, 3, padding="same", name=name)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    for _ in range(2):
        shortcut = x
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        x = layers.Add()([shortcut, x])
    x = layers.Flatten(name="pixels")(x)
    x = layers.Dense(2, activation="softmax", name="output")(x)
    assert described(keras.Model(inputs, x)) == [
        "CAST pixels -> pixels/cast",
        "MUL pixels/cast pixels/mul/constant -> pixels/mul",
        "ADD pixels/mul pixels/add/constant -> pixels/add",
        "CONV_2D pixels/add conv_1/weights conv_1/bias -> conv_1",
        "CONV_2D conv_1 conv/weights conv/bias -> conv",
        "CONV_2D conv conv_1_1/weights conv_1_1/bias -> conv_1_1",
        "DEPTHWISE_CONV_2D conv_1_1 depthwise_conv2d/weights depthwise_conv2d/bias -> depthwise_conv2d",
        "ADD conv_1_1 depthwise_conv2d -> add",
        "DEPTHWISE_CONV_2D add depthwise_conv2d_1/weights depthwise_conv2d_1/bias -> depthwise_conv2d_1",
        "ADD add depthwise_conv2d_1 -> add_1",
        "RESHAPE add_1 pixels/reshape/shape -> pixels/reshape",  # `pixels` is the input
        "FULLY_CONNECTED pixels/reshape output/weights output/bias -> output",
        "SOFTMAX output -> scores",
    ]


def test_nested_models_shared_layers_and_layers_of_two_operators() -> None:
    import keras
    from keras import layers

    inner = keras.Sequential(
        [
            keras.Input((6, 8, 3)),
            layers.SeparableConv2D(4, 3, 2, activation="relu", name="separable"),
            layers.GlobalAveragePooling2D(name="mean"),
        ]
    )
    twice = layers.Dense(4, activation="relu", name="twice")
    outer = keras.Sequential([keras.Input((6, 8, 3)), layers.Rescaling(1 / 255, name="rescaling"), inner])
    scores = layers.Dense(2, activation="softmax", name="scores")(twice(twice(outer.outputs[0])))
    assert described(keras.Model(outer.inputs[0], scores)) == [
        "CAST pixels -> pixels/cast",
        "MUL pixels/cast pixels/mul/constant -> pixels/mul",
        "DEPTHWISE_CONV_2D pixels/mul separable/depthwise_conv_2d/weights separable/depthwise_conv_2d/bias"
        " -> separable/depthwise_conv_2d",
        "CONV_2D separable/depthwise_conv_2d separable/weights separable/bias -> separable",
        "MEAN separable mean/axes -> mean",
        "FULLY_CONNECTED mean twice/weights twice/bias -> twice/fully_connected",
        "FULLY_CONNECTED twice/fully_connected twice/weights twice/bias -> twice",
        "FULLY_CONNECTED twice scores/weights scores/bias -> scores/fully_connected",
        "SOFTMAX scores/fully_connected -> scores",
    ]


@pytest.mark.parametrize(
    ("recipe", "offset"), [("int8", 0.0), ("int8", -127 / 128), ("int8x16", 0.0), ("int8-selective", 0.0)]
)
def test_layers_with_keras_own_names_keep_them_in_quantized_files(recipe: str, offset: float) -> None:
    import keras
    from keras import layers

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 128, offset)(x)
    for filters in (4, 6, 6):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5)(x)
    x = layers.Dense(2)(x)
    model = keras.Model(inputs, layers.Softmax()(x))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
    conversion = TfliteConversion(SourceModel.of(model, ("a", "b"), name="names"), pixels)
    parsed = unpack(conversion.convert(recipe))
    graph = parsed.subgraphs[0]
    # An operator that computes in float32 may be named with the step behind it.
    found = [
        graph.tensors[operator.outputs[0]].name.decode().split("/")[0]
        for operator in graph.operators
        if operator_name(parsed, operator) in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED")
    ]
    layers_named = [
        "conv2d",
        "conv2d_1",
        "conv2d_2",
        "depthwise_conv2d",
        "add",
        "global_average_pooling2d",
        "dense",
        "dense_1",
    ]
    assert [name for name in found if name not in ("pixels", "rescaling")] == layers_named
    errors = layer_errors(conversion.convert(recipe), conversion.convert("float32"), pixels)
    assert [each.layer for each in errors.layers if each.layer in layers_named] == layers_named
    assert errors.unmatched == ()
