"""Exporting with proof: files that are judged before anybody uses them, and the first recipe that loses little."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_converters import LADDER, Gate, chosen, ladder
from edgevision_device import UsageError

from ._export import ExportOptions, export, plan_export
from ._progress import say
from ._reference import Description
from ._run import is_run
from ._verification import verify

if TYPE_CHECKING:
    import os

    from edgevision_converters import ExportedFile, Ladder, Rung

    from ._verification_record import Verification

__all__ = ["ProvenFile", "export_within", "prove"]


@dataclass(frozen=True)
class ProvenFile:
    """A file with what was found out about it.

    Attributes:
        file: as it was exported.
        verification: of this file alone.
    """

    file: ExportedFile
    verification: Verification


def prove(
    files: list[ExportedFile],
    model: str | os.PathLike[str],
    data: str | None,
    options: ExportOptions | None = None,
    *,
    max_drop: float | None = None,
    command: str | None = None,
) -> Verification:
    """Verify exported files against the model they were made from; see `verify`."""
    options = options or ExportOptions()
    described = Description(
        options.labels,
        options.resize,
        options.pixels,
        options.color_order,
        options.logits,
        options.signature,
        options.weights,
    )
    return verify(
        [file.path for file in files],
        model,
        data,
        described=described,
        max_drop=max_drop,
        data_dir=options.data_dir,
        strict=options.strict,
        command=command,
    )


def export_within(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    max_drop: float | None,
    data: str | None = None,
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
    command: str | None = None,
) -> Ladder[ProvenFile]:
    """Write the first `.tflite` file of `LADDER` that loses no more top-1 than it may; the others are not kept.

    Args:
        model: see `export`.
        out: folder for the file.
        max_drop: see `Gate`.
        data: what judges, see `verify`; None takes what the run was trained on.
        options: see `ExportOptions`; its recipes are the rungs to try.
        overwrite: replace a file that exists.
        command: what records say made them.

    Raises:
        UsageError: no pictures to judge on, or formats and recipes that hold no rung.
    """
    options = options or ExportOptions()
    Gate(max_drop)
    if data is None and not is_run(model):
        raise UsageError("--max-drop needs pictures that judge; give --evaluate DATA")
    wanted = [recipe for _, recipe in chosen(["tflite"], options.recipes)]
    rungs = [recipe for recipe in LADDER if recipe in wanted]
    if not rungs or "tflite" not in (options.formats or ["tflite"]):
        raise UsageError(f"--max-drop tries .tflite files, one of {', '.join(LADDER)}; leave out --formats, --recipes")
    target = Path(out)
    plan_export(model, out, replace(options, formats=["tflite"], recipes=rungs), overwrite=overwrite)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ladder.", dir=target) as scratch:

        def make(recipe: str) -> ProvenFile:
            one = replace(options, formats=["tflite"], recipes=[recipe])
            (file,) = export(model, scratch, one)
            return ProvenFile(file, prove([file], model, data, one, max_drop=max_drop, command=command))

        def tell(rung: Rung[ProvenFile]) -> None:
            say(rung.describe())

        climbed = ladder(make, lambda made: made.verification.files[0].failure, rungs, on_rung=tell)
        if climbed.passed is None or climbed.passed.made is None:
            return climbed
        made = climbed.passed.made
        kept = target / made.file.path.name
        made.file.path.replace(kept)
        proven = replace(made, file=replace(made.file, path=kept))
        return replace(climbed, rungs=(*climbed.rungs[:-1], replace(climbed.passed, made=proven)))
