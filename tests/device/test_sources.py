"""Every kind of source, with real files, a real server and real silence."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import fakes
import numpy as np
import pytest

from edgevision_device import (
    ArraySource,
    ClockedSource,
    DataError,
    Frame,
    PictureError,
    Source,
    SourceError,
    UsageError,
    find_cameras,
    open_source,
)
from edgevision_device._sources._camera import is_torn
from edgevision_device._sources._opencv import Capture

pytestmark = pytest.mark.usefixtures("cv2")

#: How much longer than the time limit an answer may take on a busy machine.
SLACK_S = 15.0


def color(frame: Frame) -> tuple[int, ...]:
    """The frame's middle pixel as RGB, rounded so that lossy compression does not show."""
    height, width = frame.picture.shape[:2]
    pixel = frame.picture[height // 2, width // 2]
    rgb = pixel[::-1] if frame.picture_order == "bgr" else pixel
    return tuple(int(round(value / 50) * 50) for value in rgb.tolist())


RED, BLUE = (200, 0, 0), (0, 0, 200)


def plain(rgb: tuple[int, ...], width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), rgb, np.uint8)


@pytest.fixture
def clip(tmp_path: Path, cv2: Any) -> Callable[..., Path]:
    """Write a clip: red frames, then one blue."""

    def write(name: str, codec: str, count: int = 12) -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (64, 48))
        if not writer.isOpened():
            pytest.skip(f"this OpenCV cannot write {codec} clips")
        for number in range(count):
            writer.write(plain(BLUE if number == count - 1 else RED)[..., ::-1])
        writer.release()
        return path

    return write


# --- pictures in memory ---------------------------------------------------------------------------------------------


def test_an_array_source_numbers_and_labels_its_pictures() -> None:
    with ArraySource([plain(RED), plain(BLUE)], true_labels=["red", "blue"], repeat=2) as source:
        frames = list(source.frames())
    assert [frame.id for frame in frames] == [0, 1, 2, 3]
    assert [frame.true_label for frame in frames] == ["red", "blue"] * 2
    assert [color(frame) for frame in frames] == [RED, BLUE] * 2
    assert not source.live


def test_frames_carry_both_clocks() -> None:
    before_ns = time.monotonic_ns()
    (frame,) = ArraySource([plain(RED)]).frames()
    assert before_ns <= frame.captured_ns <= time.monotonic_ns()
    assert frame.captured_utc.utcoffset() is not None
    assert abs(frame.captured_utc.timestamp() - time.time()) < 60


def test_an_array_source_refuses_what_cannot_be() -> None:
    with pytest.raises(SourceError, match="at least one"):
        ArraySource([])
    with pytest.raises(UsageError, match="one true label per picture"):
        ArraySource([plain(RED)], true_labels=[])
    with pytest.raises(UsageError, match="color order"):
        ArraySource([plain(RED)], "grb")


# --- folders --------------------------------------------------------------------------------------------------------


def write_pictures(folder: Path, cv2: Any, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), plain(BLUE if "blue" in name else RED)[..., ::-1])


def test_a_labelled_folder_gives_true_labels(tmp_path: Path, cv2: Any) -> None:
    write_pictures(tmp_path, cv2, ["red/b.png", "blue/a.png", "red/more/a.png"])
    with open_source(str(tmp_path)) as source:
        frames = list(source.frames())
    assert [(frame.true_label, color(frame)) for frame in frames] == [("blue", BLUE), ("red", RED), ("red", RED)]
    assert [frame.name for frame in frames] == [
        str(tmp_path / name) for name in ("blue/a.png", "red/b.png", "red/more/a.png")
    ]


def test_a_flat_folder_and_a_single_picture_have_no_labels(tmp_path: Path, cv2: Any) -> None:
    write_pictures(tmp_path, cv2, ["a.png", "b.png"])
    assert [frame.true_label for frame in open_source(str(tmp_path)).frames()] == [None, None]
    (frame,) = open_source(str(tmp_path / "a.png")).frames()
    assert (frame.id, frame.true_label, frame.name) == (0, None, str(tmp_path / "a.png"))


def test_a_broken_picture_is_raised_or_reported(tmp_path: Path, cv2: Any) -> None:
    write_pictures(tmp_path, cv2, ["a.png", "c.png"])
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"b\.png"):
        list(open_source(str(tmp_path)).frames())
    told: list[PictureError] = []
    frames = list(open_source(str(tmp_path), on_unreadable=told.append).frames())
    # What is left out was never produced: the numbers have no gap, which would mean a dropped frame.
    assert [frame.id for frame in frames] == [0, 1]
    assert "b.png" in str(told[0])


