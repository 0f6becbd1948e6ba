"""Ranges of activations found on pictures, and static quantization with them, by TensorFlow's own steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._tflite_flatbuffer import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

__all__ = ["Calibrated", "spread"]


def spread(pictures: int, most: int) -> npt.NDArray[np.intp]:
    """Choose at most so many pictures, evenly over all, which may come sorted by label; return their indices.

    >>> spread(9, 3).tolist()
    [0, 4, 8]
    """
    return np.linspace(0, pictures - 1, min(pictures, most)).astype(np.intp)


@dataclass(frozen=True)
class Calibrated:
    """A float model that knows the range of each activation.

    These are the steps that `tf.lite.TFLiteConverter` ends with, and they take a flatbuffer: from the same float model
    they give the same bytes.

    Attributes:
        model: float32 TFLite flatbuffer.
        numbers: what it was calibrated on, float32 `(n, …)`.
    """

    model: bytes
    numbers: npt.NDArray[np.float32]
    _ranged: bytes

    @classmethod
    def of(cls, model: bytes, numbers: npt.NDArray[np.float32]) -> Calibrated:
        """Run a model with one float32 input `(1, …)` on `numbers`."""
        from tensorflow.lite.python.optimize import calibrator  # pyright: ignore[reportMissingImports]

        watched = calibrator.Calibrator(calibrator.add_intermediate_tensors(model))
        return cls(model, numbers, watched.calibrate(lambda: _rows(numbers)))

    @classmethod
    def within(
        cls, model: bytes, numbers: npt.NDArray[np.float32], ranges: Mapping[int, tuple[float, float]]
    ) -> Calibrated:
        """Take ranges that somebody else found: tensor's index → lowest and highest value; zero is added."""
        from ai_edge_litert import schema_py_generated as schema

        parsed = unpack(model)
        for index, (low, high) in ranges.items():
            quantization: Any = schema.QuantizationParametersT()
            quantization.min, quantization.max = (
                np.array([min(low, 0)], np.float32),
                np.array([max(high, 0)], np.float32),
            )
            parsed.subgraphs[0].tensors[index].quantization = quantization
        return cls(model, numbers, pack(parsed))

    def quantize(self, in_float: Sequence[str] = ()) -> bytes:
        """Quantize weights and activations to int8, the input to uint8; the output stays float32.

        Args:
            in_float: tensors, by name, whose operators go on computing in float32.
        """
        import tensorflow as tf
        from tensorflow.lite.python.convert import mlir_quantize  # pyright: ignore[reportMissingImports]

        quantize: Any = mlir_quantize
        return quantize(
            self._ranged, input_data_type=tf.uint8, output_data_type=tf.float32, denylisted_nodes=set(in_float)
        )

    def quantize_16(self) -> bytes:
        """Quantize weights to int8 and activations to int16; input and output stay float32."""
        import tensorflow as tf
        from tensorflow.lite.python.optimize import calibrator  # pyright: ignore[reportMissingImports]

        # The older quantizer, which alone writes 16-bit activations, calibrates by itself, here on no pictures: then it
        # keeps the ranges that it finds in the model.
        quantizer: Any = calibrator.Calibrator(self._ranged)
        return quantizer.calibrate_and_quantize(
            lambda: iter(()),
            tf.float32,
            tf.float32,
            allow_float=False,
            activations_type=tf.int16,
            bias_type=tf.int64,
        )


def _rows(numbers: npt.NDArray[np.float32]) -> Iterator[list[npt.NDArray[np.float32]]]:
    for row in numbers:
        yield [row[np.newaxis]]
