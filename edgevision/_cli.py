"""The `edgevision` command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgevision_benchmarks import report_commands
from edgevision_device import device_commands, run_cli

from ._interrupt import remembered_interrupts
from ._progress import skipped_once

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edgevision`."""
    from . import __version__

    # TensorFlow's C++ side announces itself on stderr at import; 3 leaves errors that end the program.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    own = ("demo", "train", "sweep", "look", "models", "layers", "imagenet", "export", "verify", "benchmark")
    with remembered_interrupts(), skipped_once():
        return run_cli(
            "edgevision",
            "From labelled pictures to an image classifier on a small device, with the numbers that hold there.",
            {**{name: f"{__package__}._commands.{name}" for name in own}, **report_commands(), **device_commands()},
            argv,
            version=__version__,
        )
