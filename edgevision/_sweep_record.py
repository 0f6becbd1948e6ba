"""What a sweep finds, as frozen dataclasses, and the JSON record of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevision_benchmarks import Accuracy, unpaired_interval

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgevision_benchmarks import Conditions
    from edgevision_device import Percentiles

    from ._flips import Comparison

__all__ = ["FORMAT", "Result", "Sweep", "SweepRow"]

#: Raised when a reader of the old record would misread the new one.
FORMAT = 1


@dataclass(frozen=True)
class Result:
    """What one training and its file came to.

    Attributes:
        size_wh: what the network takes.
        part: which pictures judged it: `test`, or `val` where the data has no test part.
        train, test: of the Keras model, on pictures as they are.
        file: of the exported file on the test pictures, through what runs on the device.
        name: of the file, in the row's folder.
        size_bytes, runtime: of the file.
        parameters, macs: of the Keras model; multiply-accumulates per picture.
        epochs: that the training took.
        training_seconds: how long.
    """

    size_wh: tuple[int, int]
    part: str
    train: Accuracy
    test: Accuracy
    file: Accuracy
    name: str
    size_bytes: int
    runtime: str
    parameters: int
    macs: int
    epochs: int
    training_seconds: float

    @property
    def gap(self) -> float:
        """How much more often the Keras model is right on what it was trained on: train share minus test share."""
        return self.train.share - self.test.share

    @property
    def gap_interval(self) -> tuple[float, float]:
        """Of the gap, 95 %, see `unpaired_interval`."""
        return unpaired_interval(self.test.right, self.test.pictures, self.train.right, self.train.pictures)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        low, high = self.gap_interval
        return {
            "size_wh": list(self.size_wh),
            "part": self.part,
            "train": self.train.to_record(),
            "test": self.test.to_record(),
            "gap_share": self.gap,
            "gap_low_share": low,
            "gap_high_share": high,
            "file": {
                "name": self.name,
                "size_bytes": self.size_bytes,
                "runtime": self.runtime,
                **self.file.to_record(),
            },
            "parameters": self.parameters,
            "macs": self.macs,
            "epochs": self.epochs,
            "training_seconds": self.training_seconds,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Result:
        """Read what `to_record` gave."""
        accuracies = {
            name: Accuracy(record[name]["right"], record[name]["pictures"]) for name in ("train", "test", "file")
        }
        file = record["file"]
        plain = {name: record[name] for name in ("part", "parameters", "macs", "epochs", "training_seconds")}
        return cls(
            size_wh=(record["size_wh"][0], record["size_wh"][1]),
            name=file["name"],
            size_bytes=file["size_bytes"],
            runtime=file["runtime"],
            **accuracies,
            **plain,
        )


@dataclass(frozen=True)
class SweepRow:
    """One training of a sweep.

    Attributes:
        name: of the row and its folder.
        varied: what tells it from the others, as text by the name of its axis.
        options: all of them, as JSON types.
        result: None if it failed.
        error: why it failed, one line.
        kept: whether an earlier sweep had made it.
        latency: of its file, timed in turns with the other rows' files.
        comparison: with the first row that did not fail; None for that one.
    """

    name: str
    varied: Mapping[str, str]
    options: Mapping[str, Any]
    result: Result | None = None
    error: str | None = None
    kept: bool = False
    latency: Percentiles | None = None
    comparison: Comparison | None = None

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "name": self.name,
            "varied": dict(self.varied),
            "options": dict(self.options),
            "error": self.error,
            "result": None if self.result is None else self.result.to_record(),
            "latency": None if self.latency is None else dict(self.latency.__dict__),
            "comparison": None if self.comparison is None else self.comparison.to_record(),
        }


@dataclass(frozen=True)
class Sweep:
    """All rows, and what holds for all of them.

    Attributes:
        folder: holds a folder per row, and `sweep.json`, `sweep.csv`, `sweep.png` and `flips.html`.
        edgevision, created: the version that made it, and when (UTC, ISO 8601).
        command: what was typed, or None.
        data: what it was trained on.
        recipe: of the files.
        threads: with which they were timed.
        conditions: the machine that timed them.
    """

    folder: Path
    edgevision: str
    created: str
    command: str | None
    data: str
    recipe: str
    threads: int
    conditions: Conditions
    rows: tuple[SweepRow, ...]

    @property
    def finished(self) -> list[tuple[SweepRow, Result]]:
        """The rows that did not fail."""
        return [(row, row.result) for row in self.rows if row.result is not None]

    @property
    def part(self) -> str:
        """Which pictures judged them: `test`, or `val` where the data has no test part."""
        return next((result.part for _, result in self.finished), "test")

    def to_record(self) -> dict[str, Any]:
        """Return what `sweep.json` holds: shares lie between 0 and 1, units stand in the names."""
        return {
            "format": FORMAT,
            "edgevision": self.edgevision,
            "created": self.created,
            "command": self.command,
            "data": self.data,
            "part": self.part,
            "recipe": self.recipe,
            "threads": self.threads,
            "confidence": 0.95,
            "conditions": dict(self.conditions.__dict__),
            "rows": [row.to_record() for row in self.rows],
        }
