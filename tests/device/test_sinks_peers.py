"""MQTT and webhook, against a real broker and a real server that fail, stall and come back."""

from __future__ import annotations

import contextlib
import getpass
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Optional

import fakes
import pytest
from fakes import until

from edgevision_device import Health, StreamResult, UsageError
from edgevision_device._sinks import Background
from edgevision_device._sinks._mqtt import Mqtt, MqttAddress
from edgevision_device._sinks._webhook import Webhook, check_webhook


def result_of(label: Optional[str], *, id: int = 0, changed: bool = True, source: Optional[str] = None) -> StreamResult:
    return fakes.result_of(id, label, changed=changed, source=source)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def health(lines: list[str]) -> Health:
    return Health(lines.append)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    threads, files = set(threading.enumerate()), descriptors()
    yield
    # What paho and http.client drop is closed at once; nothing waits for the garbage collector.
    assert set(threading.enumerate()) <= threads
    assert descriptors() <= files


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def closes_in_time(sink: Background) -> None:
    began_s = time.monotonic()
    sink.close()
    assert time.monotonic() - began_s < 1


@contextlib.contextmanager
def full_backlog() -> Generator[int, None, None]:
    """Yield a port on which connecting takes for ever: nobody accepts, and the queue is full."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            each = opened.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


# MQTT


class Broker:
    """Debian's mosquitto, on a port of its own, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._child: Optional[subprocess.Popen[bytes]] = None
        passwords = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "ann", "pass/word"], check=True)
        config = f"user {getpass.getuser()}\nlistener {self.port} 127.0.0.1\n"
        config += f"allow_anonymous true\npassword_file {passwords}\n"
        (folder / "mosquitto.conf").write_text(config)

    def start(self) -> None:
        line = [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(self._folder / "mosquitto.conf")]
        self._child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        until(answers)

    def signal(self, number: int) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait(10)
            self._child = None

    def retained(self, paho: Any, topic: str = "#") -> dict[str, str]:
        """Return what a newcomer is told."""
        found: dict[str, str] = {}
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.on_message = lambda client, userdata, message: found.update({message.topic: message.payload.decode()})
        client.connect("127.0.0.1", self.port)
        ends_s = time.monotonic() + 0.4
        client.subscribe(topic, qos=1)
        while time.monotonic() < ends_s:
            client.loop(0.05)
        client.disconnect()
        client.loop(0.05)
        return found


@pytest.fixture
def paho() -> Any:
    return pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")


@pytest.fixture
def broker(tmp_path: Path, paho: Any) -> Iterator[Broker]:
    if not shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") or not shutil.which("mosquitto_passwd"):
        pytest.skip("no broker: mosquitto is not installed")
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def mqtt(port: int, **more: Any) -> Mqtt:
    return Mqtt(MqttAddress.parse(f"mqtt://127.0.0.1:{port}/home/door"), **more)


def test_the_last_label_is_retained_and_so_is_whether_we_are_there(broker: Broker, paho: Any, health: Health) -> None:
    with Background(mqtt(broker.port), health) as sink:
        sink.write(result_of("cat", changed=False))
        sink.write(result_of("cat", id=1, changed=False))
        until(lambda: set(broker.retained(paho)) == {"home/door", "home/door/status"})
        told = broker.retained(paho)
        assert told["home/door/status"] == "online"
        assert (json.loads(told["home/door"])["label"], json.loads(told["home/door"])["frame"]) == ("cat", 0)
        sink.write(result_of(None, id=2))
        until(lambda: json.loads(broker.retained(paho)["home/door"])["label"] is None)
    assert broker.retained(paho)["home/door/status"] == "offline"
    assert health.to_record()["times"] == {}


def test_each_of_several_sources_has_a_topic(broker: Broker, paho: Any, health: Health) -> None:
    with Background(mqtt(broker.port), health) as sink:
        sink.write(result_of("cat", changed=False, source="0"))
        sink.write(result_of("dog", changed=False, source="rtsp://door/#1"))
    told = broker.retained(paho, "home/door/+")
    assert json.loads(told["home/door/0"])["label"] == "cat"
    assert json.loads(told["home/door/rtsp:__door__1"])["label"] == "dog"


def test_every_so_often_also_without_a_change(broker: Broker, paho: Any, health: Health) -> None:
    sink = mqtt(broker.port, every_s=0.2)
    taken = 0
    ends_s = time.monotonic() + 0.7
    while time.monotonic() < ends_s:
        taken += sink.take(result_of("cat", changed=False)) is not None
        time.sleep(0.01)
    assert taken == 4
    all_of_them = mqtt(broker.port, every_s=0)
    assert all(all_of_them.take(result_of("cat", changed=False)) for _ in range(5))


