"""A classifier that follows its file: a new file takes over between two frames, a bad one is refused."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from typing import Optional, TypeVar

import numpy as np

from ._classifier import Classifier
from ._health import Health

__all__ = ["FollowedClassifier"]

_Self = TypeVar("_Self", bound="FollowedClassifier")  # typing.Self is Python 3.11
_Mark = Optional[tuple[int, int, int]]

#: The thread may be inside native code that opens a model; it then ends without anybody waiting for it.
_JOIN_S = 0.5


class FollowedClassifier:
    """Opens a model file again, in a thread of its own, when it has changed. To be given to `stream`.

        first = Classifier("photos.int8.tflite")
        with FollowedClassifier(first, lambda: Classifier("photos.int8.tflite"), health) as classifier:
            for result in stream(classifier, source):
                ...

    The new classifier is run once before it takes over, so that its first frame is as fast as the others. A file that
    cannot be opened is trouble of the part `model` in `health`, and the old one runs on.

    Args:
        classifier: runs until the file changes.
        open: opens the file, whatever it holds by then.
        health: see there.
        every_s: how often the file is looked at. It has to stay the same from one look to the next, so that a copy
            under way is left alone.

    Attributes:
        swaps: how often another file took over.
    """

    def __init__(
        self, classifier: Classifier, open: Callable[[], Classifier], health: Health, *, every_s: float = 1.0
    ) -> None:
        self._open, self._health, self._every_s = open, health, every_s
        self._current = classifier
        self._path = self._current.file.path
        self._known: _Mark = None
        self._stopped = threading.Event()
        self._asked = False
        self._refused = False
        self.swaps = 0
        self._thread = threading.Thread(target=self._follow, name="edgevision-model", daemon=True)
        self._thread.start()

    def __call__(self) -> Classifier:
        """Return the classifier of now."""
        return self._current

    def reload(self) -> None:
        """Open the file again at the next look, changed or not. May be called from a signal handler."""
        # Nothing that takes a lock: a second signal may come inside the handler of the first.
        self._asked = True

    def close(self) -> None:
        """Follow no longer."""
        self._stopped.set()
        self._thread.join(_JOIN_S)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _follow(self) -> None:
        # What runs was read some time ago. The mark comes before the bytes, so that a change in between is seen later.
        before = _mark(self._path)
        if _sha256(self._path) == self._current.file.sha256:
            self._known = before
        while not self._stopped.wait(self._every_s):
            asked = self._asked
            if asked:
                self._asked = False
            now = _mark(self._path)
            settled, before = now == before, now
            # A file that is gone is about to be replaced, or was deleted: the one in memory runs on.
            if asked or (now is not None and settled and now != self._known):
                self._known = now
                self._swap()
            elif self._refused and now is None and settled:
                # What was wrong with it is wrong no longer. What comes in its place is opened, were it the same.
                self._known = None
                self._health.trouble("model", f"{self._path} is gone; the one before runs on")

    def _swap(self) -> None:
        self._refused = True
        try:
            classifier = self._open()
            classifier.run(np.zeros((1, *classifier.metadata.size_wh[::-1], 3), np.uint8))
        except MemoryError:
            self._health.trouble("model", f"no memory to open {self._path} beside the one that runs, which runs on")
        except Exception as error:  # whatever it is, the thread goes on to look
            self._health.trouble("model", f"{str(error) or type(error).__name__}; the one before runs on")
        else:
            self._current = classifier
            self.swaps += 1
            self._refused = False
            self._health.well("model")


def _mark(path: str | os.PathLike[str]) -> _Mark:
    """Return what differs when a file was replaced or written to; None if there is none."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def _sha256(path: str) -> Optional[str]:
    """Return the hash of a file; None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None
