"""What the service manager is told, over a real socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevision_device._notify import ServiceManager


@pytest.fixture
def manager_socket(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = short_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))
        receiver.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        monkeypatch.setenv("WATCHDOG_USEC", "100000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield receiver


def test_it_is_told_when_the_service_is_up_alive_and_ending(manager_socket: socket.socket) -> None:
    manager = ServiceManager()
    manager.ready("photos.tflite on\n0")
    assert manager_socket.recv(999) == b"READY=1\nSTATUS=photos.tflite on 0"
    for _ in range(100):
        manager.alive()
    assert manager_socket.recv(999) == b"WATCHDOG=1"
    manager_socket.setblocking(False)
    with pytest.raises(BlockingIOError):  # once in half of the time limit is enough
        manager_socket.recv(999)
    time.sleep(0.06)
    manager.alive()
    assert manager_socket.recv(999) == b"WATCHDOG=1"
    manager.stopping()
    assert manager_socket.recv(999) == b"STOPPING=1"


def test_a_watchdog_of_another_process_is_not_fed(
    manager_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_PID", "1")
    ServiceManager().alive()
    manager_socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager_socket.recv(999)


def test_a_name_that_is_in_no_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0edgevision-test-{id(monkeypatch)}")
        receiver.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@edgevision-test-{id(monkeypatch)}")
        ServiceManager().status("well")
        assert receiver.recv(999) == b"STATUS=well"


def test_a_manager_that_does_not_read_stops_nothing(manager_socket: socket.socket) -> None:
    manager = ServiceManager()
    began_s = time.monotonic()
    for _ in range(2000):  # more than the queue of a socket holds
        manager.status("well")
    assert time.monotonic() - began_s < 10


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    manager = ServiceManager()
    manager.ready("up")
    manager.alive()
