"""What a verification finds, as frozen dataclasses, and the JSON record of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from edgevision_benchmarks import compare_paired

from ._sweep_record import Accuracy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from edgevision_benchmarks import CalibrationError, PairedDifference
    from edgevision_converters import Agreement, Gate, LayerError
    from edgevision_device import Metadata

    from ._flips import Comparison
    from ._unseen import Judged

__all__ = ["FilePair", "Judgement", "Verification", "VerifiedFile"]

#: Raised when a reader of the old record would misread the new one.
FORMAT = 1

#: Of every interval.
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Judgement:
    """How right a model or file is, and how well it knows.

    Attributes:
        right, pictures: how many were named right, of how many.
        calibration: of its scores, with the temperature of the file.
        chance: the calibration error that chance alone gives to such scores; see `chance_error`.
        accepted, accepted_right: answers that reach the reject threshold of the file, and how many of them are right.
        right_by_label: how many pictures of each label were named right; labels without any are left out.
    """

    right: int
    pictures: int
    calibration: CalibrationError
    chance: float
    accepted: int
    accepted_right: int
    right_by_label: Mapping[str, int]

    @property
    def accuracy(self) -> Accuracy:
        """Its top-1."""
        return Accuracy(self.right, self.pictures)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            **self.accuracy.to_record(),
            "calibration": {**self.calibration.to_record(), "chance_error_share": self.chance},
            "accepted": self.accepted,
            "accepted_right": self.accepted_right,
            "right_by_label": dict(self.right_by_label),
        }


@dataclass(frozen=True)
class VerifiedFile:
    """A file beside the model it came from.

    Attributes:
        path, name: where it is, and what it is called here.
        format, metadata, size_bytes, sha256: of the file.
        agreement: with the model's scores, without temperature.
        judgement: how right it is.
        comparison: of its answers with the model's, with the flips.
        failure: why it fails the gate; None if it passes.
        decided: the pictures are enough for that verdict: the interval of the drop lies on one side of what the gate
            allows.
        fitted: so many of the pictures fitted its temperature and threshold.
        layers: the error of each layer, if it was asked for.
        unmatched: layers of the file that could not be compared; see `LayerErrors`.
    """

    path: Path
    name: str
    format: str
    metadata: Metadata
    size_bytes: int
    sha256: str
    agreement: Agreement
    judgement: Judgement
    comparison: Comparison
    failure: str | None
    decided: bool
    fitted: int
    layers: tuple[LayerError, ...]
    unmatched: tuple[str, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "path": str(self.path),
            "name": self.name,
            "format": self.format,
            "recipe": self.metadata.recipe,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "runtime": self.agreement.runtime,
            "temperature": self.metadata.temperature,
            "reject_threshold": self.metadata.reject_threshold,
            "failure": self.failure,
            "decided": self.decided,
            "fitted_on_pictures": self.fitted,
            "agreement": self.agreement.to_record(),
            "judgement": self.judgement.to_record(),
            "comparison": self.comparison.to_record(),
            "layers": [layer.to_record() for layer in self.layers],
            "unmatched_layers": list(self.unmatched),
        }


@dataclass(frozen=True)
class FilePair:
    """Two files of the same recipe in different formats.

    Attributes:
        recipe: of both.
        a, b: their names; b is compared with a.
        agreement: of their scores.
        difference: of their accuracy.
    """

    recipe: str
    a: str
    b: str
    agreement: Agreement
    difference: PairedDifference

    @classmethod
    def of(
        cls,
        a: VerifiedFile,
        b: VerifiedFile,
        agreement: Agreement,
        right_a: npt.NDArray[np.bool_],
        right_b: npt.NDArray[np.bool_],
    ) -> FilePair:
        """Pair two files by which pictures each has right, bool `(n,)`."""
        return cls(a.metadata.recipe, a.name, b.name, agreement, compare_paired(right_a, right_b))

    def describe(self) -> str:
        """Return one line."""
        return (
            f"{self.b} against {self.a}: same top-1 {100 * self.agreement.same_top1:.2f} %, scores differ by "
            f"{self.agreement.mean_difference:.2g} (at most {self.agreement.largest_difference:.2g}); "
            f"{self.difference.describe()}"
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "recipe": self.recipe,
            "a": self.a,
            "b": self.b,
            "agreement": self.agreement.to_record(),
            "difference": self.difference.to_record(),
        }


@dataclass(frozen=True)
class Verification:
    """All files, and what holds for all of them.

    Attributes:
        edgevision, created: the version that made it, and when (UTC, ISO 8601).
        command: what was typed, or None.
        source, source_kind: the model that the files are compared with; see `Reference`.
        source_judgement: of the model.
        gate: that the files have to pass.
        judged: the pictures.
        files: in the order in which they were given.
        pairs: files of the same recipe in different formats.
        chosen_among: so many files were tried on these very pictures, and this one kept because it passes; None where
            nothing was chosen.
    """

    edgevision: str
    created: str
    command: str | None
    source: str
    source_kind: str
    source_judgement: Judgement
    gate: Gate
    judged: Judged
    files: tuple[VerifiedFile, ...]
    pairs: tuple[FilePair, ...]
    chosen_among: int | None = None

    @property
    def pictures_needed(self) -> int | None:
        """How many pictures it takes before a file that changes no answer is sure to pass; None if no number does.

        The interval of a difference of 0 with nothing lost and nothing gained is ± z² / (n + z²).
        """
        allowed = self.gate.allowed(self.source_judgement.right, self.source_judgement.pictures)
        z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
        return math.ceil(z * z * (1 - allowed) / allowed) if allowed > 0 else None

    @property
    def guesses(self) -> bool:
        """Whether the model's top-1 is not distinguishable from that of guessing, 1 of as many labels as it has."""
        return self.source_judgement.accuracy.interval[0] <= 1 / len(self.judged.pictures.labels)

    def of(self, path: Path) -> Verification:
        """Return what it says of one file alone, with the pairs that it is one of."""
        (file,) = (each for each in self.files if each.path == path)
        pairs = tuple(pair for pair in self.pairs if file.name in (pair.a, pair.b))
        return replace(self, files=(file,), pairs=pairs)

    @property
    def failure(self) -> str | None:
        """One line that names what failed; None if all files pass."""
        failed = [file for file in self.files if file.failure is not None]
        if not failed:
            return None
        others = f"; so do {', '.join(file.name for file in failed[1:])}" if failed[1:] else ""
        return f"{failed[0].name} fails: {failed[0].failure}{others}"

    def to_record(self) -> dict[str, Any]:
        """Return what `verification.json` holds: shares lie between 0 and 1, units stand in the names."""
        pictures = self.judged.pictures
        return {
            "format": FORMAT,
            "edgevision": self.edgevision,
            "created": self.created,
            "command": self.command,
            "data": self.judged.data,
            "part": self.judged.part,
            "pictures": len(pictures),
            "pictures_sha256": pictures.origin.sha256,
            "seen": list(self.judged.seen),
            "training_pictures_unknown": self.judged.unknown,
            "confidence": _CONFIDENCE,
            "chosen_among": self.chosen_among,
            "pictures_needed": self.pictures_needed,
            "gate": self.gate.describe(),
            "max_drop_points": self.gate.max_drop,
            "failure": self.failure,
            "source_guesses": self.guesses,
            "source": {"name": self.source, "kind": self.source_kind, **self.source_judgement.to_record()},
            "files": [file.to_record() for file in self.files],
            "pairs": [pair.to_record() for pair in self.pairs],
        }
