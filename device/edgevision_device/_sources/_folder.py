"""Picture files: a folder of them, a folder of labelled folders, or one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

from .._errors import PictureError, SourceError
from .._pictures import find_pictures, read_picture
from .._preprocess import load_opencv
from ._base import Frame, Source

__all__ = ["FolderSource"]


class FolderSource(Source):
    """Yields the pictures of a folder and of all folders below it, sorted by name.

    A picture in a folder of the folder has that folder's name as its true label.

    Args:
        path: the folder, or one picture.
        on_unreadable: called with the error for each picture that cannot be decoded, which is then left out.
            Default: the error is raised.

    Raises:
        DataError: no such folder, or no pictures in it.
    """

    def __init__(
        self, path: str | os.PathLike[str], on_unreadable: Optional[Callable[[PictureError], None]] = None
    ) -> None:
        self._root = Path(path)
        self._paths = find_pictures(self._root)
        self._on_unreadable = on_unreadable
        # Now, because importing it takes as long as several frames of a camera, and the clock does not run yet.
        load_opencv()

    def frames(self) -> Iterator[Frame]:
        """Yield each picture, captured when it has been decoded."""
        id = 0
        for path in self._paths:
            try:
                picture = read_picture(path)
            except PictureError as error:
                if self._on_unreadable is None:
                    raise
                self._on_unreadable(error)
                continue
            below = path.relative_to(self._root).parts
            yield Frame.taken_now(id, picture, "rgb", name=str(path), true_label=below[0] if len(below) > 1 else None)
            id += 1
        if not id:
            raise SourceError(f"none of the {len(self._paths)} files of {self._root} is a picture that can be read")
