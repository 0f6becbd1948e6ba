"""One phase of a training: a model, its batches, and when it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import CheckError

from ._hardware import jit_compile
from ._progress import say, training_bar

if TYPE_CHECKING:
    from ._checkpoint import Checkpoint, PhaseState
    from ._options import TrainingOptions

__all__ = ["Phase", "fit", "prepare"]


@dataclass(frozen=True)
class Phase:
    """What differs between the parts of a training.

    Attributes:
        name: `train`, `head` or `fine-tune`.
        epochs: at most.
        learning_rate: at its peak.
        head: `softmax`, `logits` or `sigmoid`.
        classes: how many labels.
    """

    name: str
    epochs: int
    learning_rate: float
    head: str
    classes: int


def fit(
    model: Any,
    batches: Any,
    held_out: Any,
    options: TrainingOptions,
    phase: Phase,
    checkpoint: Checkpoint,
    state: PhaseState,
) -> PhaseState:
    """Train until the phase ends and leave the model with the weights of its best epoch.

    Args:
        model: compiled by `prepare`, see there.
        batches, held_out: see `make_batches`; `batches` starts at the epoch that the state is at.
        options: of the training.
        phase: this part of it.
        checkpoint: written after each epoch.
        state: what `checkpoint.load` found.

    Returns:
        the state, brought to the phase's end.

    Raises:
        CheckError: the loss became NaN.
    """
    import keras

    keeper = _make_keeper(options, phase, checkpoint, state)
    if not state.done:
        with training_bar(phase.name, phase.epochs, len(batches), state.epochs) as bar:
            model.fit(
                batches,
                validation_data=held_out,
                epochs=phase.epochs,
                initial_epoch=state.epochs,
                shuffle=False,  # the batches do it themselves; Keras would by a generator that no checkpoint holds
                callbacks=[keeper, bar, *_tensorboard(options, phase), keras.callbacks.TerminateOnNaN()],
                verbose=0,
            )
        if not np.isfinite(state.history["loss"]).all() or not np.isfinite(state.best_loss):
            checkpoint.remove()
            raise CheckError(f"the loss became NaN in epoch {state.epochs}; try a lower --learning-rate")
        state.done = True
        checkpoint.save(phase.name, model, state)
    model.set_weights(state.best)
    return state


def prepare(model: Any, options: TrainingOptions, phase: Phase, steps: int) -> None:
    """Compile a model for a phase.

    Args:
        model: its last layer is the phase's head.
        options: of the training.
        phase: this part of it.
        steps: batches per epoch.
    """
    import keras

    rate: Any = phase.learning_rate
    if options.schedule == "cosine":
        total = phase.epochs * steps
        warm_up = min(round(options.warm_up_epochs * steps), total - 1)
        warm: dict[str, Any] = {"warmup_target": rate, "warmup_steps": warm_up} if warm_up else {}
        first = rate / 10 if warm_up else rate
        rate = keras.optimizers.schedules.CosineDecay(first, max(1, total - warm_up), **warm)
    optimizer: Any = {
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=options.weight_decay),
        "adam": lambda: keras.optimizers.Adam(rate),
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=0.9),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate),
    }[options.optimizer]()
    model.compile(
        optimizer=optimizer,
        loss=_loss(options, phase),
        # Weights of labels are the loss's alone; the others only leave out what fills a batch up.
        **{"metrics" if options.class_weights != "none" else "weighted_metrics": [_accuracy(phase)]},
        jit_compile=jit_compile(),
    )


def _loss(options: TrainingOptions, phase: Phase) -> Any:
    import keras

    if phase.head == "sigmoid":
        return keras.losses.BinaryCrossentropy(label_smoothing=options.label_smoothing)
    hard = keras.losses.CategoricalCrossentropy(
        from_logits=phase.head == "logits", label_smoothing=options.label_smoothing
    )
    if options.teacher is None:
        return hard
    classes, share, temperature = phase.classes, options.teacher_share, options.temperature

    def distillation(targets: Any, scores: Any) -> Any:
        """Mix the labels' loss and the teacher's: Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2."""
        ops: Any = keras.ops
        labels, teacher = targets[:, :classes], targets[:, classes:]
        soft = ops.softmax(_log(teacher) / temperature)
        pupil = ops.log_softmax(_log(scores) / temperature)
        # The gradient of the soft part shrinks with the temperature's square (the same section).
        soft_loss = -ops.sum(soft * pupil, axis=-1) * temperature**2
        hard_loss: Any = keras.losses.categorical_crossentropy(labels, scores, label_smoothing=options.label_smoothing)
        return (1 - share) * hard_loss + share * soft_loss

    return distillation


def _log(scores: Any) -> Any:
    """Return what scores were before their softmax, but for a constant."""
    import keras

    return keras.ops.log(keras.ops.clip(scores, 1e-7, 1.0))


def _accuracy(phase: Phase) -> Any:
    import keras

    if phase.head == "sigmoid":
        return keras.metrics.BinaryAccuracy("accuracy")

    def right(targets: Any, scores: Any) -> Any:
        labels = keras.ops.argmax(targets[:, : phase.classes], axis=-1)
        return keras.ops.cast(keras.ops.equal(labels, keras.ops.argmax(scores, axis=-1)), "float32")

    return keras.metrics.MeanMetricWrapper(right, "accuracy")


def _make_keeper(options: TrainingOptions, phase: Phase, checkpoint: Checkpoint, state: PhaseState) -> Any:
    import keras

    class Keeper(keras.callbacks.Callback):
        """Keeps the best weights and the history, saves both after each epoch, and ends the phase."""

        model: Any
        _started: float = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._started = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs = dict(logs or {})
            logs["learning_rate"] = float(np.asarray(self.model.optimizer.learning_rate))
            for name, value in logs.items():
                state.history.setdefault(name, []).append(float(value))
            state.waited += 1
            state.seconds += time.monotonic() - self._started
            if logs["val_loss"] < state.best_loss or not state.best:
                # A NaN is no loss to beat.
                state.best_loss = float("inf") if np.isnan(logs["val_loss"]) else float(logs["val_loss"])
                state.waited, state.best = 0, self.model.get_weights()
            reason = self._reason(logs)
            if reason is not None:
                say(f"stopping after epoch {epoch + 1}: {reason}")
                self.model.stop_training = True
            state.done = reason is not None or epoch + 1 == phase.epochs
            checkpoint.save(phase.name, self.model, state)

        def _reason(self, logs: dict[str, float]) -> str | None:
            if options.stop_at_accuracy is not None and logs["accuracy"] > options.stop_at_accuracy:
                # The weights that passed the mark are the ones that were asked for.
                state.waited, state.best = 0, self.model.get_weights()
                return f"training accuracy {logs['accuracy']:.4f} passed {options.stop_at_accuracy}"
            if options.stop_at_loss is not None and logs["loss"] < options.stop_at_loss:
                state.waited, state.best = 0, self.model.get_weights()
                return f"training loss {logs['loss']:.4f} fell under {options.stop_at_loss}"
            if options.patience is not None and state.waited >= options.patience:
                return f"the val loss has not fallen for {state.waited} epochs"
            return None

    return Keeper()


def _tensorboard(options: TrainingOptions, phase: Phase) -> list[Any]:
    import keras

    if options.tensorboard is None:
        return []
    return [keras.callbacks.TensorBoard(f"{options.tensorboard}/{phase.name}", profile_batch=0)]
