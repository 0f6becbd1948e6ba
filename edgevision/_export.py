"""From a run folder, a pretrained network or anybody's finished model to files for a device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_converters import (
    RECIPES,
    Calibration,
    Labelled,
    TfliteConversion,
    check_max_error,
    chosen,
    export_model,
    plan_files,
)
from edgevision_device import COLOR_ORDERS, DataError, UsageError, mark_pictures, read_labels, require_known

from ._datasets import check_data
from ._models import Description, Loaded, kind_of, load_source
from ._networks import NETWORKS
from ._photos import VERIFICATION_PHOTOS, calibration_photos, check_photos, photo_crops
from ._progress import say
from ._run import is_run
from ._run_data import load_shown, load_splits, with_labels_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import numpy.typing as npt

    from edgevision_converters import ExportedFile, Source
    from edgevision_device import DataOrigin, Metadata

    from ._pictures import Pictures, Splits

__all__ = ["ExportOptions", "Prepared", "export", "own_formats", "plan_export", "prepare_export"]


@dataclass(frozen=True)
class ExportOptions(Description):
    """What to write, and what a model does not say itself; the fields of `Description` are fields of this too.

    Attributes:
        formats, recipes: which files; None means all.
        name: of the files; None takes the run folder's, the file's or the network's.
        calibrate: data whose train part calibrates int8 and whose val part verifies; None takes what the run was
            trained on, or for a pretrained network crops of the photographs inside scikit-image.
        calibration_pictures: how many.
        fit_confidence: fit the temperature of each file on that val part, which then must show the model's labels.
        max_error: also fit its reject threshold; see `edgevision_converters.fit_confidence`.
        seed: of the choice of calibration pictures.
        data_dir, strict: see `load_data`.
        whole: where files are judged, see `judged_pictures`.
    """

    formats: list[str] | None = None
    recipes: list[str] | None = None
    name: str | None = None
    calibrate: str | None = None
    calibration_pictures: int = 100
    fit_confidence: bool = False
    max_error: float | None = None
    seed: int = 0
    data_dir: str | None = None
    strict: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        chosen(self.formats, self.recipes)
        if self.color_order is not None:
            require_known("color order", self.color_order, COLOR_ORDERS)
        if not 1 <= self.calibration_pictures <= 100_000:
            raise UsageError(f"calibration pictures must number 1 to 100000, got {self.calibration_pictures}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"the seed must lie between 0 and {2**32 - 1}, got {self.seed}")
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
    plan_export(model, out, options, overwrite=overwrite)
    return prepare_export(model, options).write(out, overwrite=overwrite, on_start=on_start)


def plan_export(
    model: str | os.PathLike[str], out: str | os.PathLike[str], options: ExportOptions, *, overwrite: bool = False
) -> None:
    """Raise, before any slow work, what `export` would about the model, the options and files that exist."""
    kind, name = _named(model, options)
    name = name if options.name is None else options.name
    plan_files(name, out, _formats(Path(model), kind, options.formats), options.recipes, overwrite=overwrite)
    if options.calibrate is None and not is_run(model):
        if options.fit_confidence:
            raise UsageError("--fit-confidence needs pictures with labels that trained nothing; give --calibrate DATA")
        check_photos(_INSTEAD)


def prepare_export(model: str | os.PathLike[str], options: ExportOptions) -> Prepared:
    """Load a model and the data that its files are calibrated and verified with, after what is quickly checked."""
    kind, name = _named(model, options)
    if options.labels is not None:
        read_labels(options.labels)
    if options.calibrate is not None:
        check_data(options.calibrate)
    loaded = load_source(model, kind, options, options.name or name)
    metadata, given = loaded.source.metadata, options.calibrate
    splits = None
    if loaded.run is not None:
        splits = load_splits(loaded.run, given, data_dir=options.data_dir, strict=options.strict)
    elif given is not None:
        splits = load_shown(given, metadata.size_wh, metadata.resize, data_dir=options.data_dir, strict=options.strict)
    return Prepared(loaded, options, splits)


@dataclass(frozen=True)
class Prepared:
    """A loaded model with the pictures that its files are made with, for one export or several.

    Attributes:
        loaded: the model.
        options: what was asked for.
        splits: data whose train part calibrates; None takes the photographs inside scikit-image.
    """

    loaded: Loaded
    options: ExportOptions
    splits: Splits | None

    @property
    def source(self) -> Source:
        """The model."""
        return self.loaded.source

    @property
    def formats(self) -> list[str] | None:
        """Which to write; None means all."""
        return self.options.formats if self.loaded.kind not in _FILES else list(self.source.formats)

    def write(
        self,
        out: str | os.PathLike[str],
        recipes: list[str] | None = None,
        *,
        overwrite: bool = False,
        on_start: Callable[[str], None] = say,
    ) -> list[ExportedFile]:
        """Write and verify files, by default of the options' recipes; what several calls share is made once."""
        return export_model(
            self.source,
            out,
            verification=self.verification,
            calibration=self._calibration,
            labelled=self._labelled,
            targets=self._targets,
            formats=self.formats,
            recipes=recipes or self.options.recipes,
            overwrite=overwrite,
            on_start=on_start,
            conversion=self._conversion,
        )

    def planned(self) -> list[tuple[str, Metadata]]:
        """Return name and metadata of each file that `write` would write, as far as these say what it was made of."""
        metadata = self.source.metadata
        plan = plan_files(metadata.name, "", self.formats, self.options.recipes, overwrite=True)
        origin = self._calibration.origin
        return [
            (path.name, dataclasses.replace(metadata, calibrated_on=origin if each.calibrated else None))
            for path, each in ((path, RECIPES[format][recipe]) for format, recipe, path in plan)
        ]

    def calibration(self, count: int, seed: int) -> Calibration:
        """Choose pictures of train to calibrate, evenly over the labels."""
        if self.splits is None:
            return calibration_photos(count, self.source.metadata.size_wh, seed, _INSTEAD)
        pictures = self.splits.train.sample(count, seed)
        shown, labels = len(np.unique(pictures.targets)), len(self.splits.labels)
        if shown == 1:
            raise UsageError(
                f"{len(pictures)} calibration picture shows one label of {labels}, and its ranges fit no other; "
                f"--calibration-pictures takes at least 2, better {max(100, labels)}"
            )
        if shown < labels:
            say(f"note: {len(pictures)} calibration pictures show {shown} of {labels} labels")
        return Calibration(pictures.pixels(slice(None)), _marked(pictures))

    @cached_property
    def verification(self) -> npt.NDArray[np.uint8]:
        """Pixels of val, on which every file is compared with the model."""
        if self._verifying is None:
            return photo_crops(VERIFICATION_PHOTOS, 100, self.source.metadata.size_wh, self.options.seed)
        return self._verifying.pixels(slice(None))

    @cached_property
    def _verifying(self) -> Pictures | None:
        return None if self.splits is None else self.splits.val.sample(_VERIFICATION, self.options.seed)

    @property
    def _targets(self) -> npt.NDArray[np.intp] | None:
        """Which of the model's labels the pictures show that verify; None where its labels are others."""
        known = {label: place for place, label in enumerate(self.source.metadata.labels)}
        if self._verifying is None or not known.keys() >= set(self._verifying.labels):
            return None
        return np.array([known[self._verifying.labels[target]] for target in self._verifying.targets], np.intp)

    @cached_property
    def _calibration(self) -> Calibration:
        return self.calibration(self.options.calibration_pictures, self.options.seed)

    @cached_property
    def _conversion(self) -> TfliteConversion:
        return TfliteConversion(self.source, self._calibration.pixels_nhwc)

    @cached_property
    def _labelled(self) -> Labelled | None:
        if not self.options.fit_confidence or self.splits is None:
            return None
        return _labelled(self.source, self.splits.val, self.options)


