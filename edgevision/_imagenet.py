"""Pretrained networks on pictures: what each sees in them, and which of them to take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_benchmarks import compare_paired
from edgevision_device import (
    Classifier,
    DataError,
    PictureError,
    UsageError,
    find_labelled,
    find_parts,
    preprocess,
    read_picture,
)

from ._datasets._folder import decode
from ._imagenet_files import RESIZE, NetworkFile, NetworkFiles
from ._imagenet_meanings import Meanings, read_meanings
from ._imagenet_record import ImagenetComparison, ImagenetRow, TopLabels
from ._judging import time_in_turns
from ._networks import imagenet_labels
from ._pictures import Pictures
from ._progress import decoding_bar, say, say_skipped

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from edgevision_device import LabelledPicture

__all__ = ["DEFAULT_MODELS", "decode_sizes", "imagenet_compare", "imagenet_top", "judge"]

DEFAULT_MODELS = ("efficientnet-lite0",)

#: Pictures on which a file is compared with its Keras model; enough to see a converter's fault.
_VERIFICATION = 12
#: Pictures over which latency cycles; see `time_in_turns`.
_TIMED = 32
_TOP = 5
_BATCH = 64


def imagenet_top(
    pictures: Sequence[str | os.PathLike[str]],
    models: Sequence[str] = DEFAULT_MODELS,
    top: int = _TOP,
    weights: Mapping[str, str] | None = None,
    recipe: str = "float32",
    out: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    overwrite: bool = False,
    strict: bool = False,
) -> list[TopLabels]:
    """Name what pictures show, by pretrained networks as a device would run them.

    Args:
        pictures: files.
        models: names of pretrained networks, or `("all",)`: those whose weights can be had.
        top: labels per picture, 1 to 1,000.
        weights: file by network, or `random`; of the others those that are published.
        recipe: of the `.tflite` files that answer.
        out: keeps these files; default: a temporary folder.
        threads: for the runtime; default: see `Classifier`.
        overwrite: replace files in `out`.
        strict: refuse a picture that cannot be read, instead of skipping it.

    Returns:
        one a picture and network, picture by picture.

    Raises:
        UsageError, FileError, MissingPackageError: see `NetworkFiles`.
        DataError: no picture can be read.
    """
    networks = NetworkFiles(tuple(models), weights or {}, (recipe,), out, threads, overwrite)
    if not 1 <= top <= len(imagenet_labels()):
        raise UsageError(f"top must lie between 1 and {len(imagenet_labels())}, got {top}")
    readable, first = _readable(pictures, strict=strict)
    networks = networks.check()

    def sample(size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
        return np.concatenate([preprocess(picture, size_wh, RESIZE) for picture in first])

    found: dict[tuple[str, str], TopLabels] = {}
    with networks.made(sample) as files:
        made = [file.model for file in files]
        for file in files:
            classifier = Classifier(file.path, threads=threads)
            for path in readable:
                best = tuple(classifier.classify(read_picture(path), top))
                found[path, file.model] = TopLabels(path, file.model, file.random, best)
    return [found[path, name] for path in readable for name in made]


def _readable(
    pictures: Sequence[str | os.PathLike[str]], *, strict: bool
) -> tuple[list[str], list[npt.NDArray[np.uint8]]]:
    """Return the files that can be read, and the first of these decoded."""
    skipped: list[str] = []
    readable: list[str] = []
    first: list[npt.NDArray[np.uint8]] = []
    for path in dict.fromkeys(map(str, pictures)):
        try:
            picture = read_picture(path)
        except PictureError as error:
            if strict:
                raise
            skipped.append(str(error))
            continue
        readable.append(path)
        if len(first) < _VERIFICATION:
            first.append(picture)
    say_skipped(skipped)
    if not readable:
        raise DataError(f"none of the {len(skipped)} files is a picture that can be read")
    return readable, first


def imagenet_compare(
    folder: str | os.PathLike[str],
    models: Sequence[str] = DEFAULT_MODELS,
    means: Mapping[str, Sequence[str]] | None = None,
    weights: Mapping[str, str] | None = None,
    recipe: str = "float32",
    out: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    overwrite: bool = False,
    strict: bool = False,
) -> ImagenetComparison:
    """Compare pretrained networks on a folder of labelled pictures, as a device would run them.

    Args:
        folder: holds `<label>/<picture>`.
        means: ImageNet labels by label of the folder, see `read_meanings`; default: they are ImageNet's own.
        models, weights, recipe, out, threads, overwrite, strict: see `imagenet_top`.

    Raises:
        UsageError, FileError, MissingPackageError: see `NetworkFiles` and `read_meanings`.
        DataError: the folder cannot be used.
    """
    networks = NetworkFiles(tuple(models), weights or {}, (recipe,), out, threads, overwrite)
    found = _labelled(Path(folder))
    meanings = read_meanings(sorted({each.label for each in found}), means or {})
    networks = networks.check()
    by_size, skipped = decode_sizes(Path(folder), found, set(networks.sizes_wh.values()), strict=strict)
    say_skipped(skipped)

    def sample(size_wh: tuple[int, int]) -> npt.NDArray[np.uint8]:
        return by_size[size_wh].sample(_VERIFICATION, 0).pixels(slice(None))

    rows: list[ImagenetRow] = []
    right: list[npt.NDArray[np.bool_]] = []
    with networks.made(sample) as files:
        runtime = ""
        for file in files:
            classifier = Classifier(file.path, threads=threads)
            runtime = f"{classifier.runtime.name} {classifier.runtime.version}"
            right.append(judge(file, classifier, by_size[file.size_wh], meanings))
        say("timing the files")
        timed = time_in_turns([(file.path, by_size[file.size_wh].sample(_TIMED, 0)) for file in files], threads)
    pictures = by_size[files[0].size_wh]
    for file, each, (latency, _) in zip(files, right, timed, strict=True):
        against = compare_paired(right[0][:, 0], each[:, 0]) if rows else None
        rows.append(ImagenetRow.of(file, each, pictures, meanings, latency, against))
    return ImagenetComparison(str(folder), len(pictures), meanings, skipped, recipe, runtime, timed[0][1], tuple(rows))


def _labelled(folder: Path) -> list[LabelledPicture]:
    parts = find_parts(folder)
    if parts:
        raise DataError(
            f"{folder} is split into {', '.join(sorted(parts))}; give one of them, such as {min(parts.values())}"
        )
    # Named, so that one label alone is no error: its recall says something too.
    return find_labelled(folder, [entry.name for entry in folder.iterdir()])


def decode_sizes(
    folder: Path, found: list[LabelledPicture], sizes_wh: set[tuple[int, int]], *, strict: bool
) -> tuple[dict[tuple[int, int], Pictures], tuple[str, ...]]:
    """Decode the pictures once for each size, and return those that cannot be read."""
    by_size: dict[tuple[int, int], Pictures] = {}
    skipped: tuple[str, ...] = ()
    for size_wh in sorted(sizes_wh):
        with decoding_bar() as on_progress:
            by_size[size_wh], skipped = decode(found, folder, size_wh, RESIZE, strict, on_progress)
    return by_size, skipped


def judge(file: NetworkFile, classifier: Classifier, pictures: Pictures, meanings: Meanings) -> npt.NDArray[np.bool_]:
    """Return for each picture whether the best label is right, and whether one of the best five is, bool `(n, 2)`."""
    right: list[tuple[bool, bool]] = []
    with decoding_bar(f"pictures through {file.model}") as on_progress:
        for batch in pictures.batches(_BATCH):
            for picture in batch:
                label = pictures.labels[pictures.targets[len(right)]]
                among = [meanings.is_right(label, each.label) for each in classifier.classify(picture, _TOP)]
                right.append((among[0], any(among)))
            on_progress(len(right), len(pictures))
    return np.array(right, np.bool_)
