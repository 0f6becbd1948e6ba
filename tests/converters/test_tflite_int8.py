"""Faithful int8: fitted weights and biases bring a file closer to the float model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import float_operators
from edgevision_converters._correct import correct
from edgevision_converters._operators import Flow, Linear, UnknownGraphError, activation_ranges, run_operator, walk
from edgevision_converters._rounding import best_steps, covariance
from edgevision_converters._tflite_calibration import Calibrated, spread
from edgevision_converters._tflite_edit import operator_name
from edgevision_converters._tflite_flatbuffer import pack, unpack
from edgevision_converters._tflite_int8 import Int8Quantizer, quantize_16_fitted

if TYPE_CHECKING:
    import keras
    import numpy.typing as npt

HEIGHT, WIDTH, LABELS = 12, 18, 5


def inverted_residuals() -> keras.Model:
    """Two blocks as in MobileNetV2, with weights as rough as noise."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    inputs = x = keras.Input((HEIGHT, WIDTH, 3))
    x = layers.Conv2D(8, 3, 2, "same", activation="relu6", name="stem")(x)
    x = shortcut = layers.Conv2D(6, 1, name="project_1")(x)
    for block in ("1", "2"):
        x = layers.Conv2D(16, 1, activation="relu6", name=f"expand_{block}")(x)
        x = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name=f"depthwise_{block}")(x)
        x = layers.Conv2D(6, 1, name=f"project_of_{block}")(x)
        x = shortcut = layers.Add(name=f"add_{block}")([x, shortcut])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(LABELS, name="logits")(x)
    model = keras.Model(inputs, x)
    generator = np.random.default_rng(4)
    for layer in model.layers:
        weights = layer.get_weights()
        if not weights:
            continue
        kernel = generator.normal(0, 1, weights[0].shape)
        taps = kernel.size / (1 if layer.name.startswith("depthwise") else kernel.shape[-1])
        kernel *= 1.5 / np.sqrt(taps if not layer.name.startswith("depthwise") else 9)
        layer.set_weights([kernel.astype(np.float32), generator.normal(0, 0.3, weights[1].shape).astype(np.float32)])
    return model


def float_tflite(model: keras.Model) -> bytes:
    import tensorflow as tf

    def scores(numbers: Any) -> Any:
        return {"scores": model(numbers, training=False)}

    spec = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="pixels")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(tf.function(scores, input_signature=[spec]).get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], model).convert()


def drawn(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Smooth pictures: neighbouring pixels are alike, as in photographs."""
    import cv2

    generator = np.random.default_rng(seed)
    rough = generator.integers(0, 256, (count, 4, 5, 3), np.uint8)
    pictures = np.stack([cv2.resize(each, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for each in rough])
    pictures[0, 0, 0], pictures[0, 0, 1] = 0, 255
    return pictures


def numbers_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return ((pixels.astype(np.float32) - 127) / 128).astype(np.float32)


def run(model: bytes, inputs: npt.NDArray[Any], kernels: str = "AUTO") -> npt.NDArray[np.float32]:
    """Return the outputs, `(n, labels)`."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter: Any = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType[kernels])
    interpreter.allocate_tensors()
    out = []
    for each in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], each[np.newaxis])
        interpreter.invoke()
        out.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(out)


@pytest.fixture(scope="module")
def network_bytes() -> bytes:
    return float_tflite(inverted_residuals())


@pytest.fixture(scope="module")
def calibration_pixels() -> npt.NDArray[np.uint8]:
    return drawn(24, seed=1)


def test_the_file_comes_closer_to_the_float_model(
    network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]
) -> None:
    numbers = numbers_of(calibration_pixels)
    plain = Calibrated.of(network_bytes, numbers).quantize()
    faithful = Int8Quantizer.of(network_bytes, numbers, calibration_pixels).quantize()
    others = drawn(60, seed=7)
    truth = run(network_bytes, numbers_of(others))
    errors = [float(np.abs(run(each, others) - truth).mean()) for each in (plain, faithful)]
    assert errors[1] < 0.8 * errors[0], errors
    assert float_operators(faithful) == []
    assert abs(len(faithful) - len(plain)) < 0.05 * len(plain) + 2048


