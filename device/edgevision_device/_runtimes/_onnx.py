"""ONNX Runtime on the CPU."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import FileError
from ._packages import load_runtime
from ._tensor import Tensor, first_line

__all__ = ["OnnxRuntime", "onnx_session_options"]

_DTYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


class OnnxRuntime:
    """Runs an `.onnx` model; see `Runtime`."""

    name = "onnxruntime"

    def __init__(self, model: bytes, threads: int) -> None:
        onnxruntime: Any = load_runtime(self.name)
        self.version: str = onnxruntime.__version__
        self.threads = threads
        try:
            self._session: Any = _opened(onnxruntime, model, threads)
        except Exception as error:  # its exception types are not public and share no base but Exception
            raise FileError(f"onnxruntime {self.version} refuses the model: {first_line(error)}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise FileError(
                f"a classifier has one input and one output, this model has {len(inputs)} and {len(outputs)}"
            )
        self.input = _tensor(inputs[0])
        self.output = _tensor(outputs[0])
        self._input_name = inputs[0].name

    def run(self, input_nhwc: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run the model once; the returned array is the caller's."""
        try:
            return self._session.run(None, {self._input_name: input_nhwc})[0]
        except Exception as error:  # see above
            raise FileError(f"onnxruntime {self.version} cannot run the model: {first_line(error)}") from error


def onnx_session_options(threads: int) -> Any:
    """Return the `onnxruntime.SessionOptions` that the sessions of edgevision have, for one of your own.

    Sums of int8 products are then exact on every processor. By itself ONNX Runtime multiplies uint8 by int8 on x86-64
    without VNNI (`avx512_vnni`, `avx_vnni`) by an instruction that adds pairs of products in 16 bits: what does not fit
    is cut off, and labels become others. There these options have `session.x64quantprecision`, which takes slower
    kernels (onnxruntime_session_options_config_keys.h); so they have where the system does not say what the processor
    can do.

    Args:
        threads: for one run.

    Raises:
        MissingPackageError: ONNX Runtime cannot be imported.
    """
    options = _options(threads)
    if _int8_may_overflow():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _options(threads: int) -> Any:
    options = load_runtime(OnnxRuntime.name).SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings about its own optimizer tell a user nothing
    return options


def _int8_may_overflow() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    from .._sensors import read_int8_instructions  # of no use elsewhere

    return not {"avx512_vnni", "avx_vnni"} & set(read_int8_instructions() or ())


def _opened(onnxruntime: Any, model: bytes, threads: int) -> Any:
    try:
        return onnxruntime.InferenceSession(model, onnx_session_options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception types are not public
        # The option makes weights unsigned, and for signed activations there is no kernel then. Their sums, of int8 by
        # int8, do not overflow without it.
        if "NOT_IMPLEMENTED" not in str(error):
            raise
        return onnxruntime.InferenceSession(model, _options(threads), providers=["CPUExecutionProvider"])


def _tensor(node: Any) -> Tensor:
    if node.type not in _DTYPES:
        raise FileError(f"tensor {node.name!r} is {node.type}; a classifier's is one of {', '.join(_DTYPES)}")
    # A free batch dimension is a name or None; edgevision runs one picture at a time.
    shape = tuple(size if isinstance(size, int) else 1 if axis == 0 else -1 for axis, size in enumerate(node.shape))
    return Tensor(shape, np.dtype(_DTYPES[node.type]))
