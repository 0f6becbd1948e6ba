"""What a training can be told: options, their limits, and the TOML file that holds them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from edgevision_device import RESIZE_MODES, FileError, UsageError, require_known

from ._augmentation import Augmentation
from ._networks import NETWORKS, PRETRAINED

if TYPE_CHECKING:
    import os

__all__ = [
    "CLASS_WEIGHTS",
    "HEADS",
    "KNOBS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "TrainingOptions",
    "format_options",
    "parse_size",
    "parse_strides",
    "read_options",
]

OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("cosine", "constant")
HEADS = ("softmax", "logits", "sigmoid")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
KNOBS = ("width", "depth", "dropout", "strides", "filters", "units", "convolution")
_FINE_TUNING = ("fine_tune_epochs", "fine_tune_learning_rate")
_MOVED = Augmentation(shift=0.08, rotation_deg=8, zoom=0.1)


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. None stands for what suits the network.

    Attributes:
        model: one of `NETWORKS`.
        size_wh: input width and height.
        resize: `stretch`, `crop` or `letterbox`.
        epochs: at most; the weights of the epoch with the lowest val loss are kept.
        batch_size: pictures per step.
        optimizer: `adamw`, `adam`, `sgd` (momentum 0.9) or `rmsprop`.
        learning_rate: at its peak.
        schedule: `cosine` falls from the peak to zero on half a cosine, `constant` stays.
        warm_up_epochs: with the cosine, the learning rate first rises from a tenth of its peak for this long.
        weight_decay: of AdamW; the others have none.
        label_smoothing: share of each target spread over all labels.
        head: what the last layer is trained as: `softmax`, `logits` (the loss takes them, which is steadier where
            scores come near 0), or `sigmoid` for two labels. The saved model ends in softmax scores in any case.
        class_weights: `balanced` weighs each picture by how rare its label is.
        augmentation: of training pictures; None takes small moves for a network trained from scratch, none for the
            features of a frozen backbone.
        copies: epochs take turns among this many changed copies of each picture, so that what is computed from frozen
            weights is computed once per copy; 0 changes pictures anew every epoch.
        patience: stop when the val loss has not fallen for this many epochs.
        stop_at_accuracy: stop when the training accuracy passes this.
        stop_at_loss: stop when the training loss falls under this.
        unfreeze_from: after the head, train the layers from this one on; batch normalization stays as it was.
        fine_tune_epochs, fine_tune_learning_rate: of that second part.
        teacher: run folder of a model to learn from, with the same labels and input size (distillation).
        teacher_share: weight of the teacher's scores against the labels, 0 to 1.
        temperature: of the teacher's and the pupil's scores in that part of the loss.
        width, depth, dropout, strides, filters, units, convolution: knobs of the network, see `edgevision models`.
        weights: file with ImageNet weights; None takes the published ones, `random` none at all.
        precision: `float32`, `mixed_float16` or `mixed_bfloat16`.
        tensorboard: folder for TensorBoard's logs.
        seed: of the initial weights, the order, dropout and the augmentation.
        validation_split: share of the training pictures that becomes the val part; None keeps the data's own.
        data_dir, strict: see `load_data`.
    """

    model: str = "slim"
    size_wh: tuple[int, int] | None = None
    resize: str = "stretch"
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float | None = None
    schedule: str = "cosine"
    warm_up_epochs: float = 1.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    head: str | None = None
    class_weights: str = "none"
    augmentation: Augmentation | None = None
    copies: int = 0
    patience: int | None = None
    stop_at_accuracy: float | None = None
    stop_at_loss: float | None = None
    unfreeze_from: str | None = None
    fine_tune_epochs: int | None = None
    fine_tune_learning_rate: float | None = None
    teacher: str | None = None
    teacher_share: float = 0.7
    temperature: float = 2.0
    width: float | None = None
    depth: int | None = None
    dropout: float | None = None
    strides: tuple[int, ...] | None = None
    filters: int | None = None
    units: int | None = None
    convolution: str | None = None
    weights: str | None = None
    precision: str = "float32"
    tensorboard: str | None = None
    seed: int = 0
    validation_split: float | None = None
    data_dir: str | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        require_known("model", self.model, NETWORKS)
        for what, value, allowed in (
            ("resize mode", self.resize, RESIZE_MODES),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("head", self.head or "softmax", HEADS),
            ("class weights", self.class_weights, CLASS_WEIGHTS),
            ("precision", self.precision, PRECISIONS),
        ):
            require_known(what, value, allowed)
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:  # NaN is neither
                raise UsageError(f"{name.replace('_', ' ')} must lie between {low} and {high}, got {value}")
        if self.size_wh is not None:
            _check_size(self.size_wh)
        NETWORKS[self.model].check_knobs(self.knobs)
        if self.model not in PRETRAINED:
            for name in ("unfreeze_from", "weights"):
                if getattr(self, name) is not None:
                    raise UsageError(
                        f"{_flag(name)} is for pretrained models ({', '.join(PRETRAINED)}), and {self.model} is none"
                    )
        if self.unfreeze_from is None:
            for name in _FINE_TUNING:
                if getattr(self, name) is not None:
                    raise UsageError(f"{_flag(name)} needs --unfreeze-from LAYER")
        if self.teacher is not None and self.trained_head != "softmax":
            raise UsageError(f"a pupil is trained with a softmax head, not {self.trained_head}; give --head softmax")
        for name, needs, given in (
            ("teacher_share", "--teacher RUN", self.teacher is not None),
            ("temperature", "--teacher RUN", self.teacher is not None),
            ("weight_decay", "--optimizer adamw", self.optimizer == "adamw"),
        ):
            if getattr(self, name) != _DEFAULTS[name] and not given:
                raise UsageError(f"{_flag(name)} needs {needs}")
        if self.copies and self.changes.changes_nothing:
            raise UsageError("copies are of changed pictures, and no augmentation was given; add --flip or --shift 0.1")
        frozen = self.model in PRETRAINED and not (self.copies or self.unfreeze_from)
        if frozen and not self.changes.changes_nothing:
            raise UsageError(
                f"{self.model} is trained on features computed once: add --copies K for those of K changed copies of "
                "each picture, or --unfreeze-from LAYER to fine-tune"
            )

    @property
    def knobs(self) -> dict[str, Any]:
        """The network's knobs that were given."""
        return {name: getattr(self, name) for name in KNOBS if getattr(self, name) is not None}

    @property
    def changes(self) -> Augmentation:
        """The augmentation, or what suits the network."""
        if self.augmentation is not None:
            return self.augmentation
        return Augmentation() if self.model in PRETRAINED else _MOVED

    @property
    def trained_head(self) -> str:
        """The head, or what suits the network."""
        return self.head or NETWORKS[self.model].head