def test_a_folder_of_broken_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="none of the 1 files"):
        list(open_source(str(tmp_path), on_unreadable=lambda error: None).frames())


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        open_source(str(tmp_path))


# --- clips ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_a_clip_gives_every_frame_in_its_colors(clip: Callable[..., Path], name: str, codec: str) -> None:
    with open_source(str(clip(name, codec))) as source:
        frames = list(source.frames())
    assert [frame.id for frame in frames] == list(range(12))
    assert frames[0].picture.shape == (48, 64, 3)
    assert [color(frame) for frame in frames] == [RED] * 11 + [BLUE]
    assert source.fps == 25


@pytest.mark.parametrize("kept", [0.0, 0.02])
def test_a_clip_that_cannot_be_opened_is_an_error(clip: Callable[..., Path], kept: float) -> None:
    path = clip("a.avi", "MJPG")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(SourceError, match=r"a\.avi"), open_source(str(path)) as source:
        list(source.frames())


def test_something_else_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no clip" * 1000)
    with pytest.raises(SourceError, match="cannot be opened as a video"):
        open_source(str(path))


def test_a_closed_clip_gives_no_more(clip: Callable[..., Path]) -> None:
    source = open_source(str(clip("a.avi", "MJPG")))
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


@pytest.mark.parametrize("call", ["read", "tell"])
def test_a_capture_in_use_is_released_after_that(clip: Callable[..., Path], call: str) -> None:
    capture = Capture(str(clip("a.avi", "MJPG")), "CAP_FFMPEG")
    opencvs, events = capture._capture, []  # pyright: ignore[reportPrivateUsage]
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def use(self, *words: Any) -> Any:
            begun.set()
            assert go_on.wait(60)
            events.append("used")
            return getattr(opencvs, {"read": "read", "tell": "get"}[call])(*words)

        read = get = use

        def release(self) -> None:
            events.append("released")
            opencvs.release()

    capture._capture = Slow()  # pyright: ignore[reportPrivateUsage]
    user = threading.Thread(target=capture.read if call == "read" else lambda: capture.tell("CAP_PROP_FPS"))
    user.start()
    assert begun.wait(60)
    capture.close()
    go_on.set()
    user.join(60)
    assert events == ["used", "released"]


