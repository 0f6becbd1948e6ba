"""Keras classifiers to self-describing TFLite and ONNX files, quantized and verified.

from edgevision_converters import SourceModel, export_model

source = SourceModel.of(model, labels, name="digits")
export_model(source, "exports", verification=pixels, recipes=["float32"])
"""

from ._export import Calibration, ExportedFile, export_model, plan_files
from ._recipes import FLOAT_RECIPES, RECIPES, chosen
from ._source import SourceModel, load_keras_model
from ._tflite import float_operators
from ._verify import Agreement, compare

__version__ = "0.1.0"

__all__ = [
    "FLOAT_RECIPES",
    "RECIPES",
    "Agreement",
    "Calibration",
    "ExportedFile",
    "SourceModel",
    "chosen",
    "compare",
    "export_model",
    "float_operators",
    "load_keras_model",
    "plan_files",
]
