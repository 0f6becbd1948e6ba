"""What pretrained networks see in pictures, as frozen dataclasses, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgevision_benchmarks import Accuracy, ms_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from edgevision_benchmarks import PairedDifference
    from edgevision_device import Percentiles, Prediction

    from ._imagenet_files import NetworkFile
    from ._imagenet_meanings import Meanings
    from ._pictures import Pictures

__all__ = ["ImagenetComparison", "ImagenetRow", "TopLabels"]


@dataclass(frozen=True)
class TopLabels:
    """What one network sees in one picture.

    Attributes:
        picture: the file.
        model: the network.
        random: whether its weights are random, so that this means nothing.
        best: its best labels, best first.
    """

    picture: str
    model: str
    random: bool
    best: tuple[Prediction, ...]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        top = [{"label": each.label, "index": each.index, "score": each.score} for each in self.best]
        return {"picture": self.picture, "model": self.model, "random_weights": self.random, "top": top}


@dataclass(frozen=True)
class ImagenetRow:
    """One network on a labelled folder, as its file answers.

    Attributes:
        file: what ran.
        top1, top5: pictures whose best label, or one of whose best five, is right. `top5` is None where a label of the
            folder stands for none of the others, which nearly always is among five.
        recall: top-1 by label of the folder.
        latency: of one picture, preprocessing not included.
        against_first: how much more often it is right than the first network; None for that one.
    """

    file: NetworkFile
    top1: Accuracy
    top5: Accuracy | None
    recall: Mapping[str, Accuracy]
    latency: Percentiles
    against_first: PairedDifference | None

    @classmethod
    def of(
        cls,
        file: NetworkFile,
        right: npt.NDArray[np.bool_],
        pictures: Pictures,
        meanings: Meanings,
        latency: Percentiles,
        against_first: PairedDifference | None,
    ) -> ImagenetRow:
        """Count which pictures have the right label first, and among the best five: bool `(n, 2)`."""
        top1, top5 = (Accuracy.of(column) for column in right.T)
        recall = {
            label: Accuracy.of(right[pictures.targets == target, 0]) for target, label in enumerate(pictures.labels)
        }
        return cls(file, top1, top5 if meanings.complete else None, recall, latency, against_first)

    def describe(self) -> str:
        """Return it as one line."""
        top5 = "" if self.top5 is None else f", top-5 {self.top5.describe()}"
        warning = ", which means nothing" if self.file.random else ""
        return (
            f"{self.file.title}: top-1 {self.top1.describe()}{top5}{warning}; {self.file.parameters:,} parameters, "
            f"{self.file.macs:,} MACs, {self.file.size_bytes:,} bytes, p50 {ms_text(self.latency.p50_ms)} ms"
        )

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types; shares, not per cent."""
        return {
            "model": self.file.model,
            "random_weights": self.file.random,
            "file": self.file.path.name,
            "size_wh": list(self.file.size_wh),
            "top1": self.top1.to_record(),
            "top5": None if self.top5 is None else self.top5.to_record(),
            "recall": {label: accuracy.to_record() for label, accuracy in self.recall.items()},
            "parameters": self.file.parameters,
            "macs": self.file.macs,
            "size_bytes": self.file.size_bytes,
            "p50_ms": self.latency.p50_ms,
            "p90_ms": self.latency.p90_ms,
            "against_first": None if self.against_first is None else self.against_first.to_record(),
        }


@dataclass(frozen=True)
class ImagenetComparison:
    """Pretrained networks side by side on the same labelled pictures.

    Attributes:
        folder: of the pictures.
        pictures: how many were judged.
        meanings: ImageNet labels by label of the folder.
        skipped: one message per picture that could not be read.
        recipe: of the files.
        runtime, threads: that ran them.
        rows: one a network, in the order in which they were named.
    """

    folder: str
    pictures: int
    meanings: Meanings
    skipped: tuple[str, ...]
    recipe: str
    runtime: str
    threads: int
    rows: tuple[ImagenetRow, ...]

    def lines(self) -> list[str]:
        """Return all of it, for people: a line a network, then `remarks`."""
        return [*(row.describe() for row in self.rows), *self.remarks()]

    def remarks(self) -> list[str]:
        """Return what the numbers mean, a line each: recall by label, differences, and how they were found."""
        lines: list[str] = []
        if self.meanings.given:
            for line, label in zip(self.meanings.lines(), self.meanings.of, strict=True):
                found = ", ".join(f"{row.file.title} {row.recall[label].describe()}" for row in self.rows)
                lines.append(f"{line}; recall: {found}")
        lines += [
            f"{row.file.title} against {self.rows[0].file.title}: {row.against_first.describe()}"
            for row in self.rows
            if row.against_first is not None
        ]
        lines += [
            f"the {self.recipe} .tflite files, as a device runs them, on {self.pictures:,} pictures of {self.folder}; "
            f"intervals: 95 %",
            f"{self.runtime}, {self.threads} thread{'s' if self.threads > 1 else ''}, one picture at a time, the files "
            f"timed in turns; preprocessing not included",
        ]
        if not self.meanings.complete:
            lines.append("no top-5: among five labels, one nearly always is none of the others")
        guessing = [row.file.model for row in self.rows if row.file.random]
        if guessing:
            lines.append(f"random weights: the accuracy of {', '.join(guessing)} means nothing; size and latency hold")
        return lines

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types; shares, not per cent."""
        return {
            "folder": self.folder,
            "pictures": self.pictures,
            "means": {label: list(meant) for label, meant in self.meanings.of.items()},
            "skipped": list(self.skipped),
            "recipe": self.recipe,
            "runtime": self.runtime,
            "threads": self.threads,
            "rows": [row.to_record() for row in self.rows],
            "remarks": self.remarks(),
        }
