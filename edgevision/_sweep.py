"""Comparing trainings: every combination of some options, each trained, exported and judged on the same pictures."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision_benchmarks import Accuracy, read_conditions
from edgevision_converters import RECIPES, load_keras_model
from edgevision_device import (
    Classifier,
    DataError,
    EdgevisionError,
    FileError,
    UsageError,
    __version__,
    check_outputs,
    require_known,
    write_atomically,
)

from ._arithmetic import layer_costs
from ._comparison import compare_augmentation, train_or_go_on
from ._datasets import load_data
from ._export import ExportOptions, export
from ._flips import Answers, compare_answers
from ._flips_page import render_flips
from ._judging import answers_of_file, time_in_turns
from ._pictures import Pictures
from ._progress import decoding_bar, say, skipped_once
from ._run import is_run, read_run
from ._run_data import HeldOut, held_out
from ._sweep_axes import combine
from ._sweep_plot import draw_sweep
from ._sweep_record import FORMAT, Result, Sweep, SweepRow
from ._sweep_table import to_csv
from ._training import absolute, absolute_paths, require_layer

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from ._options import TrainingOptions
    from ._pictures import Splits
    from ._run import Run
    from ._sweep_axes import Combination

__all__ = ["SWEEP_FILES", "compare_augmentation", "sweep"]

#: What a sweep writes beside the folders of its rows.
SWEEP_FILES = ("sweep.json", "sweep.csv", "sweep.png", "flips.html")


@skipped_once()
def sweep(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    base: TrainingOptions,
    axes: Mapping[str, Sequence[Any]],
    *,
    recipe: str = "int8",
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    command: str | None = None,
    on_row: Callable[[SweepRow], None] = lambda row: None,
) -> Sweep:
    """Train every combination of some options, export each, and compare them on the same pictures.

    Args:
        data: see `train`.
        out: gets a folder per row, with the run, its `.tflite` file and that file's answers.
        base: the options that all rows share.
        axes: values by option, see `combine`. The first row is what the others are compared with.
        recipe: of the files.
        threads: for the runtime that judges and times them; default: see `Classifier`.
        overwrite: make rows that are there anew.
        resume: keep rows that are finished, and go on with the one that was interrupted.
        command: what the record says made it.
        on_row: told of each row when it ends.

    Returns:
        A row for each combination; one that failed says why. `out` then holds `SWEEP_FILES` too, of which the picture
        and the page need a row that did not fail.

    Raises:
        UsageError: before any training: an option or value that there is not, rows that exist, or, to be resumed, had
            other options.
        DataError, FileError: the data cannot be used, or a row's folder is none.
    """
    require_known("recipe", recipe, RECIPES["tflite"])
    if threads is not None and not 1 <= threads <= 256:
        raise UsageError(f"threads must lie between 1 and 256, got {threads}")
    if not axes.get("model", True):
        raise UsageError("no model to train; name one")
    pictures = HeldOut(base.strict)
    plan = _Plan(str(data), Path(out), recipe, threads, pictures, overwrite=overwrite, resume=resume)
    combinations = [plan.place(each) for each in combine(base, axes)]
    before = [plan.find(each) for each in combinations]
    for each, found in zip(combinations, before, strict=True):
        if found is None or found["result"] is None:
            require_layer(data, each.options)
    kept = sum(each is not None and each["result"] is not None for each in before)
    say(f"{len(combinations)} trainings to compare{f', {kept} of them finished before' if kept else ''}")
    rows: list[SweepRow] = []
    for number, (combination, found) in enumerate(zip(combinations, before, strict=True), 1):
        say(f"{number}/{len(combinations)} {combination.name}")
        row = _make(plan, combination, found)
        rows.append(row)
        on_row(row)
    return _finish(plan, combinations, rows, command)


@dataclass(frozen=True)
class _Plan:
    """What holds for all rows."""

    data: str
    out: Path
    recipe: str
    threads: int | None
    pictures: HeldOut
    overwrite: bool
    resume: bool
    _now: dict[float | None, Splits] = field(default_factory=dict["float | None", "Splits"])

    def place(self, combination: Combination) -> Combination:
        """Keep a row's logs apart from the others'."""
        logs = combination.options.tensorboard
        if logs is None:
            return combination
        return replace(
            combination, options=replace(combination.options, tensorboard=str(Path(logs) / combination.name))
        )

    def record(self, combination: Combination) -> dict[str, Any]:
        """Return what decides whether a row that is there is the row that is wanted, as JSON types."""
        options = asdict(absolute_paths(combination.options))
        return json.loads(json.dumps({"data": absolute(self.data), "recipe": self.recipe, "options": options}))

    def find(self, combination: Combination) -> dict[str, Any] | None:
        """Return the record of a row that is to be kept or gone on with; None if it is to be made.

        Raises UsageError or FileError if it may not be made.
        """
        folder = self.out / combination.name
        if not (self.overwrite or self.resume):
            existing = [path for path in (folder, self.out / SWEEP_FILES[0]) if path.exists()]
            if existing:
                raise UsageError(
                    f"{existing[0]} exists already; --resume keeps the rows that are finished, --overwrite makes them "
                    "anew, or choose another --out"
                )
        check_outputs([folder, *(self.out / name for name in SWEEP_FILES)], overwrite=True)
        found = _read_record(folder)
        if found is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileError(f"{folder} exists and is no row of a sweep; choose another --out")
        if found is None or not self.resume:
            return None
        other = _difference(found, self.record(combination)) or self._other_pictures(folder, found)
        if other is None:
            return found
        if self.overwrite:
            return None
        raise UsageError(f"{folder} was made with {other}; give what was given then, or pass --overwrite as well")

    def _other_pictures(self, folder: Path, found: Mapping[str, Any]) -> str | None:
        """Say so if the data was not what it is now when a row was trained or judged."""
        if not is_run(folder / "run"):
            return None
        run = read_run(folder / "run")
        share = run.validation_split
        if share not in self._now:
            # At any size: which pictures there are is the same at all.
            with decoding_bar() as on_progress:
                self._now[share] = load_data(
                    run.data,
                    run.size_wh,
                    run.resize,
                    data_dir=run.data_dir,
                    strict=self.pictures.strict,
                    validation_split=share,
                    on_progress=on_progress,
                )
        now, answers = self._now[share], folder / "answers.csv"
        same = now.train.origin.sha256 == run.trained_on.sha256
        if same and found["result"] is not None and answers.is_file():
            same = sorted(Answers.read(answers).hashes) == sorted(held_out(now)[1].hashes)
        return None if same else f"other pictures than {self.data} holds now"


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / "row.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    keys = {"data", "recipe", "options", "result", "error"}
    return record if isinstance(record, dict) and record.get("format") == FORMAT and keys <= record.keys() else None


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Say what was otherwise when a row was made; None if nothing."""
    for name in ("data", "recipe"):
        if found[name] != wanted[name]:
            return f"{name} {found[name]}, now it is {wanted[name]}"
    then, now = found["options"], wanted["options"]
    for name in now:
        if name not in then or then[name] != now[name]:
            return f"{name} = {then.get(name)!r}, now it is {now[name]!r}"
    return None


