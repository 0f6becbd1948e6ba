"""Ctrl-C ends a training, also where native code drops what it raises."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevision import main
from edgevision._interrupt import raise_if_interrupted, remembered_interrupts

Paint = Callable[..., Path]


def lost_interrupt() -> None:
    """Send SIGINT, and drop the exception as a callback from native code does."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_got_lost_is_remembered() -> None:
    with remembered_interrupts():
        raise_if_interrupted()
        lost_interrupt()
        with pytest.raises(KeyboardInterrupt):
            raise_if_interrupted()
    raise_if_interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with remembered_interrupts():
            signal.raise_signal(signal.SIGINT)
            raise_if_interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_training_ends_though_the_interrupt_got_lost(
    paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from edgevision import _job

    prepare = _job.prepare

    def interrupted(*args: Any, **more: Any) -> None:
        lost_interrupt()
        prepare(*args, **more)

    monkeypatch.setattr(_job, "prepare", interrupted)
    photos = paint(tmp_path / "photos", {"ant": 12, "bee": 12})
    line = ["train", photos, "--model", "dense", "--size", 8, "--epochs", 50, "--out", tmp_path / "run"]
    assert main([str(each) for each in line]) == 130
    assert "epoch 1/50" not in capfd.readouterr().err
