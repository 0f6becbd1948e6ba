"""Rounding a layer's weights to 8 bits so that its outputs change least, not its weights.

Neighbouring pixels are alike, and so are channels: errors of several weights add up or cancel. With the covariance `H`
of what the weights are multiplied with, the output's mean squared error is `e' H e`, and each weight in turn is set to
the step that is best given the errors of all others, until none changes: cyclic coordinate descent, as in QuantEase
(Behdin et al., 2023, https://arxiv.org/abs/2309.01885).

All is in float64: a sum of float32 depends on how many threads took part, and at the middle between two steps the last
bit decides. The same input is to give the same bytes.

One layout serves all layers. Weights are `(taps, channels)`, and `H` is `(taps, taps, 1)` where all channels see the
same inputs, `(taps, taps, channels)` in a depthwise convolution, where each sees its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["apply", "best_steps", "covariance", "damped"]

_SWEEPS = 3
#: Taps between two updates of the others' gradients, which is one matrix product.
_BLOCK = 32
#: Multiplications of a product that OpenBLAS computes on one thread: several wait for each other longer than they work.
_ONE_THREAD = 2**18
#: Samples that are transposed together.
_ROWS = 64


def covariance(inputs: npt.NDArray[np.float32], mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the covariance of what stands at each two taps.

    Args:
        inputs: `(samples, taps)`, or `(samples, taps, channels)`.
        mean: of the samples.

    Returns:
        `(taps, taps, 1)`, or `(taps, taps, channels)`.
    """
    if inputs.ndim == 2:
        centred = inputs - mean
        return (centred.T @ centred / len(inputs))[:, :, np.newaxis]
    # In pieces that fit the processor's cache, on both sides of the transposition.
    by_channel = np.empty(inputs.shape[::-1])
    for start in range(0, len(inputs), _ROWS):
        by_channel[:, :, start : start + _ROWS] = inputs[start : start + _ROWS].transpose(2, 1, 0)
    by_channel -= mean.T[:, :, np.newaxis]
    return (by_channel @ by_channel.transpose(0, 2, 1) / len(inputs)).transpose(1, 2, 0)


def damped(covariance: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Add a share of the mean variance to the diagonal: a bound on what a few samples may decide."""
    taps = len(covariance)
    variance = np.einsum("iic->c", covariance) / taps
    return covariance + np.eye(taps)[:, :, np.newaxis] * (share * variance + 1e-12)


def apply(covariance: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Multiply `(taps, taps, …)` with `(taps, channels)`."""
    if covariance.shape[2] == 1:
        return covariance[:, :, 0] @ weights
    return np.einsum("ijc,jc->ic", covariance, weights)


def best_steps(
    weights: npt.NDArray[np.float64], scale: npt.NDArray[np.float64], covariance: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Choose whole numbers of steps, -127 to 127, for `(taps, channels)` weights.

    Args:
        weights: what they should be.
        scale: size of a step, by channel.
        covariance: of the layer's inputs.

    Returns:
        Whole numbers, `(taps, channels)`.
    """
    steps = np.rint(weights / scale).clip(-127, 127)
    error = weights - steps * scale
    curvature = np.maximum(np.einsum("iic->ic", covariance), 1e-20)
    for _ in range(_SWEEPS):
        changed = 0
        gradient = apply(covariance, error)
        for start in range(0, len(weights), _BLOCK):
            block = slice(start, min(start + _BLOCK, len(weights)))
            near = np.ascontiguousarray(covariance[block, block])
            slope = gradient[block].copy()
            moved = np.zeros_like(slope)
            for row in range(len(slope)):
                tap = start + row
                wanted = weights[tap] - error[tap] + slope[row] / curvature[tap]
                best = np.rint(wanted / scale).clip(-127, 127)
                move = (steps[tap] - best) * scale
                count = np.count_nonzero(move)
                if count:
                    changed += count
                    steps[tap] = best
                    error[tap] += move
                    moved[row] = move
                    slope[row + 1 :] += near[row + 1 :, row] * move
            rows = max(1, _ONE_THREAD // moved.size)
            for first in range(block.stop, len(weights), rows):
                behind = slice(first, first + rows)
                gradient[behind] += apply(covariance[behind, block], moved)
        if changed <= steps.size // 1000:
            break
    return steps
