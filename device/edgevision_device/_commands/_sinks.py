"""The arguments that say where results go, and the sinks that they name."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Optional

from .._errors import UsageError
from .._notify import is_journal
from .._outputs import check_outputs
from .._preprocess import load_opencv
from .._sinks import Background, JsonLines, JsonLinesFile, Progress, Sink, SinkContext, SlowSink, TextLines
from .._sinks._json_lines import rotated
from .._sinks._printed import Printed

__all__ = ["add_sink_arguments", "check_sink_values", "check_sinks", "lost_records", "open_sinks"]

_MOST_VIDEO_FPS = 240
#: Sinks that replace the lines on stdout.
_NAMED = ("out", "video", "snapshots", "mqtt", "webhook", "web", "window")


def add_sink_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where results go. Cheap: imports nothing that a sink needs."""
    group = parser.add_argument_group("where results go (default: one line a frame on stdout)")
    add = group.add_argument
    add("--json", action="store_true", help="JSON records on stdout")
    add("--out", metavar="FILE", help="write one JSON record per frame to FILE, usually .jsonl")
    add("--append", action="store_true", help="go on with FILE if it exists")
    add("--overwrite", action="store_true", help="replace FILE, and the video, if they exist")
    add("--rotate-mb", type=float, metavar="MB", help="begin a new FILE when it has this size; the old one is FILE.1")
    add("--keep", type=int, default=5, metavar="N", help="old files to keep (default: 5)")
    add("--web", metavar="[HOST:]PORT", help="a web page: live picture, scores, curves, health, /metrics, /healthz")
    add(
        "--web-token",
        metavar="TOKEN",
        help="what viewers must know (default: what the variable EDGEVISION_WEB_TOKEN holds, or one is made if others "
        "can reach the page)",
    )
    add("--window", action="store_true", help="show frames and labels in a window; q ends the stream")
    add("--video", metavar="FILE", help="write frames and labels to a video: .mp4, .avi, .mkv, .mov")
    add("--video-fps", type=float, metavar="N", help="its frames per second (default: the source's, or 25)")
    add("--snapshots", metavar="DIR", help="keep pictures whose label changed, by label, or is unsure, in DIR/unsure")
    add("--snapshot-below", type=float, default=0.5, metavar="SCORE", help="unsure is below this (default: 0.5)")
    add("--snapshot-limit", type=int, default=1000, metavar="N", help="the most pictures in DIR (default: 1000)")
    add("--snapshot-interval", type=float, metavar="S", help="at most one in S seconds (default: 2 of what is live)")
    add(
        "--mqtt",
        metavar="URL",
        help="mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC: the record of each frame whose label changed "
        "(the password may be in the variable EDGEVISION_MQTT_PASSWORD)",
    )
    add("--mqtt-every", type=float, metavar="S", help="and every S seconds; 0: each frame")
    add("--webhook", metavar="URL", help="post the record of each frame whose label changed, as JSON")
    add("--webhook-tries", type=int, default=8, metavar="N", help="give a record up after N attempts (default: 8)")


def check_sinks(args: argparse.Namespace) -> None:
    """Raise what is wrong with the arguments, before slow work. Leaves nothing behind."""
    check_sink_values(args)
    if args.out is not None:
        out = Path(args.out)
        names = [out, *(rotated(out, args.keep) if args.rotate_mb else [])]
        check_outputs(names, overwrite=args.overwrite or args.append)
    if args.video is not None:
        check_outputs([Path(args.video)], overwrite=args.overwrite, flag="--video")
    if args.snapshots is not None:
        if Path(args.snapshots).exists() and not Path(args.snapshots).is_dir():
            raise UsageError(f"--snapshots {args.snapshots} is no folder; choose another")
        check_outputs([Path(args.snapshots) / "unsure"], overwrite=True, flag="--snapshots")
    if args.web is not None:
        from .._sinks._web_access import WebAddress

        for each in WebAddress.parse(args.web).listen():
            each.close()


def check_sink_values(args: argparse.Namespace) -> None:
    """Raise what is wrong with the arguments wherever they are used: no file and no port is looked at."""
    _check_numbers(args)
    if args.video is not None:
        from .._sinks._video import check_video

        check_video(args.video)
    if args.snapshots is not None:
        load_opencv()
    if args.mqtt is not None:
        from .._sinks._mqtt import MqttAddress, load_paho

        MqttAddress.parse(args.mqtt)
        load_paho()
    if args.webhook is not None:
        from .._sinks._webhook import check_webhook

        check_webhook(args.webhook)
    if args.web is not None:
        from .._sinks._web_access import WebAddress, check_token

        load_opencv()
        token = _given_token(args)
        if token is not None:
            check_token(token)
        WebAddress.parse(args.web)
    if args.window:
        from .._sinks._window import check_window

        check_window()