def test_a_clip_that_is_cut_short_while_it_is_read_ends_with_a_notice(clip: Callable[..., Path]) -> None:
    path = clip("a.avi", "MJPG", 400)
    told: list[str] = []
    with open_source(str(path), on_notice=told.append) as source:
        frames = source.frames()
        first = [next(frames) for _ in range(3)]
        os.truncate(path, path.stat().st_size // 2)
        rest = list(frames)
    assert [frame.id for frame in [*first, *rest]] == list(range(3 + len(rest)))
    assert 3 + len(rest) < 300
    assert told == [f"{path} ended after {3 + len(rest)} of 400 frames; is it cut short or damaged?"]


def test_a_whole_clip_ends_without_a_notice(clip: Callable[..., Path]) -> None:
    told: list[str] = []
    with open_source(str(clip("a.mp4", "mp4v")), on_notice=told.append) as source:
        assert len(list(source.frames())) == 12
    assert told == []


def test_frames_of_a_clip_say_its_times(clip: Callable[..., Path]) -> None:
    with open_source(str(clip("a.avi", "MJPG"))) as source:
        assert [frame.clip_s for frame in source.frames()] == pytest.approx([number / 25 for number in range(12)])


def test_a_frame_whose_time_is_not_known_says_none(clip: Callable[..., Path], tmp_path: Path) -> None:
    """OpenCV says that it stands at 0."""
    (tmp_path / "a.h264").write_bytes(fakes.raw_h264([(60, 128, 128)] * 5))
    with open_source(str(tmp_path / "a.h264")) as source:
        assert [frame.clip_s for frame in source.frames()] == [0, None, None, None, None]
    with open_source(str(clip("a.mpg", "mpg1"))) as source:
        times_s = [frame.clip_s for frame in source.frames()]
    assert times_s == [*(pytest.approx(number / 25) for number in range(11)), None]


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    """OpenCV dies of it: SystemError, or an exception that nothing catches."""
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.avi")
    Path(name).write_bytes(b"RIFF")
    with pytest.raises(UsageError, match=r"caf\\udce9\.avi' holds bytes that are no UTF-8.*rename it"):
        open_source(name)


# --- the clock ------------------------------------------------------------------------------------------------------


def test_a_clocked_source_captures_on_the_beat() -> None:
    source = ClockedSource(ArraySource([plain(RED)], repeat=6), fps=100)
    frames = list(source.frames())
    first_ns = frames[0].captured_ns
    assert source.live
    assert [frame.id for frame in frames] == list(range(6))
    # Never before its time; on a busy machine decoding can be late, and then the capture is.
    assert all(frame.captured_ns - first_ns >= frame.id * 10_000_000 for frame in frames)
    assert all(frame.captured_ns <= time.monotonic_ns() for frame in frames)
    seconds = frames[-1].captured_ns / 1e9 - first_ns / 1e9
    assert (frames[-1].captured_utc - frames[0].captured_utc).total_seconds() == pytest.approx(seconds, abs=1e-3)


def test_a_slow_decoder_does_not_stop_the_clock() -> None:
    class Slow(Source):
        def frames(self) -> Iterator[Frame]:
            for id in range(4):
                if id == 1:
                    time.sleep(0.1)
                yield Frame.taken_now(id, plain(RED), "rgb")

    captured_ns = [frame.captured_ns for frame in ClockedSource(Slow(), fps=50).frames()]
    # Frame 1 was due after 20 ms and came after 100: it was captured when it came, and so were those after it.
    assert captured_ns[1] - captured_ns[0] >= 100_000_000
    assert captured_ns == sorted(captured_ns)


def test_fps_makes_a_folder_live(tmp_path: Path, cv2: Any) -> None:
    write_pictures(tmp_path, cv2, ["red/a.png", "blue/b.png"])
    with open_source(str(tmp_path), fps=200) as source:
        assert source.live
        assert [frame.true_label for frame in source.frames()] == ["blue", "red"]


# --- the grammar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri", ["ftp://host/clip.mp4", "file:///clip.mp4", "test://1", "picamera://front", "picamera://0/x"]
)
def test_an_unknown_scheme_names_the_grammar(uri: str) -> None:
    with pytest.raises(UsageError, match=r"a camera \(0, /dev/video2, picamera://0\), a video file"):
        open_source(uri)


def test_a_missing_path_names_the_grammar() -> None:
    with pytest.raises(SourceError, match=r"no such file or folder: 'nowhere\.mp4'; a source is a camera"):
        open_source("nowhere.mp4")


@pytest.mark.parametrize("fps", [0, -1, 1001, float("nan")])
def test_frames_per_second_have_bounds(fps: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="frames per second"):
        open_source(str(tmp_path), fps)
    with pytest.raises(UsageError, match="frames per second"):
        ClockedSource(ArraySource([plain(RED)]), fps)


@pytest.mark.parametrize("time_limit_s", [0, -1, float("inf"), float("nan")])
def test_the_time_limit_has_bounds(time_limit_s: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="time limit"):
        open_source(str(tmp_path), time_limit_s=time_limit_s)


def test_an_address_keeps_its_own_clock() -> None:
    with pytest.raises(UsageError, match="leave out --fps"):
        open_source("http://127.0.0.1/", 30)


# --- cameras --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ["63", "/dev/video63"])
def test_an_absent_camera_is_an_error_that_names_those_there_are(uri: str) -> None:
    if Path("/dev/video63").exists():
        pytest.skip("there is a camera 63")
    listed = ", ".join(f"{camera.path} ({camera.name})" for camera in find_cameras() if not camera.csi) or "none"
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    assert str(caught.value).endswith(f"there is no such device; cameras found: {listed}")


class NoSettings(Capture):
    """A real capture of a clip in place of a camera: it takes no orders, and tells what it has."""

    clip = ""

    def __init__(self, what: object, backend: str) -> None:
        super().__init__(self.clip, "CAP_FFMPEG")


