"""Measuring files on labelled pictures: what is asked for, what of it can be done, and the report."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import edgevision_device
from edgevision_device import (
    RUNTIMES,
    EdgevisionError,
    FileError,
    ForeignFileError,
    LabelledPicture,
    Metadata,
    UsageError,
    hash_pictures,
    read_model_file,
    require_known,
)

from ._child import Request
from ._conditions import read_conditions
from ._data import choose_split, digest_files, find_known, held_out, refuse_seen, seen_pictures
from ._flips_section import make_thumbnails
from ._journal import Journal, digest
from ._report import FileResult, Pictures, Report
from ._rounds import Settings
from ._turns import Extras, Known, OnProgress, measure_all

__all__ = ["Candidate", "OnProgress", "Prepared", "benchmark", "check_settings", "prepare"]

#: Unless the caller says how many runs: enough for a p99 with two times above it, and bounded, because a slow model on
#: a slow board must not take an hour.
_DEFAULT = Settings(warmup_runs=20, warmup_limit_s=2.0, runs=200, runs_limit_s=8.0, least_runs=30)

StrPath = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Candidate:
    """A row before measuring, and what is needed to measure it."""

    row: FileResult
    metadata: Optional[Metadata] = None
    given: Optional[str] = None


@dataclass(frozen=True)
class Prepared:
    """What is to be measured, when all that was asked for has been found possible.

    Attributes:
        candidates: a row per file, in order.
        settings: of the runs.
        home: what the pictures' folders of a label lie in.
        split: the part of the data that they are, or None.
        pictures, digests: those to classify, and the SHA-256 of each; None for one that cannot be read.
        reference: name of the file that the others are compared with.
    """

    candidates: list[Candidate]
    settings: Settings
    home: Path
    split: Optional[str]
    pictures: list[LabelledPicture]
    digests: list[Optional[str]]
    reference: str

    @property
    def names(self) -> list[str]:
        """Names of the pictures, from `home` on."""
        return [picture.path.relative_to(self.home).as_posix() for picture in self.pictures]

    @property
    def path_of(self) -> dict[str, Path]:
        """Digest → file."""
        return {digest: each.path for digest, each in zip(self.digests, self.pictures) if digest is not None}


def benchmark(
    files: Sequence[StrPath],
    folder: Optional[StrPath],
    *,
    runs: Optional[int] = None,
    warmup: Optional[int] = None,
    threads: Optional[int] = None,
    runtime: Optional[str] = None,
    seed: int = 0,
    thread_sweep: Sequence[int] = (),
    mlperf: bool = False,
    sustained_s: Optional[float] = None,
    operators: bool = False,
    reference: Optional[StrPath] = None,
    given: Optional[Metadata] = None,
    strict: bool = False,
    whole: bool = False,
    data_name: Optional[str] = None,
    command: Optional[str] = None,
    unfinished: Optional[StrPath] = None,
    resume: bool = False,
    on_progress: Optional[OnProgress] = None,
) -> Report:
    """Measure accuracy, latency and memory of model files on a folder of labelled pictures.

    Several files are timed in turns, in shuffled rounds, and compared with one of them, the reference, which is timed
    as two to tell a difference from noise.

    Args:
        files: `.tflite` and `.onnx` files.
        folder: `folder/<label>/<picture>`, or `folder/{train,val,test}/<label>/<picture>`, of which `test` is used.
            None measures all but accuracy, on pixels drawn at random.
        runs: how many runs to time, exactly; default: 200, but after 30 no longer than 8 seconds.
        warmup: how many runs to let pass before, exactly; default: 20, but no longer than 2 seconds.
        threads: for the runtime, 1 to 256; default: the cores this process may use, at most 4.
        runtime: `litert`, `tflite-runtime` or `onnxruntime`; default: the first one installed that reads the file.
        seed: of the order in which files take turns, and of every bootstrap; 0 to 2**32 - 1.
        thread_sweep: time each file with these numbers of threads too, in turns, and recommend one.
        mlperf: time each file as MLPerf's single stream too: p90 of at least 1,024 runs and 60 s, and again.
        sustained_s: let each file run without a pause for so long too, and compare the end with the beginning.
        operators: time each operator of each file too.
        reference: the file that the others are compared with, or its name in the report; default: the first float32
            `.tflite` file, else the first float32 file, else the first; the next one, if it cannot be timed.
        given: what to assume of files that edgevision did not write.
        whole: take all pictures of `folder/<label>/`, also those that a file was trained or calibrated on. By default
            a folder that a file was made from is measured on the test part of its split by content, and any picture
            that a file has seen all the same is refused.
        strict: raise PictureError at a picture that cannot be decoded, instead of skipping it.
        data_name: what the report calls the pictures; default: the folder.
        command: what the report says made it.
        unfinished: a file to keep what is finished in, should this be killed; whoever called deletes it.
        resume: go on with what is kept there, if anything is; files, pictures, settings, machine and versions must be
            the same. Else it is removed.
        on_progress: told what is being done.

    Returns:
        One row per file. A file that cannot be opened, or that takes its process down, is a row with an error.

    Raises:
        UsageError: no files, a file given twice, a number out of range, an unknown runtime or reference.
        DataError: pictures missing or badly laid out, a label that a file does not know, or without `whole` a picture
            that a file was trained or calibrated on.
        FileError: a file that is not there, or none that could be measured.
    """
    from . import __version__

    tell: OnProgress = on_progress or (lambda name, stage, done, total: None)
    ready = prepare(
        files,
        folder,
        runs=runs,
        warmup=warmup,
        threads=threads,
        runtime=runtime,
        seed=seed,
        thread_sweep=thread_sweep,
        sustained_s=sustained_s,
        reference=reference,
        given=given,
        strict=strict,
        whole=whole,
        on_progress=tell,
    )
    candidates, settings, pictures, digests = ready.candidates, ready.settings, ready.pictures, ready.digests
    sha256 = hash_pictures((each.label, digest) for each, digest in zip(pictures, digests) if digest is not None)

    requests: dict[str, Request] = {}
    # The reference first: what others are compared with is the first file that could be opened.
    for each in sorted(candidates, key=lambda each: each.row.name != ready.reference):
        if each.metadata is not None:
            requests[each.row.name] = Request(
                file=each.row.path,
                format=each.row.format or "",
                given=each.given,
                runtime=runtime,
                threads=threads,
                warmup_runs=settings.warmup_runs,
                warmup_limit_s=settings.warmup_limit_s,
                pictures=[(str(picture.path), picture.label) for picture in pictures],
                classify=not each.metadata.random_weights,
            )
    conditions = read_conditions()
    extras = Extras(tuple(dict.fromkeys(thread_sweep)), mlperf, sustained_s, operators)
    known = [Known(name, digest, each.label) for name, digest, each in zip(ready.names, digests, pictures)]
    asked = {
        "files": [(each.row.name, each.row.sha256, each.given) for each in candidates],
        # Each with its name and in this order: what was found of a picture is told by its place.
        "pictures": digest([dataclasses.astuple(each) for each in known]),
        "reference": ready.reference,
        "settings": dataclasses.asdict(settings),
        "extras": dataclasses.asdict(extras),
        "runtime": {"runtime": runtime, "threads": threads},
        "versions": {"edgevision": __version__, "edgevision_device": edgevision_device.__version__},
        "machine": dataclasses.asdict(conditions),
    }
    journal = Journal(None if unfinished is None else Path(unfinished), asked, resume=resume)
    measured = measure_all(requests, known, settings, tell, extras, journal)
    rows: list[FileResult] = []
    for each in candidates:
        row = each.row
        if each.metadata is not None:
            answer = measured.files[row.name]
            row = dataclasses.replace(
                row,
                warnings=_leaks(each.metadata, sha256, digests),
                error=answer if isinstance(answer, str) else None,
                measured=None if isinstance(answer, str) else answer,
            )
        rows.append(row)
    if not any(row.measured for row in rows):
        raise FileError(_none_measured(rows))

    return Report(
        edgevision=__version__,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command,
        conditions=conditions,
        pictures=Pictures(
            name=data_name or ("random pixels" if folder is None else str(folder)),
            split=ready.split,
            sha256=sha256,
            count=len(pictures),
            labels=tuple(dict.fromkeys(picture.label for picture in pictures)),
            skipped=measured.skipped,
        ),
        settings=settings,
        files=tuple(rows),
        noise_floor=measured.noise_floor,
        before=measured.before,
        after=measured.after,
        resumed=journal.resumed,
        thumbnails=make_thumbnails(rows, ready.path_of),
    )


def prepare(
    files: Sequence[StrPath],
    folder: Optional[StrPath],
    *,
    runs: Optional[int] = None,
    warmup: Optional[int] = None,
    threads: Optional[int] = None,
    runtime: Optional[str] = None,
    seed: int = 0,
    thread_sweep: Sequence[int] = (),
    sustained_s: Optional[float] = None,
    reference: Optional[StrPath] = None,
    given: Optional[Metadata] = None,
    strict: bool = False,
    whole: bool = False,
    on_progress: Optional[OnProgress] = None,
) -> Prepared:
    """Read the files and choose the pictures; needs no runtime. Arguments and errors are those of `benchmark`."""
    tell: OnProgress = on_progress or (lambda name, stage, done, total: None)
    check_settings(runs, warmup, threads, runtime, seed, thread_sweep, sustained_s)
    settings = dataclasses.replace(_settings(runs, warmup), seed=seed)
    candidates = _open_all(files, given)
    readable = [(each.row, each.metadata) for each in candidates if each.metadata is not None]
    for row, _ in readable:
        if runtime is not None and runtime not in RUNTIMES[row.format or ""]:
            raise UsageError(f"the runtime {runtime} does not read {row.path}; measure .tflite and .onnx files apart")
    home, split = (Path(), None) if folder is None else choose_split(Path(folder))
    if not readable:
        raise FileError(_none_measured([each.row for each in candidates]))
    compared_with = _reference([each.row for each in candidates], reference)
    if folder is None:
        return Prepared(candidates, settings, home, split, [], [], compared_with)
    pictures = find_known(home, [(row.path, metadata.labels) for row, metadata in readable])
    everything = len(pictures)
    digests = digest_files(pictures, decode=strict, on_read=lambda done: tell("", "reading", done, everything))
    if split is None and not whole:
        chosen = held_out(pictures, digests, home, [metadata for _, metadata in readable])
        if chosen is not None:
            split = "test"
            pictures = [picture for picture, kept in zip(pictures, chosen) if kept]
            digests = [digest for digest, kept in zip(digests, chosen) if kept]
    ready = Prepared(candidates, settings, home, split, pictures, digests, compared_with)
    if not whole:
        refuse_seen(ready.names, digests, [(row.name, metadata) for row, metadata in readable])
    return ready


def check_settings(
    runs: Optional[int],
    warmup: Optional[int],
    threads: Optional[int],
    runtime: Optional[str],
    seed: int,
    thread_sweep: Sequence[int],
    sustained_s: Optional[float],
) -> None:
    """Raise UsageError for a number out of range, or an unknown runtime; see `benchmark`."""
    if runs is not None and runs < 1:
        raise UsageError(f"runs must be at least 1, got {runs}")
    if warmup is not None and warmup < 0:
        raise UsageError(f"warm-up runs must be at least 0, got {warmup}")
    for count in (threads, *thread_sweep):
        if count is not None and not 1 <= count <= 256:
            raise UsageError(f"threads must lie between 1 and 256, got {count}")
    if not 0 <= seed < 2**32:
        raise UsageError(f"the seed must lie between 0 and {2**32 - 1}, got {seed}")
    if sustained_s is not None and not 0 < sustained_s <= 86400:
        raise UsageError(f"seconds without a pause must be more than 0 and at most 86400, got {sustained_s:g}")
    if runtime is not None:
        require_known("runtime", runtime, sorted({name for names in RUNTIMES.values() for name in names}))


def _settings(runs: Optional[int], warmup: Optional[int]) -> Settings:
    settings = _DEFAULT
    if runs is not None:
        settings = dataclasses.replace(settings, runs=runs, runs_limit_s=None, least_runs=runs)
    if warmup is not None:
        settings = dataclasses.replace(settings, warmup_runs=warmup, warmup_limit_s=None)
    return settings


def _open_all(files: Sequence[StrPath], given: Optional[Metadata]) -> list[Candidate]:
    """Verify every file; a damaged or foreign one becomes a row with an error, a missing one raises."""
    paths = [Path(file) for file in files]
    if not paths:
        raise UsageError("no model files to measure; name .tflite and .onnx files")
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise UsageError(f"{paths[index]} is given twice; name each file once")
    common = os.path.commonpath([path.absolute().parent for path in paths])
    return [_open(path, os.path.relpath(path.absolute(), common), given) for path in paths]


def _open(path: Path, name: str, given: Optional[Metadata]) -> Candidate:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read the model file {path}: {error.strerror}") from error
    row = FileResult(str(path), name, len(content), hashlib.sha256(content).hexdigest())
    record = None
    try:
        try:
            file = read_model_file(path)
        except ForeignFileError:
            if given is None:
                raise
            file = read_model_file(path, given)
            record = given.to_json(sha256=file.sha256, size_bytes=file.size_bytes)
    except EdgevisionError as error:
        return Candidate(dataclasses.replace(row, error=str(error)))
    metadata = file.metadata
    row = dataclasses.replace(row, format=file.format, recipe=metadata.recipe, random_weights=metadata.random_weights)
    return Candidate(row, metadata, record)


def _reference(rows: Sequence[FileResult], given: Optional[StrPath]) -> str:
    """Return the name of the file that the others are compared with; see `benchmark`."""
    if given is not None:
        path = Path(given).resolve()
        named = next((row.name for row in rows if Path(row.path).resolve() == path), os.fspath(given))
        require_known("reference", named, [row.name for row in rows])
        error = next(row.error for row in rows if row.name == named)
        if error is not None:
            raise FileError(error)
        return named
    # Of equals the first.
    order: dict[tuple[Optional[str], Optional[str]], int] = {("float32", "tflite"): 0, ("float32", "onnx"): 1}
    return min((row for row in rows if row.error is None), key=lambda row: order.get((row.recipe, row.format), 2)).name


def _leaks(metadata: Metadata, sha256: str, digests: Sequence[Optional[str]]) -> tuple[str, ...]:
    """Say so if the model has seen exactly these pictures before, or some of them."""
    found: list[str] = []
    seen = seen_pictures(metadata, digests)
    for verb, origin in {"trained": metadata.trained_on, "calibrated": metadata.calibrated_on}.items():
        if origin is None:
            continue
        if origin.sha256 == sha256:
            found.append(f"it was {verb} on these very pictures ({origin.name}): its top-1 says nothing about new ones")
        elif verb in seen:
            found.append(
                f"it was {verb} on {len(seen[verb])} or more of these {len(digests)} pictures ({origin.name}): "
                "its top-1 says less about new ones"
            )
    return tuple(found)


def _none_measured(rows: Sequence[FileResult]) -> str:
    first = rows[0].error or ""
    return first if len(rows) == 1 else f"none of the {len(rows)} files could be measured; the first: {first}"
