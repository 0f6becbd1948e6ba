"""The packages behind the runtimes: what to read with them, import, ask for a version and install."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from .._errors import MissingPackageError

__all__ = ["PACKAGES", "RUNTIMES", "Package", "load_runtime"]


@dataclass(frozen=True)
class Package:
    """A runtime that somebody else publishes.

    Attributes:
        format: of the files that it reads.
        module: holds its interpreter.
        distribution: knows its version.
        requirement: what `pip install` needs to be told.
    """

    format: str
    module: str
    distribution: str
    requirement: str


#: By runtime name; of those for one format, the first one installed is used.
PACKAGES = {
    "litert": Package("tflite", "ai_edge_litert.interpreter", "ai-edge-litert", "ai-edge-litert"),
    # Built against numpy 1; under numpy 2 its import succeeds and the first Interpreter(...) dies in native code.
    "tflite-runtime": Package("tflite", "tflite_runtime.interpreter", "tflite-runtime", "tflite-runtime 'numpy<2'"),
    "onnxruntime": Package("onnx", "onnxruntime", "onnxruntime", "onnxruntime"),
}

#: Runtime names by file format.
RUNTIMES = {
    format: tuple(name for name, package in PACKAGES.items() if package.format == format)
    for format in ("tflite", "onnx")
}


def load_runtime(name: str) -> ModuleType:
    """Import a runtime's module, or raise MissingPackageError with the command that installs it."""
    package = PACKAGES[name]
    try:
        return importlib.import_module(package.module)
    except ImportError as error:
        raise MissingPackageError(
            f"the runtime {name} cannot be imported ({error}); pip install {package.requirement}"
        ) from error
