"""CSI cameras, against a stand-in that does what Picamera2's documentation says."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import fake_picamera2
import numpy as np
import pytest

from edgevision_device import EdgevisionError, MissingPackageError, SourceError, open_source
from edgevision_device._health import Health
from edgevision_device._sources import ReconnectingSource


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class Picamera2 of a module that is fresh for each test."""
    module = fake_picamera2.module()
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return module.Picamera2


@pytest.mark.parametrize("width", [640, 642, 100])  # rows of 1,920 bytes fill 64s; the others have padding
def test_colors_and_rows_are_right(picamera2: Any, width: int) -> None:
    with open_source("picamera://", size_wh=(width, 48)) as source:
        frames = source.frames()
        frame = next(frames)
    assert source.live
    assert frame.picture.shape == (48, width, 3)
    rgb = frame.picture if frame.picture_order == "rgb" else frame.picture[..., ::-1]
    assert (rgb[:, 1:] == np.array(fake_picamera2.COLOR_RGB)).all()
    assert frame.picture[:, 0, 0].tolist() == list(range(48))
    # A view of the one copy that was made.
    assert frame.picture.base is not None


def test_requests_go_back_to_the_camera(picamera2: Any) -> None:
    with open_source("picamera://0", time_limit_s=1) as source:
        frames = source.frames()
        assert [next(frames).id for _ in range(50)] == list(range(50))
    assert picamera2.made[0].held == 0
    assert picamera2.made[0].closed


def test_size_and_rate_are_asked_for(picamera2: Any) -> None:
    told: list[str] = []
    open_source("picamera://0", 10, size_wh=(1640, 1232), on_notice=told.append).close()
    asked = picamera2.made[0].configuration
    assert asked["main"]["size"] == (1640, 1232)
    assert asked["controls"]["FrameDurationLimits"] == (100_000, 100_000)
    assert told == []
    open_source("picamera://0?size=4000x3000&fps=15", on_notice=told.append).close()
    assert picamera2.made[1].configuration["controls"]["FrameDurationLimits"] == (66_667, 66_667)
    assert told == ["picamera://0 gives size 3280x2464 instead of 4000x3000"]
    open_source("picamera://").close()
    assert picamera2.made[2].configuration["main"]["size"] == (640, 480)


def test_a_frame_is_as_old_as_the_sensor_says(picamera2: Any) -> None:
    picamera2.behind_ns = staticmethod(lambda number: 80_000_000)
    frame = next(open_source("picamera://").frames())
    age_ns = time.monotonic_ns() - frame.captured_ns
    assert 80_000_000 <= age_ns < 5_000_000_000
    assert abs(time.time() - age_ns / 1e9 - frame.captured_utc.timestamp()) < 1


def test_a_sensors_clock_that_jumps_does_not_turn_time_back(picamera2: Any) -> None:
    jumps = [0, 20_000_000, 5_000_000_000, -3_600_000_000_000, 10**18, 0, 9_000_000_000, 30_000_000]
    picamera2.behind_ns = staticmethod(lambda number: jumps[number])
    frames = open_source("picamera://").frames()
    began_ns = time.monotonic_ns()
    times_ns = [next(frames).captured_ns for _ in jumps]
    assert times_ns == sorted(times_ns)
    assert times_ns[0] >= began_ns
    assert times_ns[-1] <= time.monotonic_ns()


def test_a_camera_that_falls_silent_ends_with_an_error_and_comes_back(picamera2: Any) -> None:
    picamera2.frames_until_silence = 3
    frames = open_source("picamera://0", time_limit_s=0.1).frames()
    assert [next(frames).id for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceError, match=r"picamera://0 has sent no frame for 0.1 s, after 3 frames"):
        next(frames)
    said: list[str] = []
    again = ReconnectingSource(
        lambda: open_source("picamera://0", time_limit_s=0.1), health=Health(said.append), first_wait_s=0.01
    )
    frames = again.frames()
    assert [next(frames).id for _ in range(7)] == list(range(7))
    again.close()
    assert all(camera.closed for camera in picamera2.made[1:])
    assert "has sent no frame for 0.1 s" in said[0]


def test_a_camera_that_is_not_there_or_in_use_is_an_error(picamera2: Any) -> None:
    with pytest.raises(SourceError, match=r"picamera://3: there is no such camera; cameras found: 0 \(imx219\)"):
        open_source("picamera://3")
    picamera2.in_use = True
    with pytest.raises(SourceError, match="picamera://0 cannot be opened: another program may be using it"):
        open_source("picamera://0")
    picamera2.in_use = False
    with pytest.raises(SourceError, match="picamera://0 cannot be set up: width and height should be even"):
        open_source("picamera://0", size_wh=(641, 480))
    assert picamera2.made[-1].closed


def test_without_picamera2_the_error_says_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingPackageError) as caught:
        open_source("picamera://0")
    assert "sudo apt install python3-picamera2" in str(caught.value)
    assert "python3 -m venv --system-site-packages" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picamera2_that_does_not_fit_the_numpy_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')\n")
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EdgevisionError, match=r"installed, but cannot be loaded \(numpy.dtype size changed\).*numpy"):
        open_source("picamera://0")