def _make(plan: _Plan, combination: Combination, found: dict[str, Any] | None) -> SweepRow:
    """Train, export and judge one row, or keep it."""
    record = plan.record(combination)
    row = SweepRow(combination.name, combination.varied, record["options"])
    folder = plan.out / combination.name
    if found is not None and found["result"] is not None:
        result = Result.from_record(found["result"])
        if is_run(folder / "run") and (folder / result.name).is_file() and (folder / "answers.csv").is_file():
            return replace(row, result=result, kept=True)
    # What failed is not gone on with: it would fail again.
    go_on = found is not None and found["error"] is None
    if not go_on and is_run(folder / "run"):
        # Now, because after an interruption it would be taken for the run of the record that is written next.
        shutil.rmtree(folder / "run")
    _write_record(folder, record)
    try:
        result = _judge(plan, combination, _trained(plan, combination, folder / "run", go_on=go_on), folder)
    except (DataError, OSError):
        raise  # the other rows would meet it too
    except Exception as error:  # a network that is too large or too small fails in its backend's own ways
        reason = str(error) if isinstance(error, EdgevisionError) else _reason(error)
        _write_record(folder, record, error=reason)
        return replace(row, error=reason)
    _write_record(folder, record, result=result.to_record())
    return replace(row, result=result)


