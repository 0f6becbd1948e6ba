"""Making scores mean what they say: a temperature and a reject threshold, fitted on pictures that trained nothing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import CheckError, Classifier, UsageError, read_model_file, seal, write_atomically

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import numpy.typing as npt

    from edgevision_device import DataOrigin, Metadata

__all__ = [
    "ConfidenceFit",
    "Labelled",
    "RejectFit",
    "TemperatureFit",
    "check_max_error",
    "fit_confidence",
    "fit_rejection",
    "fit_temperature",
    "reseal",
]

#: A temperature outside is no fit but the lack of one.
_COLDEST, _HOTTEST = 0.1, 10.0
#: Half of the 95 % point of chi-squared with one degree of freedom: how far a likelihood may fall inside the interval.
_FALL = 1.9207


@dataclass(frozen=True)
class TemperatureFit:
    """What a file's scores are to be tempered by.

    Attributes:
        temperature: `best`; 1.0 where there is none, or where `interval` holds 1, so that it cannot be told from 1.
        best: the temperature at which the scores explain the labels best; None where none could be fitted.
        interval: of `best`, 95 %, from the likelihood ratio; an end outside of 0.1 to 10 is None. None as a whole where
            none could be fitted.
        pictures, wrong: on which it was fitted, and how many of these are named wrongly.
        nll_before, nll_after: mean negative log likelihood of the labels, in nats, without and with the temperature.
    """

    temperature: float
    best: float | None
    interval: tuple[float | None, float | None] | None
    pictures: int
    wrong: int
    nll_before: float
    nll_after: float

    def describe(self) -> str:
        """Return one line."""
        on = f"on {self.pictures:,} pictures, {self.wrong} of them named wrongly"
        if self.best is None or self.interval is None:
            return f"temperature 1: none could be fitted {on}"
        low, high = self.interval
        lowest = f"below {_COLDEST:g}" if low is None else f"{low:.2f}"
        highest = f"above {_HOTTEST:g}" if high is None else f"{high:.2f}"
        found = f"{self.best:.2f} ({lowest} to {highest})"
        if self.temperature == self.best:
            return f"temperature {found} {on}"
        return f"temperature 1: {found} fits best and cannot be told from 1 {on}"


@dataclass(frozen=True)
class RejectFit:
    """The smallest threshold that keeps the error of what is accepted within bounds.

    Attributes:
        threshold: answers that score less are reported as unknown.
        max_error: the share of wrong answers among the accepted that was asked for, 0 to 1.
        pictures: on which it was fitted.
        accepted, wrong: how many of them it accepts, and how many of these are named wrongly.
        upper_error: what the error of the accepted may be all the same: the one-sided 95 % limit of C. J. Clopper and
            E. S. Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934), 404-413. It knows nothing
            of the choice among thresholds.
    """

    threshold: float
    max_error: float
    pictures: int
    accepted: int
    wrong: int
    upper_error: float

    def describe(self) -> str:
        """Return one line."""
        rejected = 1 - self.accepted / self.pictures
        return (
            f"reject threshold {self.threshold:.3f}: {self.wrong} of the {self.accepted:,} answers that it accepts are "
            f"wrong ({100 * self.wrong / self.accepted:.1f} %, {100 * self.max_error:g} % allowed; below "
            f"{100 * self.upper_error:.1f} % with 95 % confidence), {100 * rejected:.1f} % of {self.pictures:,} "
            "pictures are rejected"
        )


@dataclass(frozen=True)
class ConfidenceFit:
    """What was fitted for one file.

    Attributes:
        metadata: of the file, with the new temperature and threshold; see `reseal`.
        temperature: how the former came about.
        rejection: how the latter came about; None if it was not asked for.
    """

    metadata: Metadata
    temperature: TemperatureFit
    rejection: RejectFit | None

    def describe(self) -> list[str]:
        """Return one line for the temperature and, if there is a threshold, one for it."""
        return [self.temperature.describe(), *([] if self.rejection is None else [self.rejection.describe()])]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        rejection = None if self.rejection is None else asdict(self.rejection)
        return {"temperature": asdict(self.temperature), "rejection": rejection}


@dataclass(frozen=True)
class Labelled:
    """Pictures with labels on which the confidence of files is fitted.

    Attributes:
        pixels_nhwc, targets, max_error, origin: see `fit_confidence`.
    """

    pixels_nhwc: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.integer[Any]]
    max_error: float | None = None
    origin: DataOrigin | None = None


def fit_confidence(
    path: str | os.PathLike[str],
    pixels_nhwc: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.integer[Any]],
    *,
    max_error: float | None = None,
    origin: DataOrigin | None = None,
    threads: int | None = None,
) -> ConfidenceFit:
    """Fit a file's temperature, and the reject threshold that goes with it, to its own answers.

    The answers are those of this very file, because quantization moves scores. Nothing is written: `reseal` does that.

    Args:
        path: a file that edgevision wrote.
        pixels_nhwc: uint8, `(n, height, width, 3)`, preprocessed; of the val part, not of train.
        targets: index of what each picture shows, `(n,)`.
        max_error: share of wrong answers that is allowed among the accepted, 0 to 1; None leaves nothing rejected.
        origin: which pictures these are; the file says so, and they are no judge of its confidence.
        threads: for the runtime.

    Raises:
        UsageError: there are no pictures, or `max_error` is out of range.
        FileError: edgevision did not write the file.
        CheckError: the file gives no scores, or no threshold brings the error down to `max_error`.
    """
    classifier = Classifier(path, threads=threads)
    targets = np.asarray(targets)
    _require_labelled(len(pixels_nhwc), len(targets))
    check_max_error(max_error)
    scores = np.stack([classifier.run(pixels[np.newaxis]) for pixels in pixels_nhwc])
    fitted = fit_temperature(scores, targets)
    metadata = replace(classifier.metadata, temperature=fitted.temperature, reject_threshold=0.0, fitted_on=origin)
    rejection = None
    if max_error is not None:
        classifier.metadata = metadata  # so that the threshold sees the scores that the device will
        best = np.array([float(classifier.temper(row).max()) for row in scores])
        rejection = fit_rejection(best, scores.argmax(1) == targets, max_error)
        metadata = replace(metadata, reject_threshold=rejection.threshold)
    return ConfidenceFit(metadata, fitted, rejection)


def reseal(path: str | os.PathLike[str], metadata: Metadata) -> None:
    """Replace what a file says about itself. The model inside stays as it is; a reader sees the old file or the new.

    Raises FileError if edgevision did not write the file.
    """
    file = read_model_file(path)
    write_atomically(path, seal(file.model, metadata, file.format))


def fit_temperature(scores: npt.NDArray[Any], targets: npt.NDArray[np.integer[Any]]) -> TemperatureFit:
    """Return the temperature T at which `score ** (1 / T)`, renormalized, has the least negative log likelihood.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2,
    on the logarithms of the scores, which are the logits but for a constant. The likelihood has one maximum. There is
    none between 0.1 and 10 where no answer is wrong, because ever sharper scores explain these ever better; then the
    temperature is 1. So it is where the 95 % interval holds 1: what chance explains is not applied.

    A score that a quantized file rounds to 0 adds nothing to the sum, as on the device; where it is the label's, it
    counts as half of the smallest score that the file gave, for its logarithm would be infinite.

    Args:
        scores: `(n, labels)`, at least 0.
        targets: index of what each picture shows, `(n,)`.

    Raises:
        UsageError: there are no pictures, or not as many labels.
        CheckError: these are no scores.
    """
    values = np.asarray(scores, np.float64)
    _require_labelled(len(values), len(targets))
    if not np.isfinite(values).all() or not (values.min(initial=0) >= 0 and (values.sum(1) > 0).all()):
        raise CheckError("the file gives scores that are negative, NaN or all 0; no temperature can mend them")
    places = np.arange(len(values))
    wrong = int((values.argmax(1) != targets).sum())
    positive = values > 0
    logs = np.log(np.where(positive, values, 1.0))
    floor = math.log(float(values[positive].min()) / 2)
    own = np.where(positive[places, targets], logs[places, targets], floor)

    def loss(inverse: float) -> float:
        """Return the summed negative log likelihood at 1 / T."""
        powers = np.where(positive, np.exp(inverse * logs), 0.0)
        return float((np.log(powers.sum(1)) - inverse * own).sum())

    def slope(inverse: float) -> float:
        """Return its derivative, which grows with 1 / T."""
        powers = np.where(positive, np.exp(inverse * logs), 0.0)
        return float(((powers * logs).sum(1) / powers.sum(1) - own).sum())

    low, high = 1 / _HOTTEST, 1 / _COLDEST
    before = loss(1.0)
    if not wrong or slope(low) >= 0 or slope(high) <= 0:
        return TemperatureFit(1.0, None, None, len(values), wrong, before / len(values), before / len(values))
    lowest = _root(slope, low, high)
    # Digits beyond these differ between machines, and mean nothing.
    best = round(1 / lowest, 4)
    limit = loss(lowest) + _FALL
    coldest = None if loss(high) <= limit else 1 / _root(lambda at: loss(at) - limit, lowest, high)
    hottest = None if loss(low) <= limit else 1 / _root(lambda at: limit - loss(at), low, lowest)
    temperature = 1.0 if before <= limit else best
    after = loss(1 / temperature) / len(values)
    return TemperatureFit(temperature, best, (coldest, hottest), len(values), wrong, before / len(values), after)


def fit_rejection(scores: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_], max_error: float) -> RejectFit:
    """Return the smallest threshold at which at most `max_error` of the accepted answers are wrong.

    It accepts as many pictures as any threshold with that error. It lies midway between the lowest score that is
    accepted and the highest that is not, because another runtime may round a score otherwise. The error is that of
    these pictures; expect more on others, for which it was not chosen.

    Args:
        scores: of each picture's best label, `(n,)`.
        right: whether that label is right, bool `(n,)`.
        max_error: 0 to 1.

    Raises:
        CheckError: even the surest answers are wrong more often.

    >>> fit_rejection(np.array([0.9, 0.8, 0.6, 0.5]), np.array([True, True, False, True]), 0.1).threshold
    0.7
    """
    check_max_error(max_error)
    order = np.argsort(-np.asarray(scores), kind="stable")
    sorted_scores, wrong = np.asarray(scores, np.float64)[order], np.cumsum(~np.asarray(right)[order])
    count = len(sorted_scores)
    for accepted in range(count, 0, -1):
        lowest = float(sorted_scores[accepted - 1])
        highest_below = float(sorted_scores[accepted]) if accepted < count else None
        # 0.29 · 100 is a little less than 29.
        if highest_below == lowest or wrong[accepted - 1] > max_error * accepted * (1 + 1e-12):
            continue
        threshold = 0.0 if highest_below is None else _between(highest_below, lowest)
        mistakes = int(wrong[accepted - 1])
        return RejectFit(threshold, max_error, count, accepted, mistakes, _upper_limit(mistakes, accepted))
    raise CheckError(
        f"no reject threshold keeps the error of the accepted at {100 * max_error:g} %: the surest answers are wrong "
        "more often; allow more, or train a better model"
    )


def check_max_error(max_error: float | None) -> None:
    """Raise UsageError unless this is a share of wrong answers that can be allowed; see `fit_confidence`."""
    if max_error is not None and not 0 <= max_error < 1:
        raise UsageError(f"the error of accepted answers is a share of at least 0 and less than 1, got {max_error:g}")


def _require_labelled(pictures: int, labels: int) -> None:
    if not pictures or pictures != labels:
        raise UsageError(
            f"a temperature is fitted on pictures that each have a label; got {pictures} pictures and {labels} labels"
        )


def _upper_limit(wrong: int, total: int) -> float:
    """Return the share of mistakes at which so few would be seen in only 5 % of cases."""
    if wrong == total:
        return 1.0
    counts = range(wrong + 1)
    ways = np.array([math.lgamma(total + 1) - math.lgamma(each + 1) - math.lgamma(total - each + 1) for each in counts])

    def excess(share: float) -> float:
        seen = np.arange(wrong + 1)
        return 0.05 - float(np.exp(ways + seen * math.log(share) + (total - seen) * math.log1p(-share)).sum())

    return _root(excess, 0.0, 1.0)


def _between(low: float, high: float) -> float:
    """Return a short number near the middle that is more than `low` and at most `high`."""
    middle = (low + high) / 2
    short = round(middle, 6)
    return short if low < short <= high else middle


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function that is negative at `low` and positive at `high` is 0."""
    for _ in range(80):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
