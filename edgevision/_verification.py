"""Proof that exported files still say what their model says: on the same pictures, with the chance of being wrong."""

from __future__ import annotations

import datetime
import itertools
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_benchmarks import calibration_error, chance_error, seen_pictures
from edgevision_converters import Gate, compare_scores, layer_errors
from edgevision_device import CheckError, FileError, UsageError, __version__, check_outputs, write_atomically

from ._datasets import check_data
from ._flips import Answers, compare_answers
from ._flips_page import FlipsPage, render_comparisons
from ._models import Description
from ._progress import say
from ._reference import check_reference, load_reference, open_file, read_file, scores_of
from ._unseen import judged_pictures
from ._verification_record import FilePair, Judgement, Verification, VerifiedFile

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt

    from edgevision_converters import LayerErrors, Source
    from edgevision_device import Classifier, ModelFile

    from ._pictures import Pictures
    from ._reference import Reference
    from ._unseen import Judged

__all__ = ["VERIFICATION_FILES", "Judge", "verify", "write_verification"]

#: What a verification writes.
VERIFICATION_FILES = ("verification.json", "flips.html")

#: Pictures for the error of layers: each adds thousands of numbers a layer.
_LAYER_PICTURES = 32


def verify(
    files: Sequence[str | os.PathLike[str]],
    against: str | os.PathLike[str],
    data: str | None = None,
    *,
    described: Description | None = None,
    max_drop: float | None = None,
    layers: bool = False,
    whole: bool = False,
    data_dir: str | None = None,
    strict: bool = False,
    threads: int | None = None,
    command: str | None = None,
) -> Verification:
    """Compare exported files with the model they came from, picture by picture.

    Args:
        files: `.tflite` and `.onnx` files.
        against: a run folder, a `.keras` or `.h5` file, the name of a pretrained network, or another exported file.
        data: see `load_data`; None takes what the run was trained on. Which part of it judges: see `judged_pictures`.
        described: what the model or a file does not say itself.
        max_drop: see `Gate`.
        layers: also measure the quantization error of each layer of the `.tflite` files; see `layer_errors`.
        whole, data_dir, strict: see `judged_pictures`.
        threads: for the runtimes; default: see `Classifier`.
        command: what the record says made it.

    Returns:
        what was found. Files that fail the gate are among it: see `Verification.failure`.

    Raises:
        UsageError, FileError: a model or file that cannot be used, or files that were not made from such a model.
        DataError: pictures missing or unfit; see `judged_pictures`.
        CheckError: a model or file gives scores that are no numbers.
    """
    described = described or Description()
    gate = Gate(max_drop)
    paths = [Path(path) for path in files]
    _refuse_twice(paths)
    if data is not None:
        check_data(data)
    labels = check_reference(against, described)
    read = [read_file(path, described) for path in paths]
    for file in read:
        _require_labels(Path(file.path), file.metadata.labels, Path(against).resolve().name, labels)
    reference = load_reference(against, described, threads)
    opened = [open_file(path, described, threads) for path in paths]
    for classifier in opened:
        _require_same(classifier, reference)
    if layers and reference.layers is None:
        raise UsageError(
            f"--layers compares with a Keras model or a .tflite file, and {reference.name} is an .onnx file; give the "
            "run or the model's file with --against"
        )
    named = [(Path(file.path).name, file.metadata) for file in read]
    judged = judged_pictures(
        data, reference.metadata, named, reference.run, data_dir=data_dir, strict=strict, whole=whole
    )
    return Judge(reference, judged, gate, command).verify(opened, layers=layers)


@dataclass(frozen=True)
class Judge:
    """A model and the pictures on which files are held against it. The model answers them once.

    Attributes:
        reference: the model.
        judged: the pictures.
        gate: that files have to pass.
        command: what records say made them.
    """

    reference: Reference
    judged: Judged
    gate: Gate
    command: str | None = None

    def verify(self, opened: Sequence[Classifier], *, layers: bool = False) -> Verification:
        """Compare files with the model; see `verify`."""
        reference, pictures = self.reference, self.judged.pictures
        say(f"{len(pictures):,} {self.judged.part} pictures of {self.judged.data} through {len(opened) + 1} models")
        expected, source = self.answers
        names = _names([Path(classifier.file.path) for classifier in opened])
        scores = [scores_of(classifier, pictures, name) for classifier, name in zip(opened, names, strict=True)]
        for name, mine in zip(names, scores, strict=True):
            _require_finite(name, mine)
        compared = reference.layers if layers else None
        sample = pictures.sample(_LAYER_PICTURES, 0)
        verified: list[VerifiedFile] = []
        for name, classifier, mine in zip(names, opened, scores, strict=True):
            found = None if compared is None else _layers_of(name, classifier.file, compared, sample)
            verified.append(
                _judge(name, classifier, mine, pictures, reference.name, expected, source, self.gate, found)
            )
        return Verification(
            edgevision=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            command=self.command,
            source=reference.name,
            source_kind=reference.kind,
            source_judgement=_judgement(source),
            gate=self.gate,
            judged=self.judged,
            files=tuple(verified),
            pairs=tuple(_pairs(verified, scores, pictures)),
        )

    @cached_property
    def answers(self) -> tuple[npt.NDArray[np.float32], Answers]:
        """Scores of the model, and its answers. Raises CheckError if they are no numbers."""
        expected = self.reference.scores(self.judged.pictures)
        _require_finite(self.reference.name, expected)
        return expected, Answers.of(self.judged.pictures, self.reference.temper(expected))


