"""`Idempotency-Key`: a write that is asked for twice happens once, and is answered twice.

Keys are kept apart for each principal: what the owner's socket was told (keys of a session) is not
told again over TCP, nor to the bearer of one token what another's was told.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from hypermesh.crypto.digest import digest_of
from hypermesh.http.problem import problem_response
from hypermesh.node.api.answers import Answer, Answers
from hypermesh.node.api.guard import READS
from hypermesh.wire.errors import Conflict, HyperMeshError, InvalidInput

SHOWN_ONCE = frozenset({("POST", "/v1/network/tokens")})
"""Routes whose answer holds a secret that the node itself does not keep."""

_KEY = re.compile("[!-~]{1,255}")


class ShownOnce(Conflict):
    """The request was done, and its answer cannot be repeated."""

    code = "HM-API-0011"
    title = "This was done, and what it answered is not kept"
    remedy = "See `hm token ls`; revoke the one that got lost and make another"


class Idempotency:
    """An ASGI layer of every route, below the one that refuses who may not use it: nobody else has
    anything kept."""

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] in READS:
            await self._app(scope, receive, send)
            return
        key = dict(scope["headers"]).get(b"idempotency-key")
        if key is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, receive, key.decode("latin-1"))
        except HyperMeshError as error:
            await problem_response(error)(scope, receive, send)
            return
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    async def _answer(self, scope: HTTPScope, receive: Receive, key: str) -> Answer:
        if not _KEY.fullmatch(key):
            raise InvalidInput("An Idempotency-Key is 1 to 255 visible ASCII characters")
        body = await _whole(receive)
        principal = str(scope["state"]["principal"].id)
        request = digest_of(
            "idempotency", [scope["method"], scope["path"], scope["query_string"], body]
        )
        now_ms = time.time_ns() // 1_000_000
        known = await asyncio.to_thread(self._answers.begin, principal, key, request, now_ms)
        if known is not None:
            return known
        answer = await _said(scope, receive, self._app, body)
        kept = answer
        if (scope["method"], scope["path"]) in SHOWN_ONCE and answer.status < 400:
            kept = await _said(scope, receive, problem_response(ShownOnce()))
        await asyncio.to_thread(self._answers.finish, principal, key, kept)
        return answer


async def _said(scope: HTTPScope, receive: Receive, app: ASGIApp, body: bytes = b"") -> Answer:
    """What `app` answers to a request whose body was read already."""
    sent: list[Any] = []
    waiting: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return waiting.pop() if waiting else await receive()

    async def keep(message: Message) -> None:
        sent.append(message)

    await app(scope, again, keep)
    parts = [each.get("body", b"") for each in sent[1:]]
    return Answer(sent[0]["status"], list(sent[0]["headers"]), b"".join(parts))


async def _whole(receive: Receive) -> bytes:
    """The request's body; the guard has bounded its length."""
    parts: list[bytes] = []
    while True:
        message: Any = await receive()
        if message["type"] != "http.request":
            raise InvalidInput("The request ended before its body did")
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)
