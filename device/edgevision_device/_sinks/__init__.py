"""Where results go: one module per kind of sink."""

from ._base import Sink
from ._json_lines import JsonLines, JsonLinesFile
from ._text_lines import TextLines

__all__ = ["JsonLines", "JsonLinesFile", "Sink", "TextLines"]
