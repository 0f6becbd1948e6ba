"""The seam between the frame loop and whatever wants its results."""

from __future__ import annotations

import abc
from typing import TypeVar

from .._stream import StreamResult

__all__ = ["Sink"]

_Self = TypeVar("_Self", bound="Sink")  # typing.Self is Python 3.11


class Sink(abc.ABC):
    """Takes results. Implement `write`, and `close` if something must be finished."""

    @abc.abstractmethod
    def write(self, result: StreamResult) -> None:
        """Take one result. The loop waits for it, so it should be quick."""

    def close(self) -> None:  # noqa: B027 (most sinks have nothing to finish)
        """Finish what was written. Called also after an error or an interruption; closing twice is allowed."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
