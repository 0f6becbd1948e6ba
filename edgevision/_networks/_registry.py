"""Every network by its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from ._efficientnet_lite import (
    VARIANTS,
    check_lite_weights,
    has_lite_weights,
    lite_body,
    lite_classifier,
    load_lite_weights,
)
from ._keras_applications import (
    APPLICATIONS,
    application_body,
    application_classifier,
    check_application_weights,
    has_application_weights,
    load_application_weights,
)
from ._network import Network, Weights
from ._scratch import binary, conv_pool, dense, plain, stride_dropout
from ._slim import slim_body

__all__ = ["NETWORKS", "PRETRAINED"]

_SCRATCH = (
    Network(
        "slim",
        "small and fast on a device: strides, depthwise-separable convolutions, dropout",
        slim_body,
        knobs={"width": 1.0, "depth": 1, "dropout": 0.2, "strides": None, "convolution": "separable"},
    ),
    Network("dense", "one hidden layer on all pixels", dense, knobs={"units": 128}),
    Network(
        "conv-pool",
        "pairs of a convolution and a max pooling, then a hidden layer",
        conv_pool,
        knobs={"filters": 32, "depth": 2, "units": 128},
    ),
    Network("plain", "two convolutions, then a hidden layer", plain, knobs={"filters": 20, "units": 128}),
    Network(
        "stride-dropout",
        "two convolutions with stride 2 and dropout, then a hidden layer",
        stride_dropout,
        knobs={"filters": 30, "units": 128, "dropout": 0.5},
    ),
    Network(
        "binary",
        "three pairs of a convolution and a max pooling, for photographs of two kinds of things",
        binary,
        size_wh=(150, 150),
        knobs={"units": 512},
        head="sigmoid",
    ),
)

_LITE = tuple(
    Network(
        name,
        "EfficientNet without what int8 does badly; ImageNet weights from a package",
        partial(lite_body, name),
        size_wh=(variant.size, variant.size),
        dropout=variant.dropout,
        weights=Weights(
            partial(check_lite_weights, name),
            partial(has_lite_weights, name),
            partial(load_lite_weights, name),
            partial(lite_classifier, name),
        ),
    )
    for name, variant in VARIANTS.items()
)

_APPLICATIONS = tuple(
    Network(
        name,
        f"{application.summary}; ImageNet weights of Keras",
        partial(application_body, name),
        size_wh=(application.size, application.size),
        dropout=application.dropout,
        weights=Weights(
            partial(check_application_weights, name),
            partial(has_application_weights, name),
            partial(load_application_weights, name),
            partial(application_classifier, name),
        ),
    )
    for name, application in APPLICATIONS.items()
)

_ALL = (*_SCRATCH, *_LITE, *_APPLICATIONS)

#: The networks that `edgevision train` knows.
NETWORKS: Mapping[str, Network] = MappingProxyType({network.name: network for network in _ALL})
#: Names of those with ImageNet weights.
PRETRAINED = tuple(name for name, network in NETWORKS.items() if network.pretrained)
