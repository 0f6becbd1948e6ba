"""What several tests of the device need: results as the loop gives them, and patience."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Optional

import numpy as np

from edgevision_device import Frame, StreamResult

NOON = datetime(2026, 11, 3, 12, 0, 0, 250_999, timezone.utc)


def result_of(
    id: int = 0,
    label: Optional[str] = "cat",
    *,
    picture: Optional[np.ndarray] = None,
    order: str = "bgr",
    source: Optional[str] = None,
    captured_s: Optional[float] = None,
    score: float = 0.9,
    scores: Sequence[float] = (0.9, 0.1),
    labels: tuple[str, ...] = ("cat", "dog"),
    **more: Any,
) -> StreamResult:
    """Return a result whose frame was captured now, or at noon and so many seconds on the clock of frames."""
    frame = Frame.taken_now(id, np.zeros((2, 3, 3), np.uint8) if picture is None else picture, order)
    frame = dataclasses.replace(frame, source=source)
    if captured_s is not None:
        frame = dataclasses.replace(frame, captured_ns=round(1e9 * captured_s), captured_utc=NOON)
    return StreamResult(
        frame=frame,
        label=label,
        index=labels.index(label) if label in labels else 0,
        score=score,
        frame_label=label,
        scores=np.array(scores, np.float32),
        labels=labels,
        **{"age_ms": 1.0, **more},
    )


def raw_h264(colors: Sequence[tuple[int, int, int]]) -> bytes:
    """Return a clip of 32 x 32 pixels in H.264 without a container, so without times: a frame of each YCbCr color."""
    stream = bytes.fromhex("0000000167 42000af92880 0000000168 ce3880")
    for y, cb, cr in colors:
        raw = bytes([y] * 256 + [cb] * 64 + [cr] * 64)  # of 16 x 16 pixels, not compressed
        stream += bytes.fromhex("0000000105 888421a0") + bytes([0x0D, 0]).join([raw] * 4) + b"\x80"
    return stream


def until(done: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what another thread or process does. The limit only ends a test that has failed: machines are busy."""
    ends_s = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < ends_s, "it took too long"
        time.sleep(0.005)
