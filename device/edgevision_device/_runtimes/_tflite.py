"""LiteRT, and its predecessor tflite-runtime for 32-bit boards: the same interpreter under two names."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .._errors import FileError, MissingPackageError
from .._quiet import quiet_native
from ._packages import PACKAGES, load_runtime
from ._tensor import Tensor, first_line


class TfliteRuntime:
    """Runs a `.tflite` model with LiteRT or tflite-runtime; see `Runtime`."""

    def __init__(self, model: bytes, threads: int, name: str, delegate: Optional[str] = None) -> None:
        module = load_runtime(name)
        if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            raise MissingPackageError(
                f"tflite-runtime needs numpy below 2, found {np.__version__}; pip install 'numpy<2'"
            )
        self.name = name
        self.threads = threads
        # Held here: the interpreter does not keep it alive (tensorflow/lite/python/interpreter.py).
        self._delegates = [] if delegate is None else [_load_delegate(module, delegate)]
        try:
            with quiet_native():
                self._interpreter: Any = module.Interpreter(
                    model_content=model, num_threads=threads, experimental_delegates=self._delegates or None
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise FileError(f"{name} {self.version} refuses the model: {first_line(error)}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise FileError(
                f"a classifier has one input and one output, this model has {len(inputs)} and {len(outputs)}"
            )
        self.input = _tensor(inputs[0])
        self.output = _tensor(outputs[0])
        self._input_index = inputs[0]["index"]
        self._output_index = outputs[0]["index"]

    @property
    def version(self) -> str:
        """The package's; `unknown` where that cannot be told."""
        return _version_of(PACKAGES[self.name].distribution)

    def run(self, input_nhwc: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run the model once; the returned array is the caller's."""
        try:
            self._interpreter.set_tensor(self._input_index, input_nhwc)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise FileError(f"{self.name} {self.version} cannot run the model: {first_line(error)}") from error
        return self._interpreter.get_tensor(self._output_index)


@functools.cache
def _version_of(distribution: str) -> str:
    """Search all that is installed. Once: a service asks several times a second, and the package may be replaced."""
    import importlib.metadata

    try:
        return importlib.metadata.version(distribution) or "unknown"
    except Exception:  # of what is being installed anew there may be any part
        return "unknown"


def _load_delegate(module: Any, path: str) -> Any:
    # Looked at first: of what is no delegate, the loader leaves a broken object behind, which complains when it goes.
    try:
        known = hasattr(ctypes.CDLL(path), "tflite_plugin_create_delegate")
    except OSError as error:
        raise FileError(f"the delegate {path} cannot be loaded: {first_line(error)}") from error
    if not known:
        raise FileError(f"the delegate {path} cannot be loaded: it has no tflite_plugin_create_delegate")
    try:
        with quiet_native():
            return module.load_delegate(path)
    except (ValueError, OSError) as error:
        raise FileError(f"the delegate {path} cannot be loaded: {first_line(error)}") from error


def _tensor(details: dict[str, Any]) -> Tensor:
    scale, zero_point = details["quantization"]
    return Tensor(tuple(int(n) for n in details["shape"]), np.dtype(details["dtype"]), scale, zero_point)
