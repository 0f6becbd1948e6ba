"""Sinks that show or keep pictures: the overlay, video, snapshots, window."""

from __future__ import annotations

import itertools
import os
import threading
import time
import types
from pathlib import Path
from typing import Any, Optional

import fakes
import numpy as np
import pytest

from edgevision_device import Health, StreamResult, UsageError, find_labelled
from edgevision_device._sinks import Background, _snapshots
from edgevision_device._sinks._overlay import draw_result
from edgevision_device._sinks._snapshots import Snapshots, folder_name
from edgevision_device._sinks._video import Video, check_video
from edgevision_device._sinks._window import Window, check_window

pytestmark = pytest.mark.usefixtures("cv2")


def result_of(
    label: Optional[str] = "cat", *, score: float = 0.9, picture: Optional[np.ndarray] = None, **more: Any
) -> StreamResult:
    return fakes.result_of(
        label=label,
        score=score,
        scores=(score, score / 2, 0.0),
        labels=("cat", "dog", "Käse"),
        picture=np.full((120, 200, 3), 200, np.uint8) if picture is None else picture,
        **{"captured_s": 0.0, "age_ms": 34.0, **more},
    )


@pytest.mark.parametrize("shade", [0, 128, 255])
@pytest.mark.parametrize("shape", [(480, 640), (240, 320), (1080, 1920), (640, 360), (8, 12)])
def test_text_can_be_read_on_any_picture(shade: int, shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), shade, np.uint8)
    drawn = draw_result(result_of(picture=picture))
    height, width = drawn.shape[:2]
    assert min(height, width) >= 240
    assert (height % shape[0], width % shape[1]) == (0, 0)
    # Three quarters are left alone; below, the background is dark, and there is white text on it.
    assert (drawn[: height - height // 4] == shade).all()
    strip = drawn[-height // 6 :].reshape(-1, 3)
    assert np.median(strip.max(axis=1)) <= 0.3 * 255 + 1
    assert (strip.min(axis=1) > 180).sum() > 50
    assert (picture == shade).all()


def test_colors_are_those_of_the_picture() -> None:
    red = np.zeros((240, 320, 3), np.uint8)
    red[..., 0] = 255
    assert draw_result(result_of(picture=red, order="rgb"))[0, 0].tolist() == [0, 0, 255]
    assert draw_result(result_of(picture=red, order="bgr"))[0, 0].tolist() == [255, 0, 0]


def test_a_bar_is_as_long_as_its_score() -> None:
    def green(score: float) -> int:
        drawn = draw_result(result_of(score=score, picture=np.zeros((480, 640, 3), np.uint8)), count=1)
        row = drawn[480 - 18]
        return int((row == (110, 200, 60)).all(axis=1).sum())

    assert green(0.5) == pytest.approx(green(1.0) / 2, abs=2)
    assert green(1.0) > 200
    assert green(float("nan")) == 0


def frames_of(path: Path, cv2: Any) -> tuple[list[np.ndarray], float]:
    capture = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    while True:
        got, frame = capture.read()
        if not got:
            fps = capture.get(cv2.CAP_PROP_FPS)
            capture.release()
            return frames, fps
        frames.append(frame)


def shades(frames: list[np.ndarray]) -> list[int]:
    return [round(float(frame[: frame.shape[0] // 4].mean()) / 50) for frame in frames]


def grey(shade: int, shape: tuple[int, int] = (241, 321)) -> np.ndarray:
    return np.full((*shape, 3), 50 * shade, np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov"])
def test_of_a_folder_each_frame_is_one_of_the_video(suffix: str, tmp_path: Path, cv2: Any) -> None:
    path = tmp_path / f"out{suffix}"
    with Video(path, fps=10, live=False) as video:
        for shade in range(5):
            video.write(result_of(picture=grey(shade)))
        # The name belongs to a whole video only.
        assert not path.exists()
        assert [each.name.startswith(".out") for each in tmp_path.iterdir()] == [True]
        video.write(result_of(picture=grey(5, (500, 300))))
    frames, fps = frames_of(path, cv2)
    assert list(tmp_path.iterdir()) == [path]
    assert shades(frames)[:5] == [0, 1, 2, 3, 4]
    assert len(frames) == 6
    assert (frames[0].shape, fps) == ((240, 320, 3), 10)
    # The strip with the label.
    assert (frames[2][-40:].min(axis=2) > 200).sum() > 20


def test_of_a_camera_a_frame_is_shown_until_the_next_one(tmp_path: Path, cv2: Any) -> None:
    path = tmp_path / "out.mp4"
    with Video(path, fps=10, live=True) as video:
        # Three tenths of a second each; then faster than the video; then ten minutes without a frame.
        for shade, captured_s in ((1, 0.0), (2, 0.3), (3, 0.6), (0, 0.61), (4, 0.62), (5, 600.0)):
            video.write(result_of(picture=grey(shade), captured_s=captured_s))
    found = shades(frames_of(path, cv2)[0])
    assert found == [1, 1, 1, 2, 2, 2] + 20 * [4] + [5]


@pytest.mark.parametrize("early_ms", [0, -5, 5])
@pytest.mark.parametrize("fps", [5, 24, 25, 29.97, 30])
def test_of_a_camera_at_the_videos_rate_each_frame_is_shown_once(
    fps: float, early_ms: int, tmp_path: Path, cv2: Any
) -> None:
    path = tmp_path / "out.avi"
    with Video(path, fps=fps, live=True) as video:
        for number in range(20):
            captured_s = 1 + number / fps - (number % 3 == 1) * early_ms / 1000
            video.write(result_of(picture=grey(number % 6), captured_s=captured_s))
    assert shades(frames_of(path, cv2)[0]) == [number % 6 for number in range(20)]


def test_a_video_without_frames_is_none(tmp_path: Path) -> None:
    with Video(tmp_path / "out.mp4", fps=10, live=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_video_stops_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cv2: Any) -> None:
    lines: list[str] = []
    path = tmp_path / "out.avi"
    with Background(Video(path, fps=10, live=False), Health(lines.append), wait=True) as sink:
        sink.write(result_of(picture=grey(1)))
        while sink._queue or sink._busy:
            time.sleep(0.01)
        monkeypatch.setattr("edgevision_device._sinks._video._LEAST_FREE_BYTES", 10**18)
        sink.write(result_of(picture=grey(2)))
    assert shades(frames_of(path, cv2)[0]) == [1]
    assert sink.lost == 1
    assert len(lines) == 1
    assert lines[0].startswith("sink video: only ")


def test_a_video_that_no_encoder_takes_is_given_up_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    lines: list[str] = []
    video = Video(tmp_path / "out.mp4", fps=10, live=False)
    wide = result_of(picture=np.zeros((48, 9000, 3), np.uint8))  # mp4v ends at 8192
    with pytest.raises(UsageError, match=r"cannot encode mp4v into \.mp4"):
        video.write(wide)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("edgevision_device._sinks._video._open_writer", None)  # is not asked again
    with Background(video, Health(lines.append)) as sink:
        for _ in range(5):
            sink.write(wide)
        fakes.until(lambda: lines)
    assert (len(lines), "cannot encode mp4v" in lines[0]) == (1, True)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_video_begins_when_the_disk_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cv2: Any) -> None:
    path = tmp_path / "out.avi"
    with Video(path, fps=10, live=False) as video:
        with monkeypatch.context() as full:
            full.setattr("edgevision_device._sinks._video._LEAST_FREE_BYTES", 10**18)
            with pytest.raises(OSError, match="MB are free"):
                video.write(result_of(picture=grey(1)))
        assert list(tmp_path.iterdir()) == []
        video.write(result_of(picture=grey(2)))
    assert shades(frames_of(path, cv2)[0]) == [2]


@pytest.mark.parametrize("name", ["out", "out.gif", "out.MPG"])
def test_a_video_of_a_kind_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"must end in one of \.avi, \.mkv, \.mov, \.mp4"):
        check_video(name)


def test_a_codec_that_opencv_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    check_video("out.mp4")
    monkeypatch.setitem(__import__("edgevision_device")._sinks._video.VIDEO_CODECS, ".mp4", "NONE")
    with pytest.raises(UsageError, match=r"cannot encode NONE into \.mp4; try a name that ends in \.avi"):
        check_video("out.mp4")
    assert capfd.readouterr() == ("", "")


def test_snapshots_are_a_folder_to_train_on(tmp_path: Path, cv2: Any, bar: Any) -> None:
    folder = tmp_path / "shots"
    sink = Snapshots(folder, below=0.5, interval_s=0)
    picture = bar(enlarged=16)  # RGB
    sink.write(result_of("cat", picture=picture, order="rgb"))  # the first of a source starts its label
    sink.write(result_of("cat"))
    sink.write(result_of("dog", changed=True))
    sink.write(result_of("dog", score=0.4))
    sink.write(result_of(None, score=0.3, changed=True))
    found = [(each.label, each.path.name) for each in find_labelled(folder)]
    assert found == [
        ("cat", "20261103T120000.250Z_cat_90.jpg"),
        ("dog", "20261103T120000.250Z_dog_90.jpg"),
        ("unsure", "20261103T120000.250Z_unsure_30.jpg"),
        ("unsure", "20261103T120000.250Z_unsure_40.jpg"),
    ]
    kept = cv2.imread(str(folder / "cat" / found[0][1]))[..., ::-1].astype(int)
    assert kept.shape == picture.shape == (128, 192, 3)
    assert np.abs(kept - picture).mean() < 4


def test_two_of_the_same_moment_are_two_files(tmp_path: Path) -> None:
    sink = Snapshots(tmp_path, interval_s=0)
    for _ in range(3):
        sink.write(result_of(changed=True))
    assert len(list((tmp_path / "cat").iterdir())) == 3


def test_snapshots_keep_their_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(_snapshots, "time", types.SimpleNamespace(monotonic=lambda: now_s))
    sink = Snapshots(tmp_path, interval_s=2.0)
    kept_s: list[float] = []
    for now_s in (100.0, 100.5, 101.9, 102.0, 103.9, 110.0, 111.0):
        if sink.take(result_of(score=0.2)) is not None:
            kept_s.append(now_s)
    assert kept_s == [100.0, 102.0, 110.0]


def test_snapshots_have_a_limit_that_outlives_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def count() -> int:
        return len([path for path in tmp_path.rglob("*.jpg")])

    for _ in range(2):
        sink = Snapshots(tmp_path, limit=3, interval_s=0, say=said.append)
        for number in range(5):
            sink.write(result_of(id=number, changed=True))
        assert count() == 3
    # Once when it is reached, and once by the run that finds it so.
    assert said == 2 * [f"{tmp_path} holds 3 pictures, the limit is 3; no more until some are gone"]
    next(tmp_path.rglob("*.jpg")).unlink()
    sink.write(result_of(changed=True))
    assert count() == 2
    monkeypatch.setattr("edgevision_device._sinks._snapshots._COUNT_S", 0.0)
    sink.write(result_of(changed=True))
    assert count() == 3


HOSTILE = [
    "..",
    ".",
    "",
    " ",
    "a/b",
    "a\\b",
    "/etc",
    "nul\0",
    "a\nb",
    "CON:",
    "x" * 300,
    "ü" * 200,
    ".hidden",
    "a.",
    "%2F",
]


@pytest.mark.parametrize("label", [*HOSTILE, "\udce9", "unsure", "猫 🐈"])
def test_a_label_names_a_folder_and_nothing_else(label: str, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    Snapshots(folder, interval_s=0).write(result_of(label))
    (made,) = folder.iterdir()
    (picture,) = made.iterdir()
    assert picture.suffix == ".jpg"
    assert made.name not in ("unsure", label if label in HOSTILE else None)
    assert list(tmp_path.iterdir()) == [folder]
    assert not made.name.startswith(".")


def test_different_labels_have_different_folders() -> None:
    labels = [*HOSTILE, "a%2Fb", "%2E%2E", "x" * 299, "猫", "unsure", "%75nsure"]
    names = [folder_name(label) for label in labels]
    assert len({name.lower() for name in names}) == len(labels)
    assert folder_name("Egyptian cat") == "Egyptian cat"


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/dev/full"), reason="nothing here cannot be written to")
def test_snapshots_that_cannot_be_kept_are_trouble_and_no_more(tmp_path: Path) -> None:
    lines: list[str] = []
    blocked = tmp_path / "file"
    blocked.write_text("")
    before = set(threading.enumerate())
    with Background(Snapshots(blocked / "shots", interval_s=0), Health(lines.append)) as sink:
        for number in range(20):
            sink.write(result_of(id=number, changed=True))
    assert len(lines) == 1
    assert "Not a directory" in lines[0]
    assert set(threading.enumerate()) <= before


def has_window() -> bool:
    try:
        check_window()
    except UsageError:
        return False
    return True


def test_without_windows_there_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match="--window: OpenCV can open no window here"):
        check_window()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["key", "close"])
def test_the_window_ends_the_stream(how: str, monkeypatch: pytest.MonkeyPatch, cv2: Any) -> None:
    if not has_window():
        pytest.skip("no display, or an OpenCV without windows")
    stopped: list[bool] = []
    lines: list[str] = []
    with Window(Health(lines.append), lambda: stopped.append(True)) as window:
        for number in itertools.count():
            window.write(result_of(id=number, picture=grey(number % 5, (480, 640))))
            if number == 5 and how == "close":
                cv2.destroyWindow("edgevision")
            elif number == 5:
                # Xvfb has nobody to press keys.
                monkeypatch.setattr(cv2, "pollKey", lambda: ord("q"))
            if stopped or number > 100:
                break
            time.sleep(0.04)
        window.write(result_of())
        window.idle()
    assert (stopped, lines) == ([True], [])
