"""From integers throughout to float with smaller weights, recipe by recipe, until a file passes.

The order is that of what a file asks of the device, not of its size: 8-bit integers, 8-bit integers but for the layers
that suffer most, 16-bit activations, then float arithmetic with weights in 8 and in 16 bits. `int8x16` is larger than
`dynamic`, and slower where a runtime has no fast kernels for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from edgevision_device import CheckError, FileError, MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LADDER", "Ladder", "Rung", "ladder"]

#: Recipes of TFLite in the order in which they are tried: integers first, float arithmetic last.
LADDER = ("int8", "int8-selective", "int8x16", "dynamic", "float16")

T = TypeVar("T")


@dataclass(frozen=True)
class Rung(Generic[T]):
    """A recipe that was tried.

    Attributes:
        recipe: its name.
        made: what `make` gave; None if it could not be made.
        failure: why it failed, one line; None if it passed.
        refused: it failed because no file can be made with it, so that nothing was judged.
    """

    recipe: str
    made: T | None
    failure: str | None
    refused: bool = False

    def describe(self) -> str:
        """Return one line."""
        return f"{self.recipe}: {'passed' if self.failure is None else self.failure}"


@dataclass(frozen=True)
class Ladder(Generic[T]):
    """The recipes that were tried, in this order; the last one passed, or none did."""

    rungs: tuple[Rung[T], ...]

    @property
    def passed(self) -> Rung[T] | None:
        """The rung that passed."""
        return self.rungs[-1] if self.rungs and self.rungs[-1].failure is None else None

    @property
    def refused(self) -> bool:
        """Whether no recipe could make a file."""
        return all(rung.refused for rung in self.rungs)

    def require(self) -> Rung[T]:
        """Return the rung that passed.

        Raises:
            FileError: no recipe could make a file; recipes that have a reason in common are named together.
            CheckError: none passed; the reason of every rung.
        """
        if self.passed is not None:
            return self.passed
        if self.rungs and self.refused:
            recipes_of: dict[str, list[str]] = {}
            for rung in self.rungs:
                # But for the name of the file the reason is the same.
                reason = (rung.failure or "").replace(f".{rung.recipe}.", ".")
                recipes_of.setdefault(reason, []).append(rung.recipe)
            reasons = [f"{', '.join(recipes)}: {reason}" for reason, recipes in recipes_of.items()]
            raise FileError(f"no file can be made: {'; '.join(reasons)}")
        raise CheckError(f"no recipe passes: {'; '.join(rung.describe() for rung in self.rungs)}")


def ladder(
    make: Callable[[str], T],
    judge: Callable[[T], str | None],
    recipes: Sequence[str] = LADDER,
    *,
    on_rung: Callable[[Rung[T]], None] = lambda rung: None,
) -> Ladder[T]:
    """Make one file after the other and stop at the first that passes.

    Args:
        make: makes what is judged, a file or its record, with a recipe. Where it raises FileError, CheckError or
            MissingPackageError, the rung fails with that reason; every other error ends the climb.
        judge: returns why it fails, or None if it passes; see `Gate.failure`.
        recipes: in the order in which they are tried.
        on_rung: told of each rung when it is decided.

    >>> climbed = ladder(str.upper, lambda made: None if made == "C" else "too coarse", "abcd")
    >>> [rung.describe() for rung in climbed.rungs]
    ['a: too coarse', 'b: too coarse', 'c: passed']
    """
    rungs: list[Rung[T]] = []
    for recipe in recipes:
        made: T | None = None
        refused = False
        try:
            made = make(recipe)
            failure = judge(made)
        except (FileError, CheckError, MissingPackageError) as error:
            failure, refused = str(error), made is None and not isinstance(error, CheckError)
        rungs.append(Rung(recipe, made, failure, refused))
        on_rung(rungs[-1])
        if failure is None:
            break
    return Ladder(tuple(rungs))
