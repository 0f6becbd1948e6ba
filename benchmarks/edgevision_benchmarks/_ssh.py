"""The way to another device: one run of OpenSSH's `ssh`, and `_agent` at its other end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Callable, Optional, cast

from edgevision_device import HostError, MissingPackageError, UsageError

__all__ = ["Connection", "RefusedError"]

#: So often the other end hears something; it waits for `_agent.SILENCE_S`.
_BEAT_S = 10.0
_OLDEST = (3, 9)
_AGENT = Path(__file__).with_name("_agent.py")

#: Longer than sshd waits for a password.
_GREETING_S = 180.0

#: Says its version before it is given anything, on any Python 3 and under any shell; on a line of its own, whatever the
#: login has said. `-I`: without what the user keeps in the home and in PYTHONPATH.
_START = (
    "exec python3 -I -c 'import sys,json;"
    r'print("\nedgevision",*sys.version_info[:3]);'
    "sys.stdout.flush();"
    'exec(json.loads(open(0,"rb",0,closefd=False).readline()))\''
)

_GREETING = re.compile(rb"edgevision (\d+) (\d+) (\d+)\s*")

#: What ssh says where it fails itself, in the order in which it is looked for; what it means, and what to do.
_CAUSES = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "its host key is not the one that it had before: find out why; only if it was set up anew, `ssh-keygen -R` "
        "with its name forgets the old key"
    ),
    "[Hh]ost key verification failed": (
        "its host key is not known here; `ssh {host}` once in a terminal shows it and asks"
    ),
    "Permission denied": (
        "it does not accept your key; `ssh-copy-id {host}` puts it there, and in a terminal ssh asks for a password"
    ),
    "Could not resolve|Connection refused|No route|timed out|Network is unreachable": (
        "it cannot be reached: is it on, is its name right, and does it run an ssh server?"
    ),
}

Output = Callable[[str, bytes], None]


class RefusedError(HostError):
    """What the other end cannot do; `reason` is a word of `_agent`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Connection:
    """A context in which the other end answers; when it ends nothing runs there.

    The program `ssh` decides who may log in where: keys, known hosts, `~/.ssh/config`. Where there is a terminal it may
    ask for a password there; elsewhere it must not wait for one.

    Args:
        host: what ssh calls it: a name of `~/.ssh/config`, `user@name`, or `ssh://user@name:port`.

    Raises:
        HostError: it cannot be reached, refuses the login, or has no Python that will do.
    """

    def __init__(self, host: str) -> None:
        if not host or host.startswith("-") or re.search(r"\s", host):
            raise UsageError(f"{host!r} is no host; give what ssh takes: a name, user@name, or ssh://user@name:port")
        program = shutil.which("ssh")
        if program is None:
            raise MissingPackageError(
                "--host needs the program ssh, which is not here: sudo apt install openssh-client"
            )
        self.host = host
        self._doing = "connecting"
        self._held = b""
        options = ["-T", "-a", "-x", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]
        options += ["-o", "ConnectTimeout=20"]
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            options += ["-o", "BatchMode=yes"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the connection
        self._ssh = subprocess.Popen(
            [program, *options, "--", host, _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._heard_s: Optional[float] = None  # before the other end listens, a beat would be taken for its program
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def ask(
        self, doing: str, do: str, on_output: Optional[Output] = None, pieces: Iterable[bytes] = (), **more: Any
    ) -> dict[str, Any]:
        """Ask one thing of `_agent` and wait for the result.

        Args:
            doing: what an error says it broke off in.
            do: the question, with `more`.
            on_output: given `stdout` or `stderr`, and what a program wrote there.
            pieces: bytes that follow the question; nothing else is sent before they are.

        Raises:
            RefusedError: it cannot be done; nothing further can be asked.
            HostError: the connection is lost.
        """
        self._doing = doing
        if self._write(json.dumps({"do": do, **more}).encode() + b"\n"):
            all(map(self._write, pieces))  # where nobody takes them any more, the answer says why
        while True:
            answer = json.loads(self._line())
            if "result" in answer:
                return answer["result"]
            if "error" in answer:
                raise RefusedError(answer["error"], answer["detail"])
            for stream, text in cast("Mapping[str, str]", answer).items():
                if on_output is not None:
                    on_output(stream, text.encode("latin-1"))

    def close(self) -> None:
        """Break off: the other end sees its standard input end, and ends what runs there."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(5)
        self._ssh.kill()
        self._ssh.wait()
        cast("IO[bytes]", self._ssh.stdout).close()
        self._log.close()

    @property
    def _stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self._ssh.stdin)

    def _greet(self) -> None:
        end_s, found = time.monotonic() + _GREETING_S, None
        while found is None:  # a login may say something first
            found = _GREETING.fullmatch(self._line(end_s))
        version = tuple(int(number) for number in found.groups())
        if version < _OLDEST:
            raise HostError(
                f"{self.host}: its python3 is {'.'.join(map(str, version))}, and 3.9 is the oldest that will do; "
                "update the system there, or put a newer python3 first on its PATH"
            )
        self._write(json.dumps(_AGENT.read_text(encoding="utf-8")).encode() + b"\n")

    def _write(self, content: bytes) -> bool:
        """Send bytes; return False if nobody takes them, which the next answer explains."""
        self._heard_s = time.monotonic()
        try:
            self._stdin.write(content)
            self._stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def _line(self, end_s: float = math.inf) -> bytes:
        stdout = cast("IO[bytes]", self._ssh.stdout).fileno()
        while b"\n" not in self._held:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise HostError(
                    f"{self.host}: no python3 answered there for {_GREETING_S:g} s; `ssh {self.host} python3 -V` in a "
                    "terminal shows what the login waits for"
                )
            ready = select.select([stdout], [], [], min(_BEAT_S, left_s))[0]
            if self._heard_s is not None and time.monotonic() - self._heard_s >= _BEAT_S:
                self._write(b"\n")
            chunk = os.read(stdout, 1 << 18) if ready else None
            if chunk == b"":
                raise self._ended()
            self._held += chunk or b""
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _ended(self) -> HostError:
        """Say why there is no more to read."""
        code = self._ssh.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")
        last = next(iter(said.strip().splitlines()[::-1]), f"ssh ended with code {code}").strip()
        if self._heard_s is not None:
            return HostError(
                f"{self.host}: the connection broke off while {self._doing} ({last}); what ran there ends by itself, "
                "and what was copied stays: start the same command again"
            )
        if code == 127:
            return HostError(f"{self.host}: it has no python3 ({last}); there: sudo apt install python3 python3-venv")
        if code != 255:  # it is not ssh that failed
            return HostError(
                f"{self.host}: python3 does not start there ({last}); `ssh {self.host} python3 -V` shows more"
            )
        for pattern, meaning in _CAUSES.items():
            if re.search(pattern, said):
                return HostError(f"{self.host}: {meaning.format(host=self.host)} ({last})")
        return HostError(f"{self.host}: ssh found no way there ({last})")
