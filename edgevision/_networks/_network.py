"""What a network is to the rest of the house: a body to build, its knobs, and where its weights come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgevision_device import UsageError, require_known

from ._slim import CONVOLUTIONS

if TYPE_CHECKING:
    import keras

__all__ = ["DEFAULT_SIZE_WH", "RANDOM", "Network", "Weights"]

#: In place of a weights file: leave the network as it was initialized. For tests, and to count what it costs.
RANDOM = "random"
#: Input size where neither the network nor the data has one.
DEFAULT_SIZE_WH = (96, 96)

#: Knob → lowest and highest value.
_RANGES = {"width": (0.05, 20), "depth": (1, 50), "dropout": (0, 0.95), "filters": (1, 2048), "units": (1, 16384)}
_WHOLE = ("depth", "filters", "units")


@dataclass(frozen=True)
class Weights:
    """ImageNet weights of a network. `weights` is a file, `RANDOM`, or None for those that are published.

    Attributes:
        check: `check(weights, top=...)` raises FileError or MissingPackageError if the weights are not there, for the
            whole network or for its body, without loading anything.
        here: whether the published ones of the whole network are on this machine; asks nobody.
        load: fills a body.
        classifier: builds the whole network with its 1,000 scores, softmax last.
    """

    check: Callable[..., None]
    here: Callable[[], bool]
    load: Callable[[keras.Model, str | None], None]
    classifier: Callable[[str | None], keras.Model]


@dataclass(frozen=True)
class Network:
    """A network that `edgevision train` knows.

    Attributes:
        name: for `--model`.
        summary: one line.
        body: `body(size_wh, **knobs)` builds everything but the head: pixels 0..255, `(batch, height, width, 3)`, to
            features, `(batch, n)`. The first layer is the Rescaling "normalization", the last is called "features".
        size_wh: width and height that it was made for; None stands for the data's own.
        knobs: what `body` takes, with defaults; None is a default that follows from the size.
        head: its usual one, `softmax` or `sigmoid`.
        dropout: rate before the head, where it is no knob of the body.
        weights: ImageNet weights; None if there are none.
    """

    name: str
    summary: str
    body: Callable[..., keras.Model]
    size_wh: tuple[int, int] | None = None
    knobs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    head: str = "softmax"
    dropout: float = 0.0
    weights: Weights | None = None

    @property
    def pretrained(self) -> bool:
        """Whether there are ImageNet weights: transfer learning starts from them, and the network exports as it is."""
        return self.weights is not None

    def check_knobs(self, knobs: Mapping[str, Any]) -> None:
        """Raise UsageError for a knob that this network lacks, or a value outside its range."""
        for name, value in knobs.items():
            if name not in self.knobs:
                allowed = ", ".join(self.knobs) or "none"
                raise UsageError(f"{self.name} has no knob {name!r}; its knobs: {allowed}")
            if name in _RANGES:
                low, high = _RANGES[name]
                whole = name in _WHOLE
                if not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
                    kind = "a whole number " if whole else ""
                    raise UsageError(f"{name} must be {kind}between {low} and {high}, got {value!r}")
            elif name == "convolution":
                require_known(name, value, CONVOLUTIONS)
            elif name == "strides" and value is not None and (len(value) < 2 or not set(value) <= {1, 2}):
                raise UsageError(
                    f"strides must be 1 or 2, one for the stem and one for each stage, at least two; got {tuple(value)}"
                )

    def with_head(self, size_wh: tuple[int, int], classes: int, **knobs: Any) -> keras.Model:
        """Build the network as it is when it is finished: body, dropout and softmax scores, with random weights."""
        self.check_knobs(knobs)
        body = self.body(size_wh, **{**self.knobs, **knobs})
        import keras

        x: Any = body.outputs[0]
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name="dropout")(x)
        x = keras.layers.Dense(classes, activation="softmax", name="scores")(x)
        return keras.Model(body.inputs[0], x, name=self.name)

    def check_weights(self, weights: str | None, *, top: bool = False) -> None:
        """Raise FileError or MissingPackageError if the weights are not there; loads nothing. See `Weights`."""
        source = self._pretrained()
        if weights != RANDOM:
            source.check(weights, top=top)

    @property
    def has_weights(self) -> bool:
        """Whether ImageNet weights of the whole network are on this machine, in a package or fetched before."""
        return self._pretrained().here()

    def load(self, body: keras.Model, weights: str | None) -> None:
        """Fill a body that `body` built with ImageNet weights, those of a file or the published ones."""
        source = self._pretrained()
        if weights != RANDOM:
            source.load(body, weights)

    def classifier(self, weights: str | None) -> keras.Model:
        """Build the whole network at its own size, with softmax scores for the 1,000 `imagenet_labels()`."""
        return self._pretrained().classifier(weights)

    def _pretrained(self) -> Weights:
        if self.weights is None:
            raise UsageError(f"{self.name} has no ImageNet weights; it is trained from scratch")
        return self.weights
