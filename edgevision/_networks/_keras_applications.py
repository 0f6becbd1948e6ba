"""The networks of keras.applications: raw RGB pixels in, and weights from the files that Keras publishes.

Every network starts with the Rescaling "normalization" that the converters fold into an int8 input. Where the network
wants its channels shifted or scaled each by their own number, a second Rescaling, "channels", does the rest. ResNet50
and VGG16 were trained on BGR; here the first convolution's kernel is turned round instead of the picture.
"""

from __future__ import annotations

import contextlib
import os
import sys
import urllib.error
import urllib.request
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError, UsageError

from ._network import RANDOM

if TYPE_CHECKING:
    import keras

__all__ = [
    "APPLICATIONS",
    "Application",
    "application_body",
    "application_classifier",
    "check_application_weights",
    "has_application_weights",
    "load_application_weights",
]

#: Where Keras itself fetches its weights (BASE_WEIGHTS_PATH in the modules of keras/src/applications).
_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/"
_SUFFIXES = (".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class Application:
    """A network of keras.applications.

    Attributes:
        function: its name there.
        files: address of the weights below `_ADDRESS`, and what is added to it without the classifier.
        pixels: what it was trained on: `-1..1`, `bgr` minus the mean of ImageNet, or `imagenet` mean and deviation.
        size: width and height that it was made for.
        least: smallest width and height that it can be built for.
        dropout: rate before the classifier.
        summary: one line.
    """

    function: str
    files: tuple[str, str]
    pixels: str
    summary: str
    size: int = 224
    least: int = 32
    dropout: float = 0.2

    def file(self, *, top: bool) -> str:
        """Return the name of the published file, with the classifier or without."""
        return Path(self._path(top=top)).name

    def address(self, *, top: bool) -> str:
        """Return where that file is published."""
        return _ADDRESS + self._path(top=top)

    def _path(self, *, top: bool) -> str:
        path, added = self.files
        return f"{path}{'' if top else added}.h5"


APPLICATIONS = {
    "resnet50": Application(
        "ResNet50",
        ("resnet/resnet50_weights_tf_dim_ordering_tf_kernels", "_notop"),
        "bgr",
        "ResNet of 50 layers (2015); large",
    ),
    "vgg16": Application(
        "VGG16",
        ("vgg16/vgg16_weights_tf_dim_ordering_tf_kernels", "_notop"),
        "bgr",
        "VGG of 16 layers (2014), for transfer without its dense layers; the slowest",
        dropout=0.5,
    ),
    "xception": Application(
        "Xception",
        ("xception/xception_weights_tf_dim_ordering_tf_kernels", "_notop"),
        "-1..1",
        "Xception (2016): depthwise-separable convolutions, large",
        size=299,
        least=71,
        dropout=0.5,
    ),
    "mobilenetv2": Application(
        "MobileNetV2",
        ("mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224", "_no_top"),
        "-1..1",
        "MobileNetV2 (2018), width 1.0",
    ),
    "mobilenetv3-small": Application(
        "MobileNetV3Small",
        ("mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float", "_no_top_v2"),
        "-1..1",
        "MobileNetV3 (2019), the small one",
    ),
    "mobilenetv3-large": Application(
        "MobileNetV3Large",
        ("mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float", "_no_top_v2"),
        "-1..1",
        "MobileNetV3 (2019), the large one",
    ),
    "efficientnetv2-b0": Application(
        "EfficientNetV2B0",
        ("efficientnet_v2/efficientnetv2-b0", "_notop"),
        "imagenet",
        "EfficientNetV2 (2021), its smallest",
    ),
}


def application_body(name: str, size_wh: tuple[int, int]) -> keras.Model:
    """Build a network up to the mean over all places of its last feature map, with random weights.

    Raises:
        UsageError: the pictures are smaller than the network can be built for.
    """
    import keras

    least = APPLICATIONS[name].least
    if min(size_wh) < least:
        raise UsageError(
            f"{size_wh[0]}x{size_wh[1]} is too small for {name}, which halves pictures five times; "
            f"give at least {least}x{least} pixels"
        )
    model = _build(name, size_wh, top=False)
    features: Any = keras.layers.GlobalAveragePooling2D(name="features")(model.outputs[0])
    return keras.Model(model.inputs[0], features, name=name)


def application_classifier(name: str, weights: str | None) -> keras.Model:
    """Build a network with its 1,000 scores; see `load_application_weights`."""
    model = _build(name, _own_size(name), top=True)
    if weights != RANDOM:
        _fill(name, model, weights, top=True)
    return model


def load_application_weights(name: str, body: keras.Model, weights: str | None) -> None:
    """Fill a body with published weights, or those of a file in the formats in which Keras publishes or writes them.

    Args:
        name: one of `APPLICATIONS`.
        body: from `application_body`.
        weights: `.h5` as published, with or without the classifier; `.weights.h5` or `.keras` of this network, as
            keras.applications or edgevision built it. None fetches the published file once, into Keras's own folder.

    Raises:
        FileError: the file holds something else, or nothing can be fetched.
    """
    _fill(name, body, weights, top=False)


def check_application_weights(name: str, weights: str | None, *, top: bool = False) -> None:
    """Raise FileError if the file is not there, or nobody answers where Keras would fetch it from."""
    if weights is not None:
        if not Path(weights).is_file():
            raise FileError(f"no such weights file: {weights}")
        if not weights.endswith(_SUFFIXES):
            raise FileError(
                f"{weights} is no file of Keras weights; its name must end in one of {', '.join(_SUFFIXES)}"
            )
        return
    if has_application_weights(name, top=top):
        return
    try:
        request = urllib.request.Request(APPLICATIONS[name].address(top=top), method="HEAD")
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError:
        return  # somebody answered; whether the file can be had is seen when it is fetched
    except OSError as error:
        raise _not_fetched(name, top, error) from error


def has_application_weights(name: str, *, top: bool = True) -> bool:
    """Say whether Keras has fetched the published file before."""
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    return (folder / APPLICATIONS[name].file(top=top)).is_file()


def _not_fetched(name: str, top: bool, error: Exception) -> FileError:
    application = APPLICATIONS[name]
    return FileError(
        f"the ImageNet weights of {name} cannot be fetched ({error}); on a machine with a network fetch "
        f"{application.address(top=top)} and give that file with --weights {application.file(top=top)}"
    )


def _own_size(name: str) -> tuple[int, int]:
    return APPLICATIONS[name].size, APPLICATIONS[name].size


def _build(name: str, size_wh: tuple[int, int], *, top: bool) -> keras.Model:
    """Build the network behind our own first layers, as one flat model."""
    import keras

    shape = (size_wh[1], size_wh[0], 3)
    inputs = keras.Input(shape, name="pixels")
    x: Any = inputs
    for layer in _first_layers(APPLICATIONS[name].pixels):
        x = layer(x)
    model = _application(name, shape, top=top, weights=None, input_tensor=x)
    # It declares a list of one input, and would warn whenever it is given just that one.
    return keras.Model(inputs, model.outputs[0], name=name)


def _first_layers(pixels: str) -> list[keras.layers.Layer]:
    """Return the layers that turn pixels 0..255 into what a network was trained on, the channels in RGB order.

    The numbers are those of `preprocess_input` in keras/src/applications/imagenet_utils.py, modes tf, caffe and torch.
    The first layer has one number for all channels, as int8's input has one scale.
    """
    from keras import layers

    if pixels == "-1..1":
        return [layers.Rescaling(1 / 127.5, -1.0, name="normalization")]
    if pixels == "bgr":
        mean, std = np.array([123.68, 116.779, 103.939]), np.ones(3)
    else:
        mean, std = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])
    # 127 and 128 put pixel 127 on 0 exactly, so that int8's zero point loses nothing.
    normalization = layers.Rescaling(1 / 128, -127 / 128, name="normalization")
    return [normalization, layers.Rescaling((128 / std).tolist(), ((127 - mean) / std).tolist(), name="channels")]


