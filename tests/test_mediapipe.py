"""MediaPipe Tasks, what phones run, reads our .tflite files and gives the answers that we give."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgevision_converters import Calibration, SourceModel, export_model
from edgevision_device import Classifier, DataOrigin

if TYPE_CHECKING:
    from collections.abc import Callable

LABELS = ("red fox", "größte Katze", "pelican", "zebra, crossing")
WIDTH, HEIGHT = 24, 16

#: Runs in MediaPipe's own environment: arguments pictures.npz and model files; prints {file: [{label: score}]}.
CLASSIFY = """
import json, sys
import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
pictures = list(np.load(sys.argv[1]).values())
answers = {}
for path in sys.argv[2:]:
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=path), max_results=-1)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        answers[path] = []
        for picture in pictures:
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
            ranked = classifier.classify(image).classifications[0].categories
            answers[path].append({category.category_name: category.score for category in ranked})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def mediapipe(environment: Callable[..., Path], root: Path) -> Path:
    """The Python of an environment with MediaPipe, which pins an OpenCV that is not ours."""
    python = environment("mediapipe", "3.11", ["mediapipe==1.2.2"], keys=[], local=[])
    asked = subprocess.run([python, "-c", "from mediapipe.tasks.python import vision"], capture_output=True, text=True)
    # On the first use it would fail so too: libmediapipe.so links these two even where nothing is drawn.
    if "libEGL" in asked.stderr or "libGLES" in asked.stderr:
        pytest.skip("MediaPipe needs: apt-get install libegl1 libgles2")
    assert asked.returncode == 0, asked.stderr
    return python


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Noise and plain colors of the input's size, so that no resizing differs."""
    generator = np.random.default_rng(5)
    noise = [generator.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(4)]
    return noise + [np.full((HEIGHT, WIDTH, 3), color, np.uint8) for color in ((255, 0, 0), (0, 255, 0), (9, 9, 200))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small network in every TFLite recipe."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 3)),
            keras.layers.Rescaling(1 / 128, offset=-127 / 128),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(len(LABELS), activation="softmax"),
        ]
    )
    pixels = np.random.default_rng(1).integers(0, 256, (100, HEIGHT, WIDTH, 3), np.uint8)
    files = export_model(
        SourceModel.of(model, LABELS, name="phone"),
        tmp_path_factory.mktemp("exported"),
        verification=pixels[:20],
        calibration=Calibration(pixels, DataOrigin("noise", "0" * 64, len(pixels))),
        formats=["tflite"],
    )
    return {file.recipe: file.path for file in files}


@pytest.fixture(scope="module")
def answers(
    mediapipe: Path, exported: dict[str, Path], pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    saved = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(saved, *pictures)
    line = [mediapipe, "-c", CLASSIFY, saved, *exported.values()]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic", "int8"])
def test_mediapipe_gives_our_labels_and_scores(
    recipe: str, answers: dict[str, Any], exported: dict[str, Path], pictures: list[np.ndarray]
) -> None:
    classifier = Classifier(exported[recipe])
    # The same arithmetic in another build of TensorFlow Lite; one step of an int8 score is 1/256.
    tolerance = 1e-5 if recipe in ("float32", "float16") else 1.01 / 256
    for picture, theirs in zip(pictures, answers[str(exported[recipe])], strict=True):
        ours = {each.label: each.score for each in classifier.classify(picture, top=len(LABELS))}
        assert theirs.keys() == ours.keys()
        assert theirs == pytest.approx(ours, abs=tolerance)
