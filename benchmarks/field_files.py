"""The files that field.py gives to each peer: the same file, or the same weights in the format that the peer reads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from edgevision_converters._tflite_flatbuffer import builtin_code, pack, unpack
from edgevision_device import Classifier, Metadata

NAMES = ("efficientnet-lite0.int8", "efficientnet-lite0.float32")


class NoFile(Exception):
    """There is no such file to give; the message says why."""


@dataclass(frozen=True)
class Files:
    """What there is of one network in one recipe.

    Attributes:
        tflite: the file that all ratios refer to.
        folder: for files made on the way.
        metadata: of `tflite`.
    """

    tflite: Path
    folder: Path
    metadata: Metadata

    def path(self, form: str) -> tuple[Path, Any, Any]:
        """Return the file for a peer, and the mean and deviation that its pixels are normalized by, if it has to.

        Args:
            form: `tflite`; `onnx`; `float-onnx`, for what reads no other; `script`, for pixels that became floats.

        Raises:
            NoFile: there is none.
        """
        mean, std = self.metadata.normalization.mean, self.metadata.normalization.std
        if form == "tflite":
            return self.tflite, mean, std
        if form == "script":
            return self._for_script()
        if form == "float-onnx" and self.metadata.recipe != "float32":
            raise NoFile(f"reads no {self.metadata.recipe} file")
        beside = self.tflite.with_suffix(".onnx")
        if not beside.exists():
            raise NoFile(f"no {beside.name} beside the file")
        found = Classifier(beside, threads=1).metadata
        if (found.name, found.recipe, found.labels) != (self.metadata.name, self.metadata.recipe, self.metadata.labels):
            raise NoFile(f"{beside.name} is another network or recipe")
        return beside, mean, std

    def _for_script(self) -> tuple[Path, Any, Any]:
        """Return the file itself where its input says how floats become its integers, else one that takes floats."""
        content = self.tflite.read_bytes()
        floats = float_input(content)
        if floats is not None:
            model, mean, std = floats
            path = self.folder / f"{self.tflite.stem}.float-input.tflite"
            path.write_bytes(model)
            return path, mean.tolist(), std.tolist()
        mean, std = self.metadata.normalization.mean, self.metadata.normalization.std
        if not Classifier(self.tflite, threads=1).runtime.input.scale:
            raise NoFile("its input takes no floats")
        return self.tflite, mean, std


def float_input(content: bytes) -> Optional[tuple[bytes, np.ndarray, np.ndarray]]:
    """Take the cast of pixels to floats, and the normalization after it, out of a `.tflite` model.

    Returns:
        The model, which now takes floats, and the mean and deviation to normalize them by; None where its first step is
        no such cast.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = unpack(content)
    graph, operators = model.subgraphs[0], schema.BuiltinOperator
    steps = list(graph.operators)

    def kind(step: Any) -> int:
        return builtin_code(model, step)

    if kind(steps[0]) != operators.CAST or graph.tensors[steps[0].inputs[0]].type != schema.TensorType.UINT8:
        return None
    current, factor, offset = steps.pop(0).outputs[0], np.float64(1), np.float64(0)
    while kind(steps[0]) in (operators.MUL, operators.ADD, operators.SUB, operators.DIV):
        step = steps[0]
        others = [index for index in step.inputs if index != current]
        data = model.buffers[graph.tensors[others[0]].buffer].data if len(others) == 1 else None
        if data is None or step.inputs[0] != current or sum(current in each.inputs for each in steps) != 1:
            break
        value = np.frombuffer(bytes(data), np.float32).astype(np.float64)
        if kind(step) == operators.MUL:
            factor, offset = factor * value, offset * value
        elif kind(step) == operators.DIV:
            factor, offset = factor / value, offset / value
        else:
            offset = offset + (value if kind(step) == operators.ADD else -value)
        current = steps.pop(0).outputs[0]
    graph.operators, graph.inputs = steps, [current]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex = current
    return pack(model), np.atleast_1d(-offset / factor), np.atleast_1d(1 / factor)


def default_files(root: Path) -> list[Path]:
    """Return EfficientNet-Lite0 as int8 and as float32, exported for this if that has not been done."""
    folder = root / "exports" / "field"
    wanted = [folder / f"{name}.{form}" for name in NAMES for form in ("tflite", "onnx")]
    if not all(path.exists() for path in wanted):
        line = [sys.executable, "-m", "edgevision", "export", "efficientnet-lite0", "--out", str(folder)]
        subprocess.run([*line, "--recipes", "float32,int8", "--overwrite"], check=True, stdout=sys.stderr)
    return [path for path in wanted if path.suffix == ".tflite"]
