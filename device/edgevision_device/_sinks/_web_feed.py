"""What viewers of the web page get: the newest there is, made once for all of them."""

from __future__ import annotations

import asyncio
from typing import Optional

from .._preprocess import load_opencv
from .._result import StreamResult
from ._overlay import as_bgr

__all__ = ["Feed", "picture_part"]

_JPEG_QUALITY = 80
_WIDEST = 960


class Feed:
    """What is newest, for any number of viewers: each takes it when it is ready for more. For one event loop."""

    def __init__(self) -> None:
        self.viewers = 0
        self.made_of: Optional[StreamResult] = None
        self._number = 0
        self._piece = b""
        self._news = asyncio.Event()

    def put(self, piece: bytes, made_of: Optional[StreamResult]) -> None:
        """Replace what is newest."""
        self._number, self._piece, self.made_of = self._number + 1, piece, made_of
        news, self._news = self._news, asyncio.Event()
        news.set()

    def clear(self) -> None:
        """Forget what nobody looks at: it would be old when somebody does."""
        self._piece, self.made_of = b"", None

    async def newer(self, seen: int) -> tuple[int, bytes]:
        """Wait for what is newer than what was seen."""
        while self._number == seen or not self._piece:
            await self._news.wait()
        return self._number, self._piece


def picture_part(result: StreamResult) -> bytes:
    """Return one part of a multipart answer; the boundary stands at its end, because browsers wait for it."""
    cv2 = load_opencv()
    picture = as_bgr(result.frame.picture, result.frame.picture_order)
    height, width = picture.shape[:2]
    if width > _WIDEST:
        size_wh = (_WIDEST, max(1, round(height * _WIDEST / width)))
        picture = cv2.resize(picture, size_wh, interpolation=cv2.INTER_LINEAR)
    content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    start = f"Content-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
    return start.encode() + content + b"\r\n--frame\r\n"
