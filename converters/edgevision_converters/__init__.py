"""Keras classifiers to self-describing TFLite and ONNX files, quantized and verified.

from edgevision_converters import SourceModel, export_model

source = SourceModel.of(model, labels, name="digits")
export_model(source, "exports", verification=pixels, recipes=["float32"])
"""

from ._confidence import (
    ConfidenceFit,
    Labelled,
    RejectFit,
    TemperatureFit,
    check_max_error,
    fit_confidence,
    fit_rejection,
    fit_temperature,
    reseal,
)
from ._export import Calibration, ExportedFile, export_model, plan_files
from ._gate import Gate
from ._keras_source import SourceModel, check_keras_file, load_keras_model, pictures_per_call
from ._ladder import LADDER, Ladder, Rung, ladder
from ._layer_error import LayerError, LayerErrors, layer_errors, worst_layers
from ._onnx_source import OnnxSource
from ._recipes import FLOAT_RECIPES, RECIPES, chosen
from ._savedmodel_source import is_saved_model, load_saved_model
from ._source import Source, Takes
from ._tflite import TfliteConversion, float_operators
from ._tflite_source import TfliteSource
from ._verify import Agreement, LabelAgreement, compare, compare_scores

__version__ = "0.1.0"

__all__ = [
    "FLOAT_RECIPES",
    "LADDER",
    "RECIPES",
    "Agreement",
    "Calibration",
    "ConfidenceFit",
    "ExportedFile",
    "Gate",
    "LabelAgreement",
    "Labelled",
    "Ladder",
    "LayerError",
    "LayerErrors",
    "OnnxSource",
    "RejectFit",
    "Rung",
    "Source",
    "SourceModel",
    "Takes",
    "TemperatureFit",
    "TfliteConversion",
    "TfliteSource",
    "check_keras_file",
    "check_max_error",
    "chosen",
    "compare",
    "compare_scores",
    "export_model",
    "fit_confidence",
    "fit_rejection",
    "fit_temperature",
    "float_operators",
    "is_saved_model",
    "ladder",
    "layer_errors",
    "load_keras_model",
    "load_saved_model",
    "pictures_per_call",
    "plan_files",
    "reseal",
    "worst_layers",
]
