"""How much accuracy a file may lose before it is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgevision_device import UsageError

__all__ = ["Gate"]

#: "98% of FP32" is the accuracy target of image classification in the MLPerf Mobile Inference Rules, version 4.0, 2025
#: (https://github.com/mlcommons/mobile_open/blob/main/rules/mobile_inference_rules.adoc, "Accuracy run").
_LEAST_PERCENT = 98


@dataclass(frozen=True)
class Gate:
    """The rule that a file's top-1 has to meet, on the same pictures as its source's.

    What counts is what was measured, as in MLPerf; on few pictures either verdict may be chance, so judge on many.

    Attributes:
        max_drop: percentage points that the top-1 may lie below the source's, 0 to 100. None takes MLPerf's rule: at
            least 98 % of the source's top-1.

    Raises:
        UsageError: `max_drop` is out of range.

    >>> Gate().failure(right_source=495, right_file=480, pictures=500)
    "top-1 96.0 % is 97.0 % of the source's 99.0 %, less than the 98 % that MLPerf asks for"
    >>> Gate(max_drop=0.5).failure(495, 480, 500)
    "top-1 96.0 % is 3.0 points below the source's 99.0 %, more than the 0.5 allowed"
    >>> Gate(max_drop=3).failure(495, 480, 500)
    """

    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and not (math.isfinite(self.max_drop) and 0 <= self.max_drop <= 100):
            raise UsageError(f"--max-drop takes percentage points between 0 and 100, got {self.max_drop:g}")

    def describe(self) -> str:
        """Return the rule in a few words.

        >>> Gate().describe(), Gate(0.5).describe()
        ("top-1 at least 98 % of the source's", "top-1 at most 0.5 points below the source's")
        """
        if self.max_drop is None:
            return f"top-1 at least {_LEAST_PERCENT} % of the source's"
        return f"top-1 at most {self.max_drop:g} points below the source's"

    def allowed(self, right_source: int, pictures: int) -> float:
        """Return what top-1 may be lost, as a share of the pictures, 0 to 1."""
        if self.max_drop is None:
            return (100 - _LEAST_PERCENT) / 100 * right_source / pictures
        return self.max_drop / 100

    def failure(self, right_source: int, right_file: int, pictures: int) -> str | None:
        """Return why a file fails, or None if it passes.

        Args:
            right_source, right_file: on how many pictures each is right.
            pictures: at least 1.
        """
        if not 0 <= min(right_source, right_file) <= max(right_source, right_file) <= pictures or not pictures:
            raise ValueError(f"{right_source} and {right_file} right of {pictures} pictures")
        source, file = 100 * right_source / pictures, 100 * right_file / pictures
        if self.max_drop is None:
            if 100 * right_file >= _LEAST_PERCENT * right_source:
                return None
            return (
                f"top-1 {file:.1f} % is {100 * right_file / right_source:.1f} % of the source's {source:.1f} %, "
                f"less than the {_LEAST_PERCENT} % that MLPerf asks for"
            )
        # Shares of pictures are no binary fractions: a drop of exactly 0.3 points must pass --max-drop 0.3.
        if 100 * (right_source - right_file) <= self.max_drop * pictures * (1 + 1e-12):
            return None
        return (
            f"top-1 {file:.1f} % is {source - file:.1f} points below the source's {source:.1f} %, "
            f"more than the {self.max_drop:g} allowed"
        )
