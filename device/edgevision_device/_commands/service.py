"""Let systemd start a stream at boot, restart it when it fails, and shut it off from the rest of the system."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

from .._decision import DecisionRule
from .._errors import CheckError, EdgevisionError, MissingPackageError, UsageError
from .._file import read_model_file
from .._outputs import write_atomically
from .._service import Service, environment_of, hidden_paths
from .._sources import kind_of_source
from . import stream
from ._model import describe_given
from ._sinks import check_sink_values
from ._source import check_sources, comes_back
from ._variables import read_variables, without_secrets

_EPILOG = """\
    edgevision-device service install photos.int8.tflite --source 0 --out labels.jsonl --web 0.0.0.0:8080 --dry-run
    sudo edgevision-device service install photos.int8.tflite --source 0 --out labels.jsonl
    journalctl -u edgevision -f            # where no sink is named, a line whenever the label changes
    sudo systemctl reload edgevision        # opens the model file again; a changed file does so by itself
    sudo edgevision-device service uninstall

The service runs as a user of its own that can write to /var/lib/NAME only: outputs have relative names, and lie there.
It must be able to read the Python environment and the model file: install them outside of /home, such as in /opt.
Each start goes on with --out; --rotate-mb bounds it. A service does not end: it takes no --video, --frames, --seconds.
A camera or address that is not there at the start is waited for, unless --no-reconnect says otherwise.

Addresses with a password, --webhook and --web-token go into a file beside the unit that root alone can read, and so do
all EDGEVISION_… variables: sudo --preserve-env=EDGEVISION_MQTT_PASSWORD edgevision-device service install …
"""

_UNITS = "/etc/systemd/system"
#: Where systemd looks for units: systemd.unit(5). One in the first hides those of its name in the others.
_SYSTEM_UNITS = (
    _UNITS,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
#: Folders of which a service sees one of its own.
_PRIVATE = ("/tmp", "/var/tmp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="write the unit, start it now and at every boot", allow_abbrev=False)
    install.add_argument("--name", default="edgevision", metavar="NAME", help="of the service (default: edgevision)")
    install.add_argument("--dry-run", action="store_true", help="print the unit, and change nothing")
    install.add_argument("--unit-dir", default=_UNITS, metavar="DIR", help=argparse.SUPPRESS)
    stream.add_arguments(install)
    uninstall = actions.add_parser("uninstall", help="stop it, and remove the unit", allow_abbrev=False)
    uninstall.add_argument("--name", default="edgevision", metavar="NAME", help="of the service (default: edgevision)")
    uninstall.add_argument("--unit-dir", default=_UNITS, metavar="DIR", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    return _install(args) if args.action == "install" else _uninstall(args)


def _install(args: argparse.Namespace) -> int:
    _check(args)
    asked, variables = without_secrets(_from_anywhere(args))
    path, environment_path = _paths(args)
    command = [os.path.abspath(sys.executable), "-m", "edgevision_device", "stream", *_words(asked)]
    service = Service(
        args.name,
        command,
        f"{Path(args.file).name}: labels of what the camera sees",
        environment_file=environment_path if variables else None,
    )
    _require_readable(args)
    if args.dry_run:
        print(service.unit(), end="", flush=True)
        return 0
    _require_root(args, variables)
    environment_path.unlink(missing_ok=True)
    if variables:
        write_atomically(environment_path, environment_of(variables), mode=0o600)
    write_atomically(path, service.unit())
    try:
        _systemctl("daemon-reload")
        _systemctl("enable", args.name)
        _systemctl("restart", args.name)
    except EdgevisionError as error:
        raise CheckError(f"{error}; {path} is written, and `service uninstall --name {args.name}` removes it") from None
    print(f"{path}: installed and started; journalctl -u {args.name} -f shows what it says")
    return 0


def _uninstall(args: argparse.Namespace) -> int:
    path, environment_path = _paths(args)
    if not path.exists():
        raise UsageError(f"no such service: {path}")
    if not _is_ours(path):
        raise UsageError(f"{path} is not a service of edgevision; remove it by hand if you mean it")
    _require_root(args, {})
    try:
        _systemctl("disable", "--now", args.name)
        failed = None
    except EdgevisionError as error:  # where systemd does not run, it runs no service either
        failed = error
    path.unlink()
    environment_path.unlink(missing_ok=True)
    if failed is not None:
        raise CheckError(f"{failed}; {path} is removed all the same")
    _systemctl("daemon-reload")
    print(f"{path}: stopped and removed; what it recorded stays in /var/lib/{args.name}")
    return 0


def _is_ours(path: Path) -> bool:
    try:
        return "edgevision_device" in path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a link to nowhere, or not to be read
        return False


def _paths(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return where the unit lies, and its environment."""
    return Path(args.unit_dir, f"{args.name}.service"), Path(args.unit_dir, f"{args.name}.env")


