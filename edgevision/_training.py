"""Training: pictures in, a run folder out. Pure Keras 3, so any backend does."""

from __future__ import annotations

import csv
import hashlib
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_benchmarks import wilson_interval
from edgevision_device import UsageError, __version__

from ._checkpoint import Checkpoint
from ._datasets import NAMED, native_size
from ._hardware import Hardware, use_hardware
from ._job import PARTS, Job, Trained
from ._keras import forget_models, start_keras
from ._networks import DEFAULT_SIZE_WH, NETWORKS, RANDOM
from ._options import TrainingOptions, format_options
from ._progress import say
from ._run import Run, read_run, refuse_run, write_run
from ._run_data import load_shown
from ._run_report import make_run_report
from ._transfer import freeze_before

if TYPE_CHECKING:
    import os

    import keras

    from ._pictures import Splits

__all__ = ["absolute", "absolute_paths", "require_layer", "train"]

_FINE_TUNE_EPOCHS = 10
#: Peaks that suit an optimizer: for a network from scratch, for a head on frozen features, for fine-tuning.
_LEARNING_RATES = {
    "adamw": (3e-3, 1e-2, 1e-4),
    "adam": (3e-3, 1e-2, 1e-4),
    "sgd": (5e-2, 1e-1, 1e-3),
    "rmsprop": (1e-3, 1e-3, 1e-5),
}


