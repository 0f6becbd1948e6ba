"""Results as a web page: live picture, scores, curves, health; and the same for machines."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Optional

from .._errors import UsageError
from .._result import StreamResult
from ._background import reason_of
from ._base import Sink, SinkContext
from ._http import REQUEST_BYTES, HttpError, Request, head, read_request, respond
from ._metrics import METRICS_TYPE, Metrics
from ._web_access import Access, WebAddress
from ._web_feed import Feed, picture_part
from ._web_page import read_page

__all__ = ["Web"]

_PART = "sink web"
#: How often pictures and values are made, as long as anybody looks.
_PICTURE_S, _EVENT_S = 0.1, 0.25
#: The curves: one point a second.
_POINTS = 300
#: Scores of so few labels are shown in the file's order, which is calmer; otherwise the best ones.
_FEW_LABELS = 6
#: Connections at once, and of those: pictures, values.
_MOST_CONNECTIONS, _MOST_VIEWERS = 48, 8
#: More sources than this are not shown.
_MOST_SOURCES = 16
#: A source that has given nothing for so long is silent: what it showed last is old.
_STALE_S = 3.0
#: A frame loop that has given no sign for so long hangs. While no frame comes it gives one every second.
_HANGS_S = 10.0
#: A viewer that takes nothing for so long is gone.
_PATIENCE_S = 10.0
#: What the kernel may hold for a slow viewer: a few pictures, not a minute of them.
_SEND_BYTES = 128 * 1024
_CLOSE_S = 0.8


class Web(Sink):
    """Serves a page, `/stream.mjpg`, `/events`, `/metrics` and `/healthz`, all read-only.

    The server runs in a thread of its own. The loop leaves the newest result there, and that is all it does for
    viewers: a picture is encoded when somebody looks, once for all of them, ten times a second at most, and each viewer
    gets the newest one when it has taken the one before.

    Args:
        address: where to listen.
        context: whose statistics and health are shown.
        token: what viewers must know; None: nothing, which only an address that others cannot reach may have.
        lost: returns how many records each sink lost.

    Raises:
        UsageError: the address is open to others and there is no token, or it cannot be listened on.
    """

    def __init__(
        self,
        address: WebAddress,
        context: SinkContext,
        *,
        token: Optional[str] = None,
        lost: Callable[[], dict[str, int]] = lambda: {},
    ) -> None:
        if token is None and not address.loopback:
            raise UsageError(f"--web {address}: others can reach this address, so it needs a token")
        self._page, self._policy = read_page()
        self._sockets = address.listen()
        self.port: int = self._sockets[0].getsockname()[1]
        self._access = Access(token, address.loopback, self.port)
        self._context = context
        self._lost = lost
        self._metrics = Metrics()
        self._newest: dict[Optional[str], StreamResult] = {}
        self._came_s: dict[Optional[str], float] = {}
        self._began_s = self._alive_s = time.monotonic()
        self._points: deque[tuple[float, float, float]] = deque(maxlen=_POINTS)
        self._second: Optional[tuple[int, float, float]] = None
        self._loop = asyncio.SelectorEventLoop()
        self._pictures: dict[Optional[str], Feed] = {}
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._failing: set[object] = set()  # paths and feeds
        self._serving = self._loop.create_task(self._serve())
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="edgevision-web", daemon=True)
        self._thread.start()

    def write(self, result: StreamResult) -> None:
        """Leave a result for those who look."""
        source = result.frame.source
        now_s = self._came_s[source] = time.monotonic()
        if source in self._newest or len(self._newest) < _MOST_SOURCES:
            self._newest[source] = result
        self._metrics.add(result)
        second = int(now_s - self._began_s)
        age_ms, invoke_ms = result.age_ms, result.stages_ms.get("invoke", 0.0)
        if self._second is not None:
            known, worst_age_ms, worst_invoke_ms = self._second
            if second == known:
                age_ms, invoke_ms = max(age_ms, worst_age_ms), max(invoke_ms, worst_invoke_ms)
            else:
                self._points.append((known, round(worst_age_ms, 2), round(worst_invoke_ms, 2)))
        self._second = (second, age_ms, invoke_ms)
        self.idle()

    def idle(self) -> None:
        """Note that the loop does not hang."""
        self._alive_s = time.monotonic()
        self._context.health.well("loop")

    def close(self) -> None:
        """Hang up on all viewers, and stop listening."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serving)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self._context.health.trouble(_PART, f"the page is gone: {reason_of(error)}")
        finally:
            self._loop.close()
            for each in self._sockets:
                each.close()

    async def _serve(self) -> None:
        self._looked = asyncio.Event()
        self._events = Feed()
        for each in self._sockets:
            each.setblocking(False)
            self._loop.add_reader(each, self._accept, each)
        try:
            await self._make()
        finally:
            for each in self._sockets:
                self._loop.remove_reader(each)
            while tasks := list(self._connections):
                for task in tasks:
                    task.cancel()
                # More than once: before Python 3.12, wait_for swallows a cancellation that comes at the wrong moment.
                await asyncio.wait(tasks, timeout=0.02)
            await asyncio.sleep(0)  # what was broken off is closed in the loop's next round

    def _accept(self, listening: socket.socket) -> None:
        # Not asyncio.start_server, which leaks a connection that it has accepted just before it is closed (3.11).
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        except OSError:  # no more descriptors, say
            self._loop.remove_reader(listening)
            self._loop.call_later(1.0, self._loop.add_reader, listening, self._accept, listening)
            return
        connection.setblocking(False)
        # Counted now: of a burst, those that fit stay.
        room = len(self._connections) < _MOST_CONNECTIONS
        task = self._loop.create_task(self._converse(connection, room))
        self._connections[task] = connection
        task.add_done_callback(lambda task: self._connections.pop(task).close())

    async def _converse(self, connection: socket.socket, room: bool) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=REQUEST_BYTES)
        except OSError:
            return
        path = ""
        try:
            # So that `drain` waits until everything is sent.
            writer.transport.set_write_buffer_limits(high=0)
            try:
                if not room:
                    raise HttpError(503, "too many connections")
                request = await read_request(reader)
                path = request.path
                await self._answer(request, reader, writer)
                self._works(path)
            except HttpError as error:
                writer.write(respond(error.status, f"{error}\n".encode(), "text/plain; charset=utf-8"))
            await asyncio.wait_for(writer.drain(), _PATIENCE_S)
        except (OSError, EOFError, asyncio.TimeoutError):  # it hung up, or takes nothing
            pass
        except Exception as error:
            self._failed(path, error)
        finally:
            writer.transport.abort()

    def _failed(self, what: object, error: Exception) -> None:
        self._failing.add(what)
        self._context.health.trouble(_PART, reason_of(error))

    def _works(self, what: object) -> None:
        self._failing.discard(what)
        if not self._failing:
            self._context.health.well(_PART)

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cookie = self._access.check(request)
        if cookie is not None:
            # The token leaves the address bar, the history and what a user copies from there.
            writer.write(respond(303, b"", "text/plain", {"Location": "/", "Set-Cookie": cookie}))
        elif request.path == "/":
            policy = {"Content-Security-Policy": self._policy}
            writer.write(respond(200, self._page, "text/html; charset=utf-8", policy))
        elif request.path == "/healthz":
            record = self._health_record()
            status = 200 if record["ok"] else 503
            writer.write(respond(status, json.dumps(record).encode() + b"\n", "application/json"))
        elif request.path == "/metrics":
            writer.write(respond(200, self._metrics_text().encode(), METRICS_TYPE))
        elif request.path == "/events":
            # What the curves showed so far, once.
            first = f"event: history\ndata: {json.dumps(list(self._points))}\n\n".encode()
            await self._follow(self._events, {"Content-Type": "text/event-stream"}, first, reader, writer)
        elif request.path == "/stream.mjpg":
            source = request.query.get("source") or next(iter(self._newest), None)
            if source not in self._newest:
                raise HttpError(404 if self._newest else 503, "no frame of this source yet")
            silent_s = self._silent_each_s()[source]
            if silent_s >= _STALE_S:
                raise HttpError(503, f"no frame of this source for {silent_s:.0f} s")
            feed = self._pictures.setdefault(source, Feed())
            kind = {"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
            await self._follow(feed, kind, b"--frame\r\n", reader, writer)
        else:
            raise HttpError(404, "there is /, /stream.mjpg, /events, /metrics and /healthz")

    async def _follow(
        self,
        feed: Feed,
        headers: Mapping[str, str],
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Send what is new until the viewer hangs up: the next piece goes when it has taken the one before."""
        others = [self._events] if feed is self._events else list(self._pictures.values())
        if sum(each.viewers for each in others) >= _MOST_VIEWERS:
            raise HttpError(503, f"{_MOST_VIEWERS} viewers look already, and there is room for no more")
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        feed.viewers += 1
        self._looked.set()
        # While nothing is new nothing is written, so it takes a read to notice that nobody is there any more.
        hung_up = asyncio.ensure_future(_end_of(reader))
        try:
            seen, piece = 0, head(200, headers) + first
            while True:
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), _PATIENCE_S)
                newer = asyncio.ensure_future(feed.newer(seen))
                try:
                    await asyncio.wait((hung_up, newer), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    newer.cancel()  # unless it is done
                if hung_up.done():
                    return
                seen, piece = newer.result()
        finally:
            hung_up.cancel()
            feed.viewers -= 1
            if not feed.viewers:
                feed.clear()
                self._works(feed)  # as far as anybody can tell

    async def _make(self) -> None:
        """Make pictures and values for those who look; sleep while nobody does."""
        next_event_s = 0.0
        while True:
            feeds = {source: feed for source, feed in self._pictures.items() if feed.viewers}
            if not feeds and not self._events.viewers:
                self._looked.clear()
                await self._looked.wait()
                continue
            for source, feed in feeds.items():
                result = self._newest[source]
                if feed.made_of is not result:
                    self._put(feed, functools.partial(picture_part, result), result)
            now_s = time.monotonic()
            if self._events.viewers and now_s >= next_event_s:
                next_event_s = now_s + _EVENT_S
                self._put(self._events, lambda: f"data: {json.dumps(self._event())}\n\n".encode())
            await asyncio.sleep(_PICTURE_S)

    def _put(self, feed: Feed, make: Callable[[], bytes], made_of: Optional[StreamResult] = None) -> None:
        try:
            feed.put(make(), made_of)
        except Exception as error:  # the next one may well work
            self._failed(feed, error)
        else:
            self._works(feed)

    def _event(self) -> dict[str, Any]:
        newest = sorted(self._newest.values(), key=lambda result: result.frame.source or "")
        silent_s = self._silent_each_s()
        return {
            "sources": [_values(result, silent_s[result.frame.source]) for result in newest],
            "silent_s": self._silent_s(),
            "stale_s": _STALE_S,
            "window": self._context.statistics.window().to_record(),
            "health": self._health(),
            "points": list(self._points)[-3:],
            "second": int(time.monotonic() - self._began_s),
            "file": self._context.file_record(),
            "lost": self._lost(),
        }

    def _health_record(self) -> dict[str, Any]:
        each_s = sorted(self._silent_each_s().items(), key=lambda pair: pair[0] or "")
        return {
            **self._health(),
            "running_s": round(time.monotonic() - self._began_s, 1),
            "silent_s": self._silent_s(),
            "sources": [{"source": source, "silent_s": silent_s} for source, silent_s in each_s],
            "lost": self._lost(),
        }

    def _health(self) -> dict[str, Any]:
        """Return what is well and what is not; said here of the loop, which cannot say it when it hangs."""
        silent_s = time.monotonic() - self._alive_s
        if silent_s >= _HANGS_S:
            self._context.health.trouble("loop", f"hangs: no sign of it for {silent_s:.0f} s")
        return self._context.health.to_record()

    def _silent_each_s(self) -> dict[Optional[str], float]:
        """For how long each source has given nothing, of those that gave something. Still pictures are something."""
        now_s = time.monotonic()
        still = self._context.still()
        last_s = {
            source: max(came_s, still[source].captured_ns / 1e9 if source in still else came_s)
            for source, came_s in list(self._came_s.items())
        }
        return {source: round(now_s - each_s, 1) for source, each_s in last_s.items()}

    def _silent_s(self) -> float:
        """How long no source has given anything."""
        return min(self._silent_each_s().values(), default=round(time.monotonic() - self._began_s, 1))

    def _metrics_text(self) -> str:
        return self._metrics.text(
            file=self._context.file_record(),
            health=self._health(),
            lost=self._lost(),
            viewers=sum(feed.viewers for feed in self._pictures.values()),
        )


async def _end_of(reader: asyncio.StreamReader) -> None:
    """Return when the other side has hung up. What it still says is of no interest."""
    with contextlib.suppress(OSError):
        while await reader.read(REQUEST_BYTES):
            pass


def _values(result: StreamResult, silent_s: float) -> dict[str, Any]:
    count = len(result.labels)
    top = result.top(min(count, _FEW_LABELS))
    if count <= _FEW_LABELS:
        top.sort(key=lambda pair: result.labels.index(pair[0]))
    finite = [(label, round(score, 4) if score == score else 0.0) for label, score in top]
    return {**result.to_record(), "source": result.frame.source, "silent_s": silent_s, "top": finite}
