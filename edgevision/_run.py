"""A run folder: a trained model and everything needed to export it, or to train it again."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision_device import DataOrigin, FileError, check_outputs

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["Run", "is_run", "read_run", "refuse_run", "write_run"]

_RECORD = "run.json"
_MODEL = "model.keras"
_FORMAT = 1


@dataclass(frozen=True)
class Run:
    """What a training left behind.

    Attributes:
        folder: holds `model.keras`, `labels.txt`, `config.toml`, `run.json`, `history.csv` and what shows them:
            `report.html`, `history.png`, `confusion.png` and `.csv`, `mistakes.png`, `filters.png`.
        model: name of the network.
        labels: in the order of the scores.
        size_wh, resize: how pictures reach the network.
        data, data_dir, validation_split: what to load to get the same pictures in the same split.
        seed: of the training.
        trained_on: the training pictures.
        val_accuracy, test_accuracy: of the Keras model, 0 to 1; the latter None where the data has no test part.
    """

    folder: Path
    model: str
    labels: tuple[str, ...]
    size_wh: tuple[int, int]
    resize: str
    data: str
    data_dir: str | None
    validation_split: float | None
    seed: int
    trained_on: DataOrigin
    val_accuracy: float
    test_accuracy: float | None

    @property
    def model_path(self) -> Path:
        """Path of the Keras model; it takes pixels 0..255, `(batch, height, width, 3)`."""
        return self.folder / _MODEL


def is_run(path: str | os.PathLike[str]) -> bool:
    """Say whether `path` is a run folder."""
    return (Path(path) / _RECORD).is_file()


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Read a run folder. Raises FileError if it is none, or a newer edgevision wrote it."""
    try:
        record: Any = json.loads((Path(folder) / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{folder} is no run folder ({error}); give one that `edgevision train` wrote") from error
    if not isinstance(record, dict):
        raise FileError(
            f"{folder} is no run folder ({_RECORD} holds no record); give one that `edgevision train` wrote"
        )
    if record.get("format") != _FORMAT:
        raise FileError(
            f"{folder} has format {record.get('format')!r}, this edgevision reads {_FORMAT}; install a newer one"
        )
    try:
        return Run(
            folder=Path(folder),
            model=record["model"],
            labels=tuple(record["labels"]),
            size_wh=(record["size_wh"][0], record["size_wh"][1]),
            resize=record["resize"],
            data=record["data"],
            data_dir=record["data_dir"],
            validation_split=record["options"]["validation_split"],
            seed=record["seed"],
            trained_on=DataOrigin(**record["trained_on"]),
            val_accuracy=record["val_accuracy"],
            test_accuracy=record["test_accuracy"],
        )
    except (KeyError, IndexError, TypeError) as error:
        raise FileError(f"{folder}: {_RECORD} cannot be read ({error!r}); train the model again") from error


def refuse_run(out: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise unless a run can be written to `out`: nothing is there, or with `overwrite` an older run or nothing else.

    `--overwrite` is leave to replace a run, not to delete whatever else the name stands for. Call it before slow work.
    """
    target = Path(out)
    check_outputs([target], overwrite=overwrite)
    if target.exists() and not is_run(target) and (not target.is_dir() or any(target.iterdir())):
        raise FileError(f"{target} exists and is no run folder; choose another --out")


def write_run(
    out: str | os.PathLike[str], record: dict[str, Any], fill: Callable[[Path], None], *, overwrite: bool
) -> Run:
    """Write a run folder under a temporary name and rename it when it is complete.

    Args:
        out: the folder.
        record: becomes `run.json`.
        fill: writes the other files into the folder it is given.
        overwrite: replace a run that is there already.
    """
    target = Path(out)
    refuse_run(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target and not inside the scratch folder, which is removed on an interrupt too.
    old = target.with_name(f".{target.name}.old")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        fill(made)
        # In ASCII, which file names that are no UTF-8 survive.
        text = json.dumps({"format": _FORMAT, **record}, indent=2)
        (made / _RECORD).write_text(text + "\n", encoding="utf-8")
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    return read_run(target)
