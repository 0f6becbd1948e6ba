"""Starting Keras, which takes seconds."""

from __future__ import annotations

import importlib
import sys

from edgevision_device import quiet_native

from ._progress import say

__all__ = ["forget_models", "start_keras"]


def start_keras(*more: str) -> None:
    """Import Keras with its backend, and other modules that are as slow; say so first, unless all are there already."""
    missing = [name for name in ("keras", *more) if name not in sys.modules]
    if not missing:
        return
    say("Starting Keras")
    with quiet_native(keep=lambda line: False):  # the backend greets from C++ when it is first imported
        for name in missing:
            importlib.import_module(name)


def forget_models() -> None:
    """Let Keras number the names of layers from the start again, and free what it holds of models that are gone."""
    if "keras" in sys.modules:
        import keras

        keras.utils.clear_session()
