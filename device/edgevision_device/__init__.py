"""Run image classifiers on the device: verified files, one preprocessing, an honest frame loop.

In three lines:

    from edgevision_device import Classifier, read_picture

    classifier = Classifier("digits.int8.tflite")
    print(classifier.classify(read_picture("seven.png")))
"""

from ._check import Finding, check_device, check_file, check_machine, check_packages
from ._classifier import Classifier, Prediction
from ._cli import Command, device_commands, main, run_cli
from ._commands._model import add_foreign_arguments, add_runtime_arguments
from ._decision import Decider, Decision, DecisionRule
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
from ._health import Health
from ._metadata import COLOR_ORDERS, RESIZE_MODES, DataOrigin, Metadata, Normalization, mark_pictures
from ._outputs import check_outputs, write_atomically, writing
from ._pictures import LabelledPicture, decode_picture, find_labelled, find_pictures, hash_pictures, read_picture
from ._preprocess import load_opencv, preprocess
from ._quiet import quiet_native
from ._result import STAGES, StreamResult, StreamStatistics, StreamSummary
from ._runtimes import RUNTIMES, Runtime, Tensor, default_threads, load_runtime, open_runtime
from ._sinks import Background, JsonLines, JsonLinesFile, Sink, SlowSink, TextLines, UndeliverableError
from ._sources import (
    SOURCE_GRAMMAR,
    ArraySource,
    Camera,
    CameraSource,
    ClipSource,
    ClockedSource,
    FolderSource,
    Frame,
    MovingSource,
    NetworkSource,
    PacedSource,
    PatternSource,
    PicameraSource,
    ReconnectingSource,
    SeveralSources,
    Source,
    TurnedSource,
    WatchedSource,
    find_cameras,
    open_source,
)
from ._splits import PARTS, find_parts, split_by_content
from ._statistics import Percentiles, TimeHistogram
from ._stream import stream
from ._swap import FollowedClassifier

__version__ = "0.1.0"

__all__ = [
    "COLOR_ORDERS",
    "FORMATS",
    "PARTS",
    "RESIZE_MODES",
    "RUNTIMES",
    "SOURCE_GRAMMAR",
    "STAGES",
    "ArraySource",
    "Background",
    "Camera",
    "CameraSource",
    "CheckError",
    "Classifier",
    "ClipSource",
    "ClockedSource",
    "Command",
    "DamagedFileError",
    "DataError",
    "DataOrigin",
    "Decider",
    "Decision",
    "DecisionRule",
    "EdgevisionError",
    "FileError",
    "Finding",
    "FolderSource",
    "FollowedClassifier",
    "ForeignFileError",
    "Frame",
    "Health",
    "JsonLines",
    "JsonLinesFile",
    "LabelledPicture",
    "Metadata",
    "MissingPackageError",
    "ModelFile",
    "MovingSource",
    "NetworkSource",
    "Normalization",
    "PacedSource",
    "PatternSource",
    "Percentiles",
    "PicameraSource",
    "PictureError",
    "Prediction",
    "ReconnectingSource",
    "Runtime",
    "SeveralSources",
    "Sink",
    "SlowSink",
    "Source",
    "SourceError",
    "StreamResult",
    "StreamStatistics",
    "StreamSummary",
    "Tensor",
    "TextLines",
    "TimeHistogram",
    "TurnedSource",
    "UndeliverableError",
    "UsageError",
    "WatchedSource",
    "add_foreign_arguments",
    "add_runtime_arguments",
    "check_device",
    "check_file",
    "check_machine",
    "check_outputs",
    "check_packages",
    "decode_picture",
    "default_threads",
    "describe_foreign",
    "device_commands",
    "find_cameras",
    "find_labelled",
    "find_parts",
    "find_pictures",
    "hash_pictures",
    "load_opencv",
    "load_runtime",
    "main",
    "mark_pictures",
    "open_runtime",
    "open_source",
    "preprocess",
    "quiet_native",
    "read_labels",
    "read_model_file",
    "read_picture",
    "require_known",
    "run_cli",
    "seal",
    "split_by_content",
    "stream",
    "write_atomically",
    "writing",
]
