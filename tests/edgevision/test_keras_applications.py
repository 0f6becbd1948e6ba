"""The networks of keras.applications: the same function on raw RGB pixels, and weights from every kind of file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from edgevision._networks import NETWORKS, RANDOM, imagenet_labels
from edgevision._networks._keras_applications import APPLICATIONS
from edgevision_converters import SourceModel
from edgevision_device import FileError, UsageError

#: Network → its module in keras.applications, with the `preprocess_input` that belongs to it.
MODULES = {
    "resnet50": keras.applications.resnet50,
    "vgg16": keras.applications.vgg16,
    "xception": keras.applications.xception,
    "mobilenetv2": keras.applications.mobilenet_v2,
    "mobilenetv3-small": keras.applications.mobilenet_v3,
    "mobilenetv3-large": keras.applications.mobilenet_v3,
    "efficientnetv2-b0": keras.applications.efficientnet_v2,
}

#: Layers that people name, from Keras's documentation and its tutorials on fine-tuning.
KNOWN_LAYERS = {
    "resnet50": ["conv1_conv", "conv5_block1_1_conv", "conv5_block3_out"],
    "vgg16": ["block1_conv1", "block5_conv1", "block5_pool"],
    "xception": ["block1_conv1", "block13_sepconv1", "block14_sepconv2_act"],
    "mobilenetv2": ["Conv1", "block_13_expand", "out_relu"],
    "mobilenetv3-small": ["conv", "expanded_conv_8_expand", "conv_1_bn"],
    "mobilenetv3-large": ["conv", "expanded_conv_12_expand", "conv_1_bn"],
    "efficientnetv2-b0": ["stem_conv", "block6a_expand_conv", "top_activation"],
}


class Reference(NamedTuple):
    """A network as Keras builds it, with weights that are all different, and what it says of two pictures."""

    name: str
    size_wh: tuple[int, int]
    model: Any
    pixels: np.ndarray
    scores: np.ndarray


def reference(name: str, size_wh: tuple[int, int], *, top: bool) -> Reference:
    application, generator = APPLICATIONS[name], np.random.default_rng(1)
    shape = (size_wh[1], size_wh[0], 3)
    more: dict[str, Any] = {} if top else {"pooling": "avg"}
    build = getattr(keras.applications, application.function)
    model = build(include_top=top, weights=None, input_shape=shape, **more)
    preprocess = MODULES[name].preprocess_input
    pixels = generator.integers(0, 256, (8, *shape)).astype(np.float32)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            # Statistics that are not the data's make all pictures look the same; a factor of 1 lets float32's rounding
            # errors grow from layer to layer.
            layer.momentum, weights[0] = 0, weights[0] - 0.75
        # A bias of 0 hides what is left out.
        layer.set_weights(
            [each + generator.uniform(0, 0.1, each.shape) if each.ndim == 1 else each for each in weights]
        )
    model(preprocess(pixels.copy()), training=True)
    scores = model(preprocess(pixels[:2].copy()), training=False)
    return Reference(name, size_wh, model, pixels[:2], np.asarray(scores))


def publish(model: Any, path: Path) -> Path:
    """Write weights in the format of the published files: Keras 2's, a group a layer, order and not names counts."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [f"{layer.name}_of_keras_2".encode() for layer in model.layers]
        file.attrs["keras_version"], file.attrs["backend"] = b"2.2.4", b"tensorflow"
        for layer in model.layers:
            group = file.create_group(f"{layer.name}_of_keras_2")
            names = [f"weight_{place}:0".encode() for place in range(len(layer.weights))]
            group.attrs["weight_names"] = names
            for name, values in zip(names, layer.get_weights(), strict=True):
                group[name.decode()] = values
    return path


def largest_difference(body: Any, wanted: Reference) -> float:
    return float(np.abs(np.asarray(body(wanted.pixels, training=False)) - wanted.scores).max())


@pytest.mark.parametrize("name", APPLICATIONS)
def test_pixels_in_give_what_keras_gives_behind_its_preprocessing(name: str, tmp_path: Path) -> None:
    side = max(64, APPLICATIONS[name].least)
    wanted = reference(name, (side + 8, side), top=False)
    network = NETWORKS[name]
    body = network.body(wanted.size_wh)
    before = largest_difference(body, wanted)
    network.load(body, str(publish(wanted.model, tmp_path / "published.h5")))
    assert largest_difference(body, wanted) <= 1e-4 < before
    assert np.ptp(wanted.scores, axis=0).max() > 1e-3, "both pictures would say the same"

    first, last = body.layers[1], body.layers[-1]
    assert (type(first).__name__, first.name, last.name) == ("Rescaling", "normalization", "features")
    assert body.output_shape == (None, wanted.scores.shape[1])
    names = [layer.name for layer in body.layers]
    assert set(KNOWN_LAYERS[name]) <= set(names)
    assert not [layer for layer in body.layers if isinstance(layer, keras.Model)], "one flat model"


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("vgg16", 127, 128), ("mobilenetv3-small", 127.5, 127.5), ("efficientnetv2-b0", 127, 128)]
)
def test_the_converters_find_the_normalization(name: str, mean: float, std: float) -> None:
    body = NETWORKS[name].body((32, 32))
    scores = keras.layers.Dense(3, activation="softmax", name="scores")(body.outputs[0])
    source = SourceModel.of(keras.Model(body.inputs[0], scores), "abc", name=name)
    assert (source.metadata.normalization.mean, source.metadata.normalization.std) == ((mean,), (std,))


@pytest.fixture(scope="module")
def small() -> Reference:
    """MobileNetV3-Small with its classifier."""
    return reference("mobilenetv3-small", (224, 224), top=True)


Writer = Callable[[Any, Path], Path]


