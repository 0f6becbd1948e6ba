"""Where tables go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["stdout_console"]

#: What is no terminal has no width of its own; no line needs to break there.
_WIDTH = 240


def stdout_console() -> Console:
    """Return the console on stdout, wide where it is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)
