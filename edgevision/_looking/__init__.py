"""Looking inside: kernels, filters, feature maps, what a label was found by, and what was got wrong."""

from __future__ import annotations

from ._attention import attend
from ._canvas import Tile, clean, encode_png, shrink
from ._chart import chart_of
from ._figures import (
    attention_tiles,
    draw_attention,
    draw_filters,
    draw_kernel,
    draw_maps,
    draw_mistakes,
    filter_tiles,
    map_tiles,
    range_text,
)
from ._kernel import BORDERS, KERNELS, SHOWN, apply_kernel, parse_kernel, shown_pixels, to_grey
from ._layers import Filters, convolutions, find_layer, first_filters, layers_of, run_watched
from ._mistakes import Mistake, confusion_csv, confusion_of, find_mistakes, recalls_of
from ._plots import MATRIX_LABELS, cell_heat, confusion_layer, draw_confusion, draw_history
from ._runs import read_history, read_record, score_all
from ._subject import Subject, check_model, load_subject

__all__ = [
    "BORDERS",
    "KERNELS",
    "MATRIX_LABELS",
    "SHOWN",
    "Filters",
    "Mistake",
    "Subject",
    "Tile",
    "apply_kernel",
    "attend",
    "attention_tiles",
    "cell_heat",
    "chart_of",
    "check_model",
    "clean",
    "confusion_csv",
    "confusion_layer",
    "confusion_of",
    "convolutions",
    "draw_attention",
    "draw_confusion",
    "draw_filters",
    "draw_history",
    "draw_kernel",
    "draw_maps",
    "draw_mistakes",
    "encode_png",
    "filter_tiles",
    "find_layer",
    "find_mistakes",
    "first_filters",
    "layers_of",
    "load_subject",
    "map_tiles",
    "parse_kernel",
    "range_text",
    "read_history",
    "read_record",
    "recalls_of",
    "run_watched",
    "score_all",
    "shown_pixels",
    "shrink",
    "to_grey",
]