def keras3_weights(model: Any, path: Path) -> Path:
    model.save_weights(path.with_suffix(".weights.h5"))
    return path.with_suffix(".weights.h5")


def keras3_model(model: Any, path: Path) -> Path:
    model.save(path.with_suffix(".keras"))
    return path.with_suffix(".keras")


@pytest.mark.parametrize("write", [publish, keras3_weights, keras3_model], ids=["published", ".weights.h5", ".keras"])
def test_a_file_with_the_classifier_serves_both_uses(write: Writer, small: Reference, tmp_path: Path) -> None:
    file = str(write(small.model, tmp_path / "whole.h5"))
    network = NETWORKS[small.name]
    classifier = network.classifier(file)
    assert largest_difference(classifier, small) <= 1e-4
    assert classifier.output_shape == (None, len(imagenet_labels()))
    assert np.allclose(np.asarray(classifier(small.pixels)).sum(1), 1, atol=1e-4)

    body = network.body((48, 32))
    network.load(body, file)
    assert np.array_equal(body.get_layer("conv_1").get_weights()[0], classifier.get_layer("conv_1").get_weights()[0])
    assert np.array_equal(body.get_layer("conv").get_weights()[0], small.model.get_layer("conv").get_weights()[0])


@pytest.mark.parametrize("write", [publish, keras3_weights], ids=["published", ".weights.h5"])
def test_a_file_without_the_classifier_cannot_classify(write: Writer, small: Reference, tmp_path: Path) -> None:
    network = NETWORKS[small.name]
    file = write(network.body((32, 32)), tmp_path / "rest.h5")
    with pytest.raises(FileError, match=r"rest\S* holds mobilenetv3-small without its classifier.*224_1\.0_float\.h5"):
        network.classifier(str(file))


@pytest.mark.parametrize("write", [keras3_weights, keras3_model, publish], ids=[".weights.h5", ".keras", "named"])
def test_what_edgevision_saved_is_not_turned_to_rgb_again(write: Writer, tmp_path: Path) -> None:
    network = NETWORKS["vgg16"]
    body = network.body((40, 32))
    if write is publish:  # Keras 2's format with the layers' own names
        body.save(tmp_path / "ours.h5")
        file = tmp_path / "ours.h5"
    else:
        file = write(body, tmp_path / "ours.h5")
    other = network.body((40, 32))
    network.load(other, str(file))
    kernel = body.get_layer("block1_conv1").get_weights()[0]
    assert np.array_equal(other.get_layer("block1_conv1").get_weights()[0], kernel)
    assert not np.array_equal(kernel, kernel[:, :, ::-1])


def test_files_that_hold_something_else_are_refused(small: Reference, tmp_path: Path) -> None:
    network = NETWORKS["mobilenetv2"]
    body = network.body((32, 32))
    other = keras3_weights(small.model, tmp_path / "other.h5")
    with pytest.raises(FileError, match=r"other\.weights\.h5 does not hold the weights of mobilenetv2, such as mobile"):
        network.load(body, str(other))
    (tmp_path / "noise.h5").write_bytes(b"noise")
    with pytest.raises(FileError, match=r"noise\.h5 does not hold the weights of mobilenetv2"):
        network.load(body, str(tmp_path / "noise.h5"))
    for path, reason in ((tmp_path / "no.h5", "no such weights file"), (Path(__file__), r"must end in one of \.h5")):
        with pytest.raises(FileError, match=reason):
            network.check_weights(str(path))


@pytest.mark.parametrize(("name", "least"), [("mobilenetv2", 32), ("xception", 71)])
def test_pictures_too_small_are_refused(name: str, least: int) -> None:
    with pytest.raises(UsageError, match=rf"{least}x{least - 1} is too small for {name}.*at least {least}x{least}"):
        NETWORKS[name].body((least, least - 1))


def test_random_weights_need_no_file() -> None:
    network = NETWORKS["mobilenetv3-small"]
    body = network.body((32, 32))
    before = body.get_weights()
    network.check_weights(RANDOM)
    network.load(body, RANDOM)
    assert all(map(np.array_equal, before, body.get_weights()))


#: Keras reads where its files lie when it is imported.
FETCH = """
import json, sys
from pathlib import Path
import keras, numpy as np
from test_keras_applications import NETWORKS, FileError, publish
wanted, said = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 40, 3)), []
mobile, vgg = NETWORKS["mobilenetv2"], NETWORKS["vgg16"]
file = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
publish(wanted, Path(sys.argv[1]) / "models" / file)
mobile.check_weights(None)
body = mobile.body((40, 32))
mobile.load(body, None)
for call in (
    lambda: vgg.check_weights(None),
    lambda: vgg.load(vgg.body((32, 32)), None),
    lambda: mobile.check_weights(None, top=True),
):
    try:
        call()
    except FileError as error:
        said.append(str(error))
same = all(map(np.array_equal, body.get_weights(), wanted.get_weights()))
print(json.dumps({"same": same, "said": said}))
"""


def test_published_weights_come_from_keras_folder_or_the_network(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    # A proxy that nobody runs is a machine without a network.
    dead = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    env = {**os.environ, **dead, "no_proxy": "", "NO_PROXY": "", "KERAS_HOME": str(tmp_path)}
    line = [sys.executable, "-c", FETCH, str(tmp_path)]
    done = subprocess.run(line, cwd=Path(__file__).parent, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)  # and nothing of Keras's progress
    assert answer["same"]
    checked, fetched, mobilenet = answer["said"]
    for said in (checked, fetched):
        assert "the ImageNet weights of vgg16 cannot be fetched" in said
        assert "/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 and give that file with --weights" in said
    assert "/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5 and give" in mobilenet
