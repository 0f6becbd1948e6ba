"""Where in a picture a classifier finds its label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import load_opencv

from ._layers import Passed, layers_of, run_watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from ._subject import Subject

__all__ = ["METHODS", "Attention", "attend", "heat_pixels", "overlay_pixels"]

#: What the numbers of a heat map are.
METHODS = {
    "cam": "class activation map: what each place adds to the label's number before softmax",
    "occlusion": "occlusion: how far the label's log-odds fall when a square there has the picture's mean color",
}

_BATCH = 64
#: Odds beyond this are rounding.
_LEAST = 1e-9
#: Red speaks for the label, blue against it.
_FOR, _AGAINST = (203, 36, 30), (33, 102, 172)


@dataclass(frozen=True)
class Attention:
    """A map of what spoke for a label.

    Attributes:
        method: a key of `METHODS`.
        target: index of the label.
        score: of the label, 0 to 1.
        scores: of all labels.
        heat: `(rows, columns)`, evenly over the picture; above 0 speaks for the label, below 0 against it.
    """

    method: str
    target: int
    score: float
    scores: npt.NDArray[np.float32]
    heat: npt.NDArray[np.float32]


def attend(
    subject: Subject,
    pixels: npt.NDArray[np.uint8],
    target: int | None = None,
    *,
    steps: int = 14,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Attention:
    """Map what in a picture speaks for a label.

    A network that ends with global average pooling and one dense layer has a class activation map: the dense layer's
    weights, applied to the pooled maps at each place, whose mean is the label's number but for its bias (Zhou et al.
    2016, https://arxiv.org/abs/1512.04150, equation 2). Whether a network is one is seen from the numbers that pass
    through it, not from its name. Of two labels it is the difference of their maps.

    For all others a square is laid over each place in turn (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901,
    section 4.2); log-odds instead of scores, because the score of a network that is sure hardly moves.

    Args:
        subject: the classifier.
        pixels: uint8 RGB of its input size, `(height, width, 3)`.
        target: index of the label; None is the predicted one.
        steps: of a square picture's side, for occlusion: `steps²` pictures are classified.
        on_progress: called with the number of pictures classified and their total, for occlusion.
    """
    pools, dense = _ends(subject)
    outputs, passed = run_watched(subject.model, subject.inputs(pixels[np.newaxis]), [*pools, *dense])
    scores = subject.to_scores(outputs)[0]
    target = int(scores.argmax()) if target is None else target
    heat = _class_activation(subject, passed, pools, dense, target)
    method = "occlusion" if heat is None else "cam"
    if heat is None:
        heat = _occlude(subject, pixels, target, steps, on_progress)
    return Attention(method, target, float(scores[target]), scores, heat)


def _ends(subject: Subject) -> tuple[list[str], list[str]]:
    """Return the names of all global average poolings, and of the last dense layer."""
    import keras

    layers = layers_of(subject.model)
    pools = [name for name, layer in layers.items() if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
    return pools, [name for name, layer in layers.items() if isinstance(layer, keras.layers.Dense)][-1:]


def _class_activation(
    subject: Subject, passed: Mapping[str, Passed], pools: list[str], dense: list[str], target: int
) -> npt.NDArray[np.float32] | None:
    """Return the class activation map; None for a network that has none."""
    for name in dense:
        weights = layers_of(subject.model)[name].get_weights()[0].astype(np.float64)
        maps = [passed[pool].before for pool in pools if _pooled(passed[pool].before, passed[name].before)]
        if maps and weights.shape[1] == subject.model.outputs[0].shape[-1]:
            # Of two labels only the difference counts; the numbers of one may be 0 throughout.
            weighed = weights[:, target] - (weights[:, 1 - target] if weights.shape[1] == 2 else 0)
            return (maps[0][0].astype(np.float64) @ weighed).astype(np.float32)
    return None


def _pooled(maps: npt.NDArray[np.float32], features: npt.NDArray[np.float32]) -> bool:
    """Say whether these features are the means of these maps, and nothing happened to them on the way."""
    means = maps.mean((1, 2))
    return means.shape == features.shape and np.allclose(means, features, rtol=1e-2, atol=1e-3 * np.abs(means).max())


def _occlude(
    subject: Subject, pixels: npt.NDArray[np.uint8], target: int, steps: int, on_progress: Callable[[int, int], None]
) -> npt.NDArray[np.float32]:
    height, width = pixels.shape[:2]
    cell = math.sqrt(height * width) / steps
    rows, columns = (max(1, min(side, round(side / cell))) for side in (height, width))
    half = max(1.0, min(height, width) / 5) / 2
    mean = np.rint(pixels.mean((0, 1))).astype(np.uint8)
    middles = [(np.arange(count) + 0.5) * side / count for side, count in ((height, rows), (width, columns))]
    places = [(y, x) for y in middles[0] for x in middles[1]]
    odds = [_log_odds(subject.scores(pixels[np.newaxis]), target)]
    for start in range(0, len(places), _BATCH):
        covered = np.repeat(pixels[np.newaxis], len(places[start : start + _BATCH]), 0)
        for picture, (y, x) in zip(covered, places[start : start + _BATCH], strict=True):
            top, left = max(0, round(y - half)), max(0, round(x - half))
            picture[top : max(top + 1, round(y + half)), left : max(left + 1, round(x + half))] = mean
        odds.append(_log_odds(subject.scores(covered), target))
        on_progress(min(start + _BATCH, len(places)), len(places))
    return (odds[0][0] - np.concatenate(odds[1:])).reshape(rows, columns).astype(np.float32)


def _log_odds(scores: npt.NDArray[np.float32], target: int) -> npt.NDArray[np.float64]:
    """Return log(score / all other scores), summing these: `1 - score` has no digits left where score is nearly 1."""
    exact = scores.astype(np.float64)
    others = np.delete(exact, target, axis=1).sum(1)
    return np.log(np.maximum(exact[:, target], _LEAST)) - np.log(np.maximum(others, _LEAST))


def heat_pixels(heat: npt.NDArray[np.float32], size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Paint a heat map: white for nothing, red for the label, blue against it; each place stays one rectangle."""
    cv2 = load_opencv()
    share = cv2.resize(_shares(heat), size_wh, interpolation=cv2.INTER_NEAREST)
    return _tinted(np.full((*share.shape, 3), 255.0), share, 1.0)


def overlay_pixels(
    pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], factor: int = 1
) -> npt.NDArray[np.uint8]:
    """Tint a picture by its heat map, interpolated between the middles of its places.

    Args:
        pixels: uint8 RGB, `(height, width, 3)`.
        heat: any size, over all of the picture.
        factor: enlarge the picture by it first, so that the tint is smooth where the picture is small.
    """
    cv2 = load_opencv()
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).repeat(factor, 0).repeat(factor, 1)
    share = cv2.resize(_shares(heat), grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    # Nearer to the middle, so that the tint is seen on black and on white.
    ground = np.repeat(40 + grey[..., np.newaxis] * (190 / 255), 3, 2)
    return _tinted(ground, share, 0.75)


def _shares(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    largest = float(np.abs(heat).max())
    return (heat / largest if largest > 0 else heat).astype(np.float32)


def _tinted(ground: npt.NDArray[Any], share: npt.NDArray[np.float32], most: float) -> npt.NDArray[np.uint8]:
    alpha = most * np.abs(share)[..., np.newaxis]
    color = np.where(share[..., np.newaxis] > 0, np.array(_FOR), np.array(_AGAINST))
    return np.rint(ground * (1 - alpha) + color * alpha).astype(np.uint8)
