"""File descriptor 2, held back and given back."""

from __future__ import annotations

import os
import threading

import pytest

from edgevision_device import quiet_native


def test_greetings_are_held_back_and_the_rest_passes(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native():
        os.write(2, b"INFO: hello\nERROR: trouble\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "ERROR: trouble\n"


@pytest.mark.parametrize("error", [AttributeError(), OSError(38, "Function not implemented")], ids=["none", "refused"])
def test_greetings_are_held_back_where_memory_has_no_files(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    def memfd_create(name: str) -> int:
        raise error

    monkeypatch.setattr(os, "memfd_create", memfd_create, raising=False)
    test_greetings_are_held_back_and_the_rest_passes(capfd)


def test_a_use_inside_another_leaves_it_to_the_outer_one(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native(keep=lambda line: False):
        with quiet_native():
            os.write(2, b"ERROR: inner\n")
        os.write(2, b"ERROR: outer\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_uses_that_overlap_in_two_threads_give_the_descriptor_back(capfd: pytest.CaptureFixture[str]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def second() -> None:
        with quiet_native():
            entered.set()
            assert leave.wait(60)

    before = os.fstat(2)
    thread = threading.Thread(target=second)
    with quiet_native():
        thread.start()
        assert entered.wait(60)
    leave.set()
    thread.join()
    assert os.path.samestat(os.fstat(2), before)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
