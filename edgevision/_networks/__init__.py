"""The networks that `edgevision train` knows, by name."""

from __future__ import annotations

from importlib import resources

from ._network import DEFAULT_SIZE_WH, RANDOM, Network
from ._registry import NETWORKS, PRETRAINED

__all__ = ["DEFAULT_SIZE_WH", "NETWORKS", "PRETRAINED", "RANDOM", "Network", "imagenet_labels"]


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 ImageNet labels in the order of the network's scores, each one unique.

    Source: torchvision 0.20, `torchvision/models/_meta.py`, which tells apart the two cranes and the two maillots.
    """
    text = resources.files(__package__ or "").joinpath("imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
