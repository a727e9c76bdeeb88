"""An answer that goes on: server-sent events for as long as the client stays."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from hypermesh.node.streaming import Reader

MEDIA_TYPE = "text/event-stream"
SEND_TIMEOUT_S = 30.0
"""A client that takes nothing for so long is cut off."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
"""The last one keeps nginx from gathering events before it passes them on."""


class EventStream(Response[bytes]):
    """The events of a reader."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(b"", media_type=MEDIA_TYPE)
        self._reader = reader

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # type: ignore[override]
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        with self._reader as reader:
            sending = asyncio.create_task(_send(reader, send))
            leaving = asyncio.create_task(_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, TimeoutError, OSError):
                    await sending


async def _send(reader: Reader, send: Send) -> None:
    """Raises `TimeoutError` where the client takes nothing any more."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    async with contextlib.aclosing(reader.texts()) as texts:
        async for text in texts:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": text, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    """Until the client hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass
