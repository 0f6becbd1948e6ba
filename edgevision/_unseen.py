"""The pictures that may judge a model and its files: those that neither trained nor calibrated any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgevision_benchmarks import refuse_seen, seen_pictures
from edgevision_device import DataOrigin, EdgevisionError, UsageError, find_parts, mark_pictures

from ._datasets import native_size
from ._pictures import Pictures
from ._progress import say
from ._run_data import load_shown, same_data, with_labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgevision_device import Metadata

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
        seen: names of those that are known to be from training or calibration; there are some only with `whole`.
        unknown: at most so many of the pictures that trained the model cannot be told from new ones, because nothing
            that is left marks them.
    """

    data: str
    part: str
    pictures: Pictures
    seen: tuple[str, ...]
    unknown: int = 0


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
    Another folder of this kind judges with all its pictures. A picture among these that is known to have been seen, by
    the content of its file, is refused, as by `edgevision benchmark`.

    Args:
        data: see `load_data`; None takes what the run was trained on.
        model: the model that the files are compared with.
        files: name and metadata of each file.
        run: that the model is from; its training pictures are all known as long as they are where they were.
        data_dir, strict: see `load_data`.
        whole: refuse nothing, and do not divide a folder `PATH/<label>/*`.

    Raises:
        UsageError: there is no data.
        DataError: pictures missing, a label that the model does not know, or pictures that the model or a file has
            seen.
    """
    own = run is not None and (data is None or same_data(data, run.data))
    if data is None:
        if run is None:
            raise UsageError("--data is missing; only a run knows pictures of its own")
        data = run.data
    loaded = _load(data, model, data_dir, strict, run if own else None)
    origins = [origin for each in (model, *(metadata for _, metadata in files)) for origin in _origins(each)]
    undivided = native_size(data) is None and not find_parts(Path(data))
    if undivided and (whole or not (own or _made_from(loaded, data, origins))):
        part, pictures = "all", Pictures.joined(loaded.parts)
    else:
        part, pictures = ("test", loaded.test) if len(loaded.test) else ("val", loaded.val)
    pictures = with_labels_of(pictures, model.labels)
    trained = loaded.train if own else None if run is None else _training_of(run, model)
    known = model if run is None or trained is None else _marking(model, run, trained)
    models = [("the model", known), *files]
    if not whole:
        refuse_seen(pictures.names, pictures.hashes, models)
    places = {
        place
        for _, each in models
        for verb, found in seen_pictures(each, pictures.hashes).items()
        if verb != "fitted"
        for place in found
    }
    seen = tuple(pictures.names[place] for place in sorted(places))
    origin = known.trained_on
    unknown = 0 if origin is None else max(0, origin.pictures - len(origin.marked))
    return Judged(data, part, pictures, seen, unknown)


def _marking(model: Metadata, run: Run, trained: Pictures) -> Metadata:
    """Let the metadata of a run's model mark all pictures of its training, of which files mark only some.

    Where `trained`, what is there now, is not what the run was trained on any more, the pictures of both are marked:
    those of today all, those of then as far as the run marks them, and the number says how many there are.
    """
    marks = mark_pictures(trained.hashes, len(trained))
    if trained.origin.sha256 == run.trained_on.sha256:
        return replace(model, trained_on=replace(trained.origin, marks=marks))
    then = run.trained_on
    today = DataOrigin(then.name, then.sha256, len(trained), marks).marked
    both = replace(
        then,
        pictures=then.pictures + len(today - then.marked),
        marks=mark_pictures([*today, *then.marked], len(today | then.marked)),
    )
    say(
        f"note: the pictures in {run.data} are not those of the training any more; of the {then.pictures:,} that "
        f"trained the run, {len(then.marked):,} are known, and those that lie there for training now"
    )
    return replace(model, trained_on=both)


def _training_of(run: Run, model: Metadata) -> Pictures | None:
    """Return what trained a run; None where its data cannot be loaded any more."""
    try:
        return _load(run.data, model, run.data_dir, False, run).train
    except EdgevisionError as error:
        say(f"note: what the run was trained on is known by a few marks only ({error})")
        return None


def _load(data: str, model: Metadata, data_dir: str | None, strict: bool, run: Run | None) -> Splits:
    return load_shown(
        data,
        model.size_wh,
        model.resize,
        data_dir=data_dir or (None if run is None else run.data_dir),
        strict=strict,
        validation_split=None if run is None else run.validation_split,
    )


def _made_from(splits: Splits, data: str, origins: Sequence[DataOrigin]) -> bool:
    """Say whether one of the origins is this folder: by its training part, half the marks, or without any its name."""
    digests = {digest for each in splits.parts for digest in each.hashes}
    for origin in origins:
        there = sum(map(origin.holds, digests))
        if origin.sha256 == splits.train.origin.sha256 or (origin.marks and 2 * there >= len(origin.marked)):
            return True
        if not origin.marks and origin.name == Path(data).resolve().name:
            return True
    return False


def _origins(model: Metadata) -> list[DataOrigin]:
    return [origin for origin in (model.trained_on, model.calibrated_on) if origin is not None]
