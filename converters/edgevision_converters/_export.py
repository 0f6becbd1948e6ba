"""One model in, one verified file per format and recipe out."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision_device import (
    CheckError,
    DataOrigin,
    EdgevisionError,
    FileError,
    UsageError,
    check_outputs,
    quiet_native,
    seal,
    writing,
)

from ._confidence import ConfidenceFit, Labelled, check_max_error, fit_confidence, reseal
from ._onnx import convert_onnx
from ._recipes import RECIPES, chosen
from ._source import first_line
from ._tflite import TfliteConversion
from ._tflite_calibration import spread
from ._tflite_flatbuffer import add_tflite_metadata
from ._verify import Agreement, compare, require_agreement

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from ._source import Source

__all__ = ["Calibration", "ExportedFile", "export_model", "plan_files"]


@dataclass(frozen=True)
class Calibration:
    """Pictures on which int8 finds its ranges.

    Attributes:
        pixels_nhwc: uint8, `(n, height, width, 3)`, preprocessed as the device does.
        origin: which pictures these are.
    """

    pixels_nhwc: npt.NDArray[np.uint8]
    origin: DataOrigin


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written.

    Attributes:
        path, format, recipe, size_bytes: of the file.
        agreement: how it compares with its source.
        confidence: what was fitted for it, if it was asked for.
    """

    path: Path
    format: str
    recipe: str
    size_bytes: int
    agreement: Agreement
    confidence: ConfidenceFit | None = None


def plan_files(
    name: str,
    out: str | os.PathLike[str],
    formats: list[str] | None = None,
    recipes: list[str] | None = None,
    *,
    overwrite: bool = False,
) -> list[tuple[str, str, Path]]:
    """Return (format, recipe, path) of each file that an export with these names would write.

    Raises:
        UsageError: unknown format or recipe, a name that is none, or a file that exists and may not be replaced.
    """
    if not name or Path(name).name != name:
        raise UsageError(f"cannot name files {name!r}; --name takes a name without slashes")
    plan = [(format, recipe, Path(out) / f"{name}.{recipe}.{format}") for format, recipe in chosen(formats, recipes)]
    check_outputs([path for _, _, path in plan], overwrite=overwrite)
    return plan