def test_a_broker_that_goes_and_comes_gets_everything_in_order(
    broker: Broker, paho: Any, health: Health, lines: list[str]
) -> None:
    with Background(mqtt(broker.port), health) as sink:
        sink.write(result_of("cat"))
        until(lambda: "home/door" in broker.retained(paho))
        broker.stop()
        until(lambda: not health.ok)
        for number in range(1, 6):
            sink.write(result_of("dog", id=number))
        time.sleep(0.3)
        assert len(lines) == 1
        assert lines[0].startswith(f"sink mqtt: 127.0.0.1:{broker.port}")
        broker.start()
        until(lambda: health.ok)
        until(lambda: json.loads(broker.retained(paho).get("home/door", '{"frame": 0}'))["frame"] == 5)
        assert broker.retained(paho)["home/door/status"] == "online"
    assert sink.lost == 0
    assert len(lines) == 2


def test_a_program_that_dies_is_offline(broker: Broker, paho: Any, health: Health) -> None:
    sink = mqtt(broker.port)
    sink.write(result_of("cat"))
    assert broker.retained(paho)["home/door/status"] == "online"
    sink._hang_up()  # no goodbye  # pyright: ignore[reportPrivateUsage]
    until(lambda: broker.retained(paho)["home/door/status"] == "offline")


def test_a_broker_that_hangs_is_left_in_time(broker: Broker, health: Health) -> None:
    sink = Background(mqtt(broker.port), health)
    sink.write(result_of("cat"))
    until(lambda: sink._sink._client is not None)  # pyright: ignore
    time.sleep(0.2)
    broker.signal(signal.SIGSTOP)
    sink.write(result_of("dog"))
    time.sleep(0.2)
    closes_in_time(sink)
    assert sink.lost == 1
    broker.signal(signal.SIGCONT)


def test_a_wrong_password_is_said_and_never_shown(broker: Broker, health: Health, lines: list[str]) -> None:
    address = MqttAddress.parse(f"mqtt://ann:secret@127.0.0.1:{broker.port}/home")
    assert "secret" not in repr(address)
    with Background(Mqtt(address), health) as sink:
        sink.write(result_of("cat"))
        until(lambda: not health.ok)
    assert "refused: " in lines[0]
    assert "secret" not in lines[0]


def test_the_right_password_works(broker: Broker, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVISION_MQTT_PASSWORD", "pass/word")
    for user in ("ann:pass%2Fword", "ann"):
        with Background(Mqtt(MqttAddress.parse(f"mqtt://{user}@127.0.0.1:{broker.port}/home")), health) as sink:
            sink.write(result_of("cat"))
        assert (sink.lost, health.ok) == (0, True)


def test_no_broker_at_all(paho: Any, health: Health, lines: list[str]) -> None:
    sink = Background(mqtt(free_port()), health)
    sink.write(result_of("cat"))
    until(lambda: not health.ok)
    assert "Connection refused; 1 kept, 0 lost" in lines[0]
    closes_in_time(sink)
    assert sink.lost == 1


def test_a_server_that_says_nothing_is_left_in_time(paho: Any, health: Health) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = Background(mqtt(silent.getsockname()[1]), health)
        sink.write(result_of("cat"))
        time.sleep(0.3)
        closes_in_time(sink)
    assert sink.lost == 1


def test_an_address_that_swallows_everything_is_left_in_time(paho: Any, health: Health) -> None:
    with full_backlog() as port:
        sink = Background(mqtt(port), health)
        sink.write(result_of("cat"))
        time.sleep(0.2)
        closes_in_time(sink)
        # paho's connecting cannot be broken off; it gives up by itself.
        sink._thread.join(4)  # pyright: ignore[reportPrivateUsage]
    assert sink.lost == 1


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("mqtt://host/a/b%20c", MqttAddress("host", 1883, "a/b c")),
        ("mqtts://u:p%40@host:99/t", MqttAddress("host", 99, "t", True, "u", "p@")),
        ("mqtts://[::1]/t", MqttAddress("::1", 8883, "t", True)),
    ],
)
def test_an_mqtt_address_is_read(address: str, wanted: MqttAddress) -> None:
    assert MqttAddress.parse(address) == wanted


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host/topic",
        "http://host/t",
        "mqtt://host",
        "mqtt:///t",
        "mqtt://h/a/+",
        "mqtt://h/%23",
        "mqtt://u:secret@h:x/t",
    ],
)
def test_a_bad_mqtt_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(UsageError, match="expected mqtt://") as caught:
        MqttAddress.parse(address)
    assert "secret" not in str(caught.value)


