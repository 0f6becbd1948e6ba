"""How much int8 depends on the pictures that it is calibrated on: several choices of several sizes, one table."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision_benchmarks import Accuracy
from edgevision_converters import export_model
from edgevision_device import Classifier, UsageError, __version__

from ._console import stdout_console
from ._datasets import check_data
from ._export import ExportOptions, own_formats, prepare_export
from ._progress import say
from ._proof import judge_of
from ._run import is_run

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from edgevision_converters import Agreement, ExportedFile

__all__ = ["CalibrationStudy", "StudiedFile", "StudyPlan", "calibration_study", "parse_study", "print_study"]

_RECIPE = "int8"


@dataclass(frozen=True)
class StudyPlan:
    """Which calibration sets to try: every size with every seed.

    Attributes:
        seeds: how many choices of pictures, of seeds counted up from `ExportOptions.seed`.
        sizes: how many pictures.
    """

    seeds: int = 3
    sizes: tuple[int, ...] = (20, 50, 100, 200)

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= 100:
            raise UsageError(f"a calibration study takes 1 to 100 seeds, got {self.seeds}")
        if not self.sizes or not all(1 <= size <= 100_000 for size in self.sizes):
            raise UsageError(f"a calibration study takes sizes of 1 to 100000 pictures, got {list(self.sizes)}")


def parse_study(texts: Sequence[str]) -> StudyPlan:
    """Read `seeds=N` and `sizes=N,N`.

    >>> parse_study(["sizes=20,50"])
    StudyPlan(seeds=3, sizes=(20, 50))
    """
    given: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        numbers = value.split(",")
        if name not in ("seeds", "sizes") or not all(each.isdecimal() for each in numbers):
            raise UsageError(f"cannot read {text!r}; allowed: seeds=3 and sizes=20,50,100")
        if name == "seeds" and len(numbers) > 1:
            raise UsageError(f"seeds takes one number, how many there are, got {value}")
        given[name] = tuple(sorted({int(each) for each in numbers})) if name == "sizes" else int(value)
    return StudyPlan(**given)


@dataclass(frozen=True)
class StudiedFile:
    """An int8 file of one choice of calibration pictures.

    Attributes:
        pictures: how many calibrated it.
        seed: of their choice.
        agreement: with the model it was made from, on the same pictures for all files.
        top1: on labelled pictures; None where there are none.
    """

    pictures: int
    seed: int
    agreement: Agreement
    top1: Accuracy | None


@dataclass(frozen=True)
class CalibrationStudy:
    """What was found.

    Attributes:
        source: the model.
        data: which pictures say so.
        pool: of how many pictures each choice was made; None for crops, of which there is no end.
        source_top1: of the model; None where no labelled pictures were given.
        files: sizes ascending, each with all seeds.
    """

    source: str
    data: str
    pool: int | None
    source_top1: Accuracy | None
    files: tuple[StudiedFile, ...]

    def spreads(self) -> list[dict[str, Any]]:
        """Return per size the mean, lowest and highest agreement and top-1 over the seeds; shares.

        `overlap` says that the choices are of more than half of the pool: they share most pictures, or all, so that
        their spread is smaller than that of other pictures would be.
        """
        found: list[dict[str, Any]] = []
        for size in dict.fromkeys(file.pictures for file in self.files):
            files = [file for file in self.files if file.pictures == size]
            top1 = [file.top1.share for file in files if file.top1 is not None]
            found.append(
                {
                    "calibration_pictures": size,
                    "seeds": len(files),
                    "overlap": self.pool is not None and 2 * size > self.pool,
                    "same_top1_share": _spread([file.agreement.same_top1 for file in files]),
                    "top1_share": _spread(top1) if top1 else None,
                }
            )
        return found

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "edgevision": __version__,
            "source": self.source,
            "recipe": _RECIPE,
            "data": self.data,
            "pool_pictures": self.pool,
            "source_top1": None if self.source_top1 is None else self.source_top1.to_record(),
            "sizes": self.spreads(),
            "files": [
                {
                    "calibration_pictures": file.pictures,
                    "seed": file.seed,
                    "agreement": file.agreement.to_record(),
                    "top1": None if file.top1 is None else file.top1.to_record(),
                }
                for file in self.files
            ],
        }


def calibration_study(
    model: str | os.PathLike[str],
    plan: StudyPlan | None = None,
    data: str | None = None,
    options: ExportOptions | None = None,
) -> CalibrationStudy:
    """Make an int8 file of every choice of calibration pictures, measure it, and throw it away.

    It is a `.tflite` file, or an `.onnx` file where the model is one.

    Args:
        model: see `export`.
        plan: default `StudyPlan()`.
        data: labelled pictures, see `verify`; None takes what a run was trained on, and for any other model compares
            with the model only, on what verifies an export.
        options: see `ExportOptions`; formats and recipes say nothing here.

    Raises:
        UsageError: there are fewer pictures to calibrate with than a size asks for.
    """
    plan, options = plan or StudyPlan(), options or ExportOptions()
    if options.fit_confidence:
        raise UsageError("--calibration-study keeps no file that could have confidence; leave out --fit-confidence")
    if data is not None:
        check_data(data)
    # All files are compared with one model on one choice of pictures; only the calibration changes.
    prepared = prepare_export(model, dataclasses.replace(options, formats=None, recipes=None))
    pool = None if prepared.splits is None else len(prepared.splits.train)
    if pool is not None and pool < max(plan.sizes):
        raise UsageError(
            f"there are {pool} pictures to calibrate with; sizes must be at most that, got {max(plan.sizes)}"
        )
    settings = [(size, seed) for size in plan.sizes for seed in range(options.seed, options.seed + plan.seeds)]
    judge = None
    if data is not None or is_run(model):
        metadata = prepared.source.metadata
        planned = [
            (
                f"the int8 file of {size} pictures, seed {seed},",
                dataclasses.replace(metadata, calibrated_on=prepared.calibration(size, seed).origin),
            )
            for size, seed in settings
        ]
        judge = judge_of(prepared, data, planned)
    with tempfile.TemporaryDirectory() as scratch:
        exported: list[ExportedFile] = []
        for number, (size, seed) in enumerate(settings, 1):
            say(f"{number} of {len(settings)}: {size} calibration pictures, seed {seed}")
            exported += export_model(
                prepared.source,
                Path(scratch) / f"{size}-{seed}",
                verification=prepared.verification,
                calibration=prepared.calibration(size, seed),
                formats=own_formats(model) or ["tflite"],
                recipes=[_RECIPE],
            )
        if judge is None:
            agreements = [file.agreement for file in exported]
            told = f"{len(prepared.verification):,} pictures that verify an export"
            files = _files(settings, agreements, [None] * len(settings))
            return CalibrationStudy(str(model), told, pool, None, files)
        found = judge.verify([Classifier(file.path) for file in exported])
    told = f"{len(found.judged.pictures):,} {found.judged.part} pictures of {found.judged.data}"
    files = _files(
        settings, [file.agreement for file in found.files], [file.judgement.accuracy for file in found.files]
    )
    return CalibrationStudy(str(model), told, pool, found.source_judgement.accuracy, files)


def print_study(study: CalibrationStudy) -> None:
    """Print a row per size on stdout."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = stdout_console()
    source = "" if study.source_top1 is None else f"; its own top-1 is {study.source_top1.describe()}"
    # Text, never markup: a path may hold square brackets.
    console.print(Text(f"int8 against {study.source} on {study.data}{source}", "bold"), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (
        "calibration pictures",
        "seeds",
        "same top-1 %",
        "lowest to highest",
        "top-1 %",
        "lowest to highest",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in study.spreads():
        cells = [_cells(row[name]) for name in ("same_top1_share", "top1_share")]
        size = f"{row['calibration_pictures']}{' *' if row['overlap'] else ''}"
        table.add_row(size, str(row["seeds"]), *cells[0], *cells[1])
    console.print(table)
    if any(row["overlap"] for row in study.spreads()):
        console.print(
            f"* more than half of the {study.pool} pictures there are: the choices share most of them, and the spread "
            "goes to 0 whatever int8 depends on",
            soft_wrap=True,
        )


def _files(
    settings: Sequence[tuple[int, int]], agreements: Sequence[Agreement], top1: Sequence[Accuracy | None]
) -> tuple[StudiedFile, ...]:
    rows = zip(settings, agreements, top1, strict=True)
    return tuple(StudiedFile(size, seed, agreement, right) for (size, seed), agreement, right in rows)


def _spread(shares: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.fmean(shares), "lowest": min(shares), "highest": max(shares)}


def _cells(spread: dict[str, float] | None) -> tuple[str, str]:
    if spread is None:
        return "", ""
    return f"{100 * spread['mean']:.1f}", f"{100 * spread['lowest']:.1f} to {100 * spread['highest']:.1f}"
