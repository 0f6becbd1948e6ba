"""Where results go: one module per kind of sink."""

from ._background import Background, SlowSink, UndeliverableError
from ._base import Sink, SinkContext
from ._json_lines import JsonLines, JsonLinesFile
from ._text_lines import Progress, TextLines

__all__ = [
    "Background",
    "JsonLines",
    "JsonLinesFile",
    "Progress",
    "Sink",
    "SinkContext",
    "SlowSink",
    "TextLines",
    "UndeliverableError",
]
