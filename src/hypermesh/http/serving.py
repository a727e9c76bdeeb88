"""Listening: an ASGI application on sockets for as long as a context lasts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import uvicorn
from litestar.types import ASGIApp

from hypermesh.http.protocol import HttpProtocol

KEEP_ALIVE_S = 75
SHUTDOWN_S = 5


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: each program has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    sockets: list[socket.socket],
    tls: ssl.SSLContext | None = None,
    protocol: type[HttpProtocol] = HttpProtocol,
) -> AsyncIterator[None]:
    """Answer on `sockets` for as long as the context lasts."""
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        headers=[("x-content-type-options", "nosniff")],
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=sockets), name="api")
    try:
        yield
    finally:
        server.should_exit = True
        await task
