"""A stream as a systemd service: an unprivileged user, restarts, a watchdog, a file system that is read-only."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ._errors import UsageError

__all__ = ["Service", "environment_of", "hidden_paths"]

#: What systemd takes as a unit's name, and a folder and a user can be called after: systemd.unit(5).
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")

_NEEDS_ESCAPE, _ESCAPED = re.compile(r'["\\`$]'), r"\\\g<0>"

#: Directives: systemd.service(5), systemd.exec(5), systemd.resource-control(5). Not there, because runtimes need it:
#: MemoryDenyWriteExecute (XNNPACK and ONNX Runtime may generate code) and PrivateDevices (cameras).
_UNIT = """\
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target
# A camera that is unplugged for a night is no reason to give up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
# The loop itself says that it is alive; one that hangs is started again.
WatchdogSec=60
TimeoutStartSec=180
# Sinks take a second at most to close.
TimeoutStopSec=10

# A user that exists only while this runs, and may open cameras.
DynamicUser=yes
SupplementaryGroups={groups}
# The only place that can be written to: /var/lib/{name}. Relative names of outputs lie there.
StateDirectory={name}
WorkingDirectory=%S/{name}
CacheDirectory={name}
Environment=PYTHONUNBUFFERED=1 EDGEVISION_CACHE=%C/{name} HOME=%S/{name}
{environment_file}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
UMask=0077
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Service:
    """A command that systemd starts at boot and keeps running.

    Attributes:
        name: of the unit, and of its folder in /var/lib.
        command: the program's full path and its arguments.
        description: one line for `systemctl status`.
        groups: of devices that the command opens; those that this machine lacks are left out.
        environment_file: with variables that are nobody's business: see `environment_of`.

    Raises:
        UsageError: a name that systemd would not take.
    """

    name: str
    command: Sequence[str]
    description: str
    groups: Sequence[str] = ("video", "render")
    environment_file: Optional[Path] = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"a service is called by small letters, digits, - and _, at most 31, a letter first; got {self.name!r}"
            )

    def unit(self) -> str:
        """Return the content of the unit file."""
        file = self.environment_file
        return _UNIT.format(
            name=self.name,
            description=_escaped(" ".join(self.description.split())),
            command=" ".join(map(quoted, self.command)),
            groups=" ".join(group for group in self.groups if _has_group(group)),
            environment_file="" if file is None else f"EnvironmentFile={_escaped(str(file))}\n",
        )


def quoted(argument: str) -> str:
    r"""Write one argument of ExecStart: systemd.service(5), "Command lines", and systemd.syntax(7), "Quoting".

    >>> print(quoted("a b"), quoted("100%"), quoted("$HOME"), quoted("it's \\ here"))
    "a b" "100%%" "$$HOME" "it's \\ here"
    >>> print(quoted("--source"))
    --source
    """
    if re.fullmatch(r"[A-Za-z0-9_./:=,@+-]+", argument):
        return argument
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + _escaped(text).replace("$", "$$") + '"'


def environment_of(variables: Mapping[str, str]) -> str:
    r"""Write an environment file: systemd.exec(5), "EnvironmentFile=". It is read much as a shell would.

    >>> print(environment_of({"TOKEN": 'a "b" $c'}), end="")
    TOKEN="a \"b\" \$c"
    """
    return "".join(f'{name}="{_NEEDS_ESCAPE.sub(_ESCAPED, value)}"\n' for name, value in sorted(variables.items()))


def _escaped(text: str) -> str:
    # A % starts a specifier, such as %h for the home directory.
    return text.replace("%", "%%")


def _has_group(name: str) -> bool:
    import grp  # not on Windows

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def hidden_paths(paths: Sequence[str | os.PathLike[str]]) -> Iterator[Path]:
    """Yield what an unprivileged user cannot read, or cannot reach, of files and folders that a service needs.

    A home directory is closed to others on current Raspberry Pi OS.
    """
    seen: set[Path] = set()
    for path in paths:
        resolved = Path(path).resolve()
        for each in (*reversed(resolved.parents), resolved):
            if each in seen:
                continue
            seen.add(each)
            state = each.stat()
            needed = stat.S_IXOTH if each != resolved else stat.S_IROTH
            if each == resolved and stat.S_ISDIR(state.st_mode):
                needed |= stat.S_IXOTH
            if state.st_mode & needed != needed:
                yield each
                break
