"""The arguments of every command that reads frames, and the sources they name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Optional

from .._errors import PictureError, UsageError
from .._health import Health
from .._sources import (
    DEFAULT_LEVELS,
    SOURCE_GRAMMAR,
    MovingSource,
    PacedSource,
    ReconnectingSource,
    SeveralSources,
    Source,
    TurnedSource,
    WatchedSource,
    kind_of_source,
    open_source,
    parse_region,
    parse_size,
    without_password,
)

__all__ = ["add_source_arguments", "check_sources", "comes_back", "open_sources"]


def comes_back(uri: str) -> bool:
    """Whether a source may be there again when it was gone."""
    return kind_of_source(uri) in ("camera", "picamera", "address")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--source` and all that changes what comes from it."""
    group = parser.add_argument_group("the source")
    group.add_argument(
        "--source", required=True, action="append", metavar="SOURCE", help=f"{SOURCE_GRAMMAR}; may be given again"
    )
    group.add_argument(
        "--fps", type=float, metavar="N", help="replay files at N frames per second; ask a camera for that rate"
    )
    group.add_argument("--size", metavar="WxH", help="ask a camera for pictures of this size")
    group.add_argument("--pixel-format", metavar="FOUR", help="ask a V4L2 camera for MJPG, YUYV, ...")
    group.add_argument(
        "--time-limit", type=float, default=10.0, metavar="S", help="how long an address may keep silent (default: 10)"
    )
    group.add_argument(
        "--reconnect",
        action=argparse.BooleanOptionalAction,
        help="open a camera or address again when it breaks off (default: yes, once it has been open; given, "
        "also while it cannot be opened at all)",
    )
    group.add_argument(
        "--roi", metavar="X,Y,W,H", help="classify this region of the upright picture: pixels, or shares such as 0.5"
    )
    group.add_argument(
        "--rotate", type=int, default=0, metavar="DEGREES", help="turn clockwise by 90, 180 or 270 degrees"
    )
    group.add_argument("--flip", metavar="WAY", help="then mirror: h (left and right) or v (top and bottom)")
    group.add_argument(
        "--motion",
        type=float,
        nargs="?",
        const=DEFAULT_LEVELS,
        metavar="LEVELS",
        help="classify only when the picture moves: when one of 32 x 24 fields changes by so many of 255 grey levels "
        f"(default: {DEFAULT_LEVELS:g})",
    )
    group.add_argument(
        "--motion-every", type=float, metavar="S", help="with --motion, classify after S seconds anyway (default: 10)"
    )
    group.add_argument("--max-fps", type=float, metavar="N", help="classify at most N frames a second, to stay cool")


def check_sources(args: argparse.Namespace) -> None:
    """Refuse, before slow work, what can be refused without opening anything. Raises UsageError."""
    kinds = [kind_of_source(uri) for uri in args.source]
    shown = [without_password(uri) for uri in args.source]
    for uri, name in zip(args.source, shown):
        if args.source.count(uri) > 1:
            raise UsageError(f"the source {name!r} is given twice; each one can be read once")
    for option, takers in (
        ("size", ("camera", "picamera", "test")),
        ("pixel_format", ("camera",)),
        ("fps", ("camera", "picamera", "test", "path")),
    ):
        if getattr(args, option) is not None and not set(takers) & set(kinds):
            flag = f"--{option.replace('_', '-')}"
            raise UsageError(f"{flag} means nothing to {shown[0]!r}; leave it out")
    if args.reconnect and not any(map(comes_back, args.source)):
        raise UsageError(f"--reconnect is for cameras and addresses, not for {shown[0]!r}; leave it out")
    if args.motion is None and args.motion_every is not None:
        raise UsageError("--motion-every needs --motion")
    if args.size is not None:
        parse_size(args.size)
    # The wrappers check their own values, and open nothing.
    _changed(_NoSource(), args).close()


def open_sources(
    args: argparse.Namespace,
    *,
    health: Health,
    on_unreadable: Optional[Callable[[PictureError], None]] = None,
) -> Source:
    """Open what `add_source_arguments` declared. The caller closes it.

    Args:
        args: the parsed arguments.
        health: is told, under the names `source` and `picture`, what is wrong with the source and with what it shows;
            with several sources, `source NAME` and `picture NAME`.
        on_unreadable: see `FolderSource`.

    Raises:
        EdgevisionError: see `open_source`.
    """
    check_sources(args)
    if len(args.source) == 1:
        return _changed(_open_one(args, args.source[0], health, "", on_unreadable), args)
    opened: dict[str, Source] = {}
    try:
        for uri in args.source:
            name = shown = without_password(uri)
            # Two channels of one recorder differ only in what may be secret, and is not shown.
            if name in opened:
                name = f"{shown} #{2 + sum(other.startswith(f'{shown} #') for other in opened)}"
            opened[name] = _changed(_open_one(args, uri, health, f" {name}", on_unreadable), args)
    except BaseException:
        for source in opened.values():
            source.close()
        raise
    return SeveralSources(opened, health)


def _open_one(
    args: argparse.Namespace,
    uri: str,
    health: Health,
    suffix: str,
    on_unreadable: Optional[Callable[[PictureError], None]],
) -> Source:
    kind = kind_of_source(uri)
    options: dict[str, Any] = {"time_limit_s": args.time_limit, "on_unreadable": on_unreadable, "on_notice": _notice}
    if kind != "address":
        options["fps"] = args.fps
    if kind in ("camera", "picamera", "test") and args.size is not None:
        options["size_wh"] = parse_size(args.size)
    if kind == "camera":
        options["pixel_format"] = args.pixel_format

    def open_it() -> Source:
        return open_source(uri, **options)

    if not comes_back(uri):
        return open_it()
    # Unless it is told to wait for it, what cannot be opened at the start is a mistake, and said at once.
    source = None if args.reconnect else open_it()
    if args.reconnect is not False:
        # What is asked of a camera was said to differ once; that it does so again after each break is no news.
        again: dict[str, Any] = {**options, "on_notice": None} if source is not None else options
        source = ReconnectingSource(lambda: open_source(uri, **again), source, health=health, part=f"source{suffix}")
    assert source is not None
    return WatchedSource(source, health, part=f"picture{suffix}")


def _changed(source: Source, args: argparse.Namespace) -> Source:
    """Wrap a source: what is passed over need not be turned, and what motion lets through must not be passed over."""
    try:
        region = None if args.roi is None else parse_region(args.roi)
        if args.max_fps is not None:
            source = PacedSource(source, args.max_fps)
        if region is not None or args.rotate or args.flip is not None:
            source = TurnedSource(source, region=region, rotate=args.rotate, flip=args.flip)
        if args.motion is not None:
            every = {} if args.motion_every is None else {"every_s": args.motion_every}
            source = MovingSource(source, args.motion, **every)
    except BaseException:
        source.close()
        raise
    return source


class _NoSource(Source):
    def frames(self) -> Any:
        return iter(())


def _notice(line: str) -> None:
    print(line, file=sys.stderr)
