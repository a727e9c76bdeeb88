"""Who asks, recognised before a route runs; what a listener does not take is refused here.

Each listener has a guard. The UNIX socket (mode 0600) is the owner's. The loopback listener answers
browsers too, so it checks Host (against DNS rebinding) and Origin (against other sites). The TLS
listener is for everybody who can reach this machine: it knows people by their tokens alone, and
checks Origin; Host it leaves, for a page that reaches it by another name has no token for it.
What a principal may do is decided where the route is known (`authority`).
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from hypermesh.http.admission import (
    BUCKETS_MAX,
    Headers,
    bearer,
    network_of,
    require_length,
    require_turn,
)
from hypermesh.http.problem import problem_response
from hypermesh.http.rate import Buckets, Limit
from hypermesh.node.api.access import Principal, Role, TokenMissing
from hypermesh.node.tokens import PREFIX, Tokens
from hypermesh.wire.errors import Forbidden, HyperMeshError

BODY_BYTES_MAX = 8 * 1024 * 1024
READS = frozenset({"GET", "HEAD", "OPTIONS"})
LIMITS: Mapping[Role, Limit] = {
    Role.TOKEN: Limit(per_s=200, burst=400),
    Role.REMOTE: Limit(per_s=10, burst=40),
}
"""Of one principal. The owner, and who is on this machine, have no rate of their own: whoever can
use up the node through loopback can use up the machine. What all of them together may have under
way is bounded in `http.protocol`."""


class Listener(Protocol):
    """What tells who asks on one listener."""

    def principal(self, scope: HTTPScope, headers: Headers) -> Principal:
        """Raises `Forbidden` or `TokenMissing` where the request is not taken from anybody."""
        ...

    def stranger(self, scope: HTTPScope) -> Principal:
        """Who asks as long as nothing else is known."""
        ...


class OwnersSocket:
    """The UNIX socket: whoever can open it is the owner."""

    _owner = Principal(Role.OWNER, "owner")

    def principal(self, scope: HTTPScope, headers: Headers) -> Principal:  # noqa: ARG002
        return self._owner

    def stranger(self, scope: HTTPScope) -> Principal:  # noqa: ARG002
        return self._owner


class Loopback:
    """`http://localhost`: the session token, a bearer token, or none."""

    _session = Principal(Role.SESSION, "session")
    _local = Principal(Role.LOCAL, "local")

    def __init__(self, session_token: str, tokens: Tokens) -> None:
        self._session_token = session_token.encode()
        self._tokens = tokens
        self._names: dict[int, frozenset[bytes]] = {}

    def principal(self, scope: HTTPScope, headers: Headers) -> Principal:
        server = scope["server"]
        hosts = self._hosts((server and server[1]) or 0)
        host = headers.get(b"host", b"").lower()
        if host not in hosts or sum(name == b"host" for name, _ in scope["headers"]) != 1:
            raise Forbidden(f"The Host {_shown(host)} is not this node", why=_one_of(hosts))
        origin = headers.get(b"origin")
        if origin is not None and origin not in {b"http://" + each for each in hosts}:
            raise Forbidden(f"Pages of {_shown(origin)} may not use this node")
        given = bearer(headers, TokenMissing)
        if given is None:
            return self._local
        if hmac.compare_digest(given.encode(), self._session_token):
            return self._session
        return _bearer_of(given, self._tokens)

    def stranger(self, scope: HTTPScope) -> Principal:  # noqa: ARG002
        return self._local

    def _hosts(self, port: int) -> frozenset[bytes]:
        if port not in self._names:
            names = ("localhost", "127.0.0.1", "[::1]")
            self._names[port] = frozenset(f"{name}:{port}".encode() for name in names)
        return self._names[port]


class Remote:
    """`https://`: a bearer token, or none."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def principal(self, scope: HTTPScope, headers: Headers) -> Principal:
        origin = headers.get(b"origin")
        if origin is not None and origin != b"https://" + headers.get(b"host", b""):
            raise Forbidden(f"Pages of {_shown(origin)} may not use this node")
        given = bearer(headers, TokenMissing)
        if given is not None:
            return _bearer_of(given, self._tokens)
        return self.stranger(scope)

    def stranger(self, scope: HTTPScope) -> Principal:
        return Principal(Role.REMOTE, f"remote:{network_of(scope)}")


class Guard:
    """An ASGI application around the API: recognises, refuses what is malformed or too often, and
    puts the principal into the scope's state."""

    def __init__(self, app: ASGIApp, listener: Listener) -> None:
        self._app = app
        self._listener = listener
        self._buckets = Buckets(BUCKETS_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        try:
            principal = self._admit(scope)
        except HyperMeshError as refusal:
            await problem_response(refusal)(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["principal"] = principal
        state["is_owner"] = principal.role is Role.OWNER
        await self._app(scope, receive, send)

    def _admit(self, scope: HTTPScope) -> Principal:
        headers: Headers = dict(scope["headers"])
        require_length(headers, BODY_BYTES_MAX)
        try:
            principal = self._listener.principal(scope, headers)
        except TokenMissing:
            self._take(self._listener.stranger(scope))
            raise
        self._take(principal)
        return principal

    def _take(self, principal: Principal) -> None:
        limit = LIMITS.get(principal.role)
        if limit is not None:
            require_turn(self._buckets, principal.id, limit)


def _bearer_of(token: str, tokens: Tokens) -> Principal:
    kept = tokens.find(token) if token.startswith(PREFIX) else None
    if kept is None:
        raise TokenMissing(why="the one given is not known here, or was revoked")
    if kept.expires_ms <= time.time_ns() // 1_000_000:
        raise TokenMissing(
            why=f"{kept.name!r} has expired", fix="hm token create NAME --scope read"
        )
    return Principal(Role.TOKEN, f"token:{kept.id}", frozenset(kept.scopes))


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))


def _one_of(hosts: Iterable[bytes]) -> str:
    return f"expected one of {', '.join(sorted(each.decode() for each in hosts))}"
