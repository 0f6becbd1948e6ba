"""Pictures worth a person's look: where the label changed, and where the model is unsure."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from .._outputs import write_atomically
from .._preprocess import load_opencv
from .._result import StreamResult
from ._background import SlowSink
from ._base import Starts
from ._overlay import as_bgr

__all__ = ["UNSURE", "Snapshots", "folder_name"]

#: The folder of pictures whose score is low, or whose label is unknown.
UNSURE = "unsure"

#: How often a folder that was full is counted again: somebody may have labelled and moved its pictures.
_COUNT_S = 60.0
#: JPEG at 95 is hard to tell from the frame, and a fifth of a PNG's size.
_QUALITY = 95
_LONGEST_NAME = 120


class _Snapshot(NamedTuple):
    picture: npt.NDArray[np.uint8]
    order: str
    captured: datetime
    folder: str
    percent: int


class Snapshots(SlowSink[_Snapshot]):
    """Keeps pictures as `FOLDER/<label>/…jpg` and `FOLDER/unsure/…jpg`.

    Sort those in `unsure` into the labels' folders, mend the others, and the folder is what `edgevision train` takes.

    Args:
        folder: where they go; it need not exist.
        below: a frame whose own score is lower is kept in `unsure`.
        limit: the most pictures that the folder may hold, from this run and others.
        interval_s: the least time between two pictures.
        live: another picture comes soon; otherwise each one counts.
        say: is given a line when the limit is reached.
    """

    name = "snapshots"
    keep = 2

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        below: float = 0.5,
        limit: int = 1000,
        interval_s: float = 2.0,
        live: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = Path(folder)
        self._below = below
        self._limit = limit
        self._interval_s = interval_s
        self.promised = not live
        self._say = say
        self._starts = Starts()
        self._due_s = 0.0
        self._held: Optional[int] = None
        self._counted_s = 0.0

    def take(self, result: StreamResult) -> Optional[_Snapshot]:
        """Return a picture that should be kept."""
        unsure = result.label is None or not result.frame_score >= self._below
        starts = self._starts(result)
        now_s = time.monotonic()
        if now_s < self._due_s or not (starts or unsure):
            return None
        self._due_s = now_s + self._interval_s
        frame = result.frame
        folder = UNSURE if unsure or result.label is None else folder_name(result.label)
        percent = round(100 * result.frame_score) if result.frame_score == result.frame_score else 0
        return _Snapshot(frame.picture, frame.picture_order, frame.captured_utc, folder, percent)

    def deliver(self, item: _Snapshot) -> None:
        """Write a picture, under a temporary name first. Does nothing where the limit is reached."""
        now_s = time.monotonic()
        if self._held is None or (self._held >= self._limit and now_s - self._counted_s > _COUNT_S):
            first = self._held is None
            self._held, self._counted_s = _count(self.folder), now_s
            if first:
                self._say_if_full(self._held)
        if self._held >= self._limit:
            return
        cv2 = load_opencv()
        picture = as_bgr(item.picture, item.order)
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        stamp = f"{item.captured:%Y%m%dT%H%M%S}.{item.captured.microsecond // 1000:03}Z"
        name = f"{stamp}_{item.folder}_{item.percent}"
        path = self.folder / item.folder / f"{name}.jpg"
        again = 1
        while path.exists():  # another source's, of the same millisecond
            again += 1
            path = path.with_name(f"{name}_{again}.jpg")
        write_atomically(path, encoded.tobytes())
        self._held += 1
        self._say_if_full(self._held)

    def _say_if_full(self, held: int) -> None:
        if held >= self._limit:
            self._say(f"{self.folder} holds {held} pictures, the limit is {self._limit}; no more until some are gone")


def folder_name(label: str) -> str:
    r"""Return a label as the name of a folder: on any file system, in no other place, different for different labels.

    >>> folder_name("Käse"), folder_name("cats/dogs"), folder_name(".."), folder_name("unsure")
    ('Käse', 'cats%2Fdogs', '%2E%2E', '%75nsure')
    """
    name = "".join(f"%{ord(each):02X}" if each in '%/\\:*?"<>|' or not each.isprintable() else each for each in label)
    if not name or name[0] in ". " or name == UNSURE:
        name = f"%{ord(name[0]) if name else 0:02X}{name[1:]}"
    if name[-1] in ". ":
        name = f"{name[:-1]}%{ord(name[-1]):02X}"
    if len(name.encode()) > _LONGEST_NAME:
        digest = hashlib.sha256(label.encode(errors="surrogatepass")).hexdigest()[:12]
        name = f"{name.encode()[: _LONGEST_NAME - 13].decode(errors='ignore')}~{digest}"
    return name


def _count(folder: Path) -> int:
    return sum(name.endswith(".jpg") and not name.startswith(".") for _, _, names in os.walk(folder) for name in names)
