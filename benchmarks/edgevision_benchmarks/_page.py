"""What all pages share: one HTML file each, in the style of `style.css`, that needs no script, font or picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

from ._conditions import Conditions
from ._text import interval_text, ms_text, percent_text, points_text, printable, size_text

__all__ = ["condition_facts", "machine_name", "render_page"]


def render_page(template: str, **context: Any) -> str:
    """Fill a template of this folder in."""
    # Here, because `--help` must not wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent_text
    environment.filters["points"] = points_text
    environment.filters["interval"] = interval_text
    environment.filters["ms"] = ms_text
    environment.filters["size"] = _size
    environment.filters["clean"] = printable
    return environment.get_template(template).render(context)


def machine_name(conditions: Conditions) -> str:
    """Return what to call the device."""
    return conditions.board or conditions.cpu or conditions.architecture


def condition_facts(conditions: Conditions) -> list[tuple[str, str]]:
    """Return what is known about the machine, for people: name and value."""
    bits = "" if conditions.userland_bits == 64 else f", {conditions.userland_bits}-bit userland"
    memory = None if conditions.memory_bytes is None else f"{conditions.memory_bytes / 2**30:.1f} GiB"
    known = {
        "board": conditions.board,
        "processor": conditions.cpu,
        "cores": str(conditions.cores),
        "architecture": conditions.architecture + bits,
        "memory": memory,
        "system": conditions.system,
        "kernel": conditions.kernel,
        "Python": conditions.python,
        "governor": conditions.governor or "not readable",
    }
    facts = [(name, value) for name, value in known.items() if value is not None]
    told = ("cpu", "userland_bits", "memory_bytes", "python", *known)
    for field in dataclasses.fields(conditions):
        value = getattr(conditions, field.name)
        if field.name not in told and value not in (None, (), [], ""):
            facts.append((field.name.replace("_", " "), _plain(value)))
    return facts


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in cast("list[object]", value))
    return "yes" if value is True else str(value)


def _size(size_bytes: float) -> str:
    """Write a size that no line break parts from its unit."""
    return size_text(size_bytes).replace(" ", "\u00a0")
