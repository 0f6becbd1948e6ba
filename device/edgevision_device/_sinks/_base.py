"""The seam between the frame loop and whatever wants its results."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

from .._health import Health
from .._result import StreamResult, StreamStatistics
from .._sources import Still

__all__ = ["Sink", "SinkContext", "Starts"]

_Self = TypeVar("_Self", bound="Sink")  # typing.Self is Python 3.11


class Sink(abc.ABC):
    """Takes results. Implement `write`, and `close` if something must be finished."""

    @abc.abstractmethod
    def write(self, result: StreamResult) -> None:
        """Take one result. The loop waits for it, so it should be quick; see `Background` for what is not."""

    def idle(self) -> None:  # noqa: B027 (most sinks have nothing to do)
        """Called about once a second by the loop's thread while no frame comes."""

    def close(self) -> None:  # noqa: B027 (most sinks have nothing to finish)
        """Finish what was written. Called also after an error or an interruption; closing twice is allowed."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class SinkContext:
    """What sinks may know of the stream that they belong to.

    Attributes:
        statistics: what the stream comes to.
        health: where a sink that does not work says so.
        file_record: returns what runs now: file, runtime, threads.
        stop: ends the stream, as Ctrl-C does.
        live: the source is live: frames may be left out. Of a file or a folder every frame counts.
        fps: how many frames of the source make a second, if it says so.
        still: returns what the source has left out, as `Source.still`.
    """

    statistics: StreamStatistics
    health: Health
    file_record: Callable[[], dict[str, Any]]
    stop: Callable[[], None]
    live: bool = True
    fps: Optional[float] = None
    still: Callable[[], Mapping[Optional[str], Still]] = dict


class Starts:
    """Tells results that start a label: the first of each source, and those whose label differs from the one before."""

    def __init__(self) -> None:
        self._sources: set[Optional[str]] = set()

    def __call__(self, result: StreamResult) -> bool:
        """Say whether a result starts a label."""
        first = result.frame.source not in self._sources
        self._sources.add(result.frame.source)
        return first or result.changed