# Webhook


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what is posted, and answers what it is told to: a status, or `hang`, `close`, `junk`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.posted: list[tuple[dict[str, str], Any]] = []
        self.answers: list[Any] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook?room=1"

    def __enter__(self) -> Receiver:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()
        self._thread.join()
        until(lambda: not any("process_request" in each.name for each in threading.enumerate()))


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append(({"path": self.path, **self.headers}, body))
        answer = self.server.answers.pop(0) if self.server.answers else 204
        if answer == "hang":
            self.server.over.wait(30)
        elif answer == "junk":
            self.wfile.write(b"220 mail.example.org ESMTP\r\n")
        elif answer != "close":
            self.send_response(answer)
            if answer == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_a_change_is_posted(receiver: Receiver, health: Health) -> None:
    url = receiver.url.replace("127.0.0.1", "ann:p%40ss@127.0.0.1")
    with Background(Webhook(url), health) as sink:
        sink.write(result_of("cat", changed=False))
        sink.write(result_of("cat", id=1, changed=False))
        sink.write(result_of("dog", id=2))
    assert [(body["label"], body["frame"]) for _, body in receiver.posted] == [("cat", 0), ("dog", 2)]
    headers = receiver.posted[0][0]
    assert (headers["path"], headers["Content-Type"]) == ("/hook?room=1", "application/json")
    assert headers["Authorization"] == "Basic YW5uOnBAc3M="
    assert (sink.lost, health.ok) == (0, True)


def test_what_failed_is_tried_again_in_order(receiver: Receiver, health: Health, lines: list[str]) -> None:
    receiver.answers = [500, 429, "close", "junk", 200, 200]
    with Background(Webhook(receiver.url), health) as sink:
        sink.write(result_of("cat"))
        sink.write(result_of("dog"))
        until(lambda: len(receiver.posted) == 6, 20)
        until(lambda: health.ok)
    assert [body["label"] for _, body in receiver.posted] == 5 * ["cat"] + ["dog"]
    keys = [headers["Idempotency-Key"] for headers, _ in receiver.posted]
    assert len(set(keys[:5])) == 1
    assert keys[5] != keys[0]
    assert lines[0].endswith("answered 500; 2 kept, 0 lost")
    assert (len(lines), sink.lost) == (2, 0)


@pytest.mark.parametrize("status", [404, 302])
def test_a_refusal_is_final(status: int, receiver: Receiver, health: Health) -> None:
    receiver.answers = [status, 200]
    with Background(Webhook(receiver.url), health) as sink:
        sink.write(result_of("cat"))
        sink.write(result_of("dog"))
        until(lambda: len(receiver.posted) == 2)
    assert [body["label"] for _, body in receiver.posted] == ["cat", "dog"]
    assert sink.lost == 1


def test_after_so_many_attempts_it_gives_up_and_counts(receiver: Receiver, health: Health) -> None:
    receiver.answers = [500, 500, 200]
    with Background(Webhook(receiver.url, tries=2), health) as sink:
        sink.write(result_of("cat"))
        sink.write(result_of("dog"))
        until(lambda: len(receiver.posted) == 3)
    assert [body["label"] for _, body in receiver.posted] == ["cat", "cat", "dog"]
    assert sink.lost == 1


def test_a_server_that_comes_back_gets_what_waited(health: Health) -> None:
    port = free_port()
    with Background(Webhook(f"http://127.0.0.1:{port}/"), health) as sink:
        sink.write(result_of("cat"))
        sink.write(result_of("dog"))
        until(lambda: not health.ok)
        with Receiver(port) as receiver:
            until(lambda: len(receiver.posted) == 2)
            until(lambda: health.ok)
        assert [body["label"] for _, body in receiver.posted] == ["cat", "dog"]
    assert sink.lost == 0


def test_a_server_that_hangs_is_left_in_time(receiver: Receiver, health: Health) -> None:
    receiver.answers = ["hang"]
    sink = Background(Webhook(receiver.url), health)
    sink.write(result_of("cat"))
    until(lambda: len(receiver.posted) == 1)
    closes_in_time(sink)
    assert sink.lost == 1


def test_a_webhook_that_swallows_everything_is_left_in_time(health: Health) -> None:
    with full_backlog() as port:
        sink = Background(Webhook(f"http://127.0.0.1:{port}/"), health)
        sink.write(result_of("cat"))
        time.sleep(0.2)
        closes_in_time(sink)
        assert not sink._thread.is_alive()  # pyright: ignore[reportPrivateUsage]
    assert sink.lost == 1


@pytest.mark.parametrize(
    "url", ["", "host/path", "ftp://host/", "http://", "http://h:x/", "http://h/a b", "http://h/ä"]
)
def test_a_bad_webhook_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--webhook: expected http://"):
        check_webhook(url)
