"""Progress on stderr: bars on a terminal, one line per step elsewhere."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import keras

__all__ = ["decoding_bar", "say", "training_bar"]


def say(text: str) -> None:
    """Print a line of progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=not sys.stderr.isatty())


@contextlib.contextmanager
def decoding_bar(what: str = "pictures") -> Generator[Callable[[int, int], None]]:
    """Yield a callback `(done, total)` that draws a bar; nothing appears if it is never called."""
    with _progress() as progress:
        task: Any = None

        def on_progress(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = progress.add_task(what, total=total, note="")
            progress.update(task, completed=done)

        yield on_progress


@contextlib.contextmanager
def training_bar(epochs: int, steps: int) -> Generator[keras.callbacks.Callback]:
    """Yield a Keras callback that draws a bar over all steps, with the last epoch's metrics behind it."""
    import keras

    with _progress() as progress:
        task = progress.add_task("training", total=epochs * steps, note="")

        class Bar(keras.callbacks.Callback):
            def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
                progress.advance(task)

            def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
                logs = logs or {}
                note = (
                    f"epoch {epoch + 1}/{epochs}  loss {logs.get('loss', float('nan')):.3f}  "
                    f"val accuracy {logs.get('val_accuracy', float('nan')):.4f}"
                )
                progress.update(task, note=note)
                if not sys.stderr.isatty():
                    say(note)

        yield Bar()
