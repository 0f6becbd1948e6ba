"""Every kind of source, with real files, a real server and real silence."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgevision_device import (
    ArraySource,
    ClockedSource,
    DataError,
    EdgevisionError,
    Frame,
    MissingPackageError,
    PictureError,
    Source,
    SourceError,
    UsageError,
    find_cameras,
    open_source,
)

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


@pytest.mark.parametrize("uri", ["picamera://0", "ftp://host/clip.mp4", "file:///clip.mp4"])
def test_an_unknown_scheme_names_the_grammar(uri: str) -> None:
    with pytest.raises(UsageError, match=r"a camera \(0, /dev/video2\), a video file"):
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


# --- addresses ------------------------------------------------------------------------------------------------------


class _Camera(http.server.BaseHTTPRequestHandler):
    """MJPEG as cheap network cameras send it: /FRAMES ends after so many, /FRAMES/stall says no more and stays."""

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if not parts[0].isdigit():
            self.send_error(404)
            return
        import cv2

        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", plain(RED)[..., ::-1])[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
        with contextlib.suppress(OSError):  # the reader has had enough
            for _ in range(int(parts[0])):
                self.wfile.write(head + jpeg + b"\r\n")
                time.sleep(0.005)
            if "stall" in parts:
                self.server.released.wait(60)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def camera_address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Camera)
    server.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.released.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_mjpeg_over_http_gives_frames_until_the_sender_ends(camera_address: str) -> None:
    with open_source(f"{camera_address}/20", time_limit_s=SLACK_S) as source:
        frames = list(source.frames())
    assert source.live
    assert [frame.id for frame in frames] == list(range(20))
    assert {color(frame) for frame in frames} == {RED}


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_an_address_that_never_answers_ends_within_the_time_limit(silent_port: int, scheme: str) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match="did not answer within 1 s"):
        open_source(f"{scheme}://127.0.0.1:{silent_port}/video", time_limit_s=1)
    assert time.monotonic() - began < 1 + SLACK_S


def test_a_stream_that_falls_silent_ends_within_the_time_limit(camera_address: str) -> None:
    with open_source(f"{camera_address}/8/stall", time_limit_s=1) as source:
        frames = source.frames()
        got = [next(frames).id]
        with pytest.raises(SourceError, match="has sent no frame for 1 s"):
            got.extend(frame.id for frame in frames)
    assert got == list(range(len(got)))


def test_closing_while_a_read_is_stuck_is_safe(camera_address: str) -> None:
    source = open_source(f"{camera_address}/8/stall", time_limit_s=2)
    got: list[int] = []

    def read() -> None:
        with contextlib.suppress(SourceError):
            got.extend(frame.id for frame in source.frames())

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)  # by now it probably is stuck; if not, closing is safe all the more
    source.close()
    reader.join(SLACK_S)
    assert not reader.is_alive()


def test_the_reason_comes_with_the_error(camera_address: str) -> None:
    with pytest.raises(SourceError, match="the server says 404 Not Found"):
        open_source(f"{camera_address}/nothing")
    with pytest.raises(SourceError, match="Connection refused"):
        open_source(f"http://127.0.0.1:{free_port()}/video")


@pytest.mark.parametrize("address", ["http:///video", "http://[bad", "http://host:port/"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a stream"):
        open_source(address)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_passwords_stay_out_of_messages() -> None:
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://admin:secret@127.0.0.1:{free_port()}/live?key=secret")
    assert "secret" not in str(caught.value)
    assert "@127.0.0.1:" in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "pigeon://admin:secret@host/",
        "http://admin:secret@[bad",
        "http://admin:se/secret@host/",
        "rtsp:/admin:secret@host/live?secret",
        "http://admin:se?secret@host",
    ],
)
def test_passwords_stay_out_of_the_refusal_of_a_wrong_address(address: str) -> None:
    with pytest.raises(EdgevisionError) as caught:
        open_source(address)
    assert "secret" not in str(caught.value)
    assert "host" in str(caught.value) or "[bad" in str(caught.value)


class Script:
    """Stands in for an open capture; gives so many pictures."""

    opened = True

    def __init__(self, pictures: int = 0) -> None:
        self.pictures = pictures
        self.closed = threading.Event()

    def read(self) -> Any:
        self.pictures -= 1
        return plain(RED) if self.pictures >= 0 else None

    def close(self) -> None:
        self.closed.set()


@pytest.mark.parametrize(("scheme", "breaks_off"), [("http", False), ("rtsp", True), ("rtsps", True)])
def test_rtsp_that_ends_has_broken_off(monkeypatch: pytest.MonkeyPatch, scheme: str, breaks_off: bool) -> None:
    monkeypatch.setattr("edgevision_device._sources._network.Capture", lambda *arguments, **options: Script(3))
    frames = open_source(f"{scheme}://host/").frames()
    assert [next(frames).id for _ in range(3)] == [0, 1, 2]
    if breaks_off:
        with pytest.raises(SourceError, match=rf"{scheme}://host/ broke off after 3 frames"):
            next(frames)
    else:
        assert next(frames, None) is None


def test_an_address_needs_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackageError, match="OpenCV"):
        open_source("http://127.0.0.1:1/")


def test_what_opening_raises_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr("edgevision_device._sources._network.Capture", fail)
    with pytest.raises(MemoryError, match="too large"):
        open_source("http://127.0.0.1:1/")


def test_a_capture_that_opens_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    late, given_up = Script(), threading.Event()

    def slow(*arguments: object, **options: object) -> Script:
        assert given_up.wait(60)
        return late

    monkeypatch.setattr("edgevision_device._sources._network.Capture", slow)
    with pytest.raises(SourceError, match="did not answer"):
        open_source("http://127.0.0.1:1/", time_limit_s=0.01)
    given_up.set()
    assert late.closed.wait(60)


def test_opencv_does_not_chatter(tmp_path: Path) -> None:
    """In a process of its own: FFmpeg reads its log level once, and other tests may have woken it."""
    (tmp_path / "clip.mp4").write_bytes(b"no clip" * 1000)
    (tmp_path / "clip.avi").write_bytes(b"RIFF")
    program = """if True:
        import sys
        from edgevision_device import EdgevisionError, open_source
        for uri in sys.argv[1:]:
            try:
                open_source(uri)
            except EdgevisionError:
                pass
    """
    uris = [str(tmp_path / "clip.mp4"), str(tmp_path / "clip.avi"), f"http://127.0.0.1:{free_port()}/video", "63"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(
        [sys.executable, "-c", program, *uris], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_clip_whose_name_is_no_utf8_is_refused_before_opencv_sees_it(clip: Callable[..., Path]) -> None:
    # OpenCV 5 dies of it: SIGSEGV in VideoCapture.
    path = clip("fine.avi", "MJPG", 2)
    renamed = Path(os.fsdecode(os.fsencode(path.parent) + b"/br\xfccke.avi"))
    path.rename(renamed)
    with pytest.raises(
        SourceError, match=r"cke\.avi: OpenCV crashes on a path with bytes that are no UTF-8; rename it"
    ):
        open_source(str(renamed))
    renamed.rename(path)
    with open_source(str(path)) as source:
        assert color(next(iter(source.frames()))) == RED
