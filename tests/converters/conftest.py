"""What the converter tests share: a small classifier that sees colors, and one export of it in all recipes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgevision_converters import Calibration, ExportedFile, SourceModel, export_model
from edgevision_device import DataOrigin

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

#: Not square, so that an exchange of width and height cannot go unseen.
WIDTH, HEIGHT = 28, 20
LABELS = ("red", "green", "blue", "yellow stripe")
COLORS = {"red": (210, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220), "yellow stripe": (220, 210, 40)}


@dataclass(frozen=True)
class Patches:
    """Pictures of the input's size: uint8 `(n, 20, 28, 3)`, and the index of each one's label."""

    pixels: np.ndarray
    targets: np.ndarray


def draw_patches(count: int, seed: int) -> Patches:
    """Draw a pale patch on grey noise, a rectangle anywhere, or a stripe from edge to edge."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % len(LABELS)
    pixels = generator.integers(60, 180, (count, HEIGHT, WIDTH, 1)).repeat(3, axis=3)
    for picture, target in zip(pixels, targets, strict=True):
        color = np.array(COLORS[LABELS[target]]) + generator.integers(-40, 41, 3)
        top, left = generator.integers(0, (HEIGHT - 10, WIDTH - 10))
        place = (
            np.s_[top : top + 6, :] if LABELS[target] == "yellow stripe" else np.s_[top : top + 10, left : left + 10]
        )
        # Pale enough that the classifier stays unsure here and there: agreement on certainties proves little.
        picture[place] += ((color - picture[place]) * generator.uniform(0.04, 0.3)).astype(int)
    return Patches(pixels.clip(0, 255).astype(np.uint8), targets)


def network(normalization: tuple[float, float] | None = (1 / 128, -127 / 128), softmax: bool = True) -> keras.Model:
    """Build the classifier, with a Rescaling layer of (scale, offset) or without one."""
    import keras
    from keras import layers

    inputs = x = keras.Input((HEIGHT, WIDTH, 3), name="pixels")
    if normalization is not None:
        x = layers.Rescaling(*normalization, name="normalization")(x)
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="first")(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = shortcut = layers.ReLU(max_value=6)(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="second")(x)
    x = layers.Add(name="add")([x, shortcut])
    x = layers.Conv2D(64, 3, 2, "same", activation="relu", name="third")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(len(LABELS), activation="softmax" if softmax else None, name="scores")(x)
    return keras.Model(inputs, x)


@pytest.fixture(name="network", scope="session")
def network_fixture() -> Callable[..., keras.Model]:
    return network


@pytest.fixture(scope="session")
def held_out() -> Patches:
    """Pictures that the classifier was not trained on."""
    return draw_patches(60, seed=2)


@pytest.fixture(scope="session")
def model(held_out: Patches) -> keras.Model:
    """The classifier, trained for seconds."""
    import keras

    keras.utils.set_random_seed(1)
    patches = draw_patches(640, seed=1)
    trained = network()
    trained.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    trained.fit(patches.pixels.astype(np.float32), patches.targets, 32, epochs=3, verbose=0)
    scores = np.asarray(trained(held_out.pixels.astype(np.float32), training=False))
    assert (scores.argmax(1) == held_out.targets).mean() > 0.95
    return trained


@pytest.fixture(scope="session")
def source(model: keras.Model) -> SourceModel:
    origin = DataOrigin("patches", "ab" * 32, 640)
    return SourceModel.of(model, LABELS, name="patches", resize="letterbox", trained_on=origin)


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    pixels = draw_patches(40, seed=3).pixels
    return Calibration(pixels, DataOrigin("patches", hashlib.sha256(pixels.tobytes()).hexdigest(), len(pixels)))


@pytest.fixture(scope="session")
def exported(
    source: SourceModel, calibration: Calibration, held_out: Patches, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ExportedFile]:
    """Every format in every recipe: file name → what the export says of it."""
    out = tmp_path_factory.mktemp("exports")
    files = export_model(source, out, verification=held_out.pixels, calibration=calibration)
    return {file.path.name: file for file in files}


@pytest.fixture(scope="session")
def folder(exported: dict[str, ExportedFile]) -> Path:
    """The folder of the files above."""
    return next(iter(exported.values())).path.parent
