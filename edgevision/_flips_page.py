"""The pictures whose labels differ between two classifiers, as one HTML file that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgevision_benchmarks import FlipCard, FlipSection, FlipsPage, limit_flips, render_flips_page, thumbnail

from ._flips import grouped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ._flips import Comparison, PlacedFlip
    from ._pictures import Pictures
    from ._sweep_record import Sweep

__all__ = ["FlipsPage", "render_comparisons", "render_flips"]

#: Pictures on one page, and at least so many per comparison: what is worst comes first, and the record has them all.
_SHOWN, _LEAST = 300, 12


def render_flips(sweep: Sweep, pictures: Mapping[str, Pictures]) -> str:
    """Return the page of a sweep.

    Args:
        sweep: with comparisons.
        pictures: by name of row, what judged it, at the size that it takes; a row may be missing.
    """
    page = FlipsPage(
        files=f"{sweep.recipe} files",
        each="row",
        first="first",
        here="here",
        data=sweep.data,
        part=sweep.part,
        record="sweep.json",
        edgevision=sweep.edgevision,
    )
    return render_comparisons([row.comparison for row in sweep.rows if row.comparison is not None], pictures, page)


def render_comparisons(compared: Sequence[Comparison], pictures: Mapping[str, Pictures], page: FlipsPage) -> str:
    """Return the page of any comparisons with one and the same classifier.

    Args:
        compared: in the order of the page.
        pictures: by name of classifier, what judged it, at the size that it takes; one may be missing.
        page: its words.
    """
    groups = grouped(compared)
    limit = limit_flips(len(groups), _SHOWN, _LEAST)
    sections = [
        FlipSection(
            names, each.a, each.difference, each.flips, [_card(each, flip, pictures) for flip in each.flips[:limit]]
        )
        for each, names in groups
    ]
    return render_flips_page(page, sections)


def _card(comparison: Comparison, flip: PlacedFlip, pictures: Mapping[str, Pictures]) -> FlipCard:
    seen: list[npt.NDArray[np.uint8]] = []
    for name, place in ((comparison.a, flip.place_a), (comparison.b, flip.place_b)):
        shown = pictures.get(name)
        # Kept answers may be about pictures that have been moved away since.
        if shown is None or place >= len(shown) or shown.hashes[place] != flip.sha256:
            return FlipCard(flip, [])
        seen.append(shown.pixels(slice(place, place + 1))[0])
    same = seen[0].shape == seen[1].shape and bool((seen[0] == seen[1]).all())
    return FlipCard(flip, [thumbnail(pixels) for pixels in seen[: 1 if same else 2]])