def export_model(
    source: Source,
    out: str | os.PathLike[str],
    *,
    verification: npt.NDArray[np.uint8],
    calibration: Calibration | None = None,
    formats: list[str] | None = None,
    recipes: list[str] | None = None,
    labelled: Labelled | None = None,
    targets: npt.NDArray[np.integer[Any]] | None = None,
    overwrite: bool = False,
    on_start: Callable[[str], None] = lambda name: None,
    conversion: TfliteConversion | None = None,
) -> list[ExportedFile]:
    """Convert, seal and verify a model, and fit the confidence of each file if `labelled` is given.

    Args:
        source: the model.
        out: folder for `<name>.<recipe>.tflite` and `<name>.<recipe>.onnx`.
        verification: uint8 pixels `(n, height, width, 3)` on which every file is compared with the source, those whose
            kernels are slow on `Recipe.most_verified` of them.
        calibration: pictures for int8. They should come from the training split.
        formats, recipes: which files; default all that the source can become.
        labelled: pictures of the val part, on which temperature and reject threshold of each file are fitted; None
            leaves them at 1 and 0.
        targets: index of the label that each picture of `verification` shows, `(n,)`, where that is known; see
            `compare`.
        overwrite: replace files that exist.
        on_start: called before each file's conversion with its name, and how many there are.
        conversion: of this source and these calibration pictures, where several calls are to share what takes long.

    Returns:
        One record per file, in the order of `RECIPES`.

    Raises:
        UsageError: unknown format or recipe, no calibration pictures for int8, or a file that exists.
        FileError: a converter refuses the model.
        CheckError: a float file disagrees with the source, or no threshold brings the error of a file down to what
            `labelled` allows. The files before it are kept, it is not.
    """
    plan = plan_files(source.metadata.name, out, formats or list(source.formats), recipes, overwrite=overwrite)
    calibrated = [recipe for format, recipe, _ in plan if RECIPES[format][recipe].calibrated]
    if calibrated and (calibration is None or not len(calibration.pixels_nhwc)):
        raise UsageError(
            f"{calibrated[0]} needs calibration pictures; give --calibrate DATA, or leave it out with --recipes"
        )
    if not len(verification):
        raise UsageError("there are no pictures to verify the files on; give some")
    _require_input(source, "verification", verification)
    if calibration is not None:
        _require_input(source, "calibration", calibration.pixels_nhwc)
    if labelled is not None:
        _require_input(source, "the fit of confidence", labelled.pixels_nhwc)
        check_max_error(labelled.max_error)
    expected = source.scores(verification)
    pixels = calibration.pixels_nhwc if calibration else None
    tflite = conversion or TfliteConversion(source, pixels)
    exported: list[ExportedFile] = []
    stop = threading.Event()
    # A file is verified while the next is converted, which leaves cores idle.
    finish: Callable[[], ExportedFile] | None = None
    with ThreadPoolExecutor(1) as pool:
        try:
            for place, (format, recipe, target) in enumerate(plan):
                on_start(f"{target.name} ({place + 1} of {len(plan)})" if len(plan) > 1 else target.name)
                metadata = dataclasses.replace(
                    source.metadata,
                    recipe=recipe,
                    recipe_meaning=RECIPES[format][recipe].describe(),
                    calibrated_on=calibration.origin if calibration and RECIPES[format][recipe].calibrated else None,
                )
                # What converters print from C++ helps only their authors. A runtime that verifies meanwhile is hushed,
                # too: there is one descriptor 2, and what is wrong with a file becomes an exception.
                with quiet_native(keep=lambda line: False):
                    running = None if finish is None else pool.submit(finish)
                    try:
                        if format == "tflite":
                            model = add_tflite_metadata(tflite.convert(recipe), metadata)
                        else:
                            model = convert_onnx(source, recipe, pixels)
                    except Exception as error:
                        if running is not None:
                            running.result()  # an error of the file before came first
                        if isinstance(error, (EdgevisionError, OSError)):
                            raise
                        reason = first_line(error)  # every step of a converter has errors of its own
                        raise FileError(
                            f"{target.name} cannot be made from this model: {reason}; leave it out with --formats or "
                            "--recipes"
                        ) from error
                    if running is not None:
                        exported.append(running.result())
                content = seal(model, metadata, format)
                finish = partial(
                    _finish, target, format, recipe, content, verification, expected, targets, labelled, stop
                )
            if finish is not None:
                exported.append(finish())
        except KeyboardInterrupt:
            stop.set()
            raise
    return exported


def _finish(
    target: Path,
    format: str,
    recipe: str,
    content: bytes,
    verification: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    targets: npt.NDArray[np.integer[Any]] | None,
    labelled: Labelled | None,
    stop: threading.Event,
) -> ExportedFile:
    """Verify a file under its temporary name, so that one which fails is never seen under its own."""
    most = RECIPES[format][recipe].most_verified
    if most is not None:
        taken = spread(len(verification), most)
        verification, expected = verification[taken], expected[taken]
        targets = None if targets is None else targets[taken]
    with writing(target) as temporary:
        temporary.write_bytes(content)
        agreement = compare(temporary, verification, expected, targets, stop=stop)
        require_agreement(target.name, recipe, agreement)
        confidence = None if labelled is None else _fit(target.name, temporary, labelled)
        size_bytes = temporary.stat().st_size
    return ExportedFile(target, format, recipe, size_bytes, agreement, confidence)


def _fit(name: str, path: Path, labelled: Labelled) -> ConfidenceFit:
    try:
        fitted = fit_confidence(
            path, labelled.pixels_nhwc, labelled.targets, max_error=labelled.max_error, origin=labelled.origin
        )
    except CheckError as error:
        raise CheckError(f"{name}: {error}; the file was not kept") from None
    reseal(path, fitted.metadata)
    return fitted


def _require_input(source: Source, what: str, pixels_nhwc: npt.NDArray[np.uint8]) -> None:
    width, height = source.metadata.size_wh
    if pixels_nhwc.dtype != "uint8" or pixels_nhwc.shape[1:] != (height, width, 3):
        raise UsageError(
            f"{what} takes uint8 pixels (n, {height}, {width}, 3), got {pixels_nhwc.dtype} {pixels_nhwc.shape}"
        )
