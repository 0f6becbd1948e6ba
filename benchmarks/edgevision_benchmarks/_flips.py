"""Pictures whose label differs between two classifiers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

__all__ = ["Flip", "group_alike", "worst_first"]

Item = TypeVar("Item")

_KINDS = ("lost", "neither", "gained")


@dataclass(frozen=True)
class Flip:
    """A picture whose label differs between two classifiers, a and b.

    Attributes:
        picture: where it came from.
        sha256: of its file.
        label: what it shows.
        answer_a, answer_b: what each calls it.
        score_a, score_b: of these answers, 0 to 1.
    """

    picture: str
    sha256: str
    label: str
    answer_a: str
    score_a: float
    answer_b: str
    score_b: float

    @property
    def kind(self) -> str:
        """Return `lost` (a is right, b is not), `gained` (the other way round) or `neither` (two wrong labels)."""
        return "lost" if self.answer_a == self.label else "gained" if self.answer_b == self.label else "neither"

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "picture": self.picture,
            "sha256": self.sha256,
            "label": self.label,
            "kind": self.kind,
            "answer_a": self.answer_a,
            "score_a": self.score_a,
            "answer_b": self.answer_b,
            "score_b": self.score_b,
        }


AnyFlip = TypeVar("AnyFlip", bound=Flip)


def worst_first(flips: Iterable[AnyFlip]) -> list[AnyFlip]:
    """Sort: lost ones, the surest mistakes of b before others; then what neither has right; then what was gained."""

    def badness(flip: Flip) -> tuple[int, float]:
        # Of what was gained, the surest old mistakes first.
        return _KINDS.index(flip.kind), -(flip.score_a if flip.kind == "gained" else flip.score_b)

    return sorted(flips, key=badness)


def group_alike(items: Sequence[Item], key: Callable[[Item], object]) -> list[list[Item]]:
    """Put items together that are alike, as 14 files without a flip are.

    >>> group_alike(["a", "b", "A"], str.lower)
    [['a', 'A'], ['b']]
    """
    groups: list[tuple[object, list[Item]]] = []
    for item in items:
        mine = key(item)
        for other, group in groups:
            if other == mine:
                group.append(item)
                break
        else:
            groups.append((mine, [item]))
    return [group for _, group in groups]
