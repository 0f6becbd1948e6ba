"""Run image classifiers on the device: verified files, one preprocessing, an honest frame loop.

    from edgevision_device import Classifier, read_picture

    classifier = Classifier("digits.int8.tflite")
    print(classifier.classify(read_picture("seven.png")))
"""

from ._classifier import Classifier, Prediction
from ._cli import Command, main, run_cli
from ._commands._model import add_runtime_arguments
from ._errors import (
    CheckError,
    DamagedFileError,
    DataError,
    EdgevisionError,
    FileError,
    ForeignFileError,
    MissingPackageError,
    PictureError,
    SourceError,
    UsageError,
    require_known,
)
from ._file import FORMATS, ModelFile, read_model_file, seal
from ._foreign import describe_foreign, read_labels
from ._metadata import COLOR_ORDERS, RESIZE_MODES, DataOrigin, Metadata, Normalization
from ._outputs import refuse_existing, write_atomically, writing
from ._pictures import LabelledPicture, decode_picture, find_labelled, find_pictures, read_picture
from ._preprocess import load_opencv, preprocess
from ._runtimes import RUNTIMES, Runtime, Tensor, default_threads, open_runtime
from ._statistics import Percentiles

__version__ = "0.1.0"

__all__ = [
    "COLOR_ORDERS",
    "FORMATS",
    "RESIZE_MODES",
    "RUNTIMES",
    "CheckError",
    "Classifier",
    "Command",
    "DamagedFileError",
    "DataError",
    "DataOrigin",
    "EdgevisionError",
    "FileError",
    "ForeignFileError",
    "LabelledPicture",
    "Metadata",
    "MissingPackageError",
    "ModelFile",
    "Normalization",
    "Percentiles",
    "PictureError",
    "Prediction",
    "Runtime",
    "SourceError",
    "Tensor",
    "UsageError",
    "add_runtime_arguments",
    "decode_picture",
    "default_threads",
    "describe_foreign",
    "find_labelled",
    "find_pictures",
    "load_opencv",
    "main",
    "open_runtime",
    "preprocess",
    "read_labels",
    "read_model_file",
    "read_picture",
    "refuse_existing",
    "require_known",
    "run_cli",
    "seal",
    "write_atomically",
    "writing",
]
