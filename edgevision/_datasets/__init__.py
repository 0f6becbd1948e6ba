"""Data sets, by name, by folder or by CSV file, decoded and split."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_device import UsageError

from .._cache import cache_folder
from .._pictures import write_pictures
from . import _csv, _digits, _fashion_mnist, _folder
from ._shares import check_share, split_folds

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._pictures import Splits

__all__ = ["NAMED", "check_data", "held_out_folder", "load_data", "native_size", "split_folds"]

#: Data sets with a name, and the width and height of their pictures.
NAMED = {"digits": (28, 28), "fashion-mnist": (28, 28)}


def native_size(data: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return the width and height of the pictures of a named data set or a CSV file.

    None for a folder, whose pictures may differ.

    Raises:
        DataError: the CSV file is not there, or its first line is not as it should be.
    """
    if isinstance(data, str) and data in NAMED:
        return NAMED[data]
    return _csv.read_size(Path(data)) if _csv.is_csv(Path(data)) else None


def check_data(data: str | os.PathLike[str]) -> None:
    """Raise what `load_data` would about data that is not there or not laid out as expected, and read no picture."""
    if native_size(data) is None:
        _require_folder(data)
        _folder.check(Path(data))


def _require_folder(data: str | os.PathLike[str]) -> None:
    path = Path(data)
    if isinstance(data, str) and not path.exists() and "/" not in data:
        raise UsageError(
            f"no data {data!r}: neither a data set ({', '.join(NAMED)}) nor a folder nor a .csv file; expected "
            "PATH/<label>/<picture>"
        )
    if path.is_file():
        raise UsageError(f"{path} is neither a folder nor a .csv file; expected PATH/<label>/<picture>")


def load_data(
    data: str | os.PathLike[str],
    size_wh: tuple[int, int],
    resize: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
    validation_split: float | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Splits:
    """Decode a data set to one size and split it into train, val and test.

    Args:
        data: `digits`, `fashion-mnist`, a folder `PATH/{train,val,test}/<label>/*` or `PATH/<label>/*`, or a file
            `.csv` or `.csv.gz` with the columns `label,pixel0,pixel1,…`. Only a str is a name: a folder that is called
            like a data set is `./digits` or `Path("digits")`.
        size_wh: width and height for all pictures.
        resize: how they get there: `stretch`, `crop` or `letterbox`.
        data_dir: where the files of `fashion-mnist` lie.
        strict: refuse a folder with a picture that cannot be read, instead of skipping the picture. A bad line of a
            CSV file is always refused.
        validation_split: share of val among train and val together, more than 0 and at most 0.9. It is the same share
            of each label, to the nearest picture, and which pictures these are depends on what is in them alone, not on
            a seed or their order. The test part stays what it is without. None: what the data set says, or a tenth of
            each label for each of val and test, see `split_by_content`.
        on_progress: called with the number of pictures decoded and their total.

    Raises:
        DataError, MissingPackageError, UsageError: the data is not there, or not laid out like this; a validation split
            of a folder that has a val part of its own.
    """
    check_share(validation_split)
    if isinstance(data, str) and data == "digits":
        return _digits.load(size_wh, resize, validation_split)
    if isinstance(data, str) and data == "fashion-mnist":
        return _fashion_mnist.load(size_wh, resize, data_dir, validation_split)
    path = Path(data)
    if _csv.is_csv(path):
        return _csv.load(path, size_wh, resize, on_progress, validation_split)
    _require_folder(data)
    return _folder.load(path, size_wh, resize, strict, on_progress, validation_split)


def held_out_folder(data: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return a folder that holds the test pictures of a named data set or a CSV file as `test/<label>/*.png`.

    The pictures have the size they came in. The folder lies in the cache from then on, and is named by what is in it.

    Raises:
        UsageError: `data` is a folder.
        DataError, MissingPackageError: as `load_data`.
    """
    size_wh = native_size(data)
    if size_wh is None:
        raise UsageError(f"{os.fspath(data)} is a folder of pictures already")
    test = load_data(data, size_wh, "stretch", data_dir=data_dir).test
    folder = cache_folder() / "held out" / f"{test.source}-{test.origin.sha256[:16]}"
    if not (folder / "test").is_dir():
        try:
            write_pictures(test, folder / "test")
        except OSError:
            # Another process may have been faster.
            if not (folder / "test").is_dir():
                raise
    return folder
