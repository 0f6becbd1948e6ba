"""The arguments that name sources, as they are typed."""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision_device import EdgevisionError, Source, SourceError, UsageError
from edgevision_device._commands._source import add_source_arguments, check_sources, open_sources
from edgevision_device._health import Health

pytestmark = pytest.mark.usefixtures("cv2")


def parse(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_source_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def opened(*words: object, health: Any = None) -> Source:
    return open_sources(parse(*words), health=health or Health())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_wrappers_do_what_the_arguments_say() -> None:
    arguments = ("--roi", "0.5,0,0.5,1", "--rotate", 90, "--flip", "h", "--motion", 60, "--max-fps", 1000)
    with opened("--source", "test://?size=64x48&frames=40", *arguments) as source:
        frames = list(source.frames())
    assert frames[0].picture.shape == (64, 24, 3)
    assert frames[0].source is None
    assert not source.live
    assert 1 < len(frames) < 40
    assert frames[-1].still == frames[-1].id + 1 - len(frames)


def test_what_is_passed_over_is_not_turned(monkeypatch: pytest.MonkeyPatch, cv2: Any) -> None:
    rotate, turned = cv2.rotate, [0]

    def count(*arguments: Any) -> Any:
        turned[0] += 1
        return rotate(*arguments)

    monkeypatch.setattr(cv2, "rotate", count)
    source = "test://?size=64x48&fps=1000&frames=40"
    with opened("--source", source, "--rotate", 90, "--max-fps", 1, "--motion", 60) as paced:
        frames = list(paced.frames())
        still = sum(each.frames for each in paced.still.values())
    assert frames[0].picture.shape == (64, 48, 3)
    assert turned[0] == len(frames) + still < 40


def test_one_size_for_those_that_take_it(tmp_path: Path, cv2: Any) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 12, 3), np.uint8))
    sources = ("--source", "test://?frames=2", "--source", tmp_path)
    with opened(*sources, "--size", "64x48") as source:
        shapes = {frame.source: frame.picture.shape for frame in source.frames()}
    assert shapes == {"test://": (48, 64, 3), str(tmp_path): (8, 12, 3)}


def test_channels_of_one_recorder_have_names_of_their_own() -> None:
    sources = [word for side in (8, 16, 24) for word in ("--source", f"test://?frames=1&size={side}x8")]
    with opened(*sources) as source:
        widths = {frame.source: frame.picture.shape[1] for frame in source.frames()}
    assert widths == {"test://": 8, "test:// #2": 16, "test:// #3": 24}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--source", "clip.mp4", "--size", "640x480"), "--size means nothing to 'clip.mp4'"),
        (("--source", "test://", "--pixel-format", "MJPG"), "--pixel-format means nothing to 'test://'"),
        (("--source", "rtsp://a:secret@host/", "--fps", "5"), "--fps means nothing to 'rtsp://…@host/'"),
        (("--source", "clip.mp4", "--reconnect"), "--reconnect is for cameras and addresses, not for 'clip.mp4'"),
        (("--source", "0", "--source", "0"), "the source '0' is given twice"),
        (("--source", "0", "--motion-every", "3"), "--motion-every needs --motion"),
        (("--source", "0", "--motion", "300"), "motion is told in grey levels"),
        (("--source", "0", "--max-fps", "0"), "the most frames per second must lie above 0"),
        (("--source", "0", "--roi", "1,2"), "a region is X,Y,WIDTH,HEIGHT"),
        (("--source", "0", "--rotate", "45"), "unknown rotation '45'"),
        (("--source", "0", "--flip", "diagonal"), "unknown flip 'diagonal'"),
        (("--source", "0", "--size", "large"), "a size is WIDTHxHEIGHT"),
        (("--source", "ftp://host/"), "unknown kind of source 'ftp://host/'"),
    ],
)
def test_nonsense_is_refused_before_anything_is_opened(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_sources(parse(*words))
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("flag", [(), ("--no-reconnect",)])
def test_what_cannot_be_opened_at_the_start_is_an_error(flag: tuple[str, ...]) -> None:
    with pytest.raises(SourceError, match="Connection refused"):
        opened("--source", f"http://127.0.0.1:{free_port()}/", *flag)


def test_reconnect_waits_for_what_is_not_there_yet() -> None:
    said: list[str] = []
    with opened("--source", f"http://127.0.0.1:{free_port()}/", "--reconnect", health=Health(said.append)) as source:
        reader = threading.Thread(target=lambda: list(source.frames()))
        reader.start()
        end_s = time.monotonic() + 10
        while not said and time.monotonic() < end_s:
            time.sleep(0.01)
    reader.join(10)
    assert not reader.is_alive()
    assert len(said) == 1
    assert "Connection refused; trying again until it is back" in said[0]


def test_if_one_of_several_cannot_be_opened_the_others_are_closed(tmp_path: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(EdgevisionError, match="no such file"):
        opened("--source", "test://?fps=30", "--source", tmp_path / "nowhere.mp4")
    assert threading.active_count() == threads


@pytest.mark.parametrize("flag", [(), ("--no-reconnect",)])
def test_an_mjpeg_that_ends_is_opened_again_unless_told_otherwise(flag: tuple[str, ...], cv2: Any) -> None:
    content = cv2.imencode(".jpg", np.full((8, 12, 3), 90, np.uint8))[1].tobytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    answer = head + b"--frame\r\n\r\n" + content + b"\r\n--frame--\r\n"
    answered: list[float] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)
                        answered.append(time.monotonic())

        server = threading.Thread(target=serve)
        server.start()
        said: list[str] = []
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            with opened("--source", address, *flag, health=Health(said.append)) as source:
                frames = source.frames()
                ids = [frame.id for frame, _ in zip(frames, range(2))]
        finally:
            done.set()
            server.join()
    if flag:
        assert ids == [0]
        assert len(answered) == 1
        assert said == []
    else:
        assert ids == [0, 1]
        assert len(answered) >= 2
        assert said[0] == "source: the sender ended the stream; trying again until it is back"
