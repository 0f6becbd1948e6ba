"""Run image classifiers on the device: verified files, one preprocessing, an honest frame loop.

In three lines:

    from edgevision_device import Classifier, read_picture

    classifier = Classifier("digits.int8.tflite")
    print(classifier.classify(read_picture("seven.png")))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._public import *  # noqa: F403

__version__ = "0.1.0"


#: Where a name is looked for, in turn: what labels a picture needs neither sources nor sinks.
_PLACES = ("_classifier", "_pictures", "_public")


# Public names are imported when they are used: a program that needs few of them reaches its first label sooner.
def __getattr__(name: str) -> Any:
    for place in _PLACES:
        module = importlib.import_module(f".{place}", __name__)  # `from . import` would ask this function for it
        if name in module.__all__ or (name == "__all__" and place == _PLACES[-1]):
            value = globals()[name] = getattr(module, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
