"""Addresses: real servers that end, stall, tear frames apart and hold them back."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from clock import Clock

from edgevision_device import (
    EdgevisionError,
    Frame,
    MissingPackageError,
    NetworkSource,
    Source,
    SourceError,
    UsageError,
    open_source,
)
from edgevision_device._health import Health
from edgevision_device._sources import ReconnectingSource
from edgevision_device._sources._mjpeg import MjpegSource, _Parts  # pyright: ignore[reportPrivateUsage]
from edgevision_device._sources._pace import Pace

pytestmark = pytest.mark.usefixtures("cv2")

#: How much longer than the time limit an answer may take on a busy machine.
SLACK_S = 15.0

RED, BLUE = (200, 0, 0), (0, 0, 200)


def color(frame: Frame) -> tuple[int, ...]:
    """The frame's middle pixel as RGB, rounded so that lossy compression does not show."""
    height, width = frame.picture.shape[:2]
    pixel = frame.picture[height // 2, width // 2]
    rgb = pixel[::-1] if frame.picture_order == "bgr" else pixel
    return tuple(int(round(value / 50) * 50) for value in rgb.tolist())


def plain(rgb: tuple[int, ...], width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), rgb, np.uint8)


def jpeg(rgb: tuple[int, ...] = RED) -> bytes:
    import cv2

    return cv2.imencode(".jpg", plain(rgb)[..., ::-1])[1].tobytes()


def part(content: bytes, *, length: bool = True) -> bytes:
    announced = f"Content-Length: {len(content)}\r\n" if length else ""
    return f"--frame\r\nContent-Type: image/jpeg\r\n{announced}\r\n".encode() + content + b"\r\n"


# --- addresses ------------------------------------------------------------------------------------------------------


class _Camera(http.server.BaseHTTPRequestHandler):
    """MJPEG as cheap network cameras send it: /FRAMES ends after so many, /FRAMES/stall says no more and stays."""

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if not parts[0].isdigit():
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        content = part(jpeg())
        with contextlib.suppress(OSError):  # the reader has had enough
            for _ in range(int(parts[0])):
                self.wfile.write(content)
                time.sleep(0.01)
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
    assert isinstance(source, MjpegSource)
    assert source.live
    ids = [frame.id for frame in frames]
    # Those that came while the one before was decoded gave way to newer ones.
    assert ids == sorted(set(ids))
    assert ids[-1] == 19
    assert {color(frame) for frame in frames} == {RED}


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_an_address_that_never_answers_ends_within_the_time_limit(silent_port: int, scheme: str) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match="did not answer within 1 s"):
        open_source(f"{scheme}://127.0.0.1:{silent_port}/video", time_limit_s=1)
    assert time.monotonic() - began < 1 + SLACK_S


def test_a_socket_that_gives_up_first_says_the_same(monkeypatch: pytest.MonkeyPatch, silent_port: int) -> None:
    def give_up(*_: object) -> None:
        raise socket.timeout("timed out")

    monkeypatch.setattr("edgevision_device._sources._mjpeg.open_mjpeg", give_up)
    with pytest.raises(SourceError, match="did not answer within 10 s"):
        open_source(f"http://127.0.0.1:{silent_port}/video")


def test_a_stream_that_falls_silent_ends_within_the_time_limit(camera_address: str) -> None:
    with open_source(f"{camera_address}/8/stall", time_limit_s=1) as source:
        frames = source.frames()
        got = [next(frames).id]
        with pytest.raises(SourceError, match="has sent no frame for 1 s"):
            got.extend(frame.id for frame in frames)
    assert got == sorted(set(got))
    assert got[-1] == 7


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


@pytest.mark.parametrize(
    "address", ["http://a..b/", "http://a..b/ü", "https://a..b/", "rtsp://a..b/", "http://\udce9/"]
)
def test_what_cannot_be_looked_up_is_an_error_of_the_source(address: str) -> None:
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(address, time_limit_s=SLACK_S)