def test_biases_take_up_what_rounding_shifts(network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]) -> None:
    numbers = numbers_of(calibration_pixels)
    reference = unpack(network_bytes)
    quantized = unpack(Calibrated.of(network_bytes, numbers).quantize())
    # A file that somebody else rounded badly: each first bias is off by a third of the layer's range.
    for operator in quantized.subgraphs[0].operators:
        layer = Linear.of(quantized, operator)
        if layer is not None:
            assert layer.bias is not None
            bias = layer.bias.astype(np.int64)
            bias[0] += 4000
            layer.put(quantized, layer.weights, bias)
    truth = run(network_bytes, numbers)
    before = np.abs(run(pack(quantized), calibration_pixels) - truth).mean()
    assert correct(quantized, reference, calibration_pixels, numbers) == 9
    assert np.abs(run(pack(quantized), calibration_pixels) - truth).mean() < before / 3


def test_windows_are_what_a_convolution_multiplies(
    network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]
) -> None:
    """Edges and strides included: the windows times the weights are the layer's own outputs."""
    parsed = unpack(network_bytes)
    seen: set[bool] = set()
    for operator, inputs, output in walk(parsed, numbers_of(calibration_pixels[:2])):
        layer = Linear.of(parsed, operator)
        if layer is None or output.ndim != 4:
            continue
        seen.add(layer.depthwise)
        height, width = output.shape[1:3]
        places = np.tile(np.arange(height * width), (2, 1))
        windows = layer.windows(inputs[0], places, (height, width), 0)
        product = np.einsum("npkc,kc->npc" if layer.depthwise else "npk,kc->npc", windows, layer.matrix)
        assert layer.bias is not None
        product = product + layer.bias
        if operator.builtinOptions.fusedActivationFunction:
            product = product.clip(0, 6)
        assert np.allclose(product.reshape(output.shape), output, atol=1e-4)
    assert seen == {True, False}


def test_rounding_knows_which_inputs_are_alike() -> None:
    generator = np.random.default_rng(0)
    common = generator.normal(size=(400, 1))
    inputs = common + 0.1 * generator.normal(size=(400, 40))
    weights = generator.normal(size=(40, 7))
    scale = np.abs(weights).max(axis=0) / 7  # steps so coarse that rounding shows

    def error(steps: npt.NDArray[np.float64]) -> float:
        return float(((inputs @ (weights - steps * scale)) ** 2).mean())

    nearest = np.rint(weights / scale)
    chosen = best_steps(weights, scale, covariance(inputs, np.zeros(inputs.shape[1:])))
    assert error(chosen) < error(nearest) / 10
    assert np.array_equal(chosen, np.rint(chosen))
    # Inputs that have nothing in common leave nothing to gain.
    alone = best_steps(weights, scale, np.eye(40)[:, :, np.newaxis])
    assert np.array_equal(alone, nearest)


def test_channels_are_rounded_as_each_alone() -> None:
    """So many that their products are computed in pieces."""
    generator = np.random.default_rng(2)
    shared = covariance(generator.normal(size=(300, 70)) + generator.normal(size=(300, 1)), np.zeros(70))
    weights = generator.normal(size=(70, 1500))
    scale = np.abs(weights).max(axis=0) / 7
    together = best_steps(weights, scale, shared)
    assert not np.array_equal(together, np.rint(weights / scale))
    for one in (slice(0, 1), slice(700, 703), slice(1499, 1500)):
        assert np.array_equal(best_steps(weights[:, one], scale[one], shared), together[:, one])


def test_depthwise_layout_is_one_problem_per_channel() -> None:
    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(50, 9, 3)) + 1
    weights = generator.normal(size=(9, 3))
    scale = np.abs(weights).max(axis=0) / 5
    together = best_steps(weights, scale, covariance(inputs, np.zeros(inputs.shape[1:])))
    for channel in range(3):
        alone = covariance(inputs[:, :, channel], np.zeros(9))
        one = slice(channel, channel + 1)
        assert np.array_equal(best_steps(weights[:, one], scale[one], alone), together[:, one])


def squeeze_excite(x: Any) -> Any:
    from keras import layers

    x = layers.Conv2D(16, 3, 2, "same", activation="hard_swish")(x)
    x = layers.DepthwiseConv2D(5, padding="same", activation="hard_swish")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    x = layers.Multiply()([x, layers.Conv2D(16, 1, activation="hard_sigmoid")(gate)])
    return layers.GlobalAveragePooling2D()(layers.Conv2D(8, 1)(x))


def residual(x: Any) -> Any:
    from keras import layers

    x = shortcut = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
    x = layers.Conv2D(8, 3, padding="same")(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
    return layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Add()([x, shortcut])))


def dense(x: Any) -> Any:
    from keras import layers

    return layers.Dense(24, activation="relu")(layers.Flatten()(x))


