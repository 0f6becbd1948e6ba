"""What a benchmark finds, as frozen dataclasses, and the JSON record of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Optional

from ._conditions import Conditions
from ._load import MachineState
from ._measurement import Measurement
from ._rounds import Settings
from ._slowness import NotFaster, not_faster
from ._speed import TimeRatio
from ._statistics import CONFIDENCE

__all__ = ["FORMAT", "RESUMED", "FileResult", "NetworkCost", "Pictures", "Report"]

#: What is said of a report with `resumed`.
RESUMED = "killed when the turns had been timed, and resumed: what else is told may be of another hour"

#: Raised when a reader of the old record would misread the new one.
FORMAT = 1


@dataclass(frozen=True)
class NetworkCost:
    """The network that a file was made from.

    Attributes:
        name: of the network.
        parameters: numbers that it holds, those of batch normalization among them, as published tables count.
        macs: multiplications with an addition of its convolutions and dense layers for one picture.
    """

    name: str
    parameters: int
    macs: int


@dataclass(frozen=True)
class FileResult:
    """One row: a file, and its measurement or the reason why there is none.

    Attributes:
        path: as the user gave it.
        name: the shortest part of the path that tells it from the others.
        size_bytes, sha256: of the whole file.
        format, recipe: as the file says; None where it could not be read.
        warnings: why the numbers may mislead.
        error: why it was not measured, one line.
        random_weights: whether the file says that its network was left as it was initialized; it has no accuracy.
        network: what it was made from, where whoever measured it knew.
    """

    path: str
    name: str
    size_bytes: int
    sha256: str
    format: Optional[str] = None
    recipe: Optional[str] = None
    warnings: tuple[str, ...] = ()
    error: Optional[str] = None
    measured: Optional[Measurement] = None
    random_weights: bool = False
    network: Optional[NetworkCost] = None

    @property
    def title(self) -> str:
        """Format and recipe for people, or the name where those are unknown or tell less."""
        if self.network is not None:
            return self.name
        if self.format is None or self.recipe in (None, "unknown"):
            return self.name
        return f"{ {'tflite': 'TFLite', 'onnx': 'ONNX'}.get(self.format, self.format) } {self.recipe}"


@dataclass(frozen=True)
class Pictures:
    """The labelled pictures that every file was measured on.

    Attributes:
        name: what to call them; the folder unless the caller knows better.
        split: `test` where the folder held splits, else None.
        sha256: `hash_pictures` over labels and contents.
        count: how many there are, those that cannot be decoded among them.
        labels: the labels of the folder, sorted.
        skipped: one line for each picture that could not be decoded.
    """

    name: str
    split: Optional[str]
    sha256: str
    count: int
    labels: tuple[str, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that one benchmark found.

    Attributes:
        edgevision: the version that measured.
        created: UTC, ISO 8601.
        command: what was typed, quoted for a shell; None from Python.
        noise_floor: the reference's time against its own, timed as two in the same rounds; None for a single
            file, or where it could not be.
        before, after: the machine when the files were open and warm, and when they had been timed.
        resumed: whether it was killed when all files had been timed, and gone on with later.
        thumbnails: SHA-256 of a picture → `data:` address, of the flips that `report.html` shows; not in `report.json`.
    """

    edgevision: str
    created: str
    command: Optional[str]
    conditions: Conditions
    pictures: Pictures
    settings: Settings
    files: tuple[FileResult, ...]
    noise_floor: Optional[TimeRatio] = None
    before: Optional[MachineState] = None
    after: Optional[MachineState] = None
    resumed: bool = False
    thumbnails: dict[str, str] = field(default_factory=dict[str, str], compare=False, repr=False)

    @property
    def measured(self) -> list[tuple[FileResult, Measurement]]:
        """The files that were measured, in order."""
        return [(file, file.measured) for file in self.files if file.measured is not None]

    @property
    def judged(self) -> list[tuple[FileResult, Measurement]]:
        """Those of them whose accuracy was measured."""
        return [row for row in self.measured if row[1].judged]

    @property
    def no_accuracy(self) -> str:
        """Why a file has none that was measured."""
        return "its weights are random" if self.pictures.count else "no pictures were given"

    def to_record(self) -> dict[str, Any]:
        """Return the record that `report.json` holds: see the package's docstring."""
        slow = not_faster(self)
        pictures = dataclasses.asdict(self.pictures)
        pictures["labels"], pictures["skipped"] = list(self.pictures.labels), list(self.pictures.skipped)
        return {
            "format": FORMAT,
            "edgevision": self.edgevision,
            "created": self.created,
            "command": self.command,
            "resumed": self.resumed,
            "conditions": dataclasses.asdict(self.conditions),
            "pictures": pictures,
            "settings": {**dataclasses.asdict(self.settings), "confidence": CONFIDENCE},
            "noise_floor": None if self.noise_floor is None else self.noise_floor.to_record(),
            "before": None if self.before is None else dataclasses.asdict(self.before),
            "after": None if self.after is None else dataclasses.asdict(self.after),
            "files": [_file_record(file, slow.get(file.name)) for file in self.files],
        }


def _file_record(file: FileResult, slow: Optional[NotFaster]) -> dict[str, Any]:
    return {
        "path": file.path,
        "name": file.name,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "format": file.format,
        "recipe": file.recipe,
        "random_weights": file.random_weights,
        "network": None if file.network is None else dataclasses.asdict(file.network),
        "warnings": list(file.warnings),
        "error": file.error,
        "not_faster": None if slow is None else slow.to_record(),
        "measured": None if file.measured is None else file.measured.to_record(),
    }