def _check(args: argparse.Namespace) -> None:
    """Raise where the service would fail at every start, or lose what it recorded."""
    for flag, why in (
        ("window", "a service has no screen; --web shows the picture to a browser"),
        ("video", "a video can be played when it has ended, and a service does not end; --snapshots keeps pictures"),
        ("overwrite", "each start would replace what was recorded; leave it out, and each start goes on with the file"),
        ("frames", "a service does not end; leave it out"),
        ("seconds", "a service does not end; leave it out"),
    ):
        if getattr(args, flag) not in (None, False):
            raise UsageError(f"--{flag}: {why}")
    for folder in (args.unit_dir, *_SYSTEM_UNITS):
        unit = Path(folder, f"{args.name}.service")
        if os.path.lexists(unit) and not _is_ours(unit):
            raise UsageError(f"--name {args.name}: {unit} is another service, not of edgevision; choose another name")
    state = f"/var/lib/{args.name}"
    for flag in ("out", "snapshots"):
        value: Optional[str] = getattr(args, flag)
        if value is not None and not Path(os.path.normpath(os.path.join(state, value))).is_relative_to(state):
            raise UsageError(f"--{flag} {value}: the service can write to {state} only; give a relative name")
    meant = read_variables(args)
    DecisionRule(meant.threshold, meant.smooth, meant.hysteresis)
    check_sources(meant)
    check_sink_values(meant)
    # No native code sees the file: this may be root. What only a start can tell, `systemctl restart` waits for.
    read_model_file(meant.file, describe_given(meant))


def _require_readable(args: argparse.Namespace) -> None:
    python = os.path.realpath(sys.executable)
    problems: list[str] = []
    for needed in (python, Path(__file__).parent, *_inputs(read_variables(args))):
        for private in _PRIVATE:
            if Path(needed).resolve().is_relative_to(private):
                problems.append(f"{needed} lies in {private}, of which a service has its own: put it elsewhere")
        for hidden in hidden_paths([needed]):
            what = "put it elsewhere, such as in /srv"
            if needed in (python, Path(__file__).parent):
                what = "install with a Python that all users can run: /usr/bin/python3 -m venv /opt/edgevision"
            problems.append(f"the service's user cannot read {hidden}, where {needed} lies: {what}")
    if problems:
        raise UsageError("\n".join(problems))


def _inputs(args: argparse.Namespace) -> list[str]:
    """Return the files and folders that the stream reads."""
    # A library without a folder is looked for where the system has its libraries.
    delegate = args.delegate if args.delegate and os.sep in args.delegate else None
    sources = [each for each in args.source if kind_of_source(each) == "path"]
    return [each for each in (args.file, args.labels, delegate, *sources) if each is not None]


def _from_anywhere(args: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments as they are to be given in another folder, and at each start."""
    meant = read_variables(args)
    inputs = _inputs(meant)

    def full(value: Optional[str]) -> Optional[str]:
        # Not resolved: a link that is set to another file is a file that has changed.
        return os.path.abspath(value) if value in inputs else value

    changed: dict[str, Any] = {name: full(getattr(args, name)) for name in ("file", "labels", "delegate")}
    changed["source"] = [full(each) for each in args.source]
    # A camera that is missing at boot must not keep the others from starting, and comes when it comes.
    if args.reconnect is None and any(map(comes_back, meant.source)):
        changed["reconnect"] = True
    return argparse.Namespace(**{**vars(args), **changed, "append": args.out is not None})


def _words(args: argparse.Namespace) -> list[str]:
    """Return the arguments as `stream` is to be given them; those that have their defaults are left out."""
    parser = argparse.ArgumentParser()
    stream.add_arguments(parser)
    words: list[str] = [args.file]
    for name, default in vars(parser.parse_args(["", "--source", ""])).items():
        value, flag = getattr(args, name), name.replace("_", "-")
        if name == "file" or value == default:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
            continue
        for each in value if isinstance(value, list) else [value]:
            words.extend([f"--{flag}={each}"] if str(each).startswith("-") else [f"--{flag}", str(each)])
    return words


def _require_root(args: argparse.Namespace, variables: dict[str, str]) -> None:
    if os.geteuid() != 0 and args.unit_dir == _UNITS:
        kept = ",".join(sorted(name for name in variables if name in os.environ))
        sudo = ["sudo", *([f"--preserve-env={kept}"] if kept else []), os.path.abspath(sys.argv[0])]
        # Not all of the line: it may hold passwords, and this may end up in a log.
        raise UsageError(f"only root installs services: {shlex.join([*sudo, 'service', args.action])} … as before")


def _systemctl(*words: str) -> None:
    if shutil.which("systemctl") is None:
        raise MissingPackageError(
            "there is no systemctl: services need systemd; --dry-run prints the unit all the same"
        )
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CheckError(f"systemctl {' '.join(words)} failed: {last}")