def _application(name: str, shape: tuple[int, int, int], *, top: bool, weights: str | None, **more: Any) -> keras.Model:
    import keras

    application = APPLICATIONS[name]
    if application.function.startswith(("MobileNetV3", "EfficientNet")):
        more["include_preprocessing"] = False
    build = getattr(keras.applications, application.function)
    with warnings.catch_warnings():
        # "Weights for input shape (224, 224) will be loaded as the default."
        warnings.simplefilter("ignore", UserWarning)
        return build(include_top=top, weights=weights, input_shape=shape, name=name, **more)


def _fill(name: str, model: keras.Model, weights: str | None, *, top: bool) -> None:
    if weights is None:
        model.set_weights(_fetched(name, model, top=top))
    else:
        check_application_weights(name, weights)
        _load_file(name, model, weights, top=top)
    if APPLICATIONS[name].pixels == "bgr" and not (weights and _holds_our_layers(weights)):
        _turn_channels(model)


def _fetched(name: str, model: keras.Model, *, top: bool) -> list[Any]:
    shape: tuple[int, int, int] = model.inputs[0].shape[1:]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras tells of its progress
            return _application(name, shape, top=top, weights="imagenet").get_weights()
    except Exception as error:  # Keras raises a plain Exception when it cannot fetch
        raise _not_fetched(name, top, error) from error


def _load_file(name: str, model: keras.Model, path: str, *, top: bool) -> None:
    reason = _loaded(model, path)
    if reason is None:
        return
    file = APPLICATIONS[name].file(top=True)
    if top:
        body = _build(name, _own_size(name), top=False)
        if _loaded(body, path) is None:
            raise FileError(
                f"{path} holds {name} without its classifier, so there are no scores for the labels of ImageNet; "
                f"give {file}, or train a head on it with `edgevision train`"
            )
    else:
        # The file may hold the classifier too. Its layers come last, so that the body's are the first of them.
        whole = _build(name, _own_size(name), top=True)
        if _loaded(whole, path) is None:
            for ours, theirs in zip(_weighted(model), _weighted(whole), strict=False):
                ours.set_weights(theirs.get_weights())
            return
    raise FileError(f"{path} does not hold the weights of {name}, such as {file}: {reason}")


def _loaded(model: keras.Model, path: str) -> str | None:
    """Load a file; return why that failed, or None."""
    try:
        model.load_weights(path)
    except Exception as error:  # whatever h5py, zipfile or the layer that did not fit raised
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def _weighted(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


def _holds_our_layers(path: str) -> bool:
    """Tell whether a file was written from a model that `_build` made, whose first kernel is turned already."""
    import h5py

    with contextlib.ExitStack() as opened:
        if path.endswith(".keras"):
            archive = opened.enter_context(zipfile.ZipFile(path))
            file: Any = h5py.File(opened.enter_context(archive.open("model.weights.h5")))
        else:
            file = h5py.File(path)
        opened.enter_context(file)
        legacy = file.get("model_weights", file)
        # Keras 3 names what a file holds by class, older formats by layer.
        names = legacy.attrs["layer_names"] if "layer_names" in legacy.attrs else list(file.get("layers", ()))
        return any(name in ("rescaling", "normalization", b"normalization") for name in names)


def _turn_channels(model: keras.Model) -> None:
    """Turn the input channels of the first convolution round: what was for BGR is now for RGB."""
    import keras

    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *rest = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], *rest])
