"""Why an int8 file is not faster than its float counterpart: what the machine and the file say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ._conditions import Conditions
from ._measurement import Measurement
from ._speed import TimeRatio, judge, time_ratio
from ._text import ratio_text

if TYPE_CHECKING:
    from ._report import FileResult, Report

__all__ = ["NotFaster", "explain", "not_faster", "time_between"]

_INT8 = ("int8", "int8-selective", "int8x16", "dynamic")
_DOT_PRODUCTS = {"aarch64": "asimddp", "arm64": "asimddp", "x86_64": "avx512_vnni or avx_vnni"}


@dataclass(frozen=True)
class NotFaster:
    """An int8 file that is not faster than a float one.

    Attributes:
        recipe: of this file.
        than: name of that one.
        time: this file's time over that of the other, in the same rounds.
        verdict: `slower` or `no difference`, see `Speed`.
        because: what is known to cause it and holds here; empty if nothing is.
    """

    recipe: str
    than: str
    time: TimeRatio
    verdict: str
    because: tuple[str, ...]

    def describe(self) -> str:
        """Return one line."""
        why = "; ".join(self.because) or "none of the known reasons applies"
        ratio = f"{self.verdict}, {ratio_text(self.time.ratio)} of its time"
        return f"{self.recipe} is not faster here than {self.than} ({ratio}) because: {why}"

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"than": self.than, **self.time.to_record(), "verdict": self.verdict, "because": list(self.because)}


def not_faster(report: Report) -> dict[str, NotFaster]:
    """Return, by name, the int8 files of a report that are not faster than their float counterparts."""
    found: dict[str, NotFaster] = {}
    for file, mine in report.measured:
        other = _counterpart(file, mine, report.measured)
        if other is None:
            continue
        time = time_between(mine, other[1], report.settings.seed)
        verdict = None if time is None else judge(time, report.noise_floor)
        # Wholly below 1, and inside a wide noise floor: nothing shows that it is not faster.
        if time is not None and verdict in ("slower", "no difference") and time.high >= 1:
            # What does not say its recipe is here because it computes in int8.
            recipe = file.recipe if file.recipe in _INT8 else "int8"
            because = explain(mine, other[1], report.conditions)
            found[file.name] = NotFaster(recipe, other[0].name, time, verdict, because)
    return found


def time_between(mine: Measurement, other: Measurement, seed: int) -> Optional[TimeRatio]:
    """Return the time of one file over that of another in the rounds of both; None if there are none."""
    # Nobody leaves the rounds before the end: the first of one are the first of the other.
    rounds = [dict(enumerate([each] for each in found.round_p50_ms)) for found in (mine, other)]
    return time_ratio(rounds[0], rounds[1], seed) if all(rounds) else None


def explain(mine: Measurement, other: Measurement, conditions: Conditions) -> tuple[str, ...]:
    """Return what is known to slow an int8 file down and holds here, a few words each.

    Args:
        mine, other: the int8 and the float file.
        conditions: the machine.
    """
    told: list[str] = []
    if conditions.userland_bits == 32 and conditions.architecture in _DOT_PRODUCTS:
        told.append("this Python is 32-bit on a 64-bit kernel, and so are the runtime's kernels")
    kernels = {} if mine.cost is None else mine.cost.kernels
    if kernels.get("int16"):
        told.append("its activations have 16 bits, and XNNPACK has no kernels for that")
    if kernels.get("uint8"):
        told.append("it computes in uint8, for which there are fewer fast kernels than for int8")
    if kernels.get("hybrid"):
        count, total = kernels["hybrid"], sum(kernels.values())
        told.append(f"{count} of {total} convolutions and products quantize their activations in each run (hybrid)")
    if mine.cost is not None and other.cost is not None and mine.runtime != "onnxruntime":
        if not mine.cost.delegated:
            told.append("no operator runs on XNNPACK" if other.cost.delegated else "the runtime has no XNNPACK")
        else:
            outside = mine.cost.operators - mine.cost.delegated
            if outside > other.cost.operators - other.cost.delegated:
                names = f": {', '.join(mine.cost.outside)}" if mine.cost.outside else ""
                told.append(f"{outside} of {mine.cost.operators} operators do not run on XNNPACK{names}")
            if mine.cost.partitions > other.cost.partitions:
                told.append(f"XNNPACK runs it in {mine.cost.partitions} parts, not {other.cost.partitions}")
    wanted = _DOT_PRODUCTS.get(conditions.architecture)
    if wanted is not None and conditions.int8_instructions == ():
        told.append(f"this processor has no instructions for int8 dot products ({wanted})")
        if (mine.runtime, conditions.architecture) == ("onnxruntime", "x86_64"):
            told[-1] += ": ONNX Runtime's kernels that are exact there are slow"
    return tuple(told)


def _counterpart(
    file: FileResult, mine: Measurement, rows: Sequence[tuple[FileResult, Measurement]]
) -> Optional[tuple[FileResult, Measurement]]:
    """Return the float file of the same network, format and runtime."""
    quantized = mine.cost is not None and set(mine.cost.kernels) - {"float32"}
    if file.recipe not in _INT8 and not quantized:
        return None
    found = [
        (other, their)
        for other, their in rows
        if other is not file
        and (other.format, their.runtime, their.threads) == (file.format, mine.runtime, mine.threads)
        and (other.recipe == "float32" or (their.cost is not None and set(their.cost.kernels) == {"float32"}))
        and (mine.cost is None or their.cost is None or mine.cost.macs == their.cost.macs)
    ]
    # Nothing but its name tells whose float file it is, unless the multiplications of both are counted.
    counted = [row for row in found if mine.cost is not None and row[1].cost is not None]
    named = [row for row in found if row[0].name == file.name.replace(f".{file.recipe}.", ".float32.")]
    return next(iter(named or (counted if len(found) == 1 else [])), None)
