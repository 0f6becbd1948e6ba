"""Float TFLite model to one with int8 weights, as faithful as 8 bits allow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._correct import correct
from ._operators import UnknownGraphError, activation_ranges
from ._tflite_calibration import Calibrated, spread
from ._tflite_flatbuffer import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["Int8Quantizer", "quantize_16_fitted"]

#: The fitted file is compared with the plain one on so many pictures.
_COMPARED, _COMPARED_16 = 32, 8


@dataclass(frozen=True)
class Int8Quantizer:
    """A float model with the ranges of its activations, and the pictures that its int8 files are fitted on.

    Ranges are found by running the model. TensorFlow's calibrator (2.21) gives one of the two tensors that an ADD reads
    the range of the sum: on EfficientNet-Lite0 up to 2.5 times its own. Only a model with loops or a memory has those.

    Attributes:
        calibrated: the model and its ranges.
        pixels: uint8 `(n, …)`, the pictures as the quantized model takes them.
    """

    calibrated: Calibrated
    pixels: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, model: bytes, numbers: npt.NDArray[np.float32], pixels: npt.NDArray[np.uint8]) -> Int8Quantizer:
        """Find the ranges of a float model.

        Args:
            model: float32 TFLite flatbuffer, `Source.float_tflite("numbers")`.
            numbers: calibration pictures for its input, `(n, …)`.
            pixels: the same pictures in uint8.
        """
        return cls(_calibrated(model, numbers), pixels)

    def quantize(self, in_float: Sequence[str] = (), *, fitted: bool = True) -> bytes:
        """Quantize to int8 and fit the file to the float model.

        Where that brings the scores of the calibration pictures no closer to the float model's, the file stays as
        TensorFlow's quantizer made it; so it does where an operator cannot be run alone.

        Args:
            in_float: see `Calibrated.quantize`.
            fitted: False leaves it as TensorFlow's quantizer made it: the same operators and bytes, sooner.

        Returns:
            A flatbuffer as `Calibrated.quantize` returns: uint8 input, float32 output, the converter's tensor names.
        """
        unfitted = self.calibrated.quantize(in_float)
        if not fitted:
            return unfitted
        return _fitted(unfitted, self.calibrated.model, self.pixels, self.calibrated.numbers, exact=False)


def quantize_16_fitted(model: bytes, numbers: npt.NDArray[np.float32]) -> bytes:
    """Quantize weights to 8 bits and activations to 16, and fit the file to the float model, as `Int8Quantizer` does.

    Args:
        model: float32 TFLite flatbuffer.
        numbers: calibration pictures for its input, `(n, …)`.

    Returns:
        A flatbuffer with float32 input and output.
    """
    return _fitted(_calibrated(model, numbers).quantize_16(), model, numbers, numbers, exact=True)


def _calibrated(model: bytes, numbers: npt.NDArray[np.float32]) -> Calibrated:
    try:
        return Calibrated.within(model, numbers, activation_ranges(model, numbers))
    except UnknownGraphError:
        return Calibrated.of(model, numbers)


def _fitted(
    unfitted: bytes, model: bytes, inputs: npt.NDArray[Any], numbers: npt.NDArray[np.float32], *, exact: bool
) -> bytes:
    """Fit a quantized model to the float one; return it as it was where that brings the scores no closer."""
    parsed = unpack(unfitted)
    try:
        correct(parsed, unpack(model), None if exact else inputs, numbers)
    except UnknownGraphError:
        return unfitted
    fitted = pack(parsed)
    # Kernels with 16-bit activations are slow.
    chosen = spread(len(inputs), _COMPARED_16 if exact else _COMPARED)
    truth = _scores(model, numbers[chosen])
    with ThreadPoolExecutor(2) as pool:
        scores = pool.map(_scores, (unfitted, fitted), [inputs[chosen]] * 2)
    errors = [np.abs(each - truth).mean() for each in scores]
    return fitted if errors[1] <= errors[0] else unfitted


def _scores(model: bytes, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    found: list[npt.NDArray[np.float32]] = []
    for each in inputs:
        interpreter.set_tensor(taken["index"], each[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(given["index"])[0].astype(np.float32))
    return np.stack(found)