def _reason(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {line}"[:300]


def _write_record(folder: Path, record: Mapping[str, Any], result: Any = None, error: str | None = None) -> None:
    text = json.dumps({"format": FORMAT, "name": folder.name, **record, "result": result, "error": error}, indent=2)
    write_atomically(folder / "row.json", text + "\n")


def _trained(plan: _Plan, combination: Combination, folder: Path, *, go_on: bool) -> Run:
    if go_on and is_run(folder):
        return read_run(folder)
    return train_or_go_on(plan.data, folder, combination.options, go_on=go_on, overwrite=True)


def _judge(plan: _Plan, combination: Combination, run: Run, folder: Path) -> Result:
    options = ExportOptions(
        formats=["tflite"], recipes=[plan.recipe], name=combination.name, strict=combination.options.strict
    )
    (file,) = export(run.folder, folder, options, overwrite=True, on_start=lambda name: None)
    part, pictures = plan.pictures.of(run)
    classifier = Classifier(file.path, threads=plan.threads)
    answers = answers_of_file(classifier, pictures)
    answers.write(folder / "answers.csv")
    told = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    accuracies = {
        name: Accuracy(round(told[f"{each}_accuracy"] * told["pictures"][each]), told["pictures"][each])
        for name, each in (("train", "train"), ("test", part))
    }
    return Result(
        size_wh=run.size_wh,
        part=part,
        **accuracies,
        file=Accuracy.of(answers.right),
        name=file.path.name,
        size_bytes=file.size_bytes,
        runtime=f"{classifier.runtime.name} {classifier.runtime.version}",
        parameters=told["parameters"],
        macs=_count_macs(run),
        epochs=len((run.folder / "history.csv").read_text(encoding="utf-8").splitlines()) - 1,
        training_seconds=told["training_seconds"],
    )


def _count_macs(run: Run) -> int:
    return sum(cost.macs or 0 for cost in layer_costs(load_keras_model(run.model_path)))


def _finish(plan: _Plan, combinations: Sequence[Combination], rows: Sequence[SweepRow], command: str | None) -> Sweep:
    """Time the files of all rows in turns, and compare each row with the first."""
    finished = [place for place, row in enumerate(rows) if row.result is not None]
    done = list(rows)
    threads, pictures = 0, dict[str, Pictures]()
    if finished:
        say(f"timing {len(finished)} files in turns")
        judged = [_judged_by(plan, combinations[place]) for place in finished]
        paths = [plan.out / rows[place].name / _result(rows[place]).name for place in finished]
        timed = time_in_turns(list(zip(paths, judged, strict=True)), plan.threads)
        answers = [Answers.read(path.with_name("answers.csv")) for path in paths]
        first = rows[finished[0]].name
        for place, seen, (latency, used), mine in zip(finished, judged, timed, answers, strict=True):
            name, threads = rows[place].name, used
            pictures[name] = seen
            comparison = None if name == first else compare_answers(first, answers[0], name, mine)
            done[place] = replace(rows[place], latency=latency, comparison=comparison)
    made = Sweep(
        folder=plan.out,
        edgevision=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        data=plan.data,
        recipe=plan.recipe,
        threads=threads,
        conditions=read_conditions(),
        rows=tuple(done),
    )
    _write(made, pictures)
    return made


def _write(made: Sweep, pictures: Mapping[str, Pictures]) -> None:
    contents: dict[str, bytes | str] = {
        "sweep.json": json.dumps(made.to_record(), indent=2, ensure_ascii=False) + "\n",
        "sweep.csv": to_csv(made),
    }
    if pictures:
        contents |= {"sweep.png": draw_sweep(made), "flips.html": render_flips(made, pictures)}
    for name in SWEEP_FILES:
        if name in contents:
            content = contents[name]
            # A picture's name may hold bytes that are no UTF-8. Python keeps them as lone surrogates.
            encoded = content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
            write_atomically(made.folder / name, encoded)
        else:
            (made.folder / name).unlink(missing_ok=True)  # it is about other rows


def _judged_by(plan: _Plan, combination: Combination) -> Pictures:
    run = read_run(plan.out / combination.name / "run")
    return plan.pictures.of(run)[1]


def _result(row: SweepRow) -> Result:
    assert row.result is not None
    return row.result
