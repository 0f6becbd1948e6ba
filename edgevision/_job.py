"""The phases of a training, from a body to a classifier and its scores."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ._batches import Changes, make_batches
from ._features import compute, run_frozen
from ._fit import Phase, fit, prepare
from ._hardware import Hardware, jit_compile
from ._networks import NETWORKS
from ._progress import decoding_bar
from ._transfer import as_classifier, in_float32, make_head, split_before

if TYPE_CHECKING:
    import keras
    import numpy.typing as npt

    from ._batches import Rows
    from ._checkpoint import Checkpoint
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
        scores: of each part that has pictures, float32 `(n, labels)`.
        seconds_before: that epochs took in a process that was interrupted.
    """

    model: keras.Model
    history: dict[str, dict[str, list[float]]]
    scores: dict[str, npt.NDArray[np.float32]]
    seconds_before: float


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
    _seconds_before: list[float] = field(default_factory=list[float])

    def from_scratch(self, body: keras.Model) -> Trained:
        """Train every layer."""
        model = self._with_head(body, 0.0)
        history = self._run_phase(model, "train", self._changes(), None)
        return self._finish(model, {"train": history}, None)

    def transfer(self, body: keras.Model) -> Trained:
        """Train a new head on the features of a frozen backbone; then, if asked, the layers from one on."""
        import keras

        options = self.options
        whole = self._with_head(body, NETWORKS[options.model].dropout)
        head = keras.Sequential([keras.Input(body.outputs[0].shape[1:]), *whole.layers[len(body.layers) :]])
        # Without copies, features are those of the pictures as they are.
        changes = self._changes() if options.copies else self._unchanged(self.splits.train)
        rows = self._rows(body, changes)
        history = {"head": self._run_phase(head, "head", changes, rows)}
        if options.unfreeze_from is None:
            return self._finish(whole, history, (head, rows))
        changes = self._changes()
        front, back = split_before(whole, options.unfreeze_from)
        if changes.fresh:
            front, back = None, whole  # no feature ever comes back
        rows = None if front is None else self._rows(front, changes)
        history["fine-tune"] = self._run_phase(back, "fine-tune", changes, rows)
        return self._finish(whole, history, None if rows is None else (back, rows))

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

    def _rows(self, model: keras.Model, changes: Changes) -> dict[str, Rows]:
        """Return what a frozen model says of every part, computed where it is not known."""
        parts = {part: self._unchanged(getattr(self.splits, part)) for part in PARTS[1:]}
        return {
            part: compute(model, each, self.options.resize, f"features of {part}")
            for part, each in {"train": changes, **parts}.items()
            if len(each.pictures)
        }

    def _run_phase(
        self,
        model: keras.Model,
        name: str,
        changes: Changes,
        rows: dict[str, Rows] | None,
    ) -> dict[str, list[float]]:
        options, splits = self.options, self.splits
        epochs, rate = options.epochs, options.learning_rate
        if name == "fine-tune":
            epochs, rate = options.fine_tune_epochs, options.fine_tune_learning_rate
        assert epochs is not None
        assert rate is not None
        phase = Phase(name, epochs, rate, options.trained_head, len(splits.labels))
        soft: dict[str, Rows] | None = None
        if self.teacher is not None:
            soft = self._live(changes) if changes.fresh else self._rows(self.teacher, changes)
        steps = -(-len(splits.train) // options.batch_size)
        prepare(model, options, phase, steps)
        state = self.checkpoint.load(name, model)
        self._seconds_before.append(state.seconds)
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
        teacher.compile(jit_compile=jit_compile())

        def scores(copy: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            return np.asarray(teacher.predict_on_batch(changes.pixels(copy, places).astype(np.float32)))

        val = compute(teacher, self._unchanged(self.splits.val), self.options.resize, "the teacher's scores of val")
        return {"train": scores, "val": val}

    def _weights(self) -> npt.NDArray[np.float32] | None:
        """Return a weight per label, 1 on average over the pictures."""
        if self.options.class_weights == "none":
            return None
        counts = np.bincount(self.splits.train.targets, minlength=len(self.splits.labels))
        return (len(self.splits.train) / (len(counts) * counts)).astype(np.float32)

    def _finish(
        self,
        whole: keras.Model,
        history: dict[str, dict[str, list[float]]],
        cached: tuple[keras.Model, dict[str, Rows]] | None,
    ) -> Trained:
        """Make the classifier, and let it judge every part; features that are there are not computed again."""
        model = as_classifier(whole, self.options.model)
        scores: dict[str, npt.NDArray[np.float32]] = {}
        # What is saved computes in float32, so what is told does.
        back = None if cached is None else in_float32(cached[0])
        for part in PARTS:
            pictures: Pictures = getattr(self.splits, part)
            if not len(pictures):
                continue
            if cached is not None and back is not None:
                rows = cached[1]
                found = _score(back, functools.partial(rows[part], 0), len(pictures))
                scores[part] = _softmax(found, self.options.trained_head)
            else:
                scores[part] = _score(model, pictures.pixels, len(pictures))
        return Trained(model, history, scores, sum(self._seconds_before))


def _score(model: keras.Model, inputs: Any, count: int) -> npt.NDArray[np.float32]:
    model.compile(jit_compile=jit_compile())  # pyright: ignore[reportArgumentType]
    with decoding_bar("accuracy") as on_progress:
        return np.concatenate(list(run_frozen(model, inputs, np.arange(count), on_progress)))


def _softmax(found: npt.NDArray[np.float32], head: str) -> npt.NDArray[np.float32]:
    """Return scores per label from what a head gives."""
    if head == "sigmoid":
        return np.concatenate([1 - found, found], axis=1)
    if head == "logits":
        powers = np.exp(found - found.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)
    return found
