"""What a sweep varies: axes of options, read from text, and every combination of them, checked before any training."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from edgevision_device import UsageError, require_known

from ._augmentation import Augmentation
from ._networks import NETWORKS
from ._options import KNOBS, TrainingOptions, parse_size, parse_strides

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Combination", "combine", "read_axes", "without_augmentation"]

#: Of these there is one per sweep.
_FIXED = ("data_dir", "strict", "tensorboard")
#: What flags leave out of the names of options.
_UNITS = ("_wh", "_deg")
#: What a flag calls otherwise.
_ALIASES = {"augment": "augmentation"}
_SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number"}
_DEFAULT = "default"


@dataclass(frozen=True)
class Combination:
    """One row to be.

    Attributes:
        name: of the row and its folder.
        varied: what tells it from the others, as text by the name of its axis.
        options: of its training.
    """

    name: str
    varied: dict[str, str]
    options: TrainingOptions


def read_axes(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read axes such as `depth=1,2`, `size=96x64,48`, `augmentation=on,off` or `strides=1x2x2,2x2x2`.

    Names are those of the flags; `default` stands for what suits the network.

    Raises:
        UsageError: no such option, or a value that cannot be read.

    >>> read_axes(["size=96x64,48", "learning-rate=0.01,default"])
    {'size': [(96, 64), (48, 48)], 'learning-rate': [0.01, None]}
    """
    axes: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = _ALIASES.get(name.strip(), name.strip().replace("_", "-"))
        if not equals or not values.strip():
            raise UsageError(f"cannot read --vary {text!r}; it takes NAME=VALUE,VALUE, such as depth=1,2")
        require_known("option to vary", name, _hints())
        if name in axes:
            raise UsageError(f"{name} is varied twice; give all its values in one --vary")
        axes[name] = [_read(name, value.strip()) for value in values.split(",")]
    return axes


def combine(base: TrainingOptions, axes: Mapping[str, Sequence[Any]]) -> list[Combination]:
    """Return every combination of the values of the axes, the last axis moving fastest.

    Where several models are compared, a knob applies to those that have it.

    Args:
        base: what is not varied.
        axes: values by option, as `read_axes` returns them; names may have underscores. Without any, the base alone.

    Raises:
        UsageError: no such option, an axis without values, a combination that `TrainingOptions` refuses, or two that
            are the same training.
    """
    named = {name.replace("_", "-"): list(values) for name, values in axes.items()}
    for name, values in named.items():
        require_known("option to vary", name, _hints())
        if not values:
            raise UsageError(f"{name} is to be varied over no values; give some")
    models = named.get("model", [base.model])
    for knob in KNOBS:
        if len(models) > 1 and knob in named and not any(_has(model, knob) for model in models):
            raise UsageError(f"{knob} is no knob of any of {', '.join(models)}")
    found: list[Combination] = []
    seen: set[tuple[tuple[str, str], ...]] = set()
    for values in itertools.product(*named.values()):
        chosen = dict(zip(named, values, strict=True))
        if len(models) > 1:
            chosen = {name: value for name, value in chosen.items() if name not in KNOBS or _has(chosen["model"], name)}
            key = tuple((name, _write(name, value)) for name, value in chosen.items())
            if len(chosen) < len(named) and key in seen:
                continue  # it differs in a knob that this model has not
            seen.add(key)
        varied = {name: _write(name, value) for name, value in chosen.items()}
        name = _name(chosen.get("model", base.model), varied)
        try:
            lacking = {knob: None for knob in base.knobs if len(models) > 1 and not _has(chosen["model"], knob)}
            options = _apply(replace(base, **lacking, model=chosen.get("model", base.model)), chosen)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
        for other in found:
            if other.options == options or other.name == name:
                raise UsageError(f"{name} is the same training as {other.name}; give each only once")
        found.append(Combination(name, varied, options))
    return found


def _has(model: str, knob: str) -> bool:
    return model not in NETWORKS or knob in NETWORKS[model].knobs


