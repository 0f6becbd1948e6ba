"""The frame of every edgevision command line: subcommands, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Optional, Protocol, Union, cast

from ._errors import EdgevisionError, closest
from ._quiet import forget

__all__ = ["Command", "device_commands", "main", "run_cli"]


class Command(Protocol):
    """A module with one subcommand. Its first docstring line is the help."""

    __doc__: Optional[str]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments. Must be cheap: `--help` calls it."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; return the exit code."""
        ...


def run_cli(
    prog: str,
    description: str,
    commands: Mapping[str, Union[str, Command]],
    argv: Optional[Sequence[str]] = None,
    *,
    version: str,
) -> int:
    """Parse `argv`, run one of `commands` (the only one, if its name is empty) and return the exit code.

    A command may be given as its module's full name: where another one is asked for, it is not imported.

    0 done, 1 a check failed, 2 wrong usage or input, 130 interrupted. Our own errors print one line; `--traceback`
    prints all.
    """
    words = sys.argv[1:] if argv is None else argv
    if argv is None:
        # This process runs the command and ends. What it imports stays: searching that for garbage, now and at the end,
        # would take a tenth of the time to a first label.
        gc.disable()
    args = _parse(prog, description, commands, words, version)
    if argv is None:
        gc.freeze()
        gc.enable()
    # The command as typed goes into reports, so that a stranger can repeat them.
    args.command_line = [prog, *words]
    # A file's name may hold bytes that are no UTF-8, which Python keeps as surrogates and refuses to print.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # What OpenCV would print about a bad picture, the error says in one line. It reads this when it is imported.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        code = args.selected.run(args)
        # It is None where the shell closed it with >&-
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (EdgevisionError, OSError, KeyboardInterrupt) as error:
        if args.traceback:
            raise
        return _report(prog, error)


def _parse(
    prog: str, description: str, commands: Mapping[str, Union[str, Command]], words: Sequence[str], version: str
) -> argparse.Namespace:
    if words and words[0] in commands:
        commands = {words[0]: commands[words[0]]}
    parser = _Parser(prog=prog, description=description, formatter_class=_Help, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{prog} {version}")
    if "" in commands:
        _declare(parser, "", _load(commands[""]))
    else:
        subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
        for name, command in ((name, _load(command)) for name, command in commands.items()):
            help_line = (command.__doc__ or "").splitlines()[0]
            subparser = subparsers.add_parser(
                name, help=help_line, description=help_line, formatter_class=_Help, allow_abbrev=False
            )
            _declare(subparser, name, command)
    return parser.parse_args(_joined(words))


def _joined(words: Sequence[str]) -> list[str]:
    """Write `--pixels -1..1` as `--pixels=-1..1`: argparse takes all that begins with a minus for a flag.

    >>> _joined(["export", "net.onnx", "--pixels", "-1..1", "--threads", "-2", "--json"])
    ['export', 'net.onnx', '--pixels=-1..1', '--threads=-2', '--json']
    """
    found: list[str] = []
    for word in words:
        if found and re.match(r"-[\d.]", word) and re.fullmatch(r"--[a-z][a-z-]*", found[-1]):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, where argparse prints all flags that there are."""

    _words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        unknown = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        hint = _closest(unknown[1], re.findall(r"[^', ]+", unknown[2])) if unknown else ""
        # A required flag that is misspelt is missing, too.
        for word in self._words if "required" in message else ():
            if word.startswith("--") and word.split("=")[0] not in flags:
                hint = hint or _closest(word.split("=")[0], flags, f" in place of {word}")
        self.exit(2, f"{self.prog}: error: {message}{hint}; {self.prog} --help tells more\n")

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]  # its overloads say the same
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        self._words = list(args or ())
        found, strangers = super().parse_known_args(args, namespace)
        if strangers:  # complained about here, where the flags of the command are known
            flags = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unknown argument {strangers[0]}{_closest(strangers[0].split('=')[0], flags)}")
        return found, strangers


class _Help(argparse.HelpFormatter):
    """Knows how wide the terminal is without shutil, which argparse would import when an argument is declared."""

    def __init__(self, prog: str) -> None:
        asked = os.environ.get("COLUMNS", "")
        columns = int(asked) if asked.isdecimal() else 0
        if not columns:
            try:
                columns = os.get_terminal_size(1).columns  # 0 on a serial line
            except OSError:
                columns = 0
        super().__init__(prog, width=(columns or 80) - 2)


def _closest(got: str, known: Sequence[str], more: str = "") -> str:
    close = closest(got, known)
    return "" if close is None else f"; did you mean {close}{more}?"


def _load(command: Union[str, Command]) -> Command:
    return cast(Command, importlib.import_module(command)) if isinstance(command, str) else command


def _declare(parser: argparse.ArgumentParser, name: str, command: Command) -> None:
    command.add_arguments(parser)
    parser.add_argument("--traceback", action="store_true", help="on an error, print where it came from")
    parser.set_defaults(selected=command, command=name)


def _report(prog: str, error: BaseException) -> int:
    import signal

    if isinstance(error, KeyboardInterrupt):
        print(f"{prog}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    if isinstance(error, BrokenPipeError):
        # The reader of our output (head, less) has gone: no error of ours.
        forget(sys.stdout)
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError):
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            forget(sys.stdout)
        advice = {
            errno.ENOSPC: "; free some space, or choose another place",
            errno.EACCES: "; change its permissions, or choose another place",
        }.get(error.errno or 0, "")
        named = f"{error.filename}: " if error.filename else ""
        print(f"{prog}: error: {named}{error.strerror or error}{advice}", file=sys.stderr)
        return 2
    print(f"{prog}: error: {error}", file=sys.stderr)
    return error.exit_code if isinstance(error, EdgevisionError) else 2


def device_commands() -> dict[str, str]:
    """Return the subcommands of `edgevision-device` and their modules, for a command line that offers them too."""
    return {name: f"{__package__}._commands.{name}" for name in ("classify", "stream", "check", "service")}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run `edgevision-device`."""
    from . import __version__

    return run_cli(
        "edgevision-device",
        "Run image classifiers that edgevision exported, on the device.",
        device_commands(),
        argv,
        version=__version__,
    )