def test_what_a_camera_gives_instead_is_said_in_one_notice(
    clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    NoSettings.clip = str(clip("a.avi", "MJPG"))
    monkeypatch.setattr("edgevision_device._sources._camera.Capture", NoSettings)
    told: list[str] = []
    asked = {"fps": 50, "size_wh": (1280, 720), "pixel_format": "YUYV"}
    with open_source("/dev/video63", on_notice=told.append, **asked) as camera:  # type: ignore[arg-type]
        assert next(camera.frames()).picture.shape == (48, 64, 3)
    assert len(told) == 1
    assert told[0].startswith(
        "camera /dev/video63 gives pixel format MJPG instead of YUYV, size 64x48 instead of 1280x720, "
        "25 frames per second instead of 50 ("
    )
    with open_source("/dev/video63", 25, size_wh=(64, 48), pixel_format="MJPG", on_notice=told.append):
        assert len(told) == 1


def test_a_camera_that_is_gone_ends_with_an_error(clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    NoSettings.clip = str(clip("a.avi", "MJPG"))
    monkeypatch.setattr("edgevision_device._sources._camera.Capture", NoSettings)
    frames = open_source("63").frames()
    assert [next(frames).id for _ in range(12)] == list(range(12))
    with pytest.raises(SourceError, match="camera /dev/video63 gives no more frames; is it still plugged in"):
        next(frames)


def test_a_camera_may_miss_a_few_frames(clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Torn(NoSettings):
        reads = 0

        def read(self) -> Any:
            Torn.reads += 1
            return None if Torn.reads in (2, 3) or Torn.reads > 5 else super().read()

    Torn.clip = str(clip("a.avi", "MJPG"))
    monkeypatch.setattr("edgevision_device._sources._camera.Capture", Torn)
    source = open_source("63")
    source._path = "/dev/null"  # type: ignore[attr-defined]  # a device that is there
    frames = source.frames()
    assert [next(frames).id for _ in range(3)] == [0, 3, 4]
    with pytest.raises(SourceError, match="gives no more frames"):
        next(frames)
    assert Torn.reads == 11  # five in vain, and the last one


def torn(cv2: Any, kept: float) -> np.ndarray:
    """What this OpenCV makes of a JPEG that was cut short, or what OpenCV 4.8 does if it refuses."""
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    whole = cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC)
    encoded = cv2.imencode(".jpg", whole)[1]
    picture = cv2.imdecode(encoded[: int(kept * len(encoded))], cv2.IMREAD_COLOR)
    if picture is None:
        picture = whole.copy()
        picture[int(kept * 48) :] = picture[int(kept * 48)]
    assert not is_torn(whole)
    return picture


@pytest.mark.parametrize("kept", [0.4, 0.6])
def test_half_pictures_of_a_camera_are_left_out(
    clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cv2: Any, kept: float
) -> None:
    class Tearing(NoSettings):
        reads = 0

        def read(self) -> Any:
            Tearing.reads += 1
            picture = super().read()
            return torn(cv2, kept) if Tearing.reads in (2, 5) else picture

    Tearing.clip = str(clip("a.avi", "MJPG"))
    monkeypatch.setattr("edgevision_device._sources._camera.Capture", Tearing)
    camera = open_source("63")
    camera._path = "/dev/null"  # type: ignore[attr-defined]  # a device that is there
    frames = camera.frames()
    assert [next(frames).id for _ in range(5)] == [0, 2, 3, 5, 6]


def captured(kind: str, number: int, cv2: Any) -> np.ndarray:
    """What a grabber gives of a screen, each other time a little coarser, because more moves elsewhere."""
    x = np.arange(64)
    if kind == "bars":
        picture = np.tile(np.where((x // 8 % 2)[:, None] == 0, (30, 200, 90), (220, 40, 160)), (48, 1, 1))
    else:
        picture = np.random.default_rng(number).integers(0, 255, (48, 64, 3))
        picture[32:] = np.where((x < 20)[:, None], (200, 120, 40), (50, 50, 60))  # a taskbar
    encoded = cv2.imencode(".jpg", picture.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90 - 5 * (number % 2)])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("kind", ["bars", "taskbar"])
def test_a_screen_that_always_ends_in_the_same_rows_is_not_torn(
    clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cv2: Any, kind: str
) -> None:
    class Grabber(NoSettings):
        reads = 0

        def read(self) -> Any:
            Grabber.reads += 1
            picture = captured(kind, Grabber.reads, cv2)
            assert is_torn(picture)
            return picture

    Grabber.clip = str(clip("a.avi", "MJPG"))
    monkeypatch.setattr("edgevision_device._sources._camera.Capture", Grabber)
    camera = open_source("63")
    camera._path = "/dev/null"  # type: ignore[attr-defined]  # a device that is there
    frames = camera.frames()
    assert [next(frames).id for _ in range(5)] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("rest", ["repeated", "grey"])
def test_a_camera_that_tears_each_frame_elsewhere_gives_none(
    clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, cv2: Any, rest: str
) -> None:
    class Tearing(NoSettings):
        reads = 0

        def read(self) -> Any:
            Tearing.reads += 1
            if Tearing.reads > 21:
                return super().read()
            picture = cv2.resize(np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8), (64, 48))
            row = Tearing.reads * 7 % 40
            picture[row:] = picture[row] if rest == "repeated" else 128
            return picture

    Tearing.clip = str(clip("a.avi", "MJPG"))
    monkeypatch.setattr("edgevision_device._sources._camera.Capture", Tearing)
    camera = open_source("63")
    camera._path = "/dev/null"  # type: ignore[attr-defined]  # a device that is there
    assert next(camera.frames()).id == 21


def test_a_flat_picture_is_not_torn() -> None:
    grey, bar = plain((128, 128, 128)), np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    assert not is_torn(grey)
    assert not is_torn(plain((0, 0, 0)))
    bar[30:] = 0  # a letterbox
    assert not is_torn(bar)
    bar[30:] = 128
    assert is_torn(bar)


@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        ("0", {"pixel_format": "JPEG2000"}, "a pixel format has four characters"),
        ("0", {"size_wh": (0, 480)}, "width and height must lie between 1 and 16384, got 0x480"),
        ("clip.mp4", {"size_wh": (640, 480)}, "a size can be asked of cameras only, not of 'clip.mp4'"),
        ("http://a:b@host/", {"size_wh": (640, 480)}, "not of 'http://…@host/'; leave out --size"),
        ("picamera://0", {"pixel_format": "MJPG"}, "a pixel format can be asked of V4L2 cameras only"),
        ("test://?length=3", {}, "unknown part of test:// 'length'.*known: size, fps, frames"),
        ("test://?frames=0", {}, "frames in 'test://.frames=0' must be a number above 0, got '0'"),
        ("test://?size=640", {}, "a size is WIDTHxHEIGHT, such as 640x480; got '640'"),
        ("picamera://0?frames=3", {}, "unknown part of picamera:// 'frames'"),
    ],
)
def test_what_a_source_cannot_do_is_refused(uri: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(uri, **options)


# --- the test picture -----------------------------------------------------------------------------------------------


def test_the_test_picture_moves_the_same_way_every_time() -> None:
    first, again = (list(open_source("test://?size=96x40&frames=30").frames()) for _ in range(2))
    assert [frame.id for frame in first] == list(range(30))
    assert all((one.picture == other.picture).all() for one, other in zip(first, again))
    assert first[0].picture.shape == (40, 96, 3)
    assert all((one.picture != other.picture).any() for one, other in zip(first, first[1:]))
    # It is a picture, with all colors, not one plain color.
    assert first[0].picture[0].min(axis=0).tolist() == [0, 0, 0]
    assert first[0].picture[0].max(axis=0).tolist() == pytest.approx([255, 255, 255], abs=1)


def test_the_test_picture_is_live_when_it_has_a_rate() -> None:
    with open_source("test://?fps=200&frames=5") as source:
        began_s = time.monotonic()
        assert source.live
        assert [frame.picture.shape for frame in source.frames()] == [(480, 640, 3)] * 5
        assert time.monotonic() - began_s >= 4 / 200
    assert not open_source("test://").live
    assert open_source("test://", 30).live


def make_cameras(root: Path, names: dict[str, tuple[str, int]]) -> None:
    for node, (name, index) in names.items():
        (root / "dev").mkdir(exist_ok=True)
        (root / "dev" / node).touch()
        about = root / "sys/class/video4linux" / node
        about.mkdir(parents=True)
        (about / "name").write_text(f"{name}\n")
        (about / "index").write_text(f"{index}\n")


def test_cameras_are_found_among_the_other_video_devices(tmp_path: Path) -> None:
    make_cameras(
        tmp_path,
        {
            "video10": ("bcm2835-codec-decode", 0),
            "video2": ("HD Webcam: HD Webcam", 0),
            "video3": ("HD Webcam: HD Webcam", 1),
            "video0": ("unicam-image", 0),
            "video14": ("bcm2835-isp-output0", 1),
            "video19": ("rpi-hevc-dec", 0),
        },
    )
    (tmp_path / "dev/videodev").touch()
    found = [(camera.path, camera.name, camera.csi) for camera in find_cameras(tmp_path)]
    assert found == [("/dev/video0", "unicam-image", True), ("/dev/video2", "HD Webcam: HD Webcam", False)]
