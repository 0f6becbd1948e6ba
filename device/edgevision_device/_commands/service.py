"""Let systemd start a stream at boot, restart it when it fails, and shut it off from the rest of the system."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Optional

from .._errors import CheckError, MissingPackageError, UsageError
from .._outputs import write_atomically
from .._service import Service, hidden_paths
from . import stream

_EPILOG = """\
    edgevision-device service install photos.int8.tflite --source 0 --out labels.jsonl --web 0.0.0.0:8080 --dry-run
    sudo edgevision-device service install photos.int8.tflite --source 0 --out labels.jsonl
    journalctl -u edgevision -f
    sudo systemctl reload edgevision        # opens the model file again; a changed file does so by itself
    sudo edgevision-device service uninstall

The service runs as a user of its own that can write to /var/lib/NAME only: outputs have relative names, and lie there.
It must be able to read the Python environment and the model file: install them outside of /home, such as in /opt.
"""

_UNITS = "/etc/systemd/system"


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
    model = Path(args.file).resolve()
    if not model.is_file():
        raise UsageError(f"no such model file: {args.file}")
    words = _stream_words(args.command_line, args.file, str(model))
    command = [os.path.abspath(sys.executable), "-m", "edgevision_device", "stream", *words]
    service = Service(args.name, command, f"{model.name}: labels of what the camera sees")
    unit = service.unit()
    _check(args, model)
    if args.dry_run:
        print(unit, end="")
        return 0
    _require_root(args)
    path = Path(args.unit_dir, f"{args.name}.service")
    write_atomically(path, unit.encode())
    _systemctl("daemon-reload")
    _systemctl("enable", args.name)
    _systemctl("restart", args.name)
    print(f"{path}: installed and started; journalctl -u {args.name} -f shows what it says")
    return 0


def _uninstall(args: argparse.Namespace) -> int:
    path = Path(args.unit_dir, f"{args.name}.service")
    if not path.exists():
        raise UsageError(f"no such service: {path}")
    if "edgevision_device" not in path.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{path} is not a service of edgevision; remove it by hand if you mean it")
    _require_root(args)
    _systemctl("disable", "--now", args.name)
    path.unlink()
    _systemctl("daemon-reload")
    print(f"{path}: stopped and removed; what it recorded stays in /var/lib/{args.name}")
    return 0


def _stream_words(command_line: list[str], file: str, resolved: str) -> list[str]:
    """Return the arguments of `stream`: those of `service install` without its own, and the file by its full path."""
    words = iter(command_line[command_line.index("install") + 1 :])
    kept: list[str] = []
    for word in words:
        if word in ("--name", "--unit-dir"):
            next(words)
        elif word not in ("--dry-run", "--traceback") and not word.startswith(("--name=", "--unit-dir=")):
            kept.append(resolved if word == file else word)
    return kept


def _check(args: argparse.Namespace, model: Path) -> None:
    """Raise where the service would fail at every start."""
    for flag in ("out", "video", "snapshots"):
        value: Optional[str] = getattr(args, flag, None)
        if value is not None and Path(value).is_absolute() and not Path(value).is_relative_to(f"/var/lib/{args.name}"):
            raise UsageError(
                f"--{flag} {value}: the service can write to /var/lib/{args.name} only; give a relative name"
            )
    if getattr(args, "window", False):
        raise UsageError("a service has no screen for --window; --web shows the picture to a browser")
    needed = [os.path.realpath(sys.executable), Path(__file__).parent, model]
    for hidden in hidden_paths([*needed, *filter(None, [args.labels])]):
        raise UsageError(
            f"the service's user cannot read {hidden}: install outside of it, such as "
            "python3 -m venv /opt/edgevision, or open it: chmod o+rX"
        )


def _require_root(args: argparse.Namespace) -> None:
    if os.geteuid() != 0 and args.unit_dir == _UNITS:
        line = shlex.join([os.path.abspath(sys.argv[0]), *args.command_line[1:]])
        raise UsageError(f"only root installs services: sudo {line}")


def _systemctl(*words: str) -> None:
    if shutil.which("systemctl") is None:
        raise MissingPackageError(
            "there is no systemctl: services need systemd; --dry-run prints the unit all the same"
        )
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CheckError(f"systemctl {' '.join(words)} failed: {last}")