def without_augmentation(options: TrainingOptions) -> TrainingOptions:
    """Return the same training on pictures as they are."""
    return replace(options, augmentation=Augmentation(), copies=0)  # there is nothing to make different copies of


def _apply(base: TrainingOptions, chosen: Mapping[str, Any]) -> TrainingOptions:
    targets = {name: _target(name) for name in chosen}
    plain = {field: chosen[name] for name, (kind, field) in targets.items() if kind == "option"}
    moved = {field: chosen[name] for name, (kind, field) in targets.items() if kind == "change"}
    switch = chosen.get("augmentation", True)
    if switch is False or (isinstance(switch, Augmentation) and switch.changes_nothing):
        # First off, then the rest: options that need a change must be refused for their own sake.
        return replace(without_augmentation(base), **plain)
    if isinstance(switch, Augmentation):
        plain["augmentation"] = switch
    if "shift" in moved:
        moved = {"shift_width": None, "shift_height": None, **moved}  # these would go before it
    if moved:
        # Both at once, because a model may need the changes.
        own = plain.get("augmentation") or replace(base, model=plain.get("model", base.model)).changes
        plain["augmentation"] = replace(own, **moved)
    options = replace(base, **plain)
    if "augmentation" in chosen and options.changes.changes_nothing:
        raise UsageError(
            "augmentation on changes nothing here; say what to change, such as --augment on or --shift 0.1"
        )
    return options


def _hints() -> dict[str, tuple[str, str, Any]]:
    """Return what may be varied: what kind of thing it is, its field and its type, by the name of its flag."""
    hints: dict[str, tuple[str, str, Any]] = {}
    for kind, owner in (("option", TrainingOptions), ("change", Augmentation)):
        types = get_type_hints(owner)
        for field in fields(owner):
            if field.name not in _FIXED:
                short = next(
                    (field.name.removesuffix(unit) for unit in _UNITS if field.name.endswith(unit)), field.name
                )
                hints.setdefault(short.replace("_", "-"), (kind, field.name, types[field.name]))
    hints["augmentation"] = ("switch", "augmentation", bool)
    return hints


def _target(name: str) -> tuple[str, str]:
    kind, field, _ = _hints()[name]
    return kind, field


def _read(name: str, text: str) -> Any:
    """Read one value of an option."""
    _, field, hint = _hints()[name]
    optional = type(None) in get_args(hint)
    if optional and text == _DEFAULT:
        return None
    kind: Any = next(each for each in get_args(hint) if each is not type(None)) if optional else hint
    if get_origin(kind) is tuple:
        return parse_size(text) if field == "size_wh" else parse_strides(text)
    if kind is bool:
        if text.lower() not in _SWITCH:
            raise UsageError(f"cannot read {text!r} as {name}; allowed: on, off")
        return _SWITCH[text.lower()]
    try:
        value = kind(text)
        good = math.isfinite(value) if kind is float else text != ""
    except ValueError:
        value, good = None, False
    if not good:
        what = _KINDS.get(kind, "a name")
        raise UsageError(f"cannot read {text!r} as {name}; allowed: {what}{' or default' if optional else ''}")
    return value


def _write(name: str, value: Any) -> str:
    """Write a value as `read_axes` reads it.

    >>> _write("size", (48, 48)), _write("size", (96, 64)), _write("strides", (2, 2)), _write("units", None)
    ('48', '96x64', '2x2', 'default')
    """
    if value is None:
        return _DEFAULT
    if isinstance(value, Augmentation):
        return "off" if value.changes_nothing else "on"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        sides: tuple[int, ...] = value
        return str(sides[0]) if name == "size" and len(set(sides)) == 1 else "x".join(map(str, sides))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _name(model: str, varied: Mapping[str, str]) -> str:
    parts = [model, *(f"{name}={value}" for name, value in varied.items() if name != "model")]
    # It names a folder and a file: values may be paths.
    return re.sub(r"[^\w.=+-]+", "-", "_".join(parts))
