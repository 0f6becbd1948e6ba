"""What a frozen network says of a picture, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
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
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import keras
    import numpy.typing as npt

    from ._batches import Changes

__all__ = ["Features", "compute", "fingerprint", "run_frozen"]

_BATCH = 32
#: Raised when augmentation changes what it does, so that features of old copies are not used.
_FEATURES_VERSION = 1


def fingerprint(model: keras.Model) -> str:
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


def compute(model: keras.Model, changes: Changes, resize: str, what: str) -> Features:
    """Run a frozen model on every copy of every picture that it has not seen yet, and map the rest from disk.

    What is kept is found by the model's weights and the picture's content, so that a picture that is added to a folder,
    or moves to another part, costs what it costs.

    Args:
        model: one input of pixels 0..255, one output.
        changes: the pictures.
        resize: how they reached their size.
        what: of the progress bar.

    Raises:
        FileError: the disk has no room for them.
    """
    size_wh = changes.pictures.store.shape[2], changes.pictures.store.shape[1]
    where = (keras_backend(), _FEATURES_VERSION, VERSION, load_opencv().__version__)
    key = hashlib.sha256(f"{fingerprint(model)} {size_wh} {resize} {where}".encode()).hexdigest()[:32]
    folder = cache_folder() / "features" / key
    copies = max(1, changes.copies)
    wanted = [[changes.identifier(copy, place) for place in range(len(changes.pictures))] for copy in range(copies)]
    known = _read_index(folder)
    missing = [
        (copy, np.array([place for place, name in enumerate(names) if name not in known], np.int64))
        for copy, names in enumerate(wanted)
    ]
    if any(len(places) for _, places in missing):
        _append(folder, model, changes, missing, wanted, what)
        known = _read_index(folder)
    used = sorted({known[name][0] for names in wanted for name in names})
    index = {path: place for place, path in enumerate(used)}
    where = np.array([[(index[known[name][0]], known[name][1]) for name in names] for names in wanted], np.int64)
    return Features(tuple(np.load(folder / path, mmap_mode="r") for path in used), where.reshape(copies, -1, 2))


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
    changes: Changes,
    missing: Sequence[tuple[int, npt.NDArray[np.int64]]],
    wanted: Sequence[Sequence[str]],
    what: str,
) -> None:
    count = sum(len(places) for _, places in missing)
    shape = tuple(model.outputs[0].shape[1:])
    needed, free = 4 * count * int(np.prod(shape)), shutil.disk_usage(_existing(folder)).free
    if needed > free:
        raise FileError(
            f"the features of {count:,} pictures need {needed / 1e6:,.0f} MB in {folder}, {free / 1e6:,.0f} MB are "
            "free; make room, set EDGEVISION_CACHE to another disk, or give fewer --copies"
        )
    model.compile(jit_compile=jit_compile())  # pyright: ignore[reportArgumentType]
    name, names, done = uuid.uuid4().hex, list[str](), 0
    with decoding_bar(what) as on_progress, writing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
        # Written, not mapped: on a full disk a write fails, where a mapping kills the process (SIGBUS).
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for copy, places in missing:
            for rows in run_frozen(model, lambda chosen, copy=copy: changes.pixels(copy, chosen), places):
                file.write(rows.astype("<f4").tobytes())
                done += len(rows)
                on_progress(done, count)
            names += [wanted[copy][place] for place in places]
    with writing(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(names), encoding="utf-8")


def run_frozen(
    model: keras.Model,
    inputs: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]],
    places: npt.NDArray[np.int64],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield a compiled model's float32 outputs for the inputs at `places`, batch by batch."""
    for start in range(0, len(places), _BATCH):
        chosen = places[start : start + _BATCH]
        # One shape for all batches: another would be compiled anew.
        filled = inputs(np.resize(chosen, _BATCH)).astype(np.float32)
        yield np.asarray(model.predict_on_batch(filled), np.float32)[: len(chosen)]
        on_progress(start + len(chosen), len(places))


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())
