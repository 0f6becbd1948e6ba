"""Benchmarking on data sets that have a name, by writing their test pictures where the benchmark can read them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import edgevision_benchmarks
from edgevision_benchmarks import Report, command

from ._datasets import held_out_folder, native_size

__all__ = ["benchmark", "pictures_folder", "run_benchmark"]


def pictures_folder(data: str, *, data_dir: str | None = None) -> str:
    """Return a folder with the labelled test pictures of a named data set; any other `data` is a folder already.

    The pictures have the size they came in, and lie in the cache from then on.
    """
    return str(held_out_folder(data, data_dir=data_dir)) if native_size(data) else data


def benchmark(
    files: Sequence[str | os.PathLike[str]], data: str, *, data_dir: str | None = None, **more: Any
) -> Report:
    """Measure files on a data set by name or folder; see `edgevision_benchmarks.benchmark` for the rest.

    Args:
        files: `.tflite` and `.onnx` files.
        data: `digits`, `fashion-mnist`, or a folder of labelled pictures.
        data_dir: where the files of `fashion-mnist` lie.
        more: passed on.
    """
    return edgevision_benchmarks.benchmark(files, pictures_folder(data, data_dir=data_dir), data_name=data, **more)


def run_benchmark(args: argparse.Namespace) -> int:
    """Run `edgevision benchmark` with its parsed arguments."""
    data = args.data
    if data is not None:
        args.data = pictures_folder(data, data_dir=args.data_dir)
    return command.run(args, data_name=data)
