"""Make the model files that the device tests run: `.venv/bin/python tests/device/data/make_tiny.py`.

A network of 1,000 weights learns whether a bar is red or blue, upright or flat: swapped channels, a transposed or
unnormalized picture give another answer. Its input, 12 wide and 8 high, is not square for the same reason.

    tiny.float32.tflite  tiny.int8.tflite  tiny.float32.onnx        sealed, raw uint8 RGB in, float32 scores out
    foreign.float32.tflite   float32 NHWC in -1..1                  the same network as other tools write it, unsealed
    foreign.int8.tflite      int8 NHWC in, int8 scores out
    foreign.float32.onnx     float32 NCHW in
    expected.json            SHA-256 of each file, and the scores of `bar()` of ../conftest.py

The files are committed. Training rounds differently on another machine, so a second run gives other bytes; the tests
hold whatever expected.json was written with the files.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

from edgevision_device import DataOrigin, Metadata, Normalization, seal

HERE = Path(__file__).parent
LABELS = ("red upright", "red flat", "blue upright", "blue flat")
WIDTH, HEIGHT = 12, 8
MEAN, STD = 127.0, 128.0

sys.path.insert(0, str(HERE.parent))
from conftest import bar  # noqa: E402


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw bars of varying place, thickness and color on a noisy grey ground."""
    generator = np.random.default_rng(seed)
    pixels = np.empty((count, HEIGHT, WIDTH, 3), np.float32)
    labels = generator.integers(0, 4, count)
    for picture, label in zip(pixels, labels, strict=True):
        picture[:] = generator.integers(40, 200)
        color = generator.integers(0, 80, 3)
        color[0 if label < 2 else 2] = generator.integers(170, 256)
        if label % 2 == 0:
            left, thick = generator.integers(0, WIDTH - 3), generator.integers(2, 4)
            picture[:, left : left + thick] = color
        else:
            top, thick = generator.integers(0, HEIGHT - 3), generator.integers(2, 4)
            picture[top : top + thick] = color
        picture += generator.normal(0, 6, picture.shape)
    return np.clip(np.rint(pixels), 0, 255), labels


def train() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights and biases of the convolution and of the dense layer."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 3)),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    # Smoothed labels keep the scores away from 0 and 1, where a wrong pixel would not show.
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.3)
    network.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    pixels, labels = pictures(4000, seed=1)
    network.fit((pixels - MEAN) / STD, np.eye(4)[labels], batch_size=100, epochs=15, verbose=0)
    pixels, labels = pictures(1000, seed=2)
    print("top-1", network.evaluate((pixels - MEAN) / STD, np.eye(4)[labels], verbose=0)[1])
    return tuple(network.get_weights())


class Network(tf.Module):
    """The trained weights behind the two inputs that files have."""

    def __init__(self, weights: tuple[np.ndarray, ...]) -> None:
        self.kernel, self.bias, self.dense, self.dense_bias = (tf.constant(array) for array in weights)

    @tf.function(input_signature=[tf.TensorSpec((1, HEIGHT, WIDTH, 3), tf.uint8, name="image")])
    def of_pixels(self, image):
        return self.of_normalized((tf.cast(image, tf.float32) - MEAN) * (1 / STD))

    @tf.function(input_signature=[tf.TensorSpec((1, HEIGHT, WIDTH, 3), tf.float32, name="image")])
    def of_normalized(self, image):
        hidden = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 2, "SAME") + self.bias)
        return tf.nn.softmax(tf.reshape(hidden, (1, -1)) @ self.dense + self.dense_bias)


def tflite(network: Network, *, pixels_in: bool, quantized: bool, scores_out: bool) -> bytes:
    function = (network.of_pixels if pixels_in and not quantized else network.of_normalized).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    if quantized:
        calibration = (pictures(200, seed=3)[0] - MEAN) / STD
        # The ends of the range, so that the input's scale is 1/128 and its zero point 127: bytes go straight in.
        calibration[0, 0, 0] = -MEAN / STD
        calibration[0, 0, 1] = (255 - MEAN) / STD
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([each[np.newaxis]] for each in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8 if pixels_in else tf.int8
        converter.inference_output_type = tf.float32 if scores_out else tf.int8
    return converter.convert()


def onnx_model(weights: tuple[np.ndarray, ...], *, pixels_in: bool) -> bytes:
    kernel, bias, dense, dense_bias = weights
    arrays = {
        "kernel": kernel.transpose(3, 2, 0, 1),
        "bias": bias,
        "dense": dense,
        "dense_bias": dense_bias,
    }
    nodes = []
    if pixels_in:
        arrays |= {"mean": np.float32(MEAN), "scale": np.float32(1 / STD)}
        nodes = [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["float", "mean"], ["centered"]),
            helper.make_node("Mul", ["centered", "scale"], ["nhwc"]),
            helper.make_node("Transpose", ["nhwc"], ["nchw"], perm=[0, 3, 1, 2]),
        ]
    nodes += [
        # SAME with stride 2 on even sizes pads one row below and one column to the right.
        helper.make_node(
            "Conv", ["nchw" if pixels_in else "image", "kernel", "bias"], ["conv"], strides=[2, 2], pads=[0, 0, 1, 1]
        ),
        helper.make_node("Relu", ["conv"], ["hidden"]),
        helper.make_node("Transpose", ["hidden"], ["hidden_nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Flatten", ["hidden_nhwc"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    image = (
        helper.make_tensor_value_info("image", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])
        if pixels_in
        else helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])
    )
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1 if pixels_in else "batch", 4])
    initializers = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "tiny", [image], [scores], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main() -> None:
    weights = train()
    network = Network(weights)
    sha256 = hashlib.sha256(pictures(4000, seed=1)[0].tobytes()).hexdigest()

    def sealed(model: bytes, recipe: str, format: str) -> bytes:
        metadata = Metadata(
            name="tiny",
            labels=LABELS,
            size_wh=(WIDTH, HEIGHT),
            resize="stretch",
            normalization=Normalization((MEAN,), (STD,)),
            recipe=recipe,
            trained_on=DataOrigin("bars", sha256, 4000),
            edgevision="0.1.0",
        )
        return seal(model, metadata, format)

    files = {
        "tiny.float32.tflite": sealed(
            tflite(network, pixels_in=True, quantized=False, scores_out=True), "float32", "tflite"
        ),
        "tiny.int8.tflite": sealed(tflite(network, pixels_in=True, quantized=True, scores_out=True), "int8", "tflite"),
        "tiny.float32.onnx": sealed(onnx_model(weights, pixels_in=True), "float32", "onnx"),
        "foreign.float32.tflite": tflite(network, pixels_in=False, quantized=False, scores_out=True),
        "foreign.int8.tflite": tflite(network, pixels_in=False, quantized=True, scores_out=False),
        "foreign.float32.onnx": onnx_model(weights, pixels_in=False),
    }
    details = Interpreter(model_content=files["tiny.int8.tflite"]).get_input_details()[0]
    assert details["quantization"] == (1 / 128, 127), details["quantization"]
    expected = {
        label: [round(float(score), 6) for score in network.of_pixels(bar(*label.split())[np.newaxis]).numpy()[0]]
        for label in LABELS
    }
    record = {
        "labels": LABELS,
        "size_wh": [WIDTH, HEIGHT],
        "scores": expected,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    for name, content in files.items():
        (HERE / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")
    (HERE / "expected.json").write_text(json.dumps(record, indent=1) + "\n")
    print(expected)


if __name__ == "__main__":
    main()
