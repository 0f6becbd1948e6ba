"""The pictures that may judge a model and its files: those that neither trained nor calibrated any of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevision_device import DataError, EdgevisionError, UsageError, find_parts

from ._datasets import load_data, native_size
from ._pictures import Pictures
from ._progress import decoding_bar, say, say_skipped
from ._run_data import with_labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgevision_device import DataOrigin, Metadata

    from ._pictures import Splits
    from ._run import Run

__all__ = ["Judged", "judged_pictures"]


@dataclass(frozen=True)
class Judged:
    """Pictures that judge.

    Attributes:
        data: what the user calls them.
        part: `test`, `val` where the data has no test part, or `all` of a folder that nothing was made from.
        pictures: at the input's size, with the model's labels.
        left_out: names of pictures that were seen in training or calibration, and judge nothing.
    """

    data: str
    part: str
    pictures: Pictures
    left_out: tuple[str, ...]


def judged_pictures(
    data: str | None,
    model: Metadata,
    files: Sequence[tuple[str, Metadata]],
    run: Run | None = None,
    *,
    data_dir: str | None = None,
    strict: bool = False,
    whole: bool = False,
) -> Judged:
    """Load the pictures that judge a model and its files.

    Of data with parts these are the test part, or val where there is no test part; so it is with a folder
    `PATH/<label>/*` from which the model was trained or a file calibrated, because training divides such a folder.
    Another folder of this kind judges with all its pictures. Whatever is then known to have been seen, by the content
    of the picture's file, is left out.

    Args:
        data: see `load_data`; None takes what the run was trained on.
        model: the model that the files are compared with.
        files: name and metadata of each file.
        run: that the model is from; its training pictures are all known.
        data_dir, strict: see `load_data`.
        whole: leave out nothing, and do not divide a folder `PATH/<label>/*`.

    Raises:
        UsageError: there is no data.
        DataError: pictures missing, a label that the model does not know, or a file that was trained on some of these
            pictures and does not say on which others.
    """
    own = run is not None and (data is None or _same_data(data, run.data))
    if data is None:
        if run is None:
            raise UsageError("--data is missing; only a run knows pictures of its own")
        data = run.data
    loaded = _load(data, model, data_dir, strict, run if own else None)
    origins = [origin for each in (model, *(metadata for _, metadata in files)) for _, origin in _origins(each)]
    undivided = native_size(data) is None and not find_parts(Path(data))
    if undivided and (whole or not (own or _made_from(loaded, data, origins))):
        part, pictures = "all", _together(loaded)
    else:
        part, pictures = ("test", loaded.test) if len(loaded.test) else ("val", loaded.val)
    pictures = with_labels_of(pictures, model.labels)
    if whole:
        return Judged(data, part, pictures, ())
    trained = set(loaded.train.hashes) if own else set[str]() if run is None else _trained_on(run, model)
    models = [("the model", model), *files]
    seen = [digest in trained or _is_known(digest, models) for digest in pictures.hashes]
    names = [name for name, each in zip(pictures.names, seen, strict=True) if each]
    kept = pictures.take(np.flatnonzero(~np.array(seen, bool)))
    _refuse_partly_known(kept, models)
    if not len(kept):
        raise DataError(
            f"the model or its files have seen all {len(pictures)} pictures of {data} in training or calibration; "
            "give others, or --whole to judge on them all the same"
        )
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        say(f"left out: {names[0]}{more}, seen in training or calibration; {len(kept):,} pictures judge")
    return Judged(data, part, kept, tuple(names))


def _same_data(data: str, other: str) -> bool:
    if data == other:
        return True
    named = [native_size(each) is not None and not Path(each).exists() for each in (data, other)]
    return not any(named) and Path(data).resolve() == Path(other).resolve()


def _trained_on(run: Run, model: Metadata) -> set[str]:
    """Return the hashes of what trained a run; none where its data cannot be loaded any more."""
    try:
        return set(_load(run.data, model, run.data_dir, False, run).train.hashes)
    except EdgevisionError as error:
        say(f"note: what the run was trained on is known by a few marks only ({error})")
        return set()


def _load(data: str, model: Metadata, data_dir: str | None, strict: bool, run: Run | None) -> Splits:
    with decoding_bar() as on_progress:
        splits = load_data(
            data,
            model.size_wh,
            model.resize,
            data_dir=data_dir or (None if run is None else run.data_dir),
            strict=strict,
            validation_split=None if run is None else run.validation_split,
            on_progress=on_progress,
        )
    say_skipped(splits.skipped)
    return splits


def _made_from(splits: Splits, data: str, origins: Sequence[DataOrigin]) -> bool:
    """Say whether one of the origins is this folder; the rule is that of `edgevision benchmark`."""
    digests = {*splits.train.hashes, *splits.val.hashes, *splits.test.hashes}
    for origin in origins:
        there = sum(map(origin.holds, digests))
        if origin.sha256 == splits.train.origin.sha256 or (origin.marks and 2 * there >= len(origin.marked)):
            return True
        if not origin.marks and origin.name == Path(data).resolve().name:
            return True
    return False


def _origins(model: Metadata) -> list[tuple[str, DataOrigin]]:
    both = ("trained", model.trained_on), ("calibrated", model.calibrated_on)
    return [(verb, origin) for verb, origin in both if origin is not None]


def _is_known(digest: str, models: Sequence[tuple[str, Metadata]]) -> bool:
    """Say whether a model that marks all that it has seen has seen this picture."""
    origins = [origin for _, model in models for _, origin in _origins(model)]
    return any(origin.holds(digest) and len(origin.marked) >= origin.pictures for origin in origins)


def _refuse_partly_known(pictures: Pictures, models: Sequence[tuple[str, Metadata]]) -> None:
    """Raise DataError if a model has seen some of the pictures: of many that it has seen it marks only a few."""
    for name, model in models:
        for verb, origin in _origins(model):
            seen = sum(map(origin.holds, pictures.hashes))
            if seen:
                raise DataError(
                    f"{name} was {verb} on {seen} or more of these {len(pictures)} pictures ({origin.name}), and does "
                    "not say on which others: give other pictures, the run with --against, or --whole"
                )


def _together(splits: Splits) -> Pictures:
    """Return the parts of an undivided folder as one, in the order of the folder."""
    first = splits.train
    parts = (first, splits.val, splits.test)
    joined = Pictures(
        first.store,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.targets for part in parts]),
        first.labels,
        tuple(name for part in parts for name in part.names),
        tuple(digest for part in parts for digest in part.hashes),
        first.source,
    )
    return joined.take(np.argsort(joined.rows, kind="stable"))
