"""What a frozen network says of a picture, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
import re
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError, load_opencv, writing

from ._cache import VERSION, cache_folder
from ._hardware import jit_compile, keras_backend
from ._progress import decoding_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import keras
    import numpy.typing as npt

    from ._batches import Changes

__all__ = ["Features", "compute", "make_ready", "run_frozen"]

_BATCH = 32
#: Raised when augmentation changes what it does, so that features of old copies are not used.
_FEATURES_VERSION = 1


def _fingerprint(model: keras.Model) -> str:
    """Return a SHA-256 of a model's layers and weights, the same in every process."""
    digest = hashlib.sha256(_architecture(model).encode())
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return digest.hexdigest()


def _architecture(model: keras.Model) -> str:
    """Return layers and connections, without what does not change the answer: names, and whether it can be trained."""
    text = json.dumps(model.get_config(), sort_keys=True, default=str)
    text = re.sub(r'"trainable": (true|false)', "", text)
    # Keras numbers the names that nobody chose by what the process built before.
    places = {layer.name: place for place, layer in enumerate(model.layers)} | {model.name: -1}
    return re.sub(r'"([^"]*)"', lambda found: f'"#{places[found[1]]}"' if found[1] in places else found[0], text)


@dataclass(frozen=True)
class Features:
    """Rows of several stores, one per copy and picture.

    Attributes:
        stores: float32 `(rows, ...)`, mapped from files.
        where: (store, row) of each copy's pictures, int64 `(copies, n, 2)`.
    """

    stores: tuple[npt.NDArray[np.float32], ...]
    where: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture's features."""
        return self.stores[0].shape[1:]

    def __call__(self, copy: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return float32 `(k, *shape)` of the pictures at `places`."""
        store, row = self.where[copy, places].T
        found = np.empty((len(places), *self.shape), np.float32)
        for each in np.unique(store):
            chosen = store == each
            found[chosen] = self.stores[each][row[chosen]]
        return found


def compute(model: keras.Model, parts: Mapping[str, Changes], resize: str, what: str) -> dict[str, Features]:
    """Run a frozen model on every copy of every picture that it has not seen yet, and map the rest from disk.

    What is kept is found by the model's weights and the picture's content, so that a picture that is added to a folder,
    or moves to another part, costs what it costs.

    Args:
        model: one input of pixels 0..255, one output.
        parts: the pictures, all of one size.
        resize: how they reached their size.
        what: of the progress bar.

    Raises:
        FileError: the disk has no room for them.
    """
    height, width = next(iter(parts.values())).pictures.store.shape[1:3]
    versions = (keras_backend(), _FEATURES_VERSION, VERSION, load_opencv().__version__)
    key = hashlib.sha256(f"{_fingerprint(model)} {(width, height)} {resize} {versions}".encode()).hexdigest()[:32]
    folder = cache_folder() / "features" / key
    known = _read_index(folder)
    missing = {
        changes.identifier(copy, place): (part, copy, place)
        for part, changes in parts.items()
        for copy in range(max(1, changes.copies))
        for place in range(len(changes.pictures))
        if changes.identifier(copy, place) not in known
    }
    if missing:
        _append(folder, model, parts, missing, what)
        known = _read_index(folder)
    return {part: _find(folder, known, changes) for part, changes in parts.items()}


def _find(folder: Path, known: Mapping[str, tuple[str, int]], changes: Changes) -> Features:
    copies, count = max(1, changes.copies), len(changes.pictures)
    found = [known[changes.identifier(copy, place)] for copy in range(copies) for place in range(count)]
    used = sorted({path for path, _ in found})
    index = {path: place for place, path in enumerate(used)}
    where = np.array([(index[path], row) for path, row in found], np.int64).reshape(copies, count, 2)
    return Features(tuple(np.load(folder / path, mmap_mode="r") for path in used), where)


def _read_index(folder: Path) -> dict[str, tuple[str, int]]:
    known: dict[str, tuple[str, int]] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        rows = path.with_suffix(".npy")
        if rows.is_file():
            for row, name in enumerate(json.loads(path.read_text(encoding="utf-8"))):
                known.setdefault(name, (rows.name, row))
    return known


def _append(
    folder: Path,
    model: keras.Model,
    parts: Mapping[str, Changes],
    missing: Mapping[str, tuple[str, int, int]],
    what: str,
) -> None:
    shape = tuple(model.outputs[0].shape[1:])
    needed, free = 4 * len(missing) * int(np.prod(shape)), shutil.disk_usage(_existing(folder)).free
    if needed > free:
        raise FileError(
            f"the features of {len(missing):,} pictures need {needed / 1e6:,.0f} MB in {folder}, {free / 1e6:,.0f} MB "
            "are free; make room, set EDGEVISION_CACHE to another disk, or give fewer --copies"
        )
    wanted = list(missing.values())

    def pixels(places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        alike = itertools.groupby((wanted[place] for place in places), operator.itemgetter(0, 1))
        return np.concatenate(
            [parts[part].pixels(copy, np.array([place for *_, place in group])) for (part, copy), group in alike]
        )

    name = uuid.uuid4().hex
    with decoding_bar(what) as on_progress, writing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
        # Written, not mapped: on a full disk a write fails, where a mapping kills the process (SIGBUS).
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(missing), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for rows in run_frozen(model, pixels, np.arange(len(missing)), on_progress):
            file.write(rows.astype("<f4").tobytes())
    with writing(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(list(missing)), encoding="utf-8")


def run_frozen(
    model: keras.Model,
    inputs: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]],
    places: npt.NDArray[np.int64],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield a model's float32 outputs for the inputs at `places`, batch by batch."""
    make_ready(model)
    for start in range(0, len(places), _BATCH):
        chosen = places[start : start + _BATCH]
        # One shape for all batches: another would be compiled anew.
        filled = inputs(np.resize(chosen, _BATCH)).astype(np.float32)
        yield np.asarray(model.predict_on_batch(filled), np.float32)[: len(chosen)]
        on_progress(start + len(chosen), len(places))


def make_ready(model: keras.Model) -> None:
    """Compile a model that is only to answer."""
    if not model.compiled:  # compiling again would trace again
        model.compile(jit_compile=jit_compile())  # pyright: ignore[reportArgumentType]


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())
