"""One model in, one verified file per format and recipe out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_device import (
    DataOrigin,
    EdgevisionError,
    FileError,
    UsageError,
    check_outputs,
    quiet_native,
    seal,
    writing,
)

from ._onnx import convert_onnx
from ._recipes import RECIPES, chosen
from ._tflite import TfliteConversion
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
    """A file that was written, and how it compares with its source."""

    path: Path
    format: str
    recipe: str
    size_bytes: int
    agreement: Agreement


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
    overwrite: bool = False,
    on_start: Callable[[str], None] = lambda name: None,
) -> list[ExportedFile]:
    """Convert, seal and verify a model.

    Args:
        source: the model.
        out: folder for `<name>.<recipe>.tflite` and `<name>.<recipe>.onnx`.
        verification: uint8 pixels `(n, height, width, 3)` on which every file is compared with the Keras model.
        calibration: pictures for int8. They should come from the training split.
        formats, recipes: which files; default all that the source can become.
        overwrite: replace files that exist.
        on_start: called with each file's name before its conversion.

    Returns:
        One record per file, in the order of `RECIPES`.

    Raises:
        UsageError: unknown format or recipe, no calibration pictures for int8, or a file that exists.
        FileError: a converter refuses the model.
        CheckError: a float file disagrees with the Keras model. The files before it are kept, it is not.
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
    expected = source.scores(verification)
    pixels = calibration.pixels_nhwc if calibration else None
    tflite = TfliteConversion(source, pixels)
    exported: list[ExportedFile] = []
    for format, recipe, target in plan:
        on_start(target.name)
        metadata = dataclasses.replace(
            source.metadata,
            recipe=recipe,
            calibrated_on=calibration.origin if calibration and RECIPES[format][recipe].calibrated else None,
        )
        try:
            with quiet_native(keep=lambda line: False):  # what they print from C++ helps only their authors
                if format == "tflite":
                    model = add_tflite_metadata(tflite.convert(recipe), metadata)
                else:
                    model = convert_onnx(source, recipe, pixels)
        except (EdgevisionError, OSError):
            raise
        except Exception as error:  # every step of a converter has errors of its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise FileError(
                f"{target.name} cannot be made from this model: {reason}; leave it out with --formats or --recipes"
            ) from error
        content = seal(model, metadata, format)
        # Verified under its temporary name: a file that fails is never seen under its own.
        with writing(target) as temporary:
            temporary.write_bytes(content)
            agreement = compare(temporary, verification, expected)
            require_agreement(target.name, recipe, agreement)
        exported.append(ExportedFile(target, format, recipe, len(content), agreement))
    return exported


def _require_input(source: Source, what: str, pixels_nhwc: npt.NDArray[np.uint8]) -> None:
    width, height = source.metadata.size_wh
    if pixels_nhwc.dtype != "uint8" or pixels_nhwc.shape[1:] != (height, width, 3):
        raise UsageError(
            f"{what} takes uint8 pixels (n, {height}, {width}, 3), got {pixels_nhwc.dtype} {pixels_nhwc.shape}"
        )
