"""What a runtime says about the tensors of its model, and in its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """Shape, dtype and quantization of an input or output; scale 0 means not quantized."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 0.0
    zero_point: int = 0


def first_line(error: Exception) -> str:
    """Return the first line of a runtime's message, which may be empty or long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
