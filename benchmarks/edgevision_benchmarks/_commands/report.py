"""Hold reports against gates, side by side, or against one another."""

from __future__ import annotations

import argparse

from . import compare, gate, merge

__all__ = ["add_arguments", "run"]

_ACTIONS = {"gate": gate, "merge": merge, "compare": compare}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, module in _ACTIONS.items():
        line = (module.__doc__ or "").splitlines()[0]
        leaf = actions.add_parser(name, help=line, description=line, allow_abbrev=False)
        module.add_arguments(leaf)
        # The outer parser has set it already: what is not given here must not take that back.
        leaf.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    return _ACTIONS[args.action].run(args)
