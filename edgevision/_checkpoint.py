"""A training's state on disk, so that one that was killed goes on where it was."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_device import FileError, UsageError, write_atomically, writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    import numpy.typing as npt

__all__ = ["Checkpoint", "PhaseState"]


_OPTIONS = "options.json"


@dataclass
class PhaseState:
    """How far one phase of a training has come.

    Attributes:
        history: one list per metric, one entry per epoch.
        best: the weights of the best epoch so far.
        best_loss: its val loss.
        waited: epochs since then.
        seconds: that its epochs took.
        done: the phase has ended.
    """

    history: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    best: list[npt.NDArray[Any]] = field(default_factory=list["npt.NDArray[Any]"])
    best_loss: float = float("inf")
    waited: int = 0
    seconds: float = 0.0
    done: bool = False

    @property
    def epochs(self) -> int:
        """Epochs that are behind it."""
        return len(self.history.get("loss", ()))

    @property
    def kept_epoch(self) -> int:
        """The epoch, counted from 1, whose weights are the best."""
        return self.epochs - self.waited


@dataclass(frozen=True)
class Checkpoint:
    """A folder beside the run folder to be, gone when the run is complete.

    Attributes:
        folder: `RUN.unfinished`.
    """

    folder: Path

    @classmethod
    def of(cls, out: Path) -> Checkpoint:
        """Return the checkpoint that belongs to a run folder."""
        return cls(out.with_name(f"{out.name}.unfinished"))

    def refuse(self, told: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Raise where `begin` would, as far as that can be known of a training of which no more is told yet."""
        if resume:
            self._require_same(told)
        if self.folder.exists() and not resume:
            if not overwrite:
                raise UsageError(
                    f"an interrupted training lies in {self.folder}; --resume goes on with it, --overwrite starts anew"
                )
            if not (self.folder / _OPTIONS).is_file() and any(self.folder.iterdir()):
                raise FileError(f"{self.folder} exists and is no interrupted training; choose another --out")

    def begin(self, options: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make room for a training with these options, or find the one that is to go on.

        Raises:
            UsageError: there is an interrupted training and neither `resume` nor `overwrite`; or there is none, or one
                with other options, and `resume`.
        """
        self.refuse(options, resume=resume, overwrite=overwrite)
        if resume:
            return
        if self.folder.exists():
            shutil.rmtree(self.folder)
        write_atomically(self.folder / _OPTIONS, json.dumps(options))

    def _require_same(self, told: Mapping[str, Any]) -> None:
        file = self.folder / _OPTIONS
        if not file.is_file():
            raise UsageError(f"there is no interrupted training in {self.folder}; leave out --resume")
        started: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        now: dict[str, Any] = json.loads(json.dumps(told))
        for name, value in now.items():
            if started.get(name) != value:
                raise UsageError(
                    f"the training in {self.folder} was started with {name} = {started.get(name)!r}, now it is "
                    f"{value!r}; give what was given then, or start anew with --overwrite"
                )

    def save(self, phase: str, model: keras.Model, state: PhaseState) -> None:
        """Write the state of a phase after an epoch."""
        arrays = {f"now{place}": np.asarray(each) for place, each in enumerate(_variables(model))}
        arrays |= {f"best{place}": each for place, each in enumerate(state.best)}
        told = {"history": state.history, "loss": state.best_loss, "waited": state.waited, "done": state.done}
        told["seconds"] = state.seconds
        with writing(self.folder / f"{phase}.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, state=np.array(json.dumps(told)), **arrays)  # pyright: ignore[reportArgumentType]

    def load(self, phase: str, model: keras.Model) -> PhaseState:
        """Bring a compiled model back to where the phase was, or leave it as it is if the phase had not begun."""
        path = self.folder / f"{phase}.npz"
        if not path.is_file():
            return PhaseState()
        try:
            with np.load(path) as stored:
                told = json.loads(str(stored["state"]))
                for place, variable in enumerate(_variables(model)):
                    variable.assign(stored[f"now{place}"])
                best = [stored[f"best{place}"] for place in range(len(model.weights))]
        except (KeyError, ValueError) as error:
            raise FileError(f"{path} does not fit the model ({error}); start anew with --overwrite") from error
        return PhaseState(told["history"], best, told["loss"], told["waited"], told["seconds"], told["done"])

    def seconds(self) -> float:
        """Return what the epochs that are behind it took."""
        return sum(_told(path)["seconds"] for path in self.folder.glob("*.npz"))

    def has_state(self) -> bool:
        """Say whether there is anything to go on with."""
        return any(self.folder.glob("*.npz"))

    def remove(self) -> None:
        """Forget the training: its run folder is complete, or it can never be."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _told(path: Path) -> dict[str, Any]:
    with np.load(path) as stored:
        return json.loads(str(stored["state"]))


def _variables(model: keras.Model) -> list[Any]:
    """List everything that decides how a training goes on: weights, random states, the optimizer's moments and step."""
    optimizer: Any = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    # model.variables holds the metrics of a compiled model too, which start anew each epoch.
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [each for each in (*model.variables, *optimizer.variables) if id(each) not in metrics]
