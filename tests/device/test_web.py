"""The web page's server: who may look, what it says to machines, and that viewers cost the loop nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import threading
import time
import types
from collections.abc import Iterator
from typing import Any, Callable, Optional

import fakes
import numpy as np
import pytest
from fakes import until

from edgevision_device import STAGES, Health, StreamResult, StreamStatistics, UsageError, open_source
from edgevision_device._sinks import SinkContext
from edgevision_device._sinks._web import Web
from edgevision_device._sinks._web_access import WebAddress, check_token
from edgevision_device._sources import Still

pytestmark = pytest.mark.usefixtures("cv2")

TOKEN = "correct-horse-battery"


def result_of(id: int, *, picture: Optional[np.ndarray] = None, **more: Any) -> StreamResult:
    picture = np.full((48, 64, 3), id % 250, np.uint8) if picture is None else picture
    stages_ms = {"wait": 1.0, "preprocess": 0.2, "ready": 0.01, "invoke": 8.0, "decide": 0.01}
    given = {"age_ms": 30.0, "stages_ms": stages_ms, "dropped": id // 2, **more}
    return fakes.result_of(id, picture=picture, order="rgb", **given)


class Page:
    """A page with everything that it shows."""

    def __init__(self, address: str = "0", token: Optional[str] = None) -> None:
        self.lines: list[str] = []
        self.health = Health(self.lines.append)
        self.statistics = StreamStatistics()
        self.still: dict[Optional[str], Still] = {}
        self.file_record: Callable[[], dict[str, Any]] = lambda: {
            **{"file": "/srv/a.tflite", "runtime": "litert", "threads": 2, "runtime_version": None}
        }
        context = SinkContext(
            statistics=self.statistics,
            health=self.health,
            file_record=lambda: self.file_record(),
            stop=lambda: None,
            still=lambda: self.still,
        )
        self.web = Web(WebAddress.parse(address), context, token=token, lost=lambda: {"mqtt": 3})

    def write(self, result: StreamResult) -> None:
        self.statistics.add(result)
        self.web.write(result)

    def open(self, path: str, headers: Optional[dict[str, str]] = None) -> socket.socket:
        """Ask for something, and leave the answer to the caller."""
        connection = socket.create_connection(("127.0.0.1", self.web.port), 5)
        lines = {"Host": f"127.0.0.1:{self.web.port}", **(headers or {})}
        text = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"{text}\r\n".encode())
        return connection

    def get(self, path: str, headers: Optional[dict[str, str]] = None) -> tuple[int, dict[str, str], bytes]:
        with self.open(path, headers) as connection, http.client.HTTPResponse(connection) as response:
            response.begin()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def threads_and_files() -> tuple[set[threading.Thread], int]:
    return set(threading.enumerate()), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.fixture
def serve() -> Iterator[Callable[..., Page]]:
    """Open pages; at the end close them, in time and without a trace."""
    threads, files = threads_and_files()
    pages: list[Page] = []

    def serve(*arguments: Any, **more: Any) -> Page:
        pages.append(Page(*arguments, **more))
        return pages[-1]

    yield serve
    for page in pages:
        began_s = time.monotonic()
        page.web.close()
        page.web.close()
        assert time.monotonic() - began_s < 1
    left, open_files = threads_and_files()
    assert left <= threads
    assert open_files <= files


@pytest.fixture
def page(serve: Callable[..., Page]) -> Page:
    return serve()


@contextlib.contextmanager
def frames_coming(page: Page, fps: float = 100, **more: Any) -> Iterator[None]:
    """Write frames from a thread."""
    over = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not over.wait(1 / fps):
            page.write(result_of(len(written), **more))
            written.append(len(written))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        until(lambda: len(written) > 3)
        yield
    finally:
        over.set()
        thread.join()


class Viewer:
    """Reads parts of `/stream.mjpg`."""

    def __init__(self, page: Page, query: str = "", headers: Optional[dict[str, str]] = None) -> None:
        self._socket = page.open(f"/stream.mjpg{query}", headers)
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline() != b"\r\n":
            pass

    def picture(self, cv2: Any) -> np.ndarray:
        assert self._file.readline() == b"--frame\r\n"
        assert self._file.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(self._file.readline().split()[1])
        assert self._file.readline() == b"\r\n"
        content = self._file.read(length)
        assert self._file.readline() == b"\r\n"
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    status, headers, content = page.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(rb"(src|href)=\"(?!data:)[^\"]|https?:|@import|url\(", content)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path", ["/web.html", "/../_web.py", "/..%2f..%2fetc/passwd", "//etc/passwd", "/index.html", "/stream.mjpg/"]
)
def test_nothing_else_is_served(path: str, page: Page) -> None:
    status, _, content = page.get(path)
    assert status == 404
    assert b"root" not in content


@pytest.mark.parametrize("host", ["127.0.0.1:99", "localhost", "LOCALHOST:8080", "[::1]:8080", "127.0.0.53"])
def test_names_of_this_machine_are_answered(host: str, page: Page) -> None:
    assert page.get("/healthz", {"Host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil.example:8080", "127.evil.example", "127.0.0.1.evil.example"),
        *("127.1:8080", "", "[", "[::2]:8080", "192.168.1.7"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/stream.mjpg", "/events", "/metrics", "/healthz"])
def test_another_name_for_this_machine_is_refused(host: str, path: str, page: Page) -> None:
    with page.open(path, {"Host": host}) as connection:  # not `get`: an answer to /events would never end
        assert connection.recv(12) == b"HTTP/1.1 403"


def test_pages_of_other_sites_get_nothing(page: Page) -> None:
    page.write(result_of(0))
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert page.get("/stream.mjpg", foreign)[0] == 403
    assert page.get("/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200
    assert page.get("/healthz", {"Sec-Fetch-Site": "same-origin"})[0] == 200


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /" + 20_000 * b"a" + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: loc", 408),
    ],
)
def test_a_bad_request_is_answered_and_the_page_lives_on(
    request_text: bytes, status: int, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevision_device._sinks._http._READ_S", 0.2)
    with socket.create_connection(("127.0.0.1", page.web.port), 5) as connection:
        connection.sendall(request_text)
        answer = connection.recv(1000)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert page.get("/healthz")[0] == 200
    assert page.lines == []


def test_an_open_address_needs_a_token(serve: Callable[..., Page]) -> None:
    with pytest.raises(UsageError, match=r"--web 0\.0\.0\.0:0: .* needs a token"):
        Page("0.0.0.0:0")
    page = serve("0.0.0.0:0", TOKEN)
    page.write(result_of(0))
    for path in ("/", "/healthz", "/metrics", "/events", "/stream.mjpg", "/nothing"):
        assert page.get(path)[0] == 401
        assert page.get(f"{path}?token={TOKEN}x")[0] == 401
        assert page.get(path, {"Authorization": "Bearer "})[0] == 401
    assert page.get("/healthz", {"Authorization": f"Bearer {TOKEN}"})[0] == 200
    assert page.get(f"/healthz?token={TOKEN}")[0] == 200
    assert page.get("/healthz", {"Authorization": f"Bearer {TOKEN}", "Host": "pi.local"})[0] == 200


def test_the_token_leaves_the_address_for_a_cookie(serve: Callable[..., Page]) -> None:
    page = serve("0", TOKEN)
    status, headers, _ = page.get(f"/?token={TOKEN}")
    assert (status, headers["location"]) == (303, "/")
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} == set(attributes)
    assert TOKEN not in cookie
    assert page.get("/", {"Cookie": f"other=1; {cookie}"})[0] == 200
    assert page.get("/", {"Cookie": f"{cookie}0"})[0] == 401
    assert page.get("/", {"Cookie": cookie.split("=")[0] + f"={TOKEN}"})[0] == 401
    # A cookie lasts as long as the program: another one with the same token does not know it.
    other = serve("0", TOKEN)
    name = f"edgevision_{other.web.port}"
    assert other.get("/", {"Cookie": f"{name}={cookie.split('=')[1]}"})[0] == 401


@pytest.mark.parametrize("token", ["", "short", "with space in it", "with&ampersand", "ünicode-is-not"])
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="--web-token: at least 12 of"):
        check_token(token)
    check_token(TOKEN)


@pytest.mark.parametrize("text", ["", "x", ":8080", "host:", "70000", "1.2.3.4", "-1", "٣"])
def test_a_bad_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected PORT or HOST:PORT"):
        WebAddress.parse(text)


def test_an_address_says_who_can_reach_it() -> None:
    assert [WebAddress.parse(text).loopback for text in ("80", "localhost:80", "[::1]:80", "127.9.9.9:80")] == 4 * [
        True
    ]
    assert [WebAddress.parse(text).loopback for text in ("0.0.0.0:80", "[::]:80", "10.0.0.1:80", "pi:80")] == 4 * [
        False
    ]
    assert WebAddress.parse("[::1]:80").url(81, None) == "http://[::1]:81/"
    assert re.fullmatch(r"http://[^:/]+:81/\?token=abc", WebAddress.parse("0.0.0.0:80").url(81, "abc"))


def test_a_port_that_is_taken_is_one_line(page: Page) -> None:
    with pytest.raises(UsageError, match=f"--web 127.0.0.1:{page.web.port}: .*in use; choose another port"):
        Page(str(page.web.port))


def test_healthz_is_200_or_503(page: Page) -> None:
    status, headers, content = page.get("/healthz")
    assert (status, headers["content-type"], json.loads(content)["ok"]) == (200, "application/json", True)
    page.health.trouble("source", "camera /dev/video0 gives no frames")
    status, _, content = page.get("/healthz")
    record = json.loads(content)
    assert status == 503
    assert record["troubles"]["source"]["text"] == "camera /dev/video0 gives no frames"
    assert record["lost"] == {"mqtt": 3}
    page.health.well("source")
    assert page.get("/healthz")[0] == 200


def test_healthz_says_when_the_loop_hangs(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    for second, alive, status in (
        *((5.0, page.web.idle, 200), (14.9, None, 200), (15.0, None, 503)),
        *((100.0, lambda: page.web.write(result_of(0)), 200), (115.0, None, 503), (116.0, page.web.idle, 200)),
    ):
        at(second, monkeypatch, page)
        if alive is not None:
            alive()
        answered, _, content = page.get("/healthz")
        assert answered == status
    record = json.loads(content)
    assert record["times"] == {"loop": 2}
    assert page.lines[0] == "loop: hangs: no sign of it for 10 s"
    assert len(page.lines) == 4


def test_an_answer_that_fails_is_not_the_last_one(page: Page) -> None:
    def fail() -> dict[str, Any]:
        raise LookupError("no METADATA")

    good = page.file_record
    # Each of those who look, until what they look at works again.
    with page.open("/events") as connection, connection.makefile("rb") as answer:
        while not answer.readline().startswith(b"data: {"):
            pass
        page.file_record = fail
        until(lambda: page.lines == ["sink web: no METADATA"])
        assert page.get("/healthz")[0] == 503
        page.file_record = good
        while not json.loads(answer.readline().strip().removeprefix(b"data: ") or b"{}").get("health", {}).get("ok"):
            pass
    assert page.lines[1].startswith("sink web: works again")
    page.file_record = fail
    with pytest.raises(http.client.HTTPException):
        page.get("/metrics")
    assert not page.health.ok
    assert page.get("/")[0] == 200
    assert not page.health.ok
    page.file_record = good
    assert page.get("/metrics")[0] == 200
    assert page.get("/healthz")[0] == 200


def test_what_nobody_looks_at_any_more_is_no_trouble(page: Page) -> None:
    page.write(result_of(0, picture=np.zeros((0, 0, 3), np.uint8)))
    with Viewer(page):
        until(lambda: not page.health.ok)
        assert first_event(page)["health"]["troubles"].keys() == {"sink web"}
    until(lambda: page.health.ok)


def test_metrics_are_what_prometheus_reads(page: Page) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    for number in range(6):
        page.write(result_of(number, label=None if number == 5 else "cat", age_ms=30 + number, changed=number == 5))
    page.write(result_of(6, label='d"o\\g\n', source="0"))
    page.health.trouble("sink mqtt", "gone")
    page.health.trouble("source", "gone")
    page.health.well("source")
    status, headers, content = page.get("/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {family.name: family for family in parser.text_string_to_metric_families(content.decode())}
    assert all(family.documentation and family.type != "unknown" for family in families.values())

    def values(name: str, *keys: str) -> dict[Any, float]:
        family = families[re.sub("_(total|bucket|sum|count)$", "", name)]
        return {
            tuple(sample.labels[key] for key in keys): sample.value for sample in family.samples if sample.name == name
        }

    results = values("edgevision_results_total", "label", "source")
    assert results == {("cat", ""): 5, ("", ""): 1, ('d"o\\g\n', "0"): 1}
    assert values("edgevision_frames_dropped_total") == {(): 3}
    assert values("edgevision_label_changes_total") == {(): 1}
    buckets = values("edgevision_age_seconds_bucket", "le")
    assert (buckets["0.025",], buckets["0.05",], buckets["+Inf",]) == (0, 7, 7)
    assert values("edgevision_age_seconds_sum")[()] == pytest.approx(0.225)
    assert values("edgevision_age_seconds_count") == {(): 7}
    assert values("edgevision_stage_seconds_count", "stage") == {(each,): 7 for each in STAGES}
    assert values("edgevision_ok") == {(): 0}
    assert values("edgevision_trouble", "part") == {("sink mqtt",): 1, ("source",): 0}
    assert values("edgevision_troubles_total", "part") == {("sink mqtt",): 1, ("source",): 1}
    assert values("edgevision_sink_lost_records_total", "sink") == {("mqtt",): 3}
    assert values("edgevision_file_info", "runtime", "file") == {("litert", "/srv/a.tflite"): 1}
    assert values("edgevision_last_result_timestamp_seconds")[()] == pytest.approx(time.time(), abs=20)
    assert values("process_resident_memory_bytes")[()] > 1e6


def test_metrics_before_the_first_frame(page: Page) -> None:
    assert page.get("/metrics")[0] == 200


def test_events_say_what_is_on_the_page(page: Page) -> None:
    page.web._points.append((0, 12.5, 8.0))  # pyright: ignore[reportPrivateUsage]
    with frames_coming(page), page.open("/events") as connection, connection.makefile("rb") as answer:
        text = b""
        while text.count(b"\n\n") < 3:
            text += answer.readline()
    _, history, *events = text.replace(b"\r\n\r\n", b"\n\n").split(b"\n\n")[:4]
    assert history == b"event: history\ndata: [[0, 12.5, 8.0]]"
    event = json.loads(events[0].split(b"data: ")[1])
    (values,) = event["sources"]
    assert (values["label"], values["source"], values["top"][0]) == ("cat", None, ["cat", 0.9])
    assert event["window"]["frames"] > 0
    assert event["health"]["ok"]
    assert event["silent_s"] < 1
    assert values["silent_s"] < 1


def first_event(page: Page) -> dict[str, Any]:
    with page.open("/events") as connection, connection.makefile("rb") as answer:
        while not (line := answer.readline()).startswith(b"data: {"):
            pass
    return json.loads(line[6:])


def at(second: float, monkeypatch: pytest.MonkeyPatch, page: Page) -> None:
    """Set the page's clock, which counts from its beginning."""
    now_s = page.web._began_s + second  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("edgevision_device._sinks._web.time", types.SimpleNamespace(monotonic=lambda: now_s))