_INPUTS = "a run folder, a .keras or .h5 file, a SavedModel folder, or a float .tflite or .onnx file"
#: Kinds that become files of their own format only → what they are called.
_FILES = {".tflite file": "TFLite file", ".onnx file": "ONNX file"}
#: Of these a file keeps all; what a calibration set of this size weighs is 7 kB.
_MARKS = 1000
#: Of the photographs inside scikit-image.
_INSTEAD = "give --calibrate DATA"
#: Pictures that verify a file: enough to see 1 % of flips, few enough to wait for.
_VERIFICATION = 500
#: Pictures on which confidence is fitted: 300 MB of them at 224 x 224.
_CONFIDENCE = 2000


def _named(model: str | os.PathLike[str], options: ExportOptions) -> tuple[str, str]:
    """Return what kind of model it is, and its name. Refuse options that it has no use for."""
    path, kind = Path(model), kind_of(model, _INPUTS)
    foreign = ("labels", "pixels", "color_order", "logits", "signature")
    if kind == "run":
        _refuse_given(f"{path} is a run", options, (*foreign, "resize", "weights"))
        return kind, path.resolve().name
    if kind == "network":
        _refuse_given(f"{path} is a network of edgevision", options, foreign)
        NETWORKS[path.name].check_weights(options.weights, top=True)
        return kind, path.name
    own = ("weights",) if kind == "SavedModel" else ("weights", "signature")
    _refuse_given(f"{path} is a {_FILES.get(kind, kind)}", options, own)
    if options.labels is None:
        raise UsageError(f"{path} does not say what its scores mean; give --labels FILE with one label a line")
    return kind, path.resolve().name if path.is_dir() else path.stem


def own_formats(model: str | os.PathLike[str]) -> list[str] | None:
    """Return the one format that a `.tflite` or `.onnx` file becomes; None for a model that becomes all."""
    kind = kind_of(model, _INPUTS)
    return [kind.split()[0][1:]] if kind in _FILES else None


def _formats(path: Path, kind: str, formats: list[str] | None) -> list[str] | None:
    """Return the formats to write, for what can become only its own."""
    if kind not in _FILES:
        return formats
    own = kind.split()[0][1:]
    for format in formats or ():
        if format != own:
            raise UsageError(
                f"from {path} only .{own} files are made, not .{format}; leave {format} out of "
                "--formats, or export the model that the file was made from"
            )
    return [own]


def _refuse_given(what: str, options: ExportOptions, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(options, name) not in (None, False):
            says = "has none" if name == "signature" else "says this itself"
            raise UsageError(f"{what}, which {says}; leave out --{name.replace('_', '-')}")


def _marked(pictures: Pictures) -> DataOrigin:
    return dataclasses.replace(pictures.origin, marks=mark_pictures(pictures.hashes, _MARKS))


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
    return Labelled(pictures.pixels(slice(None)), pictures.targets, options.max_error, _marked(pictures))
