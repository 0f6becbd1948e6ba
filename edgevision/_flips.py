"""What two classifiers say of the same pictures, and where they part."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_benchmarks import Flip, PairedDifference, compare_paired, group_alike, worst_first
from edgevision_device import FileError, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ._pictures import Pictures

__all__ = ["Answers", "Comparison", "PlacedFlip", "compare_answers", "grouped"]

_COLUMNS = ("picture", "sha256", "label", "answer", "score")


@dataclass(frozen=True)
class Answers:
    """What one classifier says of some pictures.

    Attributes:
        pictures: where each came from.
        hashes: SHA-256 of each picture's file content, by which it is known at any size.
        labels: what each shows.
        answers: the label with the highest score.
        scores: that score, 0 to 1, float64 `(n,)`.
    """

    pictures: tuple[str, ...]
    hashes: tuple[str, ...]
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    scores: npt.NDArray[np.float64]

    @classmethod
    def of(cls, pictures: Pictures, scores: Iterable[npt.NDArray[Any]]) -> Answers:
        """Take the best label of each picture's scores, `(labels,)`."""
        best = [(int(np.argmax(each)), float(np.max(each))) for each in scores]
        return cls(
            pictures.names,
            pictures.hashes,
            tuple(pictures.labels[target] for target in pictures.targets),
            tuple(pictures.labels[index] for index, _ in best),
            np.array([score for _, score in best], np.float64),
        )

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which answers are the label, bool `(n,)`."""
        return np.array([answer == label for answer, label in zip(self.answers, self.labels, strict=True)], np.bool_)

    def write(self, path: Path) -> None:
        """Write a CSV file, one picture a line."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(
            zip(self.pictures, self.hashes, self.labels, self.answers, map(repr, self.scores.tolist()), strict=True)
        )
        write_atomically(path, text.getvalue().encode(errors="surrogateescape"))

    @classmethod
    def read(cls, path: Path) -> Answers:
        """Read what `write` wrote. Raises FileError if it is no such file."""
        try:
            with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                header, *rows = csv.reader(stream)
            if tuple(header) != _COLUMNS:
                raise ValueError(f"its columns are {', '.join(header)}")
            pictures, hashes, labels, answers, scores = zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)
            return cls(pictures, hashes, labels, answers, np.array(scores, np.float64))
        except (OSError, ValueError, TypeError) as error:
            raise FileError(f"{path} holds no answers ({error}); delete it to have them made again") from error


@dataclass(frozen=True)
class PlacedFlip(Flip):
    """A flip, and which picture it is of each one's."""

    place_a: int
    place_b: int


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same pictures.

    Attributes:
        a, b: their names; a is what b is compared with.
        difference: of their accuracy.
        flips: worst first: lost ones, the surest mistakes of b before others; then those that neither has right, and
            then what was gained.
    """

    a: str
    b: str
    difference: PairedDifference
    flips: tuple[PlacedFlip, ...]

    def count(self, kind: str) -> int:
        """Return how many flips are of this kind."""
        return sum(flip.kind == kind for flip in self.flips)

    def describe(self) -> str:
        """Return one line with the verdict."""
        return f"{self.b} against {self.a}: {self.difference.describe()}"

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "against": self.a,
            **self.difference.to_record(),
            "lost": self.count("lost"),
            "gained": self.count("gained"),
            "flips": [flip.to_record() for flip in self.flips],
        }


def grouped(compared: Sequence[Comparison]) -> list[tuple[Comparison, list[str]]]:
    """Put comparisons together that say the same of different files, as 14 files without a flip do.

    Returns:
        the first of each group, and the names of all in it.
    """
    groups = group_alike(compared, lambda each: (each.a, each.difference, each.flips))
    return [(group[0], [each.b for each in group]) for group in groups]


def compare_answers(name_a: str, a: Answers, name_b: str, b: Answers) -> Comparison:
    """Compare two classifiers on the pictures that both have answered, whatever the order and size of these.

    A picture is known by its content and its label. Where several are equal, the first is paired with the first.
    """
    known: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, key in enumerate(zip(a.hashes, a.labels, strict=True)):
        known[key].append(place)
    pairs: list[tuple[int, int]] = []
    for place, key in enumerate(zip(b.hashes, b.labels, strict=True)):
        if known[key]:
            pairs.append((known[key].pop(0), place))
    places_a, places_b = np.array(pairs, np.int64).reshape(-1, 2).T
    difference = compare_paired(a.right[places_a], b.right[places_b])
    flips = [_flip(a, b, *pair) for pair in pairs if a.answers[pair[0]] != b.answers[pair[1]]]
    return Comparison(name_a, name_b, difference, tuple(worst_first(flips)))


def _flip(a: Answers, b: Answers, place_a: int, place_b: int) -> PlacedFlip:
    return PlacedFlip(
        picture=b.pictures[place_b],
        sha256=b.hashes[place_b],
        label=b.labels[place_b],
        answer_a=a.answers[place_a],
        score_a=float(a.scores[place_a]),
        answer_b=b.answers[place_b],
        score_b=float(b.scores[place_b]),
        place_a=place_a,
        place_b=place_b,
    )