def dilated(x: Any) -> Any:
    """A grouped and a dilated convolution and one without a bias, which are not fitted, next to one which is."""
    from keras import layers

    x = layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu")(x)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.Conv2D(8, 3, groups=2, padding="same", activation="sigmoid")(x)
    return layers.GlobalAveragePooling2D()(layers.Concatenate()([x, layers.UpSampling2D()(x[:, ::2, ::2])]))


@pytest.mark.parametrize("body", [squeeze_excite, residual, dense, dilated])
def test_other_networks_are_left_no_worse(body: Any) -> None:
    import keras

    keras.utils.set_random_seed(5)
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    float_model = float_tflite(keras.Model(inputs, keras.layers.Dense(LABELS)(body(inputs))))
    pixels, others = drawn(24, seed=2), drawn(40, seed=8)
    quantizer = Int8Quantizer.of(float_model, numbers_of(pixels), pixels)
    assert len(list(walk(unpack(float_model), numbers_of(pixels[:1])))) >= 3  # so it is fitted
    faithful = quantizer.quantize()
    truth = run(float_model, numbers_of(others))
    plain = np.abs(run(quantizer.calibrated.quantize(), others) - truth).mean()
    # On other pictures than it was fitted on; a tenth is within what random networks of this size scatter.
    assert np.abs(run(faithful, others) - truth).mean() <= 1.1 * plain, plain
    assert float_operators(faithful) == []


def test_layers_that_stay_in_float_are_left_alone(
    network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]
) -> None:
    numbers = numbers_of(calibration_pixels)
    quantizer = Int8Quantizer.of(network_bytes, numbers, calibration_pixels)
    parsed = unpack(network_bytes)
    tensors = parsed.subgraphs[0].tensors
    first = next(filter(None, (Linear.of(parsed, each) for each in parsed.subgraphs[0].operators)))
    in_float = [tensors[first.output].name.decode()]
    selective = quantizer.quantize(in_float)
    assert len(float_operators(selective)) >= 1
    others = drawn(40, seed=8)
    truth = run(network_bytes, numbers_of(others))
    unfitted = quantizer.calibrated.quantize(in_float)
    errors = [np.abs(run(each, others) - truth).mean() for each in (unfitted, selective)]
    assert errors[1] < errors[0], errors


def test_an_unknown_graph_is_quantized_all_the_same() -> None:
    """Two outputs of one operator cannot be run alone: TensorFlow's own steps must do."""
    import keras

    inputs = x = keras.Input((HEIGHT, WIDTH, 3))
    x = keras.layers.Conv2D(8, 3, 2, "same", activation="relu")(x)
    operations: Any = keras.ops
    left, right = operations.split(x, 2, axis=-1)
    x = keras.layers.GlobalAveragePooling2D()(left * right)
    model = keras.Model(inputs, keras.layers.Dense(LABELS, activation="softmax")(x))
    float_model = float_tflite(model)
    pixels = drawn(8, seed=2)
    with pytest.raises(UnknownGraphError, match="SPLIT"):
        next(walk(unpack(float_model), numbers_of(pixels)))
    quantizer = Int8Quantizer.of(float_model, numbers_of(pixels), pixels)
    assert quantizer.quantize() == quantizer.calibrated.quantize()


def test_an_operator_runs_as_in_its_model(network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]) -> None:
    parsed = unpack(network_bytes)
    numbers = numbers_of(calibration_pixels[:3])
    *_, (last, inputs, output) = walk(parsed, numbers)
    assert np.allclose(output, run(network_bytes, numbers), atol=1e-5)
    assert np.array_equal(run_operator(parsed, last, inputs), output)


def test_ranges_are_those_of_the_operators_run_alone(
    network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]
) -> None:
    numbers = numbers_of(calibration_pixels)
    found = activation_ranges(network_bytes, numbers)
    assert found.pop(int(unpack(network_bytes).subgraphs[0].inputs[0])) == (numbers.min(), numbers.max())
    for operator, _, output in walk(unpack(network_bytes), numbers):
        assert found.pop(int(operator.outputs[0])) == pytest.approx((output.min(), output.max()), rel=1e-5, abs=1e-5)
    assert not found


def test_a_model_with_a_memory_has_the_calibrators_ranges(network_bytes: bytes) -> None:
    parsed = unpack(network_bytes)
    parsed.subgraphs[0].tensors[-1].isVariable = True
    with pytest.raises(UnknownGraphError):
        activation_ranges(pack(parsed), numbers_of(drawn(2, seed=1)))
    parsed = unpack(network_bytes)
    parsed.subgraphs.append(unpack(network_bytes).subgraphs[0])
    with pytest.raises(UnknownGraphError):
        activation_ranges(pack(parsed), numbers_of(drawn(2, seed=1)))