_DEFAULTS = {field.name: field.default for field in fields(TrainingOptions)}
_LIMITS = (
    ("epochs", 1, 100_000),
    ("batch_size", 1, 65_536),
    ("learning_rate", 1e-9, 10),
    ("warm_up_epochs", 0, 1000),
    ("weight_decay", 0, 1),
    ("label_smoothing", 0, 0.9),
    ("copies", 0, 1000),
    ("patience", 1, 100_000),
    ("stop_at_accuracy", 0, 1),
    ("stop_at_loss", 0, 1000),
    ("fine_tune_epochs", 1, 100_000),
    ("fine_tune_learning_rate", 1e-9, 10),
    ("teacher_share", 0, 1),
    ("temperature", 0.1, 100),
    ("seed", 0, 2**32 - 1),  # what Keras takes
    ("validation_split", 0.001, 0.9),
)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def read_options(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file of training options, and `data` and `out` where it gives them.

    Returns:
        what the file gives, by name, of the types that `TrainingOptions` takes.

    Raises:
        FileError: it is no TOML file.
        UsageError: a key is unknown, or its value has another type.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no TOML file: {error}") from error
    hints: dict[str, Any] = {"data": str, "out": str, **get_type_hints(TrainingOptions)}
    return {key: _typed(f"{path}: {key}", value, key, hints) for key, value in table.items()}


def _typed(where: str, value: Any, key: str, hints: Mapping[str, Any]) -> Any:
    require_known(f"option in {where.rpartition(':')[0]}", key, hints)
    if key == "augmentation":
        if not isinstance(value, dict):
            raise UsageError(f"{where} must be a table, such as [augmentation] with flip = true, got {value!r}")
        inner = get_type_hints(Augmentation)
        return Augmentation(**{name: _typed(f"{where}: {name}", each, name, inner) for name, each in value.items()})
    if key in ("size_wh", "strides"):
        whole = isinstance(value, list) and value and all(type(each) is int for each in value)
        if whole and (key == "strides" or len(value) == 2):
            return tuple(value)
        raise UsageError(f"{where} must be a list of {'two ' if key == 'size_wh' else ''}whole numbers, got {value!r}")
    wanted = hints[key]
    kinds = [kind for kind in getattr(wanted, "__args__", (wanted,)) if kind is not type(None)]
    if type(value) is int and float in kinds:
        return float(value)
    if type(value) not in kinds:
        raise UsageError(f"{where} must be of type {kinds[0].__name__}, got {value!r}")
    return value


def parse_size(text: str) -> tuple[int, int]:
    """Read `WxH`, or one number for both.

    >>> parse_size("96x64"), parse_size("48")
    ((96, 64), (48, 48))
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"cannot read the size {text!r}; allowed: WIDTHxHEIGHT in pixels, such as 96x64, or one number"
        )
    size_wh = int(parts[0]), int(parts[-1])
    _check_size(size_wh)
    return size_wh


def _check_size(size_wh: tuple[int, int]) -> None:
    if not all(8 <= side <= 2048 for side in size_wh):
        raise UsageError(
            f"the input size {size_wh[0]}x{size_wh[1]} is out of range; width and height must lie between 8 and 2048 "
            "pixels: give another --size, such as 96x96, or leave it to the model and the data"
        )


def parse_strides(text: str) -> tuple[int, ...]:
    """Read strides with commas between them, or, where commas part lists of them, with an x.

    >>> parse_strides("1,2,2"), parse_strides("1x2x2")
    ((1, 2, 2), (1, 2, 2))
    """
    parts = text.replace(",", "x").split("x")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"cannot read the strides {text!r}; give 1s and 2s, the stem's first, such as 1,2,2 or 1x2x2")
    return tuple(int(part) for part in parts)


def format_options(options: TrainingOptions, data: str) -> str:
    """Write options, with what was left to the network filled in, as the TOML text that `--config` reads."""
    import tomli_w

    values = _given(asdict(options))
    values["augmentation"] = _given(values.pop("augmentation", {}))  # a table stands last
    return tomli_w.dumps({"data": data, **values})


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
