"""Interpreters behind one seam: uint8 or float pixels in, one row of scores out."""

from __future__ import annotations

import os
from typing import Any, Optional, Protocol

import numpy.typing as npt

from .._errors import MissingPackageError, UsageError, require_known
from ._packages import PACKAGES, RUNTIMES, load_runtime
from ._tensor import Tensor

__all__ = [
    "PACKAGES",
    "RUNTIMES",
    "Runtime",
    "Tensor",
    "count_cores",
    "default_threads",
    "load_runtime",
    "open_runtime",
]


class Runtime(Protocol):
    """An open model. Implement `run` and these attributes to plug in another interpreter, or a fake.

    Attributes:
        name: `litert`, `tflite-runtime` or `onnxruntime`.
        version: the package's version.
        threads: how many it was told to use.
        input, output: shape, dtype and quantization of the model's input and output.
    """

    name: str
    threads: int
    input: Tensor
    output: Tensor

    @property
    def version(self) -> str: ...

    def run(self, input_nhwc: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run the model once on an array of the input's shape and dtype; return the output, `(1, labels)`.

        Raises FileError if that fails.
        """
        ...


def count_cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        return os.cpu_count() or 1


def default_threads() -> int:
    """Return how many threads a runtime gets unless told otherwise: the cores this process may use, at most 4."""
    return min(count_cores(), 4)


def open_runtime(
    model: bytes,
    format: str,
    *,
    runtime: Optional[str] = None,
    threads: Optional[int] = None,
    delegate: Optional[str] = None,
) -> Runtime:
    """Open the bytes of a model with the named runtime, or with the first installed one that reads the format.

    Args:
        model: bytes of a `.tflite` or `.onnx` model, already verified: native code reads them next.
        format: `tflite` or `onnx`.
        runtime: one of `RUNTIMES[format]`.
        threads: 1 to 256; default `default_threads()`.
        delegate: a shared library, such as `libedgetpu.so.1`, that takes over what it can of a `.tflite` model.

    Raises:
        UsageError: a delegate for ONNX Runtime, which has none, or an impossible number of threads.
        MissingPackageError: no runtime is installed, or not the one asked for.
        FileError: the runtime refuses the model or the delegate.
    """
    if delegate is not None and format != "tflite":
        raise UsageError(f"only .tflite files run on a delegate, got one for an .{format} file")
    threads = default_threads() if threads is None else threads
    if not 1 <= threads <= 256:
        raise UsageError(f"threads must lie between 1 and 256, got {threads}")
    names = RUNTIMES[format] if runtime is None else (require_known(f"{format} runtime", runtime, RUNTIMES[format]),)
    missing: list[str] = []
    for name in names:
        try:
            if name == "onnxruntime":
                from ._onnx import OnnxRuntime

                return OnnxRuntime(model, threads)
            from ._tflite import TfliteRuntime

            return TfliteRuntime(model, threads, name, delegate)
        except MissingPackageError as error:
            missing.append(str(error))
    raise MissingPackageError("; ".join(missing))
