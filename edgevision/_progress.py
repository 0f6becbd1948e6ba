"""Progress on stderr: bars on a terminal, one line per step elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ._interrupt import raise_if_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import keras

__all__ = ["decoding_bar", "say", "say_skipped", "skipped_once", "training_bar"]

#: Skipped pictures that are named one by one; all of them stand in the run's record.
_NAMED = 20
#: Skipped pictures that were named already; None where each time counts.
_told: ContextVar[set[str] | None] = ContextVar("told", default=None)


def say(text: str) -> None:
    """Print a line of progress to stderr."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def skipped_once() -> Generator[None]:
    """Name a picture that could not be read only once in this block, however often it is come across."""
    outer = _told.get()
    token = _told.set(set() if outer is None else outer)
    try:
        yield
    finally:
        _told.reset(token)


def say_skipped(skipped: Sequence[str]) -> None:
    """Name the pictures that could not be read, and count them."""
    told = _told.get()
    if told is not None:
        skipped = [line for line in skipped if line not in told]
        told.update(skipped)
    for line in skipped[:_NAMED]:
        say(f"skipped: {line}")
    if skipped:
        more = f", {len(skipped) - _NAMED} more not named here" if len(skipped) > _NAMED else ""
        say(f"{len(skipped)} picture{'s' if len(skipped) > 1 else ''} skipped{more}; --strict refuses them")


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
    # Where it is no terminal, a bar would still end in an empty line.
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


@contextlib.contextmanager
def decoding_bar(what: str = "pictures") -> Generator[Callable[[int, int], None]]:
    """Yield a callback `(done, total)` that draws a bar; nothing appears if it is never called."""
    with contextlib.ExitStack() as opened:
        progress: Any = None
        task: Any = None

        def on_progress(done: int, total: int) -> None:
            nonlocal progress, task
            raise_if_interrupted()
            if progress is None:
                progress = opened.enter_context(_progress())
                task = progress.add_task(what, total=total, note="")
            progress.update(task, completed=done)

        yield on_progress


@contextlib.contextmanager
def training_bar(what: str, epochs: int, steps: int, done: int = 0) -> Generator[keras.callbacks.Callback]:
    """Yield a Keras callback that draws a bar over all steps, with the last epoch's metrics behind it.

    Args:
        what: of the bar.
        epochs, steps: of the training, and of an epoch.
        done: epochs that are behind it.
    """
    import keras

    with _progress() as progress:
        task = progress.add_task(what, total=epochs * steps, completed=done * steps, note="")

        began_s = time.monotonic()

        class Bar(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
                nonlocal began_s
                began_s = time.monotonic()

            def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
                raise_if_interrupted()
                progress.advance(task)

            def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
                logs = logs or {}
                note = (
                    f"epoch {epoch + 1}/{epochs}  loss {logs.get('loss', float('nan')):.3f}  "
                    f"val loss {logs.get('val_loss', float('nan')):.3f}  "
                    f"val accuracy {logs.get('val_accuracy', float('nan')):.4f}  {time.monotonic() - began_s:.1f} s"
                )
                progress.update(task, note=note)
                if not sys.stderr.isatty():
                    say(f"{what}: {note}")

        yield Bar()
