"""`fashion-mnist`: 70,000 pictures of clothes (Xiao et al. 2017, https://arxiv.org/abs/1708.07747)."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import math
import struct
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import DamagedFileError, DataError, write_atomically

from .._cache import cache_folder
from .._pictures import Splits, split_stratified
from ._arrays import digest_pixels, pictures_from_array
from ._shares import split_share

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

#: MD5 as published beside the files: https://github.com/zalandoresearch/fashion-mnist
_FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_TIME_LIMIT_S = 20
#: Of the split into train and val, whatever the seed of a training.
_SEED = 0
_SIZE = (28, 28)


def load(
    size_wh: tuple[int, int],
    resize: str,
    data_dir: str | os.PathLike[str] | None,
    validation_split: float | None = None,
) -> Splits:
    """Load 55,000 / 5,000 / 10,000 pictures; the last part is the data set's own test set.

    With a validation split, val is that share of the first 60,000.
    """
    folder = _find(data_dir)
    labels = [label.replace("/", " or ") for label in LABELS]

    def read(part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        grey = _read(folder / f"{part}-images-idx3-ubyte.gz", 3)
        targets = _read(folder / f"{part}-labels-idx1-ubyte.gz", 1).astype(np.int64)
        if grey.shape != (len(targets), *_SIZE) or len(np.setdiff1d(targets, range(len(LABELS)))):
            raise DamagedFileError(
                f"the {part} files in {folder} do not belong together: pictures {grey.shape}, labels {targets.shape}; "
                "fetch them again"
            )
        return grey, targets

    grey, targets = read("train")
    test_grey, test_targets = read("t10k")
    known = pictures_from_array(grey, targets, labels, "fashion-mnist", size_wh, resize)
    test = pictures_from_array(test_grey, test_targets, labels, "fashion-mnist", size_wh, resize)
    if validation_split is None:
        train, val = split_stratified(targets, (1 / 12,), _SEED)
    else:
        train, val = split_share(targets, digest_pixels(grey), validation_split, labels)
    return Splits(known.take(train), known.take(val), test)


def _find(data_dir: str | os.PathLike[str] | None) -> Path:
    """Look in the folder the user gave, where Debian's package puts it, in the cache; else download."""
    if data_dir is not None:
        missing = [name for name in _FILES if not (Path(data_dir) / name).is_file()]
        if missing:
            raise DataError(f"{data_dir} lacks {missing[0]}; --data-dir needs {', '.join(_FILES)}")
        return Path(data_dir)
    cached = cache_folder() / "fashion-mnist"
    for folder in (_DEBIAN, cached):
        if all((folder / name).is_file() for name in _FILES):
            return folder
    try:
        for name, md5 in _FILES.items():
            with urllib.request.urlopen(f"{_ADDRESS}/{name}", timeout=_TIME_LIMIT_S) as answer:
                content = answer.read()
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                raise DamagedFileError(f"the downloaded {name} does not have the published MD5 {md5}; try again")
            write_atomically(cached / name, content)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it keeps the connection
        raise DataError(
            "fashion-mnist is not here: install Debian's package dataset-fashion-mnist, or give its four files with "
            f"--data-dir DIR, or connect to a network for the download ({error})"
        ) from error
    return cached


def _read(path: Path, dimensions: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Read an IDX file of bytes: a magic number, the sizes as big-endian int32, the data."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFileError(f"cannot read {path}: {error}; fetch it again") from error
    header = struct.Struct(f">{dimensions + 1}I")
    magic, *sizes = header.unpack_from(content) if len(content) >= header.size else (0,)
    if magic != 0x800 + dimensions or len(content) != header.size + math.prod(sizes):
        raise DamagedFileError(f"{path} is no IDX file of {dimensions} dimensions; fetch it again")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(sizes)