def write_verification(found: Verification, out: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Write `VERIFICATION_FILES` into a folder; return their paths.

    Raises UsageError if they are there and `overwrite` is false, or cannot be written.
    """
    paths = [Path(out) / name for name in VERIFICATION_FILES]
    check_outputs(paths, overwrite=overwrite)
    page = FlipsPage(
        files="files",
        each="file",
        first="source",
        here="file",
        data=found.judged.data,
        part=found.judged.part,
        record=VERIFICATION_FILES[0],
        edgevision=found.edgevision,
    )
    names = [found.source, *(file.name for file in found.files)]
    html = render_comparisons(
        [file.comparison for file in found.files], dict.fromkeys(names, found.judged.pictures), page
    )
    record = json.dumps(found.to_record(), indent=2, ensure_ascii=False) + "\n"
    for path, text in zip(paths, (record, html), strict=True):
        # A picture's name may hold bytes that are no UTF-8. Python keeps them as lone surrogates.
        write_atomically(path, text.encode(errors="backslashreplace"))
    return paths


def _judge(
    name: str,
    classifier: Classifier,
    scores: npt.NDArray[np.float32],
    pictures: Pictures,
    source_name: str,
    expected: npt.NDArray[np.float32],
    source: Answers,
    gate: Gate,
    layers: LayerErrors | None,
) -> VerifiedFile:
    file = classifier.file
    runtime = f"{classifier.runtime.name} {classifier.runtime.version}"
    answers = Answers.of(pictures, [classifier.temper(row) for row in scores])
    comparison = compare_answers(source_name, source, name, answers)
    right = int(source.right.sum())
    low, high = comparison.difference.interval
    return VerifiedFile(
        path=Path(file.path),
        name=name,
        format=file.format,
        metadata=classifier.metadata,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        agreement=compare_scores(expected, scores, pictures.labels, pictures.targets, runtime=runtime),
        judgement=_judgement(answers, classifier.metadata.reject_threshold),
        comparison=comparison,
        failure=gate.failure(right, int(answers.right.sum()), len(pictures)),
        decided=not low < -gate.allowed(right, len(pictures)) <= high,
        fitted=len(seen_pictures(classifier.metadata, pictures.hashes).get("fitted", ())),
        layers=() if layers is None else layers.layers,
        unmatched=() if layers is None else layers.unmatched,
    )


def _judgement(answers: Answers, threshold: float = 0.0) -> Judgement:
    accepted = answers.scores >= threshold
    right = answers.right
    return Judgement(
        right=int(right.sum()),
        pictures=len(right),
        calibration=calibration_error(answers.scores, right),
        chance=chance_error(answers.scores),
        accepted=int(accepted.sum()),
        accepted_right=int((accepted & right).sum()),
        right_by_label=dict(Counter(label for label, each in zip(answers.labels, right, strict=True) if each)),
    )


def _layers_of(name: str, file: ModelFile, reference: Source | bytes, sample: Pictures) -> LayerErrors | None:
    if file.format != "tflite" or file.metadata.recipe == "float32":
        return None
    say(f"the error of each layer of {name}, on {len(sample)} pictures")
    return layer_errors(file.model, reference, sample.pixels(slice(None)))


def _pairs(
    files: Sequence[VerifiedFile], scores: Sequence[npt.NDArray[np.float32]], pictures: Pictures
) -> list[FilePair]:
    """Compare files of the same recipe in different formats."""
    found: list[FilePair] = []
    for (a, of_a), (b, of_b) in itertools.combinations(zip(files, scores, strict=True), 2):
        if a.metadata.recipe == b.metadata.recipe and a.format != b.format:
            agreement = compare_scores(of_a, of_b, pictures.labels, pictures.targets, runtime=b.agreement.runtime)
            right_a, right_b = (each.argmax(1) == pictures.targets for each in (of_a, of_b))
            found.append(FilePair.of(a, b, agreement, right_a, right_b))
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """Return short names; the whole path where two files are called the same."""
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else str(path) for path in paths]


def _refuse_twice(paths: Sequence[Path]) -> None:
    if not paths:
        raise UsageError("no files to verify; name some")
    resolved = [path.resolve() for path in paths]
    for path in paths:
        if resolved.count(path.resolve()) > 1:
            raise UsageError(f"{path} is given twice; name each file once")


def _require_labels(path: Path, labels: Sequence[str], name: str, wanted: Sequence[str]) -> None:
    if tuple(labels) == tuple(wanted):
        return
    differing = [pair for pair in zip(labels, wanted, strict=False) if pair[0] != pair[1]]
    told = "{!r} and {!r}".format(*differing[0]) if differing else f"{len(labels)} and {len(wanted)} of them"
    raise FileError(f"{path} and {name} have different labels, {told}; compare a file with its own model")


def _require_same(classifier: Classifier, reference: Reference) -> None:
    """Raise FileError unless a file takes the same pixels as the model."""
    metadata, model = classifier.metadata, reference.metadata
    for what, of_file, of_model in (
        ("input size", metadata.size_wh, model.size_wh),
        ("resize mode", metadata.resize, model.resize),
    ):
        if of_file != of_model:
            raise FileError(
                f"{classifier.file.path} and {reference.name} differ in {what}, {of_file} and {of_model}, so that they "
                "see other pixels; compare a file with its own model"
            )


def _require_finite(name: str, scores: npt.NDArray[np.float32]) -> None:
    broken = int((~np.isfinite(scores)).any(1).sum())
    if broken:
        raise CheckError(f"{name} gives NaN or infinite scores for {broken} of {len(scores)} pictures; export it again")