def train(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: TrainingOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> Run:
    """Train a classifier and write its run folder.

    Until the run is complete its state lies in `OUT.unfinished`, written after each epoch.

    Args:
        data: `digits`, `fashion-mnist`, `PATH/{train,val,test}/<label>/*`, `PATH/<label>/*`, or a CSV file.
        out: the run folder.
        options: default `TrainingOptions()`.
        overwrite: replace a run that is there already, or start an interrupted one anew.
        resume: go on with an interrupted training; the result is that of one that was not interrupted.

    Raises:
        DataError, UsageError, FileError, MissingPackageError: before any training.
        CheckError: the loss became NaN.
    """
    options = options or TrainingOptions()
    data, out = absolute(data), Path(out)
    refuse_run(out, overwrite=overwrite)
    network = NETWORKS[options.model]
    size_wh = _size_wh(data, options)
    options = _resolve(absolute_paths(options), size_wh)
    checkpoint = Checkpoint.of(out)
    told = {"data": data, **asdict(options)}
    checkpoint.refuse(told, resume=resume, overwrite=overwrite)
    if network.pretrained:
        network.check_weights(options.weights)
    teacher = None if options.teacher is None else _find_teacher(options.teacher, size_wh, options.resize)
    # The name of a layer, which Keras alone knows, is looked up before the pictures are read; else they come first.
    layer_first = options.unfreeze_from is not None and (data in NAMED or Path(data).exists())
    splits = None if layer_first else _load_pictures(data, size_wh, options, teacher)
    start_keras()
    import keras

    keras.utils.set_random_seed(options.seed)
    with use_hardware(options.precision) as hardware:
        body = network.body(size_wh, **options.knobs)
        if options.unfreeze_from is not None:
            freeze_before(body, options.unfreeze_from)
        splits = splits or _load_pictures(data, size_wh, options, teacher)
        if network.pretrained:
            network.load(body, options.weights)
        say(hardware.describe())
        told |= {"backend": hardware.backend, **_contents(splits, options, teacher)}
        checkpoint.begin(told, resume=resume, overwrite=overwrite)
        job = Job(splits, options, hardware, checkpoint, None if teacher is None else _load(teacher))
        started = time.monotonic() - checkpoint.seconds()
        try:
            trained = job.transfer(body) if network.pretrained else job.from_scratch(body)
        except BaseException:
            if checkpoint.has_state():
                say(f"stopped; the same command with --resume goes on (its state is in {checkpoint.folder})")
            else:
                checkpoint.remove()
            raise
    run = _write(out, trained, splits, options, data, hardware, time.monotonic() - started, overwrite)
    checkpoint.remove()
    return run


def require_layer(data: str | os.PathLike[str], options: TrainingOptions) -> None:
    """Raise UsageError if training is to unfreeze from a layer that the network has not; what Keras holds is lost."""
    if options.unfreeze_from is not None:
        start_keras()
        forget_models()  # it numbers layers without a name of their own
        try:
            body = NETWORKS[options.model].body(_size_wh(absolute(data), options), **options.knobs)
        except Exception:  # it cannot be built so; its training says why
            return
        freeze_before(body, options.unfreeze_from)


def _size_wh(data: str, options: TrainingOptions) -> tuple[int, int]:
    return options.size_wh or NETWORKS[options.model].size_wh or native_size(data) or DEFAULT_SIZE_WH


def _load_pictures(data: str, size_wh: tuple[int, int], options: TrainingOptions, teacher: Run | None) -> Splits:
    """Load what is to be trained on, and refuse what the options cannot make of it."""
    splits = load_shown(
        data,
        size_wh,
        options.resize,
        data_dir=options.data_dir,
        strict=options.strict,
        validation_split=options.validation_split,
    )
    if teacher is not None and teacher.labels != splits.labels:
        raise UsageError(f"the teacher knows {', '.join(teacher.labels)}; the data has {', '.join(splits.labels)}")
    if options.trained_head == "sigmoid" and len(splits.labels) != 2:
        raise UsageError(
            f"a sigmoid head tells two labels apart, the data has {len(splits.labels)}; use --head softmax"
        )
    counts = f"{len(splits.train)} pictures to train on, {len(splits.val)} val, {len(splits.test)} test"
    say(f"{counts}; {len(splits.labels)} labels")
    return splits


def learned_nothing(accuracy: float, splits: Splits) -> str | None:
    """Return a line where an accuracy on train is no better than to give every picture the most frequent label."""
    pictures = len(splits.train)
    share = float(np.bincount(splits.train.targets).max() / pictures)
    if wilson_interval(round(pictures * accuracy), pictures)[0] > share:
        return None
    return (
        "note: the epoch that was kept, of the lowest val loss, knows nothing: always to answer the most frequent "
        f"label gives {100 * share:.1f} % of train; a pretrained network, "
        "more pictures or epochs, or another learning rate"
    )


def absolute(data: str | os.PathLike[str]) -> str:
    """Return a data set's name, or a path that means the same elsewhere."""
    return data if isinstance(data, str) and (data in NAMED or not Path(data).exists()) else str(Path(data).resolve())


def absolute_paths(options: TrainingOptions) -> TrainingOptions:
    """Let the options name the same files from everywhere."""
    return replace(
        options,
        **{
            name: str(Path(value).resolve())
            for name in ("teacher", "weights", "data_dir", "tensorboard")
            if (value := getattr(options, name)) not in (None, RANDOM)
        },
    )


def _resolve(options: TrainingOptions, size_wh: tuple[int, int]) -> TrainingOptions:
    """Fill in what was left to the network, so that the run's config says all."""
    network = NETWORKS[options.model]
    knobs = {name: value for name, value in network.knobs.items() if value is not None}
    rates = _LEARNING_RATES[options.optimizer]
    options = replace(
        options,
        size_wh=size_wh,
        head=options.trained_head,
        augmentation=options.changes,
        learning_rate=options.learning_rate or rates[1 if network.pretrained else 0],
        **{**knobs, **options.knobs},
    )
    if options.unfreeze_from is None:
        return options
    return replace(
        options,
        fine_tune_epochs=options.fine_tune_epochs or _FINE_TUNE_EPOCHS,
        fine_tune_learning_rate=options.fine_tune_learning_rate or rates[2],
    )


def _find_teacher(folder: str, size_wh: tuple[int, int], resize: str) -> Run:
    run = read_run(folder)
    if (run.size_wh, run.resize) != (size_wh, resize):
        raise UsageError(
            f"the teacher {folder} takes {run.size_wh[0]}x{run.size_wh[1]} ({run.resize}), the pupil "
            f"{size_wh[0]}x{size_wh[1]} ({resize}); both see the same pictures, so train one of them anew"
        )
    return run


def _contents(splits: Splits, options: TrainingOptions, teacher: Run | None) -> dict[str, str]:
    """Return hashes of what the options only name, so that a training does not go on with something else."""
    files = {"teacher's content": None if teacher is None else teacher.model_path, "weights' content": options.weights}
    pictures = {f"{part} pictures": getattr(splits, part).origin.sha256 for part in PARTS}
    return pictures | {
        name: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for name, path in files.items()
        if path not in (None, RANDOM)
    }


def _load(run: Run) -> keras.Model:
    import keras

    model: Any = keras.models.load_model(run.model_path, compile=False)
    return model


def _write(
    out: Path,
    trained: Trained,
    splits: Splits,
    options: TrainingOptions,
    data: str,
    hardware: Hardware,
    seconds: float,
    overwrite: bool,
) -> Run:
    import keras

    accuracy = {
        part: float(np.mean(scores.argmax(1) == getattr(splits, part).targets))
        for part, scores in trained.scores.items()
    }
    note = learned_nothing(accuracy["train"], splits)
    if note is not None:
        say(note)
    assert options.size_wh is not None
    record = {
        "edgevision": __version__,
        "model": options.model,
        "labels": list(splits.labels),
        "size_wh": list(options.size_wh),
        "resize": options.resize,
        "data": data,
        "data_dir": None if options.data_dir is None else str(Path(options.data_dir).resolve()),
        "seed": options.seed,
        "trained_on": asdict(splits.train.origin),
        "pictures": {part: len(getattr(splits, part)) for part in PARTS},
        "skipped": list(splits.skipped),
        "parameters": int(trained.model.count_params()),
        "train_accuracy": accuracy["train"],
        "val_accuracy": accuracy["val"],
        "test_accuracy": accuracy.get("test"),
        "epochs": sum(len(each["loss"]) for each in trained.history.values()),
        "kept_epoch": trained.kept_epoch,
        "training_seconds": round(seconds, 1),
        "keras": keras.__version__,
        "backend": hardware.backend,
        "devices": list(hardware.devices),
        "options": asdict(options),
    }

    columns = _columns(trained.history)
    figures = make_run_report(
        trained.model,
        splits,
        record,
        columns,
        name=out.name,
        scores=trained.scores.get("test", trained.scores["val"]),
    )

    def fill(folder: Path) -> None:
        trained.model.save(folder / "model.keras")
        labels = "\n".join(splits.labels) + "\n"
        (folder / "labels.txt").write_text(labels, encoding="utf-8", errors="surrogateescape")
        (folder / "config.toml").write_text(format_options(options, data), encoding="utf-8", errors="surrogateescape")
        _write_history(folder / "history.csv", trained.history, columns)
        for name, content in figures.items():
            (folder / name).write_bytes(content)

    return write_run(out, record, fill, overwrite=overwrite)


def _columns(history: dict[str, dict[str, list[float]]]) -> dict[str, list[float]]:
    """Join the phases: one number per metric and epoch."""
    names = list(next(iter(history.values())))
    return {name: [value for columns in history.values() for value in columns[name]] for name in names}


def _write_history(path: Path, history: dict[str, dict[str, list[float]]], columns: dict[str, list[float]]) -> None:
    phases = [phase for phase, each in history.items() for _ in each["loss"]]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "phase", *columns])
        writer.writerows(zip(range(1, len(phases) + 1), phases, *columns.values(), strict=True))
