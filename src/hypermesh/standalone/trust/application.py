"""The routes as one ASGI application, and ACME beside them.

Each answer is made in a thread: issuing, logging and revoking wait for the disk, and those who wait
together share its commits. The routes are a table (`routes.ROUTES`), so no framework stands between
a request and its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from hypermesh.http.problem import (
    PATH_SHOWN_MAX,
    BodyTooLarge,
    MethodNotAllowed,
    on_bug,
    on_deep_nesting,
    on_disk,
    problem_response,
)
from hypermesh.standalone.trust.access import Principal, authorize
from hypermesh.standalone.trust.call import Answer, Call
from hypermesh.standalone.trust.guard import BODY_BYTES_MAX
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.routes import ROUTES, Route
from hypermesh.standalone.trust.together import Together
from hypermesh.wire.errors import HyperMeshError, InvalidInput, NotFound

THREADS = 64
"""Requests that are worked on at once; more than that wait."""
DRAIN_S = 30.0
"""How long a change of the ACME server waits for the requests that are under way."""
QUERY_FIELDS_MAX = 64

_PARAMETER = re.compile(r"\{([a-z]+):(str|path)\}")
_Served = tuple[Route, Callable[[Call], Awaitable[Answer]]]


class Application:
    """The routes. Put a `Guard` around them for each listener."""

    def __init__(
        self, parts: Parts, pool: ThreadPoolExecutor, routes: Sequence[Route] = ROUTES
    ) -> None:
        self._parts = parts
        self._pool = pool
        self._fixed: dict[str, dict[str, _Served]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, _Served]]] = {}
        for route in routes:
            self._methods(route.template)[route.method] = (route, self._made(route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            raise NotImplementedError(f"this application does not speak {scope['type']}")
        try:
            found = await self._answer(scope, receive)
        except _Gone:
            return
        except HyperMeshError as error:
            await problem_response(error)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 (told to who asked, and logged)
            await _failed(Request(scope), error)(scope, receive, send)
        else:
            await _send(found, send)

    async def _answer(self, scope: HTTPScope, receive: Receive) -> Answer:
        (route, make), path = self._found(scope["method"], scope["path"])
        state: Any = scope["state"]
        principal: Principal = state["principal"]
        authorize(principal, route.access, is_plain=state["is_plain"], may_be_plain=route.is_plain)
        headers = dict(scope["headers"])
        call = Call(
            principal,
            path,
            _query(scope["query_string"]),
            await _body(receive),
            headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower(),
            headers.get(b"accept", b"").decode("latin-1"),
        )
        status, begun = 500, time.perf_counter()
        metrics = self._parts.metrics
        try:
            answer = await make(call)
            status = answer.status
        except HyperMeshError as error:
            status = error.status
            raise
        finally:
            metrics.requests.labels(route.template, str(status)).inc()
            metrics.seconds.labels(route.template).observe(time.perf_counter() - begun)
        return answer

    def _found(self, method: str, path: str) -> tuple[_Served, Mapping[str, str]]:
        """What answers `method` at `path`, and what the path says. Raises `NotFound`,
        `MethodNotAllowed`."""
        told: Mapping[str, str] = {}
        methods = self._fixed.get(path.rstrip("/"))
        if methods is None:
            for pattern, found in self._patterns.values():
                matched = pattern.fullmatch(path)
                if matched is not None:
                    methods, told = found, matched.groupdict()
                    break
        if methods is None:
            raise NotFound(f"There is no {method[:20]} {path[:PATH_SHOWN_MAX]}")
        served = methods.get(method)
        if served is None:
            raise MethodNotAllowed(f"{path[:PATH_SHOWN_MAX]} does not take {method[:20]}")
        return served, told

    def _methods(self, template: str) -> dict[str, _Served]:
        """Those of `template`."""
        if not _PARAMETER.search(template):
            return self._fixed.setdefault(template, {})
        if template not in self._patterns:
            names = _PARAMETER.split(template)
            text = re.escape(names[0])
            for name, kind, rest in zip(names[1::3], names[2::3], names[3::3], strict=True):
                text += f"(?P<{name}>{'[^/]+' if kind == 'str' else '.+'}){re.escape(rest)}"
            is_open = template.endswith(":path}")
            self._patterns[template] = re.compile(text if is_open else f"{text}/*"), {}
        return self._patterns[template][1]

    def _made(self, route: Route) -> Callable[[Call], Awaitable[Answer]]:
        if route.answer_all is not None:
            answer_all = route.answer_all
            return Together(lambda calls: answer_all(self._parts, calls), self._pool).answer

        async def answer(call: Call) -> Answer:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, route.answer, self._parts, call)

        return answer


class _Gone(Exception):
    """The client is gone before its request was whole."""


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


def _failed(request: Request[Any, Any, Any], error: Exception) -> ASGIApp:
    response: Response[bytes]
    match error:
        case RecursionError():
            response = on_deep_nesting(request, error)
        case OSError():
            response = on_disk(request, error)
        case _:
            response = on_bug(request, error)
    return response.to_asgi_response(None, request)


async def _body(receive: Receive) -> bytes:
    """Raises `BodyTooLarge`."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        body += message["body"]
        if len(body) > BODY_BYTES_MAX:
            raise BodyTooLarge(why=f"at most {BODY_BYTES_MAX} bytes are taken")
        if not message["more_body"]:
            return body


def _query(text: bytes) -> Mapping[str, str]:
    """The last of each name. Raises `InvalidInput`."""
    if not text:
        return {}
    try:
        return dict(
            parse_qsl(
                text.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX
            )
        )
    except ValueError as error:
        raise InvalidInput(f"A query has at most {QUERY_FIELDS_MAX} fields") from error


async def _send(answer: Answer, send: Send) -> None:
    media = answer.media
    if media.startswith("text/") and "charset" not in media:
        media += "; charset=utf-8"
    headers = [
        (b"content-type", media.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in answer.headers.items()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
