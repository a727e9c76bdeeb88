"""Who may speak to the API, decided before a route runs.

The UNIX socket (mode 0600) is the owner's and may do everything. The loopback listener answers
browsers too, so it checks Host (against DNS rebinding) and Origin (against other sites), and wants
the session token for whatever is not a read.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from hypermesh.node.api.problem import BodyTooLarge, problem_response
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput

BODY_BYTES_MAX = 8 * 1024 * 1024
READS = frozenset({"GET", "HEAD", "OPTIONS"})
SAFE_POSTS = frozenset({"/consensus/validate", "/consensus/challenge"})

_LENGTH = re.compile("[0-9]{1,18}")


class TokenMissing(HyperMeshError):
    """A write over loopback without the session token."""

    code = "HM-API-0001"
    status = 401
    exit_code = 4
    title = "A write over loopback needs the session token"
    remedy = (
        "Send it as `Authorization: Bearer ...`; it stands in `api-token` in the data directory"
    )


class LengthMissing(InvalidInput):
    """A body that does not say how long it is."""

    code = "HM-API-0004"
    status = 411
    title = "A request body needs a Content-Length here"


class Guard:
    """An ASGI application around the API, one a listener: refuses what that listener does not
    allow, and marks what comes over the owner's socket (`token` None) as the owner's."""

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["is_owner"] = self._token is None
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(refusal)(scope, receive, send)

    def _refusal(self, scope: HTTPScope) -> HyperMeshError | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if b"transfer-encoding" in headers:
            return LengthMissing()
        length = headers.get(b"content-length", "0")
        if not _LENGTH.fullmatch(length):
            return InvalidInput(f"{length[:40]!r} is not a Content-Length")
        if int(length) > BODY_BYTES_MAX:
            return BodyTooLarge(why=f"{length} bytes; at most {BODY_BYTES_MAX} are taken")
        if self._token is None:
            return None
        return self._loopback_refusal(scope, headers, self._token)

    def _loopback_refusal(
        self, scope: HTTPScope, headers: dict[bytes, str], token: str
    ) -> HyperMeshError | None:
        server = scope["server"]
        port = server[1] if server else None
        hosts = tuple(f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]"))
        host = headers.get(b"host", "").lower()
        if host not in hosts or sum(name == b"host" for name, _ in scope["headers"]) != 1:
            return Forbidden(f"The Host {host[:80]!r} is not this node", why=_one_of(hosts))
        origin = headers.get(b"origin")
        if origin is not None and origin not in tuple(f"http://{name}" for name in hosts):
            return Forbidden(f"Pages of {origin[:80]!r} may not use this node")
        method, path = scope["method"], scope["path"]
        if method in READS or path in SAFE_POSTS:
            return None
        given = headers.get(b"authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return TokenMissing()
        return None


def _one_of(hosts: Iterable[str]) -> str:
    return f"expected one of {', '.join(hosts)}"
