"""The routes as one ASGI application, and ACME beside them.

Each answer is made in a thread: issuing, logging and revoking wait for the disk, and those who wait
together share its commits.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from hypermesh.http.problem import on_bug, on_deep_nesting, on_disk, on_error, on_http_error
from hypermesh.standalone.trust.access import Principal, authorize
from hypermesh.standalone.trust.call import Call
from hypermesh.standalone.trust.guard import BODY_BYTES_MAX
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.routes import ROUTES, Route
from hypermesh.wire.errors import HyperMeshError

THREADS = 64
"""Requests that are worked on at once; more than that wait."""
DRAIN_S = 30.0
"""How long a change of the ACME server waits for the requests that are under way."""


def application(parts: Parts, pool: ThreadPoolExecutor) -> Litestar:
    """The routes. Put a `Guard` around them for each listener."""
    return Litestar(
        route_handlers=[_served(route, parts, pool) for route in ROUTES],
        exception_handlers={
            HyperMeshError: on_error,
            HTTPException: on_http_error,
            RecursionError: on_deep_nesting,
            OSError: on_disk,
            Exception: on_bug,
        },
        openapi_config=None,
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        debug=False,
    )


class WithAcme:
    """`routes`, and below `path` the ACME server's application. ACME authenticates by itself; it
    is served over TLS alone, as the URLs in its requests demand."""

    def __init__(self, routes: ASGIApp, acme: Any, path: str) -> None:
        self._routes = routes
        self._acme = acme
        self._path = path
        self._served = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = asyncio.Event()
        self._open.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        if path == self._path or path.startswith(f"{self._path}/"):
            await self._serve(scope, receive, send)
        else:
            await self._routes(scope, receive, send)

    async def replace(self, change: Callable[[], Awaitable[Any]]) -> None:
        """Serve the application that `change` gives, which runs while no ACME request is under way;
        those who come meanwhile wait. Where it raises, the one before stays."""
        self._open.clear()
        try:
            # One who sends slowly delays nobody for ever: its request then fails by itself.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), DRAIN_S)
            self._acme = await change()
        finally:
            self._open.set()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._open.wait()
        self._served += 1
        self._idle.clear()
        try:
            await self._acme(scope, receive, send)
        finally:
            self._served -= 1
            if not self._served:
                self._idle.set()


def _served(route: Route, parts: Parts, pool: ThreadPoolExecutor) -> HTTPRouteHandler:
    async def endpoint(request: Request[Any, Any, Any]) -> Response[bytes]:
        state: Any = request.scope["state"]
        principal: Principal = state["principal"]
        authorize(principal, route.access, is_plain=state["is_plain"], may_be_plain=route.is_plain)
        call = Call(
            principal,
            {name: str(value) for name, value in request.path_params.items()},
            dict(request.query_params.items()),
            await request.body(),
            request.headers.get("content-type", "").partition(";")[0].strip().lower(),
            request.headers.get("accept", ""),
        )
        status, begun = 500, time.perf_counter()
        try:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(pool, route.answer, parts, call)
            status = answer.status
        except HyperMeshError as error:
            status = error.status
            raise
        finally:
            parts.metrics.requests.labels(route.template, str(status)).inc()
            parts.metrics.seconds.labels(route.template).observe(time.perf_counter() - begun)
        return Response(
            content=answer.body,
            status_code=answer.status,
            media_type=answer.media,
            headers=dict(answer.headers),
        )

    # The framework reads the types of the parameters from here.
    endpoint.__annotations__ = {"request": Request, "return": Response}
    return HTTPRouteHandler(route.template, http_method=[route.method], status_code=200)(endpoint)  # type: ignore[list-item]
