"""LiteRT, and its predecessor tflite-runtime for 32-bit boards: the same interpreter under two names."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import FileError, MissingPackageError
from .._quiet import quiet_native
from ._tensor import Tensor

#: name → (module, distribution, extra)
_PACKAGES = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert", "litert"),
    "tflite-runtime": ("tflite_runtime.interpreter", "tflite-runtime", "tflite"),
}


class TfliteRuntime:
    """Runs a `.tflite` model with LiteRT or tflite-runtime; see `Runtime`."""

    def __init__(self, model: bytes, threads: int, name: str) -> None:
        module_name, distribution, extra = _PACKAGES[name]
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise MissingPackageError(
                f"the runtime {name} cannot be imported ({error}); pip install 'edgevision-device[{extra}]'"
            ) from error
        # Built against numpy 1; under numpy 2 its import succeeds and the first Interpreter(...) dies in native code.
        if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            raise MissingPackageError(
                f"tflite-runtime needs numpy below 2, found {np.__version__}; pip install 'numpy<2'"
            )
        self.name = name
        self.version = importlib.metadata.version(distribution)
        self.threads = threads
        try:
            with quiet_native():
                self._interpreter: Any = module.Interpreter(model_content=model, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise FileError(f"{name} {self.version} refuses the model: {_first_line(error)}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise FileError(
                f"a classifier has one input and one output, this model has {len(inputs)} and {len(outputs)}"
            )
        self.input = _tensor(inputs[0])
        self.output = _tensor(outputs[0])
        self._input_index = inputs[0]["index"]
        self._output_index = outputs[0]["index"]

    def run(self, input_nhwc: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run the model once; the returned array is the caller's."""
        self._interpreter.set_tensor(self._input_index, input_nhwc)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output_index)


def _tensor(details: dict[str, Any]) -> Tensor:
    scale, zero_point = details["quantization"]
    return Tensor(tuple(int(n) for n in details["shape"]), np.dtype(details["dtype"]), scale, zero_point)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
