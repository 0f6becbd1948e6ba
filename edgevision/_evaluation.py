"""Benchmarking on data sets that have a name, by writing their test pictures where the benchmark can read them."""

from __future__ import annotations

import argparse

from edgevision_benchmarks import command

from ._cache import cache_folder
from ._datasets import NAMED, load_data
from ._pictures import write_pictures
from ._progress import say

__all__ = ["pictures_folder", "run_benchmark"]


def pictures_folder(data: str, *, data_dir: str | None = None) -> str:
    """Return a folder with the labelled test pictures of a named data set; any other `data` is a folder already.

    The pictures have the size they came in, and lie in the cache from then on.
    """
    if data not in NAMED:
        return data
    folder = cache_folder() / "test" / data
    if not folder.is_dir():
        say(f"writing the test pictures of {data} to {folder}")
        splits = load_data(data, NAMED[data], "stretch", data_dir=data_dir)
        write_pictures(splits.test, folder)
    return str(folder)


def run_benchmark(args: argparse.Namespace) -> int:
    """Run `edgevision benchmark` with its parsed arguments."""
    data = args.data
    args.data = pictures_folder(data, data_dir=args.data_dir)
    return command.run(args, data_name=data)