def open_sinks(args: argparse.Namespace, context: SinkContext) -> list[Sink]:
    """Return the sinks that the arguments name, each open and to be closed. What is wrong with one is its own matter.

    Those in the background end together: closing the first begins to close the others.
    """
    sinks: list[Sink] = []
    together: list[Background] = []

    def behind(sink: SlowSink[Any], *, waits: bool = False) -> None:
        # A disk and an encoder are worth waiting for where the source waits too; a peer never is.
        wait = waits and not context.live
        sinks.append(Background(sink, context.health, wait=wait, together=together))

    if args.json:
        sinks.append(JsonLines())
    elif not any(getattr(args, name) for name in _NAMED):
        # A line a frame would be millions a day in the journal of a service.
        sinks.append(TextLines(changes_only=context.live and is_journal(sys.stdout)))
    elif sys.stderr.isatty():
        sinks.append(Progress())
    if args.web is not None:
        # The first of those that may fail: nothing is open yet that would have to be closed.
        sinks.append(_open_web(args, context, together))
    if args.out is not None:
        rotate_bytes = round(1e6 * args.rotate_mb) if args.rotate_mb else None
        behind(JsonLinesFile(args.out, append=args.append, rotate_bytes=rotate_bytes, keep_files=args.keep), waits=True)
    if args.video is not None:
        from .._sinks._video import VIDEO_FPS, Video

        fps = args.video_fps or context.fps or 0.0
        if not 1 <= fps <= _MOST_VIDEO_FPS:  # some formats say how fine their clock is instead
            fps = VIDEO_FPS
        behind(Video(args.video, fps=fps, live=context.live), waits=True)
    if args.snapshots is not None:
        from .._sinks._snapshots import Snapshots

        snapshots = Snapshots(
            args.snapshots,
            below=args.snapshot_below,
            limit=args.snapshot_limit,
            interval_s=args.snapshot_interval if args.snapshot_interval is not None else 2.0 if context.live else 0.0,
            live=context.live,
            say=_say,
        )
        behind(snapshots, waits=True)
    if args.mqtt is not None:
        from .._sinks._mqtt import Mqtt, MqttAddress

        behind(Mqtt(MqttAddress.parse(args.mqtt), every_s=args.mqtt_every))
    if args.webhook is not None:
        from .._sinks._webhook import Webhook

        behind(Webhook(args.webhook, tries=args.webhook_tries))
    if args.window:
        from .._sinks._window import Window

        sinks.append(Window(context.health, context.stop))
    return sinks


def lost_records(sinks: list[Sink]) -> dict[str, int]:
    """Return how many records each sink lost that had promised to deliver them. Final when the sinks are closed."""
    return {sink.name: sink.lost for sink in sinks if isinstance(sink, (Background, Printed)) and sink.lost}


def _open_web(args: argparse.Namespace, context: SinkContext, together: list[Background]) -> Sink:
    from .._sinks._web import Web
    from .._sinks._web_access import WEB_TOKEN, WebAddress

    address = WebAddress.parse(args.web)
    token = _given_token(args)
    made = token is None and not address.loopback
    if made:
        token = secrets.token_urlsafe(16)
    web = Web(address, context, token=token, lost=lambda: {each.name: each.lost for each in together})
    _say(f"web page: {address.url(web.port, token if made else None)}")
    if made:
        _say(f"web page: the token is new each time; set {WEB_TOKEN} for one that stays")
    return web


def _given_token(args: argparse.Namespace) -> Optional[str]:
    from .._sinks._web_access import WEB_TOKEN

    token: Optional[str] = args.web_token
    return token if token is not None else os.environ.get(WEB_TOKEN)


def _check_numbers(args: argparse.Namespace) -> None:
    for flag, value, wanted, good in (
        ("--rotate-mb", args.rotate_mb, "be above 0", args.rotate_mb is None or args.rotate_mb > 0),
        ("--keep", args.keep, "lie between 0 and 1000", 0 <= args.keep <= 1000),
        (
            "--video-fps",
            args.video_fps,
            f"lie between 1 and {_MOST_VIDEO_FPS}",
            args.video_fps is None or 1 <= args.video_fps <= _MOST_VIDEO_FPS,
        ),
        ("--snapshot-below", args.snapshot_below, "lie between 0 and 1", 0 <= args.snapshot_below <= 1),
        ("--snapshot-limit", args.snapshot_limit, "be at least 1", args.snapshot_limit >= 1),
        ("--snapshot-interval", args.snapshot_interval, "be at least 0", (args.snapshot_interval or 0) >= 0),
        ("--mqtt-every", args.mqtt_every, "be at least 0", args.mqtt_every is None or args.mqtt_every >= 0),
        ("--webhook-tries", args.webhook_tries, "be at least 1", args.webhook_tries >= 1),
    ):
        if not good:
            raise UsageError(f"{flag} must {wanted}, got {value:g}")
    for flag, value, needed, given in (
        ("--append", args.append, "--out", args.out),
        ("--rotate-mb", args.rotate_mb, "--out", args.out),
        ("--mqtt-every", args.mqtt_every, "--mqtt", args.mqtt),
        ("--web-token", args.web_token, "--web", args.web),
    ):
        if value not in (None, False) and given is None:
            raise UsageError(f"{flag} needs {needed}")
    if args.append and args.overwrite:
        raise UsageError("--append goes on with the file, --overwrite replaces it; choose one")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
