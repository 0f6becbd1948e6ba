"""The seam between whatever gives pictures and the loop that classifies them."""

from __future__ import annotations

import abc
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple, Optional, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Frame", "Source", "Still", "Wrapped"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture from a source, and when it was taken.

    Attributes:
        id: 0 for the first frame that the source produced, then one more for each, whether or not anybody took it:
            gaps are frames that were dropped.
        captured_ns: when, on the clock of `time.monotonic_ns`.
        captured_utc: when, on the wall clock.
        picture: uint8 pixels, shape `(height, width, 3)`; not written to once it is here.
        picture_order: `rgb` or `bgr`.
        name: the file that the picture came from, if it came from one.
        true_label: what the picture shows, if the source knows.
        source: which of several sources it came from; None if there is one.
        still: frames before it that were left out because the picture did not move, of this source, in all.
        clip_s: where in its clip it stands, in seconds; None for what no clip says the time of.
    """

    id: int
    captured_ns: int
    captured_utc: datetime
    picture: npt.NDArray[np.uint8]
    picture_order: str
    name: Optional[str] = None
    true_label: Optional[str] = None
    source: Optional[str] = None
    still: int = 0
    clip_s: Optional[float] = None

    @classmethod
    def taken_now(
        cls,
        id: int,
        picture: npt.NDArray[np.uint8],
        picture_order: str,
        *,
        name: Optional[str] = None,
        true_label: Optional[str] = None,
    ) -> Frame:
        """Return a frame that was captured at this moment."""
        return cls(id, time.monotonic_ns(), datetime.now(timezone.utc), picture, picture_order, name, true_label)


class Still(NamedTuple):
    """What a source has left out because the picture did not move.

    Attributes:
        frames: how many so far.
        captured_ns: when the last of them was captured, as `Frame.captured_ns`.
        clip_s: where in its clip the last of them stands whose place is known.
    """

    frames: int
    captured_ns: int
    clip_s: Optional[float]


_Self = TypeVar("_Self", bound="Source")  # typing.Self is Python 3.11


class Source(abc.ABC):
    """Where frames come from. Implement `frames`, and `close` if something must be given back.

    Attributes:
        live: only the newest frame is worth having, as with a camera; otherwise every frame is.
        keeps_newest: it holds the newest frame itself until it is asked, so that nobody needs to read ahead of need.
        endless: that it ends means that it broke off.
        fps: how many of its frames make a second, if it says so.
    """

    live: bool = False
    keeps_newest: bool = False
    endless: bool = False
    fps: Optional[float] = None

    @property
    def still(self) -> Mapping[Optional[str], Still]:
        """What it has left out so far, by `Frame.source`; nothing of a source that has left out nothing."""
        return {}

    @abc.abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Yield frames with rising ids until the source ends. To be called once.

        Each picture is an array of its own: the source must not write into one that it has yielded.

        Raises SourceError when there is nothing to yield, or nothing more although the source has not ended.
        """

    def close(self) -> None:  # noqa: B027 (some sources hold nothing)
        """Give back what the source holds. Allowed twice, and while another thread waits for a frame."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Wrapped(Source):
    """What changes the frames of another source: live, endless and so on as that one is, and closed with it.

    Args:
        source: is closed by this one.
    """

    def __init__(self, source: Source) -> None:
        self.live = source.live
        self.keeps_newest = source.keeps_newest
        self.endless = source.endless
        self.fps = source.fps
        self._source = source

    @property
    def still(self) -> Mapping[Optional[str], Still]:
        """As of the source behind it."""
        return self._source.still

    def close(self) -> None:
        """Close the source behind it."""
        self._source.close()