def test_graphs_have_one_walker(network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]) -> None:
    """What no later operator reads is forgotten: nothing but the last output is left."""
    parsed = unpack(network_bytes)
    flow = Flow(parsed, numbers_of(calibration_pixels[:2]))
    widest = 0
    for operator in parsed.subgraphs[0].operators:
        flow.advance(operator)
        widest = max(widest, len(flow.known))
    assert list(flow.known) == [int(parsed.subgraphs[0].outputs[0])]
    assert widest == 2  # the shortcut and what is added to it
    with pytest.raises(UnknownGraphError):
        flow.advance(parsed.subgraphs[0].operators[0])


def test_pictures_are_spread_over_all() -> None:
    for pictures, most in ((1, 1), (5, 8), (100, 32), (100, 100), (2000, 64)):
        chosen = spread(pictures, most)
        assert len(set(chosen.tolist())) == min(pictures, most)
        assert (chosen[0], chosen[-1]) == (0, pictures - 1)
        assert np.ptp(np.diff(chosen)) <= 1 if len(chosen) > 1 else True


def test_sixteen_bit_files_are_fitted_too(network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]) -> None:
    numbers = numbers_of(calibration_pixels)
    plain, fitted = Calibrated.of(network_bytes, numbers).quantize_16(), quantize_16_fitted(network_bytes, numbers)
    others = numbers_of(drawn(60, seed=7))
    truth = run(network_bytes, others)
    errors = [float(np.abs(run(each, others) - truth).mean()) for each in (plain, fitted)]
    assert errors[1] < 0.8 * errors[0], errors
    # The plain C++ of the reference kernels reads scales and biases as the optimized ones do.
    assert np.abs(run(fitted, others, "BUILTIN_REF") - run(fitted, others)).max() < 0.1 * errors[1]


def test_sixteen_bit_steps_come_from_the_ranges_of_each_activation(
    network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]
) -> None:
    """Also of the two that an ADD reads: TensorFlow's calibrator gives one of these the range of the sum."""
    numbers = numbers_of(calibration_pixels)
    graph = unpack(network_bytes).subgraphs[0]
    most = {
        graph.tensors[index].name: max(-low, high)
        for index, (low, high) in activation_ranges(network_bytes, numbers).items()
    }
    quantized = unpack(quantize_16_fitted(network_bytes, numbers))
    checked = set[str]()
    for operator in quantized.subgraphs[0].operators:
        kind = operator_name(quantized, operator)
        tensor = quantized.subgraphs[0].tensors[operator.outputs[0]]
        if kind in ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D") and tensor.name in most:
            assert tensor.quantization.scale[0] == pytest.approx(most[tensor.name] / 32767, rel=1e-3), (
                kind,
                tensor.name,
            )
            checked.add(kind)
    assert checked == {"ADD", "CONV_2D", "DEPTHWISE_CONV_2D"}


def test_biases_and_scales_of_sixteen_bit_files_are_what_kernels_take(
    network_bytes: bytes, calibration_pixels: npt.NDArray[np.uint8]
) -> None:
    """LiteRT's quantization specification: symmetric, per channel, a bias in steps of input times weights."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = unpack(quantize_16_fitted(network_bytes, numbers_of(calibration_pixels)))
    tensors = parsed.subgraphs[0].tensors
    layers = [found for each in parsed.subgraphs[0].operators if (found := Linear.of(parsed, each)) is not None]
    assert len(layers) == 9
    for layer in layers:
        assert layer.bias is not None
        given, weights, bias = (tensors[int(index)] for index in layer.operator.inputs)
        kinds = (schema.TensorType.INT16, schema.TensorType.INT8, schema.TensorType.INT64)
        assert (given.type, weights.type, bias.type) == kinds
        channels = layer.matrix.shape[1]
        for each in (weights, bias):
            assert len(each.quantization.scale) == len(each.quantization.zeroPoint) == channels
            assert not np.any(each.quantization.zeroPoint)
        product = given.quantization.scale[0] * np.asarray(weights.quantization.scale)
        assert np.asarray(bias.quantization.scale) == pytest.approx(product, rel=1e-6)
        assert weights.quantization.quantizedDimension == (3 if layer.depthwise else 0)
        assert np.abs(layer.weights.astype(int)).max() <= 127