@pytest.mark.parametrize("address", ["http:///video", "http://[bad", "http://host:port/"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a stream"):
        open_source(address)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("of", ["camera", "clip"])
def test_what_is_not_ascii_is_escaped(
    serve: Callable[..., str], clip_bytes: bytes, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        http.server.BaseHTTPRequestHandler, "log_request", lambda handler, *more: asked.append(handler.path)
    )
    if of == "camera":
        address = serve(lambda write: [write(part(jpeg())) for _ in range(3)])
    else:
        address = serve(lambda write: write(clip_bytes), "video/x-msvideo")
    with open_source(f"{address}für alle%20?x=ü", time_limit_s=SLACK_S) as source:
        assert isinstance(source, MjpegSource if of == "camera" else NetworkSource)
        assert list(source.frames())
    assert set(asked) == {"/f%C3%BCr%20alle%20?x=%C3%BC"}


def test_a_path_that_is_not_ascii_may_be_absent(camera_address: str) -> None:
    with pytest.raises(SourceError, match="the server says 404 Not Found"):
        open_source(f"{camera_address}/ü")


@pytest.mark.parametrize("user", ["admin:secret@", ""])
@pytest.mark.parametrize(
    "path", ["live?key=secret", "user=admin_password=secret_channel=1_stream=0.sdp", "a/user%3Dadmin&pwd%3dsecret/b"]
)
def test_passwords_stay_out_of_messages(user: str, path: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://{user}127.0.0.1:{free_port()}/{path}")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:" in str(caught.value)


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

    def tell(self, name: str) -> float:
        return 0.0

    def close(self) -> None:
        self.closed.set()


@pytest.mark.parametrize(("scheme", "breaks_off"), [("http", False), ("rtsp", True), ("rtsps", True)])
def test_rtsp_that_ends_has_broken_off(monkeypatch: pytest.MonkeyPatch, scheme: str, breaks_off: bool) -> None:
    monkeypatch.setattr("edgevision_device._sources._network.Capture", lambda *arguments, **options: Script(3))
    frames = NetworkSource(f"{scheme}://host/").frames()
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
        open_source("rtsp://127.0.0.1:1/")


def test_a_capture_that_opens_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    late, given_up = Script(), threading.Event()

    def slow(*arguments: object, **options: object) -> Script:
        assert given_up.wait(60)
        return late

    monkeypatch.setattr("edgevision_device._sources._network.Capture", slow)
    with pytest.raises(SourceError, match="did not answer"):
        NetworkSource("http://127.0.0.1:1/", time_limit_s=0.01)
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


# --- MJPEG that is not as it should be -------------------------------------------------------------------------------

Write = Callable[[bytes], object]


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start a server whose one answer a function writes; return its address."""
    servers: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def start(script: Callable[[Write], None], kind: str = "multipart/x-mixed-replace; boundary=frame") -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                with contextlib.suppress(OSError):  # the reader has had enough
                    script(self.wfile.write)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def read_all(address: str, time_limit_s: float = SLACK_S) -> list[Frame]:
    with open_source(address, time_limit_s=time_limit_s) as source:
        return list(source.frames())


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_torn_frame_is_left_out(serve: Callable[..., str], length: bool, kept: float) -> None:
    whole = jpeg()
    torn = whole[: int(kept * len(whole))]

    def script(write: Write) -> None:
        for content in (whole, torn, whole, torn, torn, whole):
            write(part(content, length=length))
            time.sleep(0.05)

    frames = read_all(serve(script))
    assert [frame.id for frame in frames] == [0, 2, 5]
    assert {color(frame) for frame in frames} == {RED}


def test_a_frame_that_is_shorter_than_announced_costs_no_other(serve: Callable[..., str]) -> None:
    whole, other = jpeg(RED), jpeg(BLUE)

    def script(write: Write) -> None:
        head, _, _ = part(whole).partition(b"\xff\xd8")
        for content in (part(whole), head + whole[:300] + b"\r\n", part(other), part(other)):
            write(content)
            time.sleep(0.05)

    frames = read_all(serve(script))
    assert [(frame.id, color(frame)) for frame in frames] == [(0, RED), (2, BLUE), (3, BLUE)]


def test_nothing_but_torn_frames_is_an_error(serve: Callable[..., str]) -> None:
    def script(write: Write) -> None:
        while True:
            write(part(jpeg()[:300]))
            time.sleep(0.05)

    with pytest.raises(SourceError, match=r"has sent no whole frame for 0\.5 s, after 0 frames"):
        read_all(serve(script), time_limit_s=0.5)


def test_a_trickle_of_bytes_is_no_frame(serve: Callable[..., str]) -> None:
    def script(write: Write) -> None:
        write(part(jpeg())[:200])
        while True:
            write(b"x")
            time.sleep(0.05)

    began_s = time.monotonic()
    with pytest.raises(SourceError, match=r"has sent no frame for 0\.5 s"):
        read_all(serve(script), time_limit_s=0.5)
    assert time.monotonic() - began_s < 0.5 + SLACK_S


def test_what_the_network_held_back_is_not_shown_as_new(serve: Callable[..., str]) -> None:
    """A silence, then all that should have come during it, then the present."""
    old, new = part(jpeg(RED)), part(jpeg(BLUE))

    def script(write: Write) -> None:
        for _ in range(20):
            write(new)
            time.sleep(0.02)
        time.sleep(1.5)
        for _ in range(50):
            write(old)
            time.sleep(0.002)
        for _ in range(30):
            write(new)
            time.sleep(0.02)

    # What was held back is known by its haste; on a machine that is busy otherwise all may come late and look alike.
    for _ in range(4):
        frames = read_all(serve(script))
        assert frames[-1].id == 99
        if {color(frame) for frame in frames} == {BLUE}:
            break
    assert {color(frame) for frame in frames} == {BLUE}
    (silence,) = (later.id - former.id for former, later in zip(frames, frames[1:]) if later.id - former.id > 40)
    assert silence > 50


def test_who_reads_slowly_gets_the_newest(serve: Callable[..., str]) -> None:
    sent, go_on = threading.Event(), threading.Event()

    def script(write: Write) -> None:
        for _ in range(40):
            write(part(jpeg(RED)))
        write(part(jpeg(BLUE)))
        sent.set()
        assert go_on.wait(60)

    with open_source(serve(script), time_limit_s=SLACK_S) as source:
        frames = source.frames()
        assert sent.wait(60)
        frame = next(frames)
        assert (frame.id, color(frame)) == (40, BLUE)
        go_on.set()


def test_a_frame_that_ends_a_silence_is_from_when_it_came(serve: Callable[..., str]) -> None:
    """It is held for a while, because what the network held back may come behind it; that counts to its age."""
    came, sent_ns = threading.Event(), []

    class Resumes(Pace):
        def resumes(self, now_s: float) -> bool:
            came.set()
            return True

    def script(write: Write) -> None:
        write(part(jpeg()))
        assert came.wait(60)
        sent_ns.append(time.monotonic_ns())

    with open_source(serve(script), time_limit_s=SLACK_S) as source:
        source._pace = Resumes()  # type: ignore[attr-defined]
        (frame,) = source.frames()
    assert frame.captured_ns < sent_ns[0]
    assert abs(frame.captured_utc.timestamp() - time.time()) < 60


def test_a_slow_camera_is_not_held_up(serve: Callable[..., str]) -> None:
    """A frame every 1.2 s is its pace and no silence: each one is handed on as it comes."""

    def script(write: Write) -> None:
        for _ in range(3):
            write(part(jpeg()))
            time.sleep(1.2)

    with open_source(serve(script), time_limit_s=SLACK_S) as source:
        assert [frame.id for frame in source.frames()] == [0, 1, 2]


def encoded(path: Path, codec: str, frames: int = 5) -> bytes:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    for _ in range(frames):
        writer.write(plain(BLUE)[..., ::-1])
    writer.release()
    return path.read_bytes()


@pytest.fixture
def clip_bytes(tmp_path: Path) -> bytes:
    return encoded(tmp_path / "clip.avi", "MJPG")


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "MJPG"), (".mp4", "mp4v")])
def test_another_container_is_ffmpegs(serve: Callable[..., str], tmp_path: Path, suffix: str, codec: str) -> None:
    content = encoded(tmp_path / f"clip{suffix}", codec)
    with open_source(serve(lambda write: write(content), "video/mp4"), time_limit_s=SLACK_S) as source:
        assert isinstance(source, NetworkSource)
        assert not source.endless  # it says how long it is
        assert [color(frame) for frame in source.frames()] == [BLUE] * 5


class _Guarded(http.server.BaseHTTPRequestHandler):
    """A camera whose MJPEG only FFmpeg gets: /digest asks for such a password, /moved is elsewhere, /ts is MPEG-TS."""

    transport_stream = b""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/video")
            self.end_headers()
            return
        if self.path == "/digest" and not (self.headers["Authorization"] or "").startswith("Digest "):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Digest realm="camera", nonce="once", qop="auth"')
            self.end_headers()
            return
        stream = self.path == "/ts"
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t" if stream else "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):  # the reader has had enough
            self.wfile.write(self.transport_stream if stream else part(jpeg()) * 25 + b"--frame--\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("how", ["digest", "moved", "ts", "self-signed"])
def test_a_camera_that_only_ffmpeg_can_read_is_reconnected_too(tmp_path: Path, how: str) -> None:
    class Handler(_Guarded):
        transport_stream = encoded(tmp_path / "clip.ts", "mpg2", 25) if how == "ts" else b""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if how == "self-signed":
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(tmp_path))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda request, client_address: None  # our own MJPEG reader does not trust it
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    address = f"{scheme}://user:password@127.0.0.1:{server.server_port}/{how}"
    said: list[str] = []

    def open_it() -> Source:
        assert len(said) < 3, said
        return open_source(address, time_limit_s=SLACK_S)

    try:
        with ReconnectingSource(open_it, health=Health(said.append), first_wait_s=0.01) as source:
            ids = [frame.id for frame in itertools.islice(source.frames(), 30)]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert ids == sorted(set(ids))
    assert "the sender ended the stream; trying again until it is back" in said[0]


def self_signed(folder: Path) -> Path:
    """Make a certificate that nobody vouches for, as cameras have; return it with its key in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = folder / "camera.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera"]
    subprocess.run([*request, "-keyout", path, "-out", folder / "cert.pem"], check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "cert.pem").read_text())
    return path


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
@pytest.mark.parametrize(("boundary", "length"), [("frame", True), ("frame", False), ("--frame", True)])
def test_parts_do_not_depend_on_how_they_come(size: int, boundary: str, length: bool) -> None:
    contents = [bytes([number]) * (50 + 40 * number) for number in range(6)]
    stream = b"a word before\r\n" + b"".join(part(content, length=length) for content in contents) + b"--frame--\r\n"
    parts = _Parts(boundary)
    got: list[bytes] = []
    for at in range(0, len(stream), size):
        parts.add(stream[at : at + size], "http://host/")
        got += parts.complete()
    assert got == contents
    assert parts.rest() is None


def test_what_has_no_end_is_refused() -> None:
    parts = _Parts("frame")
    for _ in range(64):
        parts.add(bytes(2**20), "http://host/")
    with pytest.raises(SourceError, match="more than 64 MiB"):
        parts.add(b"x", "http://host/")


def test_the_password_is_sent_and_a_redirection_followed() -> None:
    seen: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"]))
            if self.path == "/old":
                self.send_response(302)
                self.send_header("Location", "/new")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            for _ in range(5):
                self.wfile.write(part(jpeg()))
            self.wfile.write(b"--frame--\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        address = f"127.0.0.1:{server.server_port}"
        assert {color(frame) for frame in read_all(f"http://admin:p%40ss@{address}/video?x=1")} == {RED}
        assert seen == [("/video?x=1", "Basic YWRtaW46cEBzcw==")]
        assert {color(frame) for frame in read_all(f"http://{address}/old")} == {RED}
        assert seen[-1][0] == "/new"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- pace ------------------------------------------------------------------------------------------------------------


class Arrivals(Script):
    """Stands in for an open capture whose frames come at given times; FFmpeg takes them for 25 a second."""

    def __init__(self, clock: Clock, times_s: list[float]) -> None:
        super().__init__(len(times_s))
        self._clock, self._times_s, self._at = clock, times_s, 0

    def tell(self, name: str) -> float:
        return 40.0 * self._at

    def read(self) -> Any:
        if self._at < len(self._times_s):
            self._clock.now_s = self._times_s[self._at]
            self._at += 1
        return super().read()


@pytest.fixture
def passed_over(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], list[int]]:
    """Say which frames are passed over if they come after these intervals."""

    def read(intervals_s: list[float]) -> list[int]:
        clock = Clock()
        times_s = (clock.now_s + np.cumsum(intervals_s)).tolist()
        monkeypatch.setattr("edgevision_device._sources._network.time", clock)
        monkeypatch.setattr(
            "edgevision_device._sources._network.Capture", lambda *arguments, **options: Arrivals(clock, times_s)
        )
        return sorted(set(range(len(times_s))) - {frame.id for frame in NetworkSource("http://host/").frames()})

    return read


STEADY_S = [0.04] * 50


@pytest.mark.parametrize("fps", [5, 15, 25, 60])
def test_no_frame_is_lost_whatever_rate_ffmpeg_takes_it_for(
    passed_over: Callable[[list[float]], list[int]], fps: float
) -> None:
    assert passed_over([1 / fps] * 500) == []


def test_no_frame_of_an_unsteady_sender_is_lost(passed_over: Callable[[list[float]], list[int]]) -> None:
    assert passed_over(np.random.default_rng(0).uniform(0, 0.9, 500).tolist()) == []
    assert passed_over([0.001, 0.001, 0.118] * 100) == []  # three at a time


@pytest.mark.parametrize("each_s", [0.004, 0.02])
def test_what_was_held_back_is_passed_over(passed_over: Callable[[list[float]], list[int]], each_s: float) -> None:
    """Two seconds of silence, after which what was made during it comes as fast as it can be decoded."""
    gone = passed_over(STEADY_S + [2.0] + [each_s] * 49 + STEADY_S)
    assert gone[:50] == list(range(50, 100))
    assert len(gone[50:]) < 0.25 / 0.04


def test_a_gap_in_what_was_held_back_lets_one_frame_through(passed_over: Callable[[list[float]], list[int]]) -> None:
    gone = passed_over(STEADY_S + [2.0] + [0.02] * 19 + [0.1] + [0.02] * 20 + STEADY_S)
    assert gone == [*range(50, 70), *range(71, 91)]


def test_after_a_pause_in_which_nothing_was_held_back_frames_soon_come_again(
    passed_over: Callable[[list[float]], list[int]],
) -> None:
    assert passed_over([*STEADY_S, 2.0, *STEADY_S]) == list(range(50, 57))  # 0.25 s
    assert passed_over(STEADY_S + [2.0] * 10) == [50, 51, 52]  # at night some cameras become slow
    assert passed_over([2.0] * 20 + STEADY_S) == []
