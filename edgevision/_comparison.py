"""What augmentation is worth: the same training with and without it, judged on the same pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision_benchmarks import Accuracy
from edgevision_converters import load_keras_model
from edgevision_device import UsageError

from ._checkpoint import Checkpoint
from ._flips import Comparison, compare_answers
from ._judging import answers_of_model
from ._keras import forget_models
from ._progress import say
from ._run import is_run, read_run, refuse_run
from ._run_data import HeldOut
from ._sweep_axes import without_augmentation
from ._training import absolute, absolute_paths, train

if TYPE_CHECKING:
    import os

    from ._options import TrainingOptions
    from ._run import Run

__all__ = ["AugmentationEffect", "compare_augmentation", "train_or_go_on"]


@dataclass(frozen=True)
class AugmentationEffect:
    """Two trainings that differ in nothing but augmentation.

    Attributes:
        with_run, without_run: what they left behind.
        part: which pictures judged them: `test`, or `val` where the data has no test part.
        with_accuracy, without_accuracy: of the Keras models on these.
        comparison: of the one with augmentation against the one without.
    """

    with_run: Run
    without_run: Run
    part: str
    with_accuracy: Accuracy
    without_accuracy: Accuracy
    comparison: Comparison

    def lines(self) -> list[str]:
        """Return the accuracies and the verdict, for people."""
        return [
            f"with augmentation:    {self.part} {self.with_accuracy.describe()}, {self.with_run.folder}",
            f"without augmentation: {self.part} {self.without_accuracy.describe()}, {self.without_run.folder}",
            f"augmentation: {self.comparison.difference.describe()}",
        ]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "part": self.part,
            "with": {"run": str(self.with_run.folder), **self.with_accuracy.to_record()},
            "without": {"run": str(self.without_run.folder), **self.without_accuracy.to_record()},
            "comparison": self.comparison.to_record(),
        }


def compare_augmentation(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: TrainingOptions,
    *,
    overwrite: bool = False,
    resume: bool = False,
) -> AugmentationEffect:
    """Train with augmentation into `out` and, with the same seed, without it into `out` plus `-without`.

    Args:
        data, options: see `train`.
        out: the run folder of the training with augmentation.
        overwrite: replace runs that are there.
        resume: keep the one that is finished, and go on with the one that was interrupted.

    Raises:
        UsageError: the augmentation changes nothing, or runs exist, or were made with other options.
        DataError, FileError, MissingPackageError, CheckError: see `train`.
    """
    if options.changes.changes_nothing:
        raise UsageError("there is no augmentation to compare with none; give --augment on, or --shift 0.1")
    target = Path(out)
    runs = [(target, options), (target.with_name(f"{target.name}-without"), without_augmentation(options))]
    if options.tensorboard is not None:
        runs = [
            (folder, replace(each, tensorboard=str(Path(options.tensorboard) / folder.name))) for folder, each in runs
        ]
    kept = [resume and is_run(folder) for folder, _ in runs]
    for (folder, each), done in zip(runs, kept, strict=True):
        if done:
            _require_same(folder, absolute(data), each)
        else:
            refuse_run(folder, overwrite=overwrite)
    trained: list[Run] = []
    for (folder, each), done in zip(runs, kept, strict=True):
        say(
            f"{len(trained) + 1}/2 {'without' if trained else 'with'} augmentation{': finished before' if done else ''}"
        )
        run = read_run(folder) if done else train_or_go_on(str(data), folder, each, go_on=resume, overwrite=overwrite)
        trained.append(run)
    if trained[0].trained_on != trained[1].trained_on:
        raise UsageError(
            f"{trained[0].folder} and {trained[1].folder} were trained on different pictures; the data has changed "
            "between them, so train both anew with --overwrite"
        )
    pictures = HeldOut(options.strict)
    part, seen = pictures.of(trained[0])
    answers = [answers_of_model(load_keras_model(run.model_path), seen) for run in trained]
    accuracies = [Accuracy.of(each.right) for each in answers]
    comparison = compare_answers("without augmentation", answers[1], "with augmentation", answers[0])
    return AugmentationEffect(trained[0], trained[1], part, accuracies[0], accuracies[1], comparison)


def _require_same(folder: Path, data: str, options: TrainingOptions) -> None:
    """Raise UsageError if the run was trained otherwise; what is not given now was chosen then."""
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    then = {"data": record["data"], **record["options"]}
    now: dict[str, Any] = json.loads(json.dumps({"data": data, **asdict(absolute_paths(options))}))
    for name, value in now.items():
        if value is not None and then.get(name) != value:
            raise UsageError(
                f"{folder} was trained with {name} = {then.get(name)!r}, now it is {value!r}; give what was given then"
            )


def train_or_go_on(data: str, folder: Path, options: TrainingOptions, *, go_on: bool, overwrite: bool) -> Run:
    """Train from where an interrupted training stopped, if there is one and it is wanted, else from the start."""
    forget_models()  # what the training before left behind
    interrupted = go_on and (Checkpoint.of(folder).folder / "options.json").is_file()
    return train(data, folder, options, overwrite=overwrite and not interrupted, resume=interrupted)
