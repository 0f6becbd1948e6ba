"""SavedModel folders as TensorFlow 1 and 2, Keras 2 and converters from PyTorch leave them behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import SourceModel, export_model, is_saved_model, load_saved_model
from edgevision_device import EdgevisionError, Normalization

if TYPE_CHECKING:
    import keras

    from edgevision_converters import Calibration

WIDTH, HEIGHT = 28, 20
LABELS = ("red", "green", "blue", "yellow stripe")

Network = Callable[..., "keras.Model"]


def refusal(folder: Path, signature: str | None = None, labels: tuple[str, ...] = LABELS, **options: Any) -> str:
    """Return the one line with which a folder is refused."""
    with pytest.raises(EdgevisionError) as raised:
        SourceModel.of(load_saved_model(folder, signature), labels, name="x", **{"pixels": "-1..1", **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def save(folder: Path, function: Any, *shapes: tuple[int | None, ...], dtype: Any = None, weights: Any = None) -> Path:
    """Save a function of TensorFlow under the default signature."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = weights
    specs = [tf.TensorSpec(shape, dtype or tf.float32, name=f"input_{place}") for place, shape in enumerate(shapes)]
    module.call = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})
    return folder


@pytest.fixture(scope="module")
def weights() -> Any:
    import tensorflow as tf

    generator = np.random.default_rng(5)
    return [
        tf.Variable(generator.normal(size=(3, 3, 3, 32)).astype(np.float32), name="stem/kernel"),
        tf.Variable(generator.normal(size=(32, len(LABELS))).astype(np.float32), name="head/kernel"),
    ]


def classify(numbers: Any, weights: Any, *, softmax: bool = True) -> Any:
    import tensorflow as tf

    x = tf.nn.relu6(tf.nn.conv2d(numbers, weights[0], 2, "SAME"))
    logits = tf.reduce_mean(x, (1, 2)) @ weights[1]
    return tf.nn.softmax(logits) if softmax else logits


def numbers_of(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float32) - 127.5) / 127.5


def test_what_keras_exports_becomes_files(
    network: Network, held_out: Any, calibration: Calibration, tmp_path: Path
) -> None:
    bare = network(normalization=None)
    folder = tmp_path / "exported"
    bare.export(folder, verbose=False)
    assert is_saved_model(folder)
    assert not is_saved_model(tmp_path)
    source = SourceModel.of(load_saved_model(folder), LABELS, name="x", pixels="-1..1")
    expected = np.asarray(bare(numbers_of(held_out.pixels), training=False))
    assert np.allclose(source.scores(held_out.pixels), expected, atol=1e-5)
    assert source.metadata.normalization == Normalization((127.5,), (127.5,))
    assert {"first", "second", "third", "scores"} <= set(source.layers)
    assert source.layers["first"]
    files = export_model(
        source, tmp_path / "out", verification=held_out.pixels, calibration=calibration, recipes=["float32", "int8"]
    )
    assert [file.path.name for file in files] == [
        f"x.{recipe}.{format}" for format in ("tflite", "onnx") for recipe in ("float32", "int8")
    ]
    for file in files:
        assert file.agreement.same_top1 > 0.9
        assert file.agreement.largest_difference < (1e-4 if file.recipe == "float32" else 0.2)


@pytest.mark.parametrize(
    ("shape", "softmax", "wrap"),
    [
        ((None, HEIGHT, WIDTH, 3), True, lambda scores: {"probabilities": scores}),
        ((1, HEIGHT, WIDTH, 3), False, lambda scores: [scores]),
        ((None, 3, HEIGHT, WIDTH), True, lambda scores: scores[:, None, None, :]),
    ],
    ids=["named", "one at a time", "channels first"],
)
def test_a_plain_module_is_a_source(
    weights: Any, shape: Any, softmax: bool, wrap: Any, held_out: Any, tmp_path: Path
) -> None:
    import tensorflow as tf

    def call(numbers: Any) -> Any:
        last = tf.transpose(numbers, (0, 2, 3, 1)) if shape[1] == 3 else numbers
        return wrap(classify(last, weights, softmax=softmax))

    folder = save(tmp_path / "module", call, shape, weights=weights)
    source = SourceModel.of(load_saved_model(folder), LABELS, name="x", pixels="-1..1", logits=not softmax)
    expected = np.asarray(classify(numbers_of(held_out.pixels), weights))
    assert np.allclose(source.scores(held_out.pixels), expected, atol=1e-5)
    if softmax:
        assert "leave out --logits" in refusal(folder, logits=True)
    else:
        assert "pass --logits" in refusal(folder)


