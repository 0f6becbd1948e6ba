"""The phases of a training, from a body to a classifier and its scores."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._batches import Changes, make_batches
from ._features import compute, make_ready, run_frozen
from ._fit import Phase, fit, prepare
from ._networks import NETWORKS
from ._progress import decoding_bar, say
from ._transfer import as_classifier, make_head, split_before

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    import numpy.typing as npt

    from ._batches import Rows
    from ._checkpoint import Checkpoint, PhaseState
    from ._features import Features
    from ._hardware import Hardware
    from ._options import TrainingOptions
    from ._pictures import Pictures, Splits

__all__ = ["PARTS", "Job", "Trained"]

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes:
        model: pixels 0..255 to softmax scores.
        history: by phase, then by metric: one number per epoch.
        kept_epoch: whose weights the model has, counted from 1 through all phases.
        scores: of each part that has pictures, float32 `(n, labels)`.
    """

    model: keras.Model
    history: dict[str, dict[str, list[float]]]
    kept_epoch: int
    scores: dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        splits: the pictures.
        options: with nothing left open.
        hardware: what it runs on.
        checkpoint: where its state goes.
        teacher: what it learns from besides the labels.
    """

    splits: Splits
    options: TrainingOptions
    hardware: Hardware
    checkpoint: Checkpoint
    teacher: keras.Model | None

    def from_scratch(self, body: keras.Model) -> Trained:
        """Train every layer."""
        model = self._with_head(body, 0.0)
        phase = self._run_phase(model, "train", self._changes(), None)
        return self._finish(model, {"train": phase}, None)

    def transfer(self, body: keras.Model) -> Trained:
        """Train a new head on the features of a frozen backbone; then, if asked, the layers from one on."""
        import keras

        options = self.options
        whole = self._with_head(body, NETWORKS[options.model].dropout)
        head = keras.Sequential([keras.Input(body.outputs[0].shape[1:]), *whole.layers[len(body.layers) :]])
        # Without copies, features are those of the pictures as they are.
        changes = self._changes() if options.copies else self._unchanged(self.splits.train)
        rows = self._rows(body, changes)
        phases = {"head": self._run_phase(head, "head", changes, rows)}
        if options.unfreeze_from is None:
            return self._finish(whole, phases, (head, rows))
        changes = self._changes()
        front, back = split_before(whole, options.unfreeze_from)
        if changes.fresh:
            front, back = None, whole  # no feature ever comes back
        rows = None if front is None else self._rows(front, changes)
        phases["fine-tune"] = self._run_phase(back, "fine-tune", changes, rows)
        return self._finish(whole, phases, None if rows is None else (back, rows))

    def _with_head(self, body: keras.Model, dropout: float) -> keras.Model:
        import keras

        x = body.outputs[0]
        if dropout:
            x = keras.layers.Dropout(dropout, name="dropout")(x)
        x = make_head(self.options.trained_head, len(self.splits.labels))(x)
        return keras.Model(body.inputs[0], x, name=self.options.model)

    def _changes(self) -> Changes:
        return Changes(self.splits.train, self.options.changes, self.options.seed, self.options.copies)

    def _unchanged(self, pictures: Pictures) -> Changes:
        return Changes(pictures, type(self.options.changes)(), self.options.seed)

    def _rows(self, model: keras.Model, changes: Changes) -> dict[str, Features]:
        """Return what a frozen model says of every part, computed where it is not known."""
        parts = {"train": changes} | {part: self._unchanged(getattr(self.splits, part)) for part in PARTS[1:]}
        parts = {part: each for part, each in parts.items() if len(each.pictures)}
        return compute(model, parts, self.options.resize, "features")

    def _run_phase(
        self,
        model: keras.Model,
        name: str,
        changes: Changes,
        rows: Mapping[str, Rows] | None,
    ) -> PhaseState:
        options, splits = self.options, self.splits
        epochs, rate = options.epochs, options.learning_rate
        if name == "fine-tune":
            epochs, rate = options.fine_tune_epochs, options.fine_tune_learning_rate
        assert epochs is not None
        assert rate is not None
        phase = Phase(name, epochs, rate, options.trained_head, len(splits.labels))
        soft: Mapping[str, Rows] | None = None
        if self.teacher is not None:
            soft = self._live(changes) if changes.fresh else self._rows(self.teacher, changes)
        steps = -(-len(splits.train) // options.batch_size)
        prepare(model, options, phase, steps)
        state = self.checkpoint.load(name, model)
        shared: dict[str, Any] = {
            "binary": options.trained_head == "sigmoid",
            "multiple": len(self.hardware.devices),
            "weights": self._weights(),
        }
        batches = make_batches(
            changes,
            options.batch_size,
            shuffle=True,
            first_epoch=state.epochs,
            rows=None if rows is None else rows["train"],
            soft=None if soft is None else soft["train"],
            **shared,
        )
        held_out = make_batches(
            self._unchanged(splits.val),
            options.batch_size,
            shuffle=False,
            rows=None if rows is None else rows["val"],
            soft=None if soft is None else soft["val"],
            **shared,
        )
        return fit(model, batches, held_out, options, phase, self.checkpoint, state)

    def _live(self, changes: Changes) -> dict[str, Rows]:
        """Ask the teacher about each batch of pictures that nobody sees twice."""
        teacher: Any = self.teacher
        make_ready(teacher)
        val = {"val": self._unchanged(self.splits.val)}
        soft: dict[str, Rows] = dict(compute(teacher, val, self.options.resize, "the teacher's scores"))

        def scores(copy: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            return np.asarray(teacher.predict_on_batch(changes.pixels(copy, places).astype(np.float32)))

        return soft | {"train": scores}

    def _weights(self) -> npt.NDArray[np.float32] | None:
        """Return a weight per label, 1 on average over the pictures."""
        if self.options.class_weights == "none":
            return None
        counts = np.bincount(self.splits.train.targets, minlength=len(self.splits.labels))
        return (len(self.splits.train) / (len(counts) * counts)).astype(np.float32)

    def _finish(
        self,
        whole: keras.Model,
        phases: dict[str, PhaseState],
        cached: tuple[keras.Model, Mapping[str, Rows]] | None,
    ) -> Trained:
        """Make the classifier, and let it judge every part; features that are there are not computed again."""
        say("measuring the accuracy of every part, writing the report")
        model = as_classifier(whole, self.options.model)
        if self.options.precision != "float32":
            cached = None  # the model that is saved computes its features in float32
        judge = model if cached is None else as_classifier(cached[0], self.options.model)
        scores: dict[str, npt.NDArray[np.float32]] = {}
        for part in PARTS:
            pictures: Pictures = getattr(self.splits, part)
            if len(pictures):
                inputs = pictures.pixels if cached is None else functools.partial(cached[1][part], 0)
                with decoding_bar("accuracy") as on_progress:
                    found = run_frozen(judge, inputs, np.arange(len(pictures)), on_progress)
                    scores[part] = np.concatenate(list(found))
        *before, last = phases.values()
        kept_epoch = sum(phase.epochs for phase in before) + last.kept_epoch
        return Trained(model, {name: phase.history for name, phase in phases.items()}, kept_epoch, scores)
