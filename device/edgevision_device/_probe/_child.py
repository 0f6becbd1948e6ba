"""What runs in the process of its own: prints one JSON record."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

from .._errors import EdgevisionError, MissingPackageError
from .._preprocess import load_opencv
from .._runtimes import PACKAGES, open_runtime
from .._sources import load_picamera2


def main(argv: list[str]) -> None:
    """Try one thing and print the outcome."""
    name, *more = argv
    if name == "model":
        _model(*more)
        return
    others = {"opencv": ("cv2", _opencv), "picamera2": ("picamera2", _picamera2)}
    module, attempt = others.get(name) or (PACKAGES[name].module.partition(".")[0], lambda: _runtime(name))
    installed = importlib.util.find_spec(module) is not None
    try:
        works, text = True, attempt()
    except EdgevisionError as error:
        works, text = False, str(error)
    print(json.dumps({"installed": installed, "works": works, "text": text}))


def _model(format: str, runtime: str) -> None:
    # What can be said without dying, the caller finds out and says itself.
    with contextlib.suppress(EdgevisionError):
        opened = open_runtime(sys.stdin.buffer.read(), format, runtime=runtime or None, threads=1)
        opened.run(np.zeros(opened.input.shape, opened.input.dtype))


def _runtime(name: str) -> str:
    format = PACKAGES[name].format
    model = Path(__file__).with_name(f"tiny.{format}").read_bytes()
    runtime = open_runtime(model, format, runtime=name, threads=1)
    scores = runtime.run(np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3))
    if not np.allclose(scores, [0, 0.2, 1], atol=1e-6):
        raise EdgevisionError(f"{runtime.version} gives wrong numbers: {scores.ravel().tolist()}, not [0, 0.2, 1]")
    return f"{runtime.version} runs a model"


def _picamera2() -> str:
    # Not opened: the camera may be in use, by this very program as a service.
    cameras = load_picamera2().global_camera_info()
    if not cameras:
        raise EdgevisionError("libcamera finds no camera: power off, then check that the cable is in, and straight")
    return ", ".join(f"{number} ({camera.get('Model')})" for number, camera in enumerate(cameras))


def _opencv() -> str:
    cv2 = load_opencv()
    # Wheels of two distributions in one folder import and then lack one another's functions.
    picture = np.full((4, 6, 3), 200, np.uint8)
    try:
        encoded = cv2.imencode(".png", cv2.resize(picture, (3, 2), interpolation=cv2.INTER_AREA))[1]
        right = bool((cv2.imdecode(encoded, cv2.IMREAD_COLOR) == 200).all())
        registry = cv2.videoio_registry
        reads = [registry.getBackendName(backend) for backend in registry.getBackends()]
    except AttributeError as error:
        raise MissingPackageError(f"OpenCV is incomplete ({error}); reinstall it") from error
    if not right:
        raise EdgevisionError(f"OpenCV {cv2.__version__} gives wrong pixels")
    missing = [name for name in ("FFMPEG", "V4L2") if name not in reads]
    return f"{cv2.__version__}{''.join(f', without {name}' for name in missing)}"
