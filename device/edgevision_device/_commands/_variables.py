"""Addresses that stand in environment variables, because a command line is open to everybody on the machine."""

from __future__ import annotations

import argparse
import itertools
import os
import re
from typing import Optional

from .._errors import UsageError
from .._sources import kind_of_source, without_password

__all__ = ["read_variables", "without_secrets"]

_PREFIX = "EDGEVISION_"
_VARIABLE = re.compile(rf"\$({_PREFIX}[A-Z0-9_]+)")


def read_variables(args: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments with what `$EDGEVISION_…` stands for in its place: each a whole address.

    Raises UsageError for a variable that is not there.
    """

    def read(flag: str, value: Optional[str]) -> Optional[str]:
        match = None if value is None else _VARIABLE.fullmatch(value)
        if match is None:
            return value
        if match[1] not in os.environ:
            raise UsageError(f"{flag} {value}: there is no such environment variable; export {match[1]}=ADDRESS")
        return os.environ[match[1]]

    changed = {
        "source": [read("--source", each) for each in args.source],
        "mqtt": read("--mqtt", args.mqtt),
        "webhook": read("--webhook", args.webhook),
    }
    return argparse.Namespace(**{**vars(args), **changed})


def without_secrets(args: argparse.Namespace) -> tuple[argparse.Namespace, dict[str, str]]:
    """Return the arguments with variables for what may be secret, and the environment that `read_variables` needs.

    The environment holds what this process has of EDGEVISION_… too, but where its caches are.
    """
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
    environment.pop("EDGEVISION_CACHE", None)

    def moved(name: str, value: str) -> str:
        if _VARIABLE.fullmatch(value):
            return value
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        free = next(each for each in names if each not in environment)
        environment[free] = value
        return f"${free}"

    def tells(address: str) -> bool:
        return without_password(address) != address

    changed = argparse.Namespace(**vars(args))
    changed.source = [
        moved(f"{_PREFIX}SOURCE", each) if kind_of_source(each) == "address" and tells(each) else each
        for each in args.source
    ]
    if args.mqtt is not None and tells(args.mqtt):
        changed.mqtt = moved(f"{_PREFIX}MQTT", args.mqtt)
    if args.webhook is not None:
        # Whoever knows such an address may post there: its path is often the password.
        changed.webhook = moved(f"{_PREFIX}WEBHOOK", args.webhook)
    if args.web_token is not None:
        from .._sinks._web_access import WEB_TOKEN

        environment[WEB_TOKEN], changed.web_token = args.web_token, None
    return changed, environment
