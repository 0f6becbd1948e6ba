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


# Public names are imported when the first of them is used: a command of the device imports the modules it needs only,
# and reaches its first label sooner.
def __getattr__(name: str) -> Any:
    public = importlib.import_module("._public", __name__)  # `from . import` would ask this function for it
    try:
        value = globals()[name] = getattr(public, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
