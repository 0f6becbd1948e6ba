"""Flips with thumbnails: on a page of their own, and in `report.html`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgevision_device import load_opencv

from ._flips import Flip
from ._page import render_page
from ._statistics import PairedDifference

__all__ = ["FlipCard", "FlipSection", "FlipsPage", "limit_flips", "render_flips_page", "thumbnail"]

#: Pixels of a thumbnail's longer side.
_SIDE = 128
#: From this size on a photograph's thumbnail is a JPEG file; the pixels of smaller ones can be told apart.
_LARGE = 64


@dataclass(frozen=True)
class FlipsPage:
    """What the page says beside its pictures.

    Attributes:
        files: what is compared, such as `int8 files`.
        each: one of these, such as `row`.
        first, here: a word for what was compared with, and for what was compared.
        data, part: which pictures.
        record: name of the file that has all flips.
        edgevision: the version that made it.
    """

    files: str
    each: str
    first: str
    here: str
    data: str
    part: str
    record: str
    edgevision: str


@dataclass(frozen=True)
class FlipCard:
    """A flip with its thumbnails: one where both saw the same pixels, none where the picture is gone."""

    flip: Flip
    thumbnails: list[str]


@dataclass(frozen=True)
class FlipSection:
    """One comparison.

    Attributes:
        names: the classifiers of which it holds.
        reference: what they were compared with.
        flips: all of them, worst first.
        cards: the first of these, as many as are shown.
    """

    names: list[str]
    reference: str
    difference: PairedDifference
    flips: Sequence[Flip]
    cards: list[FlipCard]

    @property
    def left_out(self) -> int:
        """How many flips have no card."""
        return len(self.flips) - len(self.cards)

    def count(self, kind: str) -> int:
        """Return how many flips are of this kind."""
        return sum(flip.kind == kind for flip in self.flips)


def limit_flips(sections: int, shown: int, least: int) -> int:
    """Return how many flips a section may show: of `shown` on the page its part, but at least so many."""
    return max(least, shown // max(1, sections))


def render_flips_page(page: FlipsPage, sections: Sequence[FlipSection]) -> str:
    """Return a page of flips alone, as HTML that needs nothing else."""
    return render_page("flips.html.jinja", page=page, sections=sections)


def thumbnail(pixels: npt.NDArray[np.uint8]) -> str:
    """Return a `data:` address: small pictures enlarged by whole pixels, large ones averaged.

    Args:
        pixels: uint8 RGB, `(height, width, 3)`.
    """
    cv2 = load_opencv()
    height, width = pixels.shape[:2]
    side = max(height, width)
    bgr = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
    if side < _LARGE:
        factor = max(1, _SIDE // side)
        _, encoded = cv2.imencode(".png", bgr.repeat(factor, 0).repeat(factor, 1))
        return _address("png", encoded.tobytes())
    if side > _SIDE:
        size_wh = max(1, round(width * _SIDE / side)), max(1, round(height * _SIDE / side))
        bgr = cv2.resize(bgr, size_wh, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return _address("jpeg", encoded.tobytes())


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
