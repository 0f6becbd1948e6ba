"""Pretrained networks as the files that a device would run, made only to be asked."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision_converters import RECIPES, SourceModel, TfliteConversion, export_model, plan_files
from edgevision_device import FileError, MissingPackageError, UsageError, require_known

from ._arithmetic import layer_costs, total_costs
from ._keras import start_keras
from ._networks import NETWORKS, PRETRAINED, RANDOM, imagenet_labels
from ._photos import calibration_photos, check_photos
from ._progress import say

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    import keras
    import numpy.typing as npt

__all__ = ["RESIZE", "NetworkFile", "NetworkFiles", "parse_weights"]

#: How pictures reach the size of a pretrained network, as `edgevision export` says it in its files.
RESIZE = "crop"
#: Crops of photographs on which int8 finds its ranges, as many as `edgevision export` takes.
_CALIBRATION = 100
_CALIBRATION_RANDOM = 4


@dataclass(frozen=True)
class NetworkFile:
    """A pretrained network in a file.

    Attributes:
        model: its name.
        recipe: how it is quantized.
        random: whether it was left as it was initialized, so that what it says of a picture means nothing.
        path: of the file.
        size_wh: what it takes.
        size_bytes: of the file.
        parameters, macs: of the Keras model; multiply-accumulates per picture.
    """

    model: str
    recipe: str
    random: bool
    path: Path
    size_wh: tuple[int, int]
    size_bytes: int
    parameters: int
    macs: int

    @property
    def title(self) -> str:
        """Its name, with what must not be overlooked."""
        return f"{self.model} (random weights)" if self.random else self.model


@dataclass(frozen=True)
class NetworkFiles:
    """Which networks, and how they become files. What cannot be is refused before anything slow.

    Attributes:
        models: names of pretrained networks; `("all",)` for every one.
        weights: file by network, or `random`; of the others those that are published.
        recipes: of the `.tflite` files, of which each network becomes one a recipe.
        out: folder for the files; None makes them in a temporary one.
        threads: for the runtime; default: see `Classifier`.
        overwrite: replace files that exist.
        lenient: leave a network out whose weights are not there, instead of refusing; so it is with `("all",)`.
        instead: what to do without the photographs that calibrate int8.

    Raises:
        UsageError: an unknown network or recipe, or a file that exists.
        FileError, MissingPackageError: weights that are not there.
    """

    models: tuple[str, ...]
    weights: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    recipes: tuple[str, ...] = ("float32",)
    out: str | os.PathLike[str] | None = None
    threads: int | None = None
    overwrite: bool = False
    lenient: bool = False
    instead: str = "choose another --recipe"

    def __post_init__(self) -> None:
        names = tuple(dict.fromkeys(self.models))
        if names == ("all",):
            names = PRETRAINED
            object.__setattr__(self, "lenient", True)
        object.__setattr__(self, "models", names)
        if not names:
            raise UsageError(f"no network to ask; name one or more of {', '.join(PRETRAINED)}, or all")
        for name in names:
            if name in NETWORKS and name not in PRETRAINED:
                raise UsageError(f"{name} has no ImageNet weights; those that do: {', '.join(PRETRAINED)}")
            require_known("pretrained network", name, PRETRAINED)
        for name in self.weights:
            require_known("network in --weights", name, names)
        for recipe in self.recipes:
            require_known("recipe", recipe, RECIPES["tflite"])
        if self.threads is not None and not 1 <= self.threads <= 256:
            raise UsageError(f"threads must lie between 1 and 256, got {self.threads}")
        if self.out is not None:
            for name in names:
                plan_files(name, self.out, ["tflite"], list(self.recipes), overwrite=self.overwrite)

    def check(self) -> NetworkFiles:
        """Return those that can be had, as far as that can be told before anything slow, and say what is left out.

        Raises:
            FileError, MissingPackageError: weights or the photographs are not there, naming the flag.
        """
        if self._calibrated:
            check_photos(self.instead)
        left: list[str] = []
        for name in self.models:
            with self._left_out(name):
                NETWORKS[name].check_weights(self.weights.get(name), top=True)
                left.append(name)
        _require_some(left)
        return replace(self, models=tuple(left))

    @contextlib.contextmanager
    def _left_out(self, name: str) -> Generator[None]:
        """Let weights that are not there end the block alone, if nobody named that network."""
        try:
            yield
        except (FileError, MissingPackageError) as error:
            named = name in self.weights or not self.lenient
            several = f", as {name}=FILE" if len(self.models) > 1 and name not in self.weights else ""
            if named:
                raise type(error)(f"{name}: {error}{several}") from error
            say(f"left out: {name}: {error}{several}")

    @property
    def _calibrated(self) -> bool:
        return any(RECIPES["tflite"][recipe].calibrated for recipe in self.recipes)

    @property
    def sizes_wh(self) -> dict[str, tuple[int, int]]:
        """Input width and height by network."""
        return {name: size_wh for name in self.models if (size_wh := NETWORKS[name].size_wh) is not None}

    @contextlib.contextmanager
    def made(self, sample: Callable[[tuple[int, int]], npt.NDArray[np.uint8]]) -> Generator[list[NetworkFile]]:
        """Yield the files of what `check` returned, in order; those in a temporary folder are gone after the block.

        Args:
            sample: returns pictures of that width and height, uint8 `(n, height, width, 3)`, on which a file is
                compared with its Keras model.

        Raises:
            CheckError: a float file disagrees with its Keras model.
        """
        start_keras("tensorflow")
        import keras

        with contextlib.ExitStack() as opened:
            out = Path(opened.enter_context(tempfile.TemporaryDirectory()) if self.out is None else self.out)
            files: list[NetworkFile] = []
            for number, (name, size_wh) in enumerate(self.sizes_wh.items(), 1):
                say(f"{number}/{len(self.models)} {name}: making its file{'s' * (len(self.recipes) > 1)}")
                model = self._model(name)
                if model is not None:
                    files += self._make(name, model, out, sample(size_wh))
                del model
                keras.utils.clear_session()  # a network of 500 MB need not stay while the next is made
            _require_some(files)
            yield files

    def _model(self, name: str) -> keras.Model | None:
        with self._left_out(name):
            if self.weights.get(name) != RANDOM:
                return NETWORKS[name].classifier(self.weights.get(name))  # fetches what is published
            import keras

            keras.utils.set_random_seed(0)  # the same file each time, which is known again by its SHA-256
            model = NETWORKS[name].classifier(RANDOM)
            _scatter(model)
            return model
        return None

    def _make(self, name: str, model: keras.Model, out: Path, verification: npt.NDArray[np.uint8]) -> list[NetworkFile]:
        random = self.weights.get(name) == RANDOM
        calibration = None
        if self._calibrated:
            # Of random weights any ranges will do, and there is nothing to fit: it is as fast, and made sooner.
            count = _CALIBRATION_RANDOM if random else _CALIBRATION
            calibration = calibration_photos(count, self.sizes_wh[name], 0, self.instead)
        parameters, macs = total_costs(layer_costs(model))
        source = SourceModel.of(model, imagenet_labels(), name=name, resize=RESIZE, random_weights=random)
        pixels = None if calibration is None else calibration.pixels_nhwc
        files = export_model(
            source,
            out,
            verification=verification,
            calibration=calibration,
            formats=["tflite"],
            recipes=list(self.recipes),
            overwrite=self.overwrite,
            conversion=TfliteConversion(source, pixels, fitted=not random),
        )
        size_wh = source.metadata.size_wh
        return [
            NetworkFile(name, file.recipe, random, file.path, size_wh, file.size_bytes, parameters, macs)
            for file in files
        ]


def _scatter(model: keras.Model) -> None:
    """Move apart what was initialized with one number, such as biases: of equal buffers a `.tflite` file holds one."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        values: npt.NDArray[Any] = np.asarray(weight)
        if values.size and (values == values.flat[0]).all():
            weight.assign(values + generator.uniform(0, 0.1, values.shape))


def parse_weights(texts: Iterable[str], models: Sequence[str]) -> dict[str, str]:
    """Read each `--weights`: `FILE` where there is one network, else `NAME=FILE`.

    >>> parse_weights(["vgg16=random", "resnet50=weights/a=b.h5"], ["all"])
    {'vgg16': 'random', 'resnet50': 'weights/a=b.h5'}
    >>> parse_weights(["weights/a=b.h5"], ["resnet50"])
    {'resnet50': 'weights/a=b.h5'}
    """
    weights: dict[str, str] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if name not in NETWORKS and len(models) == 1 and models != ["all"]:
            name, equals, file = models[0], "=", text
        if not equals or not name or not file:
            raise UsageError(
                f"of several networks --weights takes NAME=FILE or NAME={RANDOM}, such as resnet50=resnet50.h5, got "
                f"{text!r}"
            )
        if name in weights:
            raise UsageError(f"--weights are given twice for {name}: {weights[name]} and {file}; give one")
        weights[name] = file
    return weights


def _require_some(left: Sequence[object]) -> None:
    if not left:
        raise FileError(f"the weights of no network are there; give some, such as --weights {PRETRAINED[0]}=FILE")
