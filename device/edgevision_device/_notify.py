"""Telling systemd that a service is up and alive, by the protocol of sd_notify(3), and knowing its journal."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TextIO

__all__ = ["ServiceManager", "is_journal"]


class ServiceManager:
    """Speaks to the service manager that started this process; says nothing where there is none.

    `alive` is to be called from the very loop that is watched: a thread of its own would go on when the loop hangs.
    See sd_notify(3) and sd_watchdog_enabled(3).
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of a name that is in no file system.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # Twice as often as needed, as the manual advises.
        self._every_s = int(watchdog_us) / 2e6 if mine and watchdog_us.isdigit() else None
        self._next_s = 0.0

    def ready(self, status: str) -> None:
        """Say that the service works from now on."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def alive(self) -> None:
        """Say that the loop is not stuck. Cheap enough for every frame."""
        now_s = time.monotonic()
        if self._every_s is not None and now_s >= self._next_s:
            self._next_s = now_s + self._every_s
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say what `systemctl status` shows."""
        self._send(f"STATUS={_line(text)}")

    def stopping(self) -> None:
        """Say that the end is meant."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # a manager that does not read must not stop the loop
            sender.sendto(message.encode(errors="backslashreplace"), self._address)


def is_journal(out: TextIO) -> bool:
    """Whether systemd keeps what is printed there: systemd.exec(5), "JOURNAL_STREAM"."""
    try:
        state = os.fstat(out.fileno())
    except (OSError, ValueError):  # no file of the system's, or closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{state.st_dev}:{state.st_ino}"


def _line(text: str) -> str:
    return " ".join(text.split())
