"""Exporting with proof: files that are judged before anybody uses them, and the first recipe that loses little."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_converters import LADDER, RECIPES, Gate, Ladder, ladder
from edgevision_device import Classifier, UsageError

from ._datasets import check_data
from ._export import ExportOptions, own_formats, plan_export, prepare_export
from ._progress import say
from ._reference import Reference
from ._run import is_run
from ._unseen import judged_pictures
from ._verification import Judge

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from edgevision_converters import ExportedFile, Rung
    from edgevision_device import Metadata

    from ._export import Prepared
    from ._verification_record import Verification

__all__ = ["ProvenFile", "export_to_judge", "export_within", "judge_of"]


@dataclass(frozen=True)
class ProvenFile:
    """A file with what was found out about it.

    Attributes:
        file: as it was exported.
        verification: of this file alone.
    """

    file: ExportedFile
    verification: Verification


def judge_of(
    prepared: Prepared,
    data: str | None,
    planned: Sequence[tuple[str, Metadata]],
    *,
    max_drop: float | None = None,
    command: str | None = None,
) -> Judge:
    """Let the model that files will be made from judge them, on pictures that none of them sees; see `verify`.

    Args:
        prepared: the model.
        data: see `judged_pictures`.
        planned: name and metadata of each file.
        max_drop: see `Gate`.
        command: what records say made them.
    """
    reference, options = Reference.of(prepared.loaded), prepared.options
    judged = judged_pictures(
        data,
        reference.metadata,
        planned,
        reference.run,
        data_dir=options.data_dir,
        strict=options.strict,
        whole=options.whole,
    )
    return Judge(reference, judged, Gate(max_drop), command)


def export_to_judge(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    data: str,
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
    command: str | None = None,
) -> tuple[list[ExportedFile], Callable[[], Verification]]:
    """Write files as `export` does; return them, and what verifies them against the model when it is called.

    Pictures that cannot judge are refused before anything is converted.
    """
    options = options or ExportOptions()
    check_data(data)
    plan_export(model, out, options, overwrite=overwrite)
    prepared = prepare_export(model, options)
    judge = judge_of(prepared, data, prepared.planned(), command=command)
    files = prepared.write(out, overwrite=overwrite)
    return files, lambda: judge.verify([Classifier(file.path) for file in files])


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
    """Write the first file of `LADDER` that loses no more top-1 than it may; the others are not kept.

    It is a `.tflite` file, or an `.onnx` file where the model is one, or where the options ask for no other format. The
    model, the pictures and the answers of the model are the same for all rungs and come first. Each rung is told on
    stderr when it is decided; those that cannot be made, when another can.

    Args:
        model: see `export`.
        out: folder for the file.
        max_drop: see `Gate`.
        data: what judges, see `verify`; None takes what the run was trained on, of other models what calibrates, of
            which the test part judges.
        options: see `ExportOptions`; its recipes are the rungs to try.
        overwrite: replace a file that exists.
        command: what records say made them.

    Raises:
        UsageError: no pictures to judge on, or recipes that hold no rung.
    """
    options = options or ExportOptions()
    Gate(max_drop)
    if data is None and not is_run(model):
        data = options.calibrate
        if data is None:
            raise UsageError("--max-drop needs pictures that judge; give --evaluate DATA")
    if data is not None:
        check_data(data)
    formats = own_formats(model) or options.formats or ["tflite"]
    format = "tflite" if "tflite" in formats else formats[0]
    rungs = [each for each in LADDER if each in RECIPES[format]]
    asked = [each for each in rungs if each in (options.recipes or rungs)]
    if not asked:
        raise UsageError(f"--max-drop tries, of .{format} files, {', '.join(rungs)}; leave out --recipes, or name some")
    target, options = Path(out), replace(options, formats=[format], recipes=asked)
    plan_export(model, out, options, overwrite=overwrite)
    prepared = prepare_export(model, options)
    judge = judge_of(prepared, data, prepared.planned(), max_drop=max_drop, command=command)
    _ = judge.answers  # a model that gives no scores is no fault of any recipe
    target.mkdir(parents=True, exist_ok=True)
    decided: list[Rung[ProvenFile]] = []
    with tempfile.TemporaryDirectory(prefix=".ladder.", dir=target) as scratch:

        def make(recipe: str) -> ProvenFile:
            (file,) = prepared.write(scratch, [recipe])
            return ProvenFile(file, judge.verify([Classifier(file.path)]))

        def tell(rung: Rung[ProvenFile]) -> None:
            # Where no file can be made at all, `require` says why, once.
            waiting = Ladder(tuple(decided)).refused
            decided.append(rung)
            if not Ladder(tuple(decided)).refused:
                for each in decided if waiting else [rung]:
                    say(each.describe())

        climbed = ladder(make, lambda made: made.verification.files[0].failure, asked, on_rung=tell)
        if climbed.passed is None or climbed.passed.made is None:
            return climbed
        made = climbed.passed.made
        kept = target / made.file.path.name
        made.file.path.replace(kept)
        (verified,) = made.verification.files
        found = replace(made.verification, files=(replace(verified, path=kept),), chosen_among=len(climbed.rungs))
        proven = ProvenFile(replace(made.file, path=kept), found)
        return replace(climbed, rungs=(*climbed.rungs[:-1], replace(climbed.passed, made=proven)))
