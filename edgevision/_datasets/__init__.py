"""Data sets, by name or by folder, decoded and split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_device import UsageError

from . import _digits, _fashion_mnist, _folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._pictures import Splits

__all__ = ["NAMED", "load_data", "native_size"]

#: Data sets with a name, and the width and height of their pictures.
NAMED = {"digits": (28, 28), "fashion-mnist": (28, 28)}


def native_size(data: str) -> tuple[int, int] | None:
    """Return the width and height of a named data set's pictures; None for a folder, whose pictures may differ."""
    return NAMED.get(data)


def load_data(
    data: str,
    size_wh: tuple[int, int],
    resize: str,
    *,
    data_dir: str | None = None,
    strict: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Splits:
    """Decode a data set to one size and split it into train, val and test.

    Args:
        data: `digits`, `fashion-mnist`, or a folder `PATH/{train,val,test}/<label>/*` or `PATH/<label>/*`. A folder
            that is called like a data set is `./digits`.
        size_wh: width and height for all pictures.
        resize: how they get there: `stretch`, `crop` or `letterbox`.
        data_dir: where the files of `fashion-mnist` lie.
        strict: refuse a folder with a picture that cannot be read, instead of skipping the picture.
        on_progress: called with the number of pictures decoded and their total.

    Raises:
        DataError, MissingPackageError, UsageError: the data is not there, or not laid out like this.
    """
    if data == "digits":
        return _digits.load(size_wh, resize)
    if data == "fashion-mnist":
        return _fashion_mnist.load(size_wh, resize, data_dir)
    if not Path(data).exists() and "/" not in data:
        raise UsageError(
            f"no data {data!r}: neither a data set ({', '.join(NAMED)}) nor a folder; expected PATH/<label>/<picture>"
        )
    return _folder.load(Path(data), size_wh, resize, strict, on_progress)
