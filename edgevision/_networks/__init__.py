"""The networks that `edgevision train` knows, by name."""

from __future__ import annotations

from importlib import resources

from ._efficientnet_lite import VARIANTS, efficientnet_lite, load_torch_weights, packaged_weights
from ._network import DEFAULT_SIZE_WH, RANDOM, Network, Weights
from ._registry import NETWORKS, PRETRAINED
from ._slim import slim
from ._torch_file import read_torch_tensors

__all__ = [
    "DEFAULT_SIZE_WH",
    "NETWORKS",
    "PRETRAINED",
    "RANDOM",
    "VARIANTS",
    "Network",
    "Weights",
    "efficientnet_lite",
    "imagenet_labels",
    "load_torch_weights",
    "packaged_weights",
    "read_torch_tensors",
    "slim",
]


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 ImageNet labels in the order of the network's scores, each one unique.

    Source: torchvision 0.20, `torchvision/models/_meta.py`, which tells apart the two cranes and the two maillots.
    """
    text = resources.files(__package__ or "").joinpath("imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
