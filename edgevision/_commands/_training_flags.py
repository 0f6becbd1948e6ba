"""The flags that say how to train, shared by the commands that do."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Any

from edgevision_device import RESIZE_MODES, UsageError

from .._augmentation import FILLS, Augmentation
from .._networks import NETWORKS
from .._options import (
    CLASS_WEIGHTS,
    HEADS,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    TrainingOptions,
    parse_size,
    parse_strides,
    read_options,
)

__all__ = ["add_training_flags", "training_options"]

_DEFAULT = TrainingOptions()


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags. What is not given is absent from the parsed arguments, so that a config file can give it."""

    def group(title: str) -> Any:
        made = parser.add_argument_group(title)

        def add(flag: str, help: str, **more: Any) -> None:
            name = flag[2:].replace("-", "_")
            default = getattr(_DEFAULT, name, None)
            shown = f" (default: {default})" if default not in (None, False) else ""
            made.add_argument(flag, default=argparse.SUPPRESS, help=f"{help}{shown}", **more)

        return add

    add = group("pictures")
    add("--size", "input size, such as 96x96 or 96 (default: the model's, the data's, or 96)", metavar="WxH")
    add("--resize", ", ".join(RESIZE_MODES), metavar="MODE")
    add("--validation-split", "share of the training pictures that becomes the val part", type=float, metavar="SHARE")
    add("--class-weights", ", ".join(CLASS_WEIGHTS), metavar="HOW")
    add("--data-dir", "where the files of fashion-mnist lie", metavar="DIR")
    add("--strict", "stop at a picture that cannot be read", action="store_true")

    add = group("training")
    add("--epochs", "at most; the best one is kept", type=int, metavar="N")
    add("--batch-size", "pictures per step", type=int, metavar="N")
    add("--optimizer", ", ".join(OPTIMIZERS), metavar="NAME")
    add("--learning-rate", "at its peak (default: what suits model and optimizer)", type=float, metavar="RATE")
    add("--schedule", ", ".join(SCHEDULES), metavar="NAME")
    add("--warm-up-epochs", "the rate rises for so long", type=float, metavar="N")
    add("--weight-decay", "of AdamW", type=float, metavar="RATE")
    add("--label-smoothing", "spread over all labels", type=float, metavar="SHARE")
    add("--head", f"{', '.join(HEADS)} (default: what suits the model)", metavar="KIND")
    add("--patience", "stop when the val loss has not fallen for so many epochs", type=int, metavar="N")
    add("--stop-at-accuracy", "stop when the training accuracy passes this", type=float, metavar="SHARE")
    add("--stop-at-loss", "stop when the training loss falls under this", type=float, metavar="LOSS")
    add("--precision", ", ".join(PRECISIONS), metavar="NAME")
    add("--seed", "of weights, order, dropout and augmentation", type=int, metavar="N")
    add("--tensorboard", "write TensorBoard's logs there", metavar="DIR")

    add = group("the model's knobs")
    add("--width", "of channels", type=float, metavar="FACTOR")
    add("--depth", "convolutions per stage, or stages", type=int, metavar="N")
    add("--dropout", "rate", type=float, metavar="RATE")
    add("--strides", "of stem and stages, such as 1,2,2", metavar="LIST")
    add("--filters", "channels of each convolution", type=int, metavar="N")
    add("--units", "of the hidden layer", type=int, metavar="N")
    add("--convolution", "separable, full or mixed", metavar="KIND")

    add = group("transfer learning")
    add("--weights", "ImageNet weights (default: the published ones), or random", metavar="FILE")
    add("--unfreeze-from", "after the head, train the layers from this one on", metavar="LAYER")
    add("--fine-tune-epochs", "of that second part (default: 10)", type=int, metavar="N")
    add("--fine-tune-learning-rate", "of that second part, at its peak", type=float, metavar="RATE")
    add("--teacher", "learn from this run's model too (distillation)", metavar="RUN")
    add("--teacher-share", "weight of the teacher against the labels", type=float, metavar="SHARE")
    add("--temperature", "of the scores in the teacher's part", type=float, metavar="T")

    add = group("augmentation of training pictures")
    add("--augment", "on or off, before the flags below change it (default: on from scratch, else off)", metavar="ON")
    add("--copies", "epochs take turns among so many copies of each picture", type=int, metavar="K")
    add("--flip", "left and right", action=argparse.BooleanOptionalAction)
    add("--shift", "of width and height", type=float, metavar="SHARE")
    add("--shift-width", "of width alone", type=float, metavar="SHARE")
    add("--shift-height", "of height alone", type=float, metavar="SHARE")
    add("--rotation", "either way", type=float, metavar="DEGREES")
    add("--shear", "slant", type=float, metavar="DEGREES")
    add("--zoom", "in and out", type=float, metavar="SHARE")
    add("--fill", f"what comes in from outside: {', '.join(FILLS)}", metavar="MODE")
    add("--fill-value", "grey of a constant fill", type=int, metavar="GREY")
    add("--brightness", "added or taken away", type=float, metavar="SHARE")
    add("--contrast", "more or less", type=float, metavar="SHARE")
    add("--erase", "share of pictures that lose a rectangle", type=float, metavar="SHARE")


_MOVES = {"rotation": "rotation_deg", "shear": "shear_deg"}


def training_options(args: argparse.Namespace, **given: Any) -> tuple[TrainingOptions, str | None, str | None]:
    """Put together what `--config` and the flags say; a flag wins.

    Returns:
        the options, and `data` and `out` if the config file names them.
    """
    told = vars(args)
    values: dict[str, Any] = read_options(args.config) if told.get("config") else {}
    data, out = values.pop("data", None), values.pop("out", None)
    if told.get("config") and not {"model"} & {*values, *told, *given}:
        raise UsageError(f'{told["config"]} names no model; add a line such as model = "slim", or give --model')
    values |= {field.name: told[field.name] for field in fields(TrainingOptions) if field.name in told}
    if "size" in told:
        values["size_wh"] = parse_size(told["size"])
    if "strides" in told:
        values["strides"] = parse_strides(told["strides"])
    values |= given
    moves = {
        name: told[flag]
        for flag in (*_MOVES, *(field.name for field in fields(Augmentation)))
        if flag in told
        for name in (_MOVES.get(flag, flag),)
    }
    if "augment" in told:
        values["augmentation"] = _augment(told["augment"])
    if moves:
        start = values.get("augmentation") or TrainingOptions(values.get("model", _DEFAULT.model)).changes
        values["augmentation"] = replace(start, **moves)
    return TrainingOptions(**values), data, out


def _augment(text: str) -> Augmentation:
    if text not in ("on", "off"):
        raise UsageError(f"--augment must be on or off, got {text!r}")
    scratch = next(name for name, network in NETWORKS.items() if not network.pretrained)
    return TrainingOptions(scratch).changes if text == "on" else Augmentation()
