"""Labels to an MQTT broker."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional
from urllib.parse import unquote, urlsplit

from .._errors import MissingPackageError, UsageError
from .._result import StreamResult
from ._background import SlowSink
from ._base import Starts

__all__ = ["MQTT_PASSWORD", "Mqtt", "MqttAddress", "load_paho"]

#: The variable that may hold the password, so that it stands in no command line.
MQTT_PASSWORD = "EDGEVISION_MQTT_PASSWORD"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
#: How long a broker may take to accept a connection, and to acknowledge a message.
_CONNECT_S, _ACKNOWLEDGE_S = 3.0, 10.0
_KEEPALIVE_S = 30
#: How long goodbyes may take.
_GOODBYE_S = 0.3
_STEP_S = 0.05


@dataclass(frozen=True)
class MqttAddress:
    """A broker and a topic."""

    host: str
    port: int
    topic: str
    tls: bool = False
    user: Optional[str] = None
    password: Optional[str] = field(default=None, repr=False)

    @classmethod
    def parse(cls, address: str) -> MqttAddress:
        """Read `mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC`; `mqtts` for TLS. Raises UsageError."""
        wanted = "expected mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC, or mqtts:// for TLS"
        try:
            parts = urlsplit(address)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise UsageError(f"--mqtt: the port must be a number from 1 to 65535; {wanted}") from None
        # Never the address itself: it may hold a password.
        if parts.scheme not in _PORTS or not parts.hostname:
            raise UsageError(f"--mqtt: got {parts.scheme or 'no scheme'!r} and host {parts.hostname!r}; {wanted}")
        topic = unquote(parts.path.lstrip("/"))
        if not topic or set("+#\0") & set(topic) or len(topic.encode()) > 60_000:
            raise UsageError(f"--mqtt: a topic has at least one letter and no '+' or '#', got {topic[:80]!r}; {wanted}")
        user = None if parts.username is None else unquote(parts.username)
        password = os.environ.get(MQTT_PASSWORD) if parts.password is None else unquote(parts.password)
        return cls(parts.hostname, port, topic, parts.scheme == "mqtts", user, password)


class _Message(NamedTuple):
    topic: str
    payload: str


class Mqtt(SlowSink[_Message]):
    """Publishes the record of each result that starts a label, with QoS 1 and retained: whoever subscribes has it.

    The topic is that of the address; where there are several sources, `TOPIC/SOURCE`. `TOPIC/status` is `online` or,
    by the broker's hand if need be, `offline`. While the broker is away, the newest thousand messages wait.

    Everything runs in one thread, that of the caller: paho's own thread takes a second or longer to end.

    Args:
        address: where to.
        every_s: also publish when nothing was for so long; 0: every result; None: starts of labels only.
    """

    name = "mqtt"
    drops_oldest = True
    retry_most_s = 30.0

    def __init__(self, address: MqttAddress, *, every_s: Optional[float] = None) -> None:
        self._address = address
        self._every_s = every_s
        self._starts = Starts()
        self._taken_s: dict[Optional[str], float] = {}
        self._client: Optional[Any] = None
        self._refused: Optional[str] = None
        self._aborted = False

    def take(self, result: StreamResult) -> Optional[_Message]:
        """Return the message of a result that starts a label, or is due."""
        source = result.frame.source
        now_s = time.monotonic()
        due = self._every_s is not None and now_s - self._taken_s.get(source, now_s) >= self._every_s
        if not (self._starts(result) or due):
            return None
        self._taken_s[source] = now_s
        topic = self._address.topic if source is None else f"{self._address.topic}/{_level(source)}"
        return _Message(topic, json.dumps(result.to_record()))

    def deliver(self, item: _Message) -> None:
        """Publish one message, and wait for the broker's word that it has it."""
        client = self._connected()
        info = client.publish(item.topic, item.payload, qos=1, retain=True)
        if not self._loop_until(info.is_published, _ACKNOWLEDGE_S):
            # Not kept: paho would send the message again by itself after it has connected again, and so would we.
            self._hang_up()
            raise ConnectionError(f"{self._where()} does not acknowledge")

    def check(self) -> bool:
        """Answer the broker, and connect again if need be. True: it is connected."""
        if self._connected().loop(0) != 0:
            self._hang_up()
            raise ConnectionError(f"{self._where()} has closed the connection")
        return True

    def abort(self) -> None:
        """Wait no longer."""
        self._aborted = True

    def close(self) -> None:
        """Say `offline`, and end the connection."""
        client = self._client
        if client is not None and client.is_connected() and not self._aborted:
            info = client.publish(self._status(), "offline", qos=1, retain=True)
            self._loop_until(info.is_published, _GOODBYE_S)
            client.disconnect()
        self._hang_up()

    def _connected(self) -> Any:
        """Return the client when the broker has let it in. Raises OSError."""
        if self._client is not None and self._client.is_connected():
            return self._client
        self._hang_up()
        self._client = client = self._new_client()
        self._refused = None
        try:
            client.connect(self._address.host, self._address.port, keepalive=_KEEPALIVE_S)
        except OSError as error:
            self._hang_up()
            raise ConnectionError(f"{self._where()}: {error.strerror or error}") from error
        if not self._loop_until(client.is_connected, _CONNECT_S):
            self._hang_up()
            raise ConnectionError(f"{self._where()}: {self._refused or 'no answer'}")
        client.publish(self._status(), "online", qos=1, retain=True)
        return client

    def _new_client(self) -> Any:
        paho = load_paho()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"edgevision-{secrets.token_hex(6)}")
        client.connect_timeout = _CONNECT_S
        if self._address.user is not None:
            client.username_pw_set(self._address.user, self._address.password)
        if self._address.tls:
            client.tls_set()
        client.will_set(self._status(), "offline", qos=1, retain=True)
        client.on_connect = self._answered
        return client

    def _answered(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"refused: {reason}"

    def _loop_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let paho send and receive until something is done; return False if it was not in time."""
        ends_s = time.monotonic() + seconds
        while not done():
            client = self._client
            if client is None or self._aborted or self._refused or time.monotonic() > ends_s:
                return False
            if client.loop(_STEP_S) != 0:
                return done()
        return True

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        client.on_connect = None  # it refers to this object, and this one to it
        connection = client.socket()
        if connection is not None:
            connection.close()

    def _status(self) -> str:
        return f"{self._address.topic}/status"

    def _where(self) -> str:
        return f"{self._address.host}:{self._address.port}"


def _level(source: str) -> str:
    """Return a source's name as one level of a topic."""
    return "".join("_" if each in "+#/\0" else each for each in source)


def load_paho() -> Any:
    """Import paho's client, or raise MissingPackageError with the command that installs it."""
    try:
        import paho.mqtt.client
    except ImportError as error:
        raise MissingPackageError(f"--mqtt needs paho-mqtt ({error}); pip install 'edgevision-device[mqtt]'") from error
    return paho.mqtt.client