def test_a_folder_of_tensorflow_1_is_a_source(weights: Any, held_out: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    v1, values = tf.compat.v1, [weight.numpy() for weight in weights]
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, (None, HEIGHT, WIDTH, 3), name="images")
        own = [
            v1.get_variable(f"{name}/weights", initializer=value)
            for name, value in zip(("stem", "head"), values, strict=True)
        ]
        scores = classify(images, own)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(tmp_path / "v1"))
        info = v1.saved_model.build_tensor_info
        definition = v1.saved_model.build_signature_def(
            {"images": info(images)}, {"scores": info(scores)}, "tensorflow/serving/predict"
        )
        builder.add_meta_graph_and_variables(session, ["serve"], {"classify": definition})
        builder.save()
    source = SourceModel.of(load_saved_model(tmp_path / "v1"), LABELS, name="x", pixels="-1..1")
    expected = np.asarray(classify(numbers_of(held_out.pixels), weights))
    assert np.allclose(source.scores(held_out.pixels), expected, atol=1e-5)
    (file,) = export_model(
        source, tmp_path / "out", verification=held_out.pixels, formats=["tflite"], recipes=["float32"]
    )
    assert file.agreement.largest_difference < 1e-4


def test_of_several_signatures_one_is_chosen(weights: Any, held_out: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weights = weights
    spec = tf.TensorSpec((None, HEIGHT, WIDTH, 3), tf.float32, name="numbers")
    scores = tf.function(lambda numbers: {"scores": classify(numbers, weights)}, input_signature=[spec])
    features = tf.function(lambda numbers: {"a": numbers, "b": numbers}, input_signature=[spec])
    folder = tmp_path / "several"
    tf.saved_model.save(module, str(folder), signatures={"classify": scores, "features": features})
    assert refusal(folder) == f"{folder} holds several signatures; choose with --signature classify, features"
    assert "unknown signature 'clasify'; did you mean 'classify'?" in refusal(folder, "clasify")
    assert "one input and one output, this signature has 1 (numbers) and 2 (a, b)" in refusal(folder, "features")
    source = SourceModel.of(load_saved_model(folder, "classify"), LABELS, name="x", pixels="-1..1")
    assert source.scores(held_out.pixels).shape == (60, len(LABELS))


def test_signatures_of_another_kind_are_refused(weights: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    def one(numbers: Any) -> Any:
        return classify(numbers, weights)

    def two(first: Any, second: Any) -> Any:
        return classify(first + second, weights)

    def grey(numbers: Any) -> Any:
        return classify(tf.repeat(numbers, 3, axis=3), weights)

    picture = (None, HEIGHT, WIDTH, 3)
    assert "this signature has 2 (input_0, input_1)" in refusal(
        save(tmp_path / "two", two, picture, picture, weights=weights)
    )
    free = refusal(save(tmp_path / "free", one, (None, None, None, 3), weights=weights))
    assert free == (
        "the model's input has no fixed height and width: (free, free, free, 3); export it with a fixed size"
    )
    assert "takes grey pictures, (free, 20, 28, 1)" in refusal(
        save(tmp_path / "grey", grey, (None, HEIGHT, WIDTH, 1), weights=weights)
    )
    right = save(tmp_path / "right", one, picture, weights=weights)
    assert "the model gives 4 scores per picture and there are 2 labels" in refusal(right, labels=("a", "b"))
    assert "does not start with a Rescaling or Normalization layer, so say what numbers it takes" in refusal(
        right, pixels=None
    )


def test_broken_weights_name_their_variable(weights: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    broken = [tf.Variable(weights[0], name="stem/kernel"), tf.Variable(weights[1] * np.nan, name="head/kernel")]
    folder = save(tmp_path / "nan", lambda numbers: classify(numbers, broken), (1, HEIGHT, WIDTH, 3), weights=broken)
    assert refusal(folder) == "the model holds NaN or infinite weights, first in 'head/kernel:0'; train it again"


def test_what_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    (tmp_path / "empty").mkdir()
    assert "is no SavedModel; give a folder that holds saved_model.pb" in refusal(tmp_path / "empty")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "saved_model.pb").write_bytes(b"no model at all")
    assert "TensorFlow cannot load" in refusal(tmp_path / "garbage")
    tf.saved_model.save(tf.Module(), str(tmp_path / "mute"))
    assert "holds no signature, so that nothing says what to call" in refusal(tmp_path / "mute")
