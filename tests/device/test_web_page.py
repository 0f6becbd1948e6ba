"""The web page in a browser: headless Chromium looks at it, and clicks."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from fakes import until

from edgevision_device import Health, StreamResult, StreamStatistics
from edgevision_device._sinks import SinkContext
from edgevision_device._sinks._web import Web
from edgevision_device._sinks._web_access import WebAddress

pytestmark = pytest.mark.usefixtures("cv2")

TOKEN = "correct-horse-battery"
LABELS = ("cat", "dog", "hare")
#: What no test of a page on this machine needs, and what fails where there is no network.
SWITCHES = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-dev-shm-usage",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)


def result_of(id: int, *, source: str, label: int, red: int) -> StreamResult:
    return fakes.result_of(
        id,
        LABELS[label],
        picture=np.full((240, 320, 3), (red, 30, 60), np.uint8),
        order="rgb",
        source=source,
        score=0.8,
        scores=[0.8 if place == label else 0.1 for place in range(3)],
        labels=LABELS,
        age_ms=42.0,
        stages_ms={"wait": 1.0, "preprocess": 0.5, "ready": 0.1, "invoke": 20.0, "decide": 0.1},
    )


class Running:
    """A page with two cameras that can be stopped, together or one of them."""

    def __init__(self) -> None:
        self.health = Health()
        self.statistics = StreamStatistics()
        context = SinkContext(
            statistics=self.statistics,
            health=self.health,
            file_record=lambda: {"file": "/srv/photos.int8.tflite", "runtime": "litert", "threads": 2},
            stop=lambda: None,
        )
        self.web = Web(WebAddress.parse("0"), context, token=TOKEN)
        self.flowing = threading.Event()
        self.flowing.set()
        self.over = threading.Event()
        self.label = 0
        self.sources = [("left", 200), ("right", 20)]
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        number = 0
        while not self.over.wait(0.05):
            if self.flowing.is_set():
                for source, red in self.sources:
                    result = result_of(number, source=source, label=self.label, red=red)
                    self.statistics.add(result)
                    self.web.write(result)
                    number += 1

    def close(self) -> None:
        self.over.set()
        self._thread.join()
        self.web.close()


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in (*SWITCHES, f"user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # A page that streams never ends loading.
    options.page_load_strategy = "eager"
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


def text_of(browser: Any, id: str) -> str:
    return browser.execute_script("return document.getElementById(arguments[0]).textContent", id)


def middle_red(browser: Any, cv2: Any, path: Path) -> int:
    """Return how red the middle of the picture is, as a person sees it."""
    screen = browser.find_element("id", "screen")
    screen.screenshot(str(path))
    shot = cv2.imread(str(path))
    return int(shot[shot.shape[0] // 2, shot.shape[1] // 2, 2])


def look(browser: Any, width: int, scheme: str) -> None:
    mobile = width < 500
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_a_person_looks_and_clicks(browser: Any, running: Running, tmp_path: Path, cv2: Any) -> None:
    browser.get_log("browser")
    look(browser, 1200, "light")
    browser.get(f"http://127.0.0.1:{running.web.port}/?token={TOKEN}")
    until(lambda: text_of(browser, "label") == "cat")
    assert browser.current_url == f"http://127.0.0.1:{running.web.port}/"
    assert text_of(browser, "state") == "running"
    assert text_of(browser, "file") == "photos.int8.tflite · litert · 2 threads"
    bars = browser.find_elements("css selector", "#bars li")
    assert [bar.text.split("\n") for bar in bars] == [["cat", "80.0 %"], ["dog", "10.0 %"], ["hare", "10.0 %"]]
    until(lambda: text_of(browser, "age") == "42.0 ms" and text_of(browser, "invoke") == "20.0 ms")
    until(lambda: len(browser.find_elements("css selector", "#chart path")) == 2)
    assert text_of(browser, "times").startswith("age42.")

    # The picture is there, and that of the other camera when it is chosen.
    until(lambda: middle_red(browser, cv2, tmp_path / "left.png") > 150)
    browser.find_element("css selector", "#source option[value=right]").click()
    until(lambda: middle_red(browser, cv2, tmp_path / "right.png") < 60)

    # Another label, and a trouble.
    running.label = 2
    until(lambda: text_of(browser, "label") == "hare")
    running.health.trouble("sink mqtt", "<b>gone</b>")
    until(lambda: text_of(browser, "state") == "trouble")
    assert "sink mqtt: <b>gone</b>" in text_of(browser, "health")

    # A click pauses the picture: nobody looks, nothing is encoded, and the last picture stays.
    button = browser.find_element("id", "pause")
    assert button.text == "Pause picture"
    button.click()
    assert (button.text, button.get_attribute("aria-pressed")) == ("Show live picture", "true")
    viewers = running.web._pictures  # pyright: ignore[reportPrivateUsage]
    until(lambda: sum(feed.viewers for feed in viewers.values()) == 0)
    assert middle_red(browser, cv2, tmp_path / "paused.png") < 60
    button.click()
    until(lambda: sum(feed.viewers for feed in viewers.values()) == 1)

    # Without frames it does not look as if there were some.
    running.flowing.clear()
    until(lambda: "No frame for" in browser.find_element("id", "cover").text)
    running.health.well("sink mqtt")
    until(lambda: text_of(browser, "state") == "no frames")
    running.flowing.set()
    until(lambda: text_of(browser, "state") == "running")

    # Neither the policy nor the script had anything to complain of.
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    running.close()
    until(lambda: text_of(browser, "state") == "not connected")


def cover_of(browser: Any) -> str:
    return browser.find_element("id", "cover").text


def test_the_picture_of_a_camera_that_is_silent_is_covered(browser: Any, running: Running) -> None:
    browser.get(f"http://127.0.0.1:{running.web.port}/?token={TOKEN}")
    until(lambda: text_of(browser, "state") == "running" and not cover_of(browser))
    both, running.sources = running.sources, running.sources[1:]
    until(lambda: cover_of(browser).startswith("No frame for"))
    assert text_of(browser, "state") == "1 of 2 silent"
    assert text_of(browser, "fps") != "0"
    browser.find_element("css selector", "#source option[value=right]").click()
    until(lambda: not cover_of(browser))
    running.flowing.clear()
    until(lambda: text_of(browser, "state") == "no frames")
    assert text_of(browser, "fps") == "0"
    # Who comes later is told the same, and shown no old picture.
    browser.refresh()
    until(lambda: cover_of(browser).startswith("No frame for"))
    assert "the last one" not in cover_of(browser)
    running.sources = both
    running.flowing.set()
    until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") == 320)
    until(lambda: not cover_of(browser))


def test_a_page_without_room_for_its_picture_says_so_and_asks_with_pauses(
    browser: Any, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    access = running.web._access  # pyright: ignore[reportPrivateUsage]
    check = access.check

    def count(request: Any) -> Any:
        asked.append(request.path)
        return check(request)

    monkeypatch.setattr(access, "check", count)
    until(lambda: len(running.web._newest) == 2)  # pyright: ignore[reportPrivateUsage]
    with contextlib.ExitStack() as viewers:
        for _ in range(8):
            viewer = viewers.enter_context(socket.create_connection(("127.0.0.1", running.web.port)))
            head = f"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            viewer.sendall(head.encode())
            assert viewer.recv(12) == b"HTTP/1.1 200"
        asked.clear()
        browser.get(f"http://127.0.0.1:{running.web.port}/?token={TOKEN}")
        until(lambda: cover_of(browser).startswith("No picture"))
        # The message stays while values come, and not each of them asks for the picture.
        browser.execute_script(WATCH_COVER)
        until(lambda: len(browser.execute_script("return seen")) >= 16)
        assert {each[:10] for each in browser.execute_script("return seen")} == {"No picture"}
        assert asked.count("/stream.mjpg") <= 8
    until(lambda: not cover_of(browser))
    until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") == 320)
    assert text_of(browser, "state") == "running"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_and_can_be_read(
    width: int, scheme: str, browser: Any, running: Running, tmp_path: Path, cv2: Any
) -> None:
    look(browser, width, scheme)
    browser.get(f"http://127.0.0.1:{running.web.port}/?token={TOKEN}")
    until(lambda: text_of(browser, "label") == "cat")
    assert browser.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
    until(lambda: browser.execute_script("return document.getElementById('picture').naturalWidth") == 320)
    path = Path(os.environ.get("EDGEVISION_SCREENSHOTS", tmp_path)) / f"page-{width}-{scheme}.png"
    browser.save_screenshot(str(path))
    shot = cv2.imread(str(path))
    assert shot.shape[1] == width
    ground = shot[-3, 3].mean()
    assert ground > 200 if scheme == "light" else ground < 50
    # WCAG 2.1 asks for a contrast of 4.5 to 1 between text and what is behind it.
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 20
    assert [each for each in contrasts if each[1] < 4.5] == []


WATCH_COVER = """
window.seen = [];
const cover = document.getElementById("cover");
events.addEventListener("message", () => seen.push(cover.hidden ? "" : cover.textContent));
"""

CONTRASTS = """
const light = color => {
  const [r, g, b] = color.match(/[\\d.]+/g).map(part => part / 255).map(
    part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = [];
for (const node of document.querySelectorAll("main *, header *")) {
  const words = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
  if (!words || node.closest("svg, .screen")) continue;
  let behind = node;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  const pair = [light(getComputedStyle(node).color), light(getComputedStyle(behind).backgroundColor)];
  found.push([node.textContent, (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)]);
}
return found;
"""