def test_a_source_that_is_silent_among_others_is_seen(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    for second, source in ((0, "left"), (93, "right"), (98, "up")):
        at(second, monkeypatch, page)
        page.web.write(result_of(0, source=source))
    at(100, monkeypatch, page)
    event = first_event(page)
    assert {each["source"]: each["silent_s"] for each in event["sources"]} == {"left": 100, "right": 7, "up": 2}
    assert event["silent_s"] == 2
    assert event["stale_s"] == 3
    record = json.loads(page.get("/healthz")[2])
    assert [(each["source"], each["silent_s"]) for each in record["sources"]] == [
        ("left", 100),
        ("right", 7),
        ("up", 2),
    ]
    assert record["silent_s"] == 2


def test_the_last_picture_of_a_silent_source_is_not_served_as_a_live_one(
    page: Page, cv2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(0, monkeypatch, page)
    for id, source in ((10, "left"), (240, "right")):
        page.write(result_of(id, source=source))
    at(7200, monkeypatch, page)
    page.write(result_of(240, source="right"))
    assert page.get("/stream.mjpg?source=left")[::2] == (503, b"no frame of this source for 7200 s\n")
    with Viewer(page, "?source=right") as viewer:
        assert abs(viewer.picture(cv2).mean() - 240) < 3
    # It moves no more, and is not silent.
    seen_s = page.web._began_s + 7199  # pyright: ignore[reportPrivateUsage]
    page.still = {"left": Still(7000, round(seen_s * 1e9), None)}
    with Viewer(page, "?source=left") as viewer:
        assert abs(viewer.picture(cv2).mean() - 10) < 3
    assert {each["source"]: each["silent_s"] for each in first_event(page)["sources"]} == {"left": 1, "right": 0}


def test_a_curve_begins_with_the_first_second_that_had_a_result(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    for second, age_ms in ((5.1, 30.0), (5.9, 40.0), (7.0, 10.0), (9.0, 20.0)):
        at(second, monkeypatch, page)
        page.web.write(result_of(0, age_ms=age_ms))
    assert first_event(page)["points"] == [[5, 40.0, 8.0], [7, 10.0, 8.0]]


def test_sources_that_are_not_shown_are_counted(page: Page) -> None:
    for number in range(20):
        page.write(result_of(number, source=f"camera{number:02}"))
    assert len(first_event(page)["sources"]) == 16
    metrics = page.get("/metrics")[2].decode()
    for number in range(20):
        assert f'edgevision_results_total{{source="camera{number:02}",label="cat"}} 1\n' in metrics


def test_our_own_source_reads_the_picture(page: Page) -> None:
    picture = np.full((1080, 1920, 3), (200, 30, 60), np.uint8)
    address = f"http://127.0.0.1:{page.web.port}/stream.mjpg"
    with frames_coming(page, fps=20, picture=picture), open_source(address) as source:
        frame = next(iter(source.frames()))
    rgb = frame.picture if frame.picture_order == "rgb" else frame.picture[..., ::-1]
    assert rgb.shape == (540, 960, 3)
    assert np.abs(rgb.mean(axis=(0, 1)) - (200, 30, 60)).max() < 4


def test_each_source_has_a_picture(page: Page, cv2: Any) -> None:
    assert page.get("/stream.mjpg")[0] == 503
    for number, source in ((10, "left"), (240, "right & up")):
        page.write(result_of(number, source=source))
    with Viewer(page) as first, Viewer(page, "?source=right%20%26%20up") as second:
        assert abs(first.picture(cv2).mean() - 10) < 3
        assert abs(second.picture(cv2).mean() - 240) < 3
    assert page.get("/stream.mjpg?source=other")[0] == 404


def test_pictures_are_made_when_somebody_looks_and_once_for_all(
    page: Page, cv2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgevision_device._sinks import _web

    made: list[int] = []
    make = _web.picture_part

    def count(result: StreamResult) -> bytes:
        made.append(result.frame.id)
        return make(result)

    monkeypatch.setattr(_web, "picture_part", count)
    with frames_coming(page):
        time.sleep(0.3)
        assert made == []
        with Viewer(page) as first, Viewer(page) as second, Viewer(page) as third:
            began_s = time.monotonic()
            while time.monotonic() - began_s < 1:
                for viewer in (first, second, third):
                    viewer.picture(cv2)
            assert 3 <= len(made) <= 13
            assert len(set(made)) == len(made)
        until(lambda: b"edgevision_web_viewers 0" in page.get("/metrics")[2])
        before = len(made)
        time.sleep(0.3)
        assert len(made) <= before + 1


def test_a_picture_is_not_sent_twice(page: Page, cv2: Any) -> None:
    page.write(result_of(7))
    with Viewer(page) as viewer:
        assert abs(viewer.picture(cv2).mean() - 7) < 3
        viewer._socket.settimeout(0.5)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(OSError, match="timed out"):
            viewer.picture(cv2)


def test_a_slow_viewer_does_not_slow_others(page: Page, cv2: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    with frames_coming(page, picture=noise), contextlib.ExitStack() as opened:
        for _ in range(6):
            opened.enter_context(Viewer(page))  # none of them reads any more
        with Viewer(page) as viewer:
            for _ in range(10):
                viewer.picture(cv2)


def test_the_loop_waits_for_nothing_that_the_page_does(page: Page) -> None:
    go = threading.Event()
    gone_on: list[bool] = []
    # As if a picture took that long to encode.
    page.web._loop.call_soon_threadsafe(lambda: gone_on.append(go.wait(30)))  # pyright: ignore[reportPrivateUsage]
    for number in range(1000):
        page.write(result_of(number))
    go.set()
    until(lambda: gone_on)
    assert gone_on == [True]


def test_a_viewer_that_takes_nothing_is_left(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevision_device._sinks._web._PATIENCE_S", 0.3)
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    with frames_coming(page, picture=noise), Viewer(page):
        until(lambda: b"edgevision_web_viewers 1" in page.get("/metrics")[2])
        until(lambda: b"edgevision_web_viewers 0" in page.get("/metrics")[2], 10)


def test_there_is_room_for_so_many_viewers(page: Page) -> None:
    page.write(result_of(0))
    with contextlib.ExitStack() as opened:
        statuses = [opened.enter_context(Viewer(page)).status for _ in range(9)]
        assert statuses == 8 * [200] + [503]
        assert page.get("/healthz")[0] == 200
        for _ in range(45):
            opened.enter_context(socket.create_connection(("127.0.0.1", page.web.port)))
        until(lambda: page.get("/healthz")[::2] == (503, b"too many connections\n"))
    until(lambda: page.get("/healthz")[0] == 200)


def test_viewers_that_left_while_no_frame_came_make_room(page: Page, cv2: Any) -> None:
    page.write(result_of(0))
    for _ in range(3):
        with contextlib.ExitStack() as opened:
            for _ in range(8):
                opened.enter_context(Viewer(page)).picture(cv2)
        until(lambda: b"edgevision_web_viewers 0" in page.get("/metrics")[2])
    with Viewer(page) as viewer:
        assert viewer.status == 200
        viewer.picture(cv2)
        page.write(result_of(200))
        assert abs(viewer.picture(cv2).mean() - 200) < 3
    assert page.lines == []


def test_what_a_viewer_still_says_is_ignored(page: Page, cv2: Any) -> None:
    page.write(result_of(0))
    with Viewer(page) as viewer:
        viewer.picture(cv2)
        viewer._socket.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)  # pyright: ignore[reportPrivateUsage]
        page.write(result_of(200))
        assert abs(viewer.picture(cv2).mean() - 200) < 3


def test_a_page_with_viewers_closes_in_time(page: Page, cv2: Any) -> None:
    with frames_coming(page), Viewer(page) as viewer, page.open("/events"):
        viewer.picture(cv2)
        began_s = time.monotonic()
        page.web.close()
        assert time.monotonic() - began_s < 1
        # The loop goes on writing for a moment.
        page.write(result_of(0))
    with pytest.raises(OSError, match="refused"):
        page.get("/")
    assert page.lines == []
