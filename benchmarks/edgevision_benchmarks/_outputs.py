"""The two files of a report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Optional, Union

from edgevision_device import UsageError, check_outputs, write_atomically

from ._html import render_html
from ._report import Report

__all__ = ["UNFINISHED", "check_report", "to_json", "write_report"]

_NAMES = ("report.json", "report.html")
#: What is finished of a report that is not.
UNFINISHED = "unfinished.json"


def write_report(
    report: Report, out_dir: Union[str, os.PathLike[str]], *, overwrite: bool = False, featured: Optional[str] = None
) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into `out_dir`, each whole or not at all; return their paths.

    Args:
        report: what `benchmark` returned.
        out_dir: made if it does not exist.
        overwrite: replace a report that is there.
        featured: see `render_html`.

    Raises:
        UsageError: a report is there and `overwrite` is false, or `out_dir` cannot be written to.
    """
    out = Path(out_dir)
    check_report(out, overwrite=overwrite)
    html = render_html(report, featured)
    contents = (to_json(report), html)
    paths = (out / _NAMES[0], out / _NAMES[1])
    for path, content in zip(paths, contents):
        # A file's name may hold bytes that are no UTF-8. Python keeps them as lone surrogates, which JSON may escape.
        write_atomically(path, content.encode(errors="backslashreplace"))
    return paths


def to_json(report: Report) -> str:
    """Return the text of `report.json`."""
    # NaN is no JSON: `read_report` refuses it, after all was measured.
    return json.dumps(report.to_record(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def check_report(out: Path, *, overwrite: bool, resume: bool = True) -> None:
    """Raise UsageError if a report could not be written, or what is unfinished be lost. Call it before slow work."""
    check_outputs([out / name for name in _NAMES], overwrite=overwrite)
    if (out / UNFINISHED).exists() and not overwrite and not resume:
        raise UsageError(
            f"{out / UNFINISHED} is what a benchmark that was killed has finished; give --resume to go on with it, or "
            "--overwrite to begin anew"
        )
