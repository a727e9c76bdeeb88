"""Who asks, recognised before a route runs; what a listener does not take is refused here.

Each listener has a guard. The UNIX socket (mode 0600) is the owner's. The loopback listener answers
browsers too, so it checks Host (against DNS rebinding) and Origin (against other sites). The TLS
listener is for everybody who can reach this machine: it knows people by their tokens alone, and
checks Origin; Host it leaves, for a page that reaches it by another name has no token for it.
What a principal may do is decided where the route is known (`authority`).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from hypermesh.http.problem import BodyTooLarge, problem_response
from hypermesh.http.rate import SECOND_NS, Buckets, Limit
from hypermesh.node.api.access import Principal, Role, TokenMissing
from hypermesh.node.tokens import PREFIX, Tokens
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput

BODY_BYTES_MAX = 8 * 1024 * 1024
READS = frozenset({"GET", "HEAD", "OPTIONS"})
LIMITS: Mapping[Role, Limit] = {
    Role.TOKEN: Limit(per_s=200, burst=400),
    Role.REMOTE: Limit(per_s=10, burst=40),
}
"""Of one principal. The owner, and who is on this machine, have no rate of their own: whoever can
use up the node through loopback can use up the machine. What all of them together may have under
way is bounded in `http.protocol`."""
BUCKETS_MAX = 4096
OWN_NETWORK_BITS = 64
"""One host commonly has a whole /64 of IPv6 (RFC 4291 section 2.5.1), so that is one stranger."""

_LENGTH = re.compile("[0-9]{1,18}")

Headers = dict[bytes, bytes]


class LengthMissing(InvalidInput):
    """A body that does not say how long it is."""

    code = "HM-API-0004"
    status = 411
    title = "A request body needs a Content-Length here"


class TooManyRequests(HyperMeshError):
    """The principal asks more often than its bucket fills."""

    code = "HM-API-0009"
    status = 429
    exit_code = 8
    title = "Too many requests"
    retry_after_s = 1


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
        given = _bearer(headers)
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
        given = _bearer(headers)
        if given is not None:
            return _bearer_of(given, self._tokens)
        return self.stranger(scope)

    def stranger(self, scope: HTTPScope) -> Principal:
        client = scope["client"]
        return Principal(Role.REMOTE, f"remote:{_network(client[0] if client else '')}")


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
        _check_length(headers)
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
            wait_ns = self._buckets.take(principal.id, time.monotonic_ns(), limit)
            if wait_ns:
                raise _too_many(limit, wait_ns)


def _check_length(headers: Headers) -> None:
    if b"transfer-encoding" in headers:
        raise LengthMissing
    given = headers.get(b"content-length")
    if given is None:
        return
    length = given.decode("latin-1")
    if not _LENGTH.fullmatch(length):
        raise InvalidInput(f"{length[:40]!r} is not a Content-Length")
    if int(length) > BODY_BYTES_MAX:
        raise BodyTooLarge(why=f"{length} bytes; at most {BODY_BYTES_MAX} are taken")


def _bearer(headers: Headers) -> str | None:
    """The token in `Authorization: Bearer ...` (RFC 6750 section 2.1); None without the header."""
    given = headers.get(b"authorization")
    if given is None:
        return None
    scheme, _, token = given.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenMissing(why="the Authorization header is not `Bearer` and a token")
    return token.strip()


def _bearer_of(token: str, tokens: Tokens) -> Principal:
    kept = tokens.find(token) if token.startswith(PREFIX) else None
    if kept is None:
        raise TokenMissing(why="the one given is not known here, or was revoked")
    if kept.expires_ms <= time.time_ns() // 1_000_000:
        raise TokenMissing(
            why=f"{kept.name!r} has expired", fix="hm token create NAME --scope read"
        )
    return Principal(Role.TOKEN, f"token:{kept.id}", frozenset(kept.scopes))


def _too_many(limit: Limit, wait_ns: int) -> TooManyRequests:
    refusal = TooManyRequests(
        why=f"{limit.per_s} a second are taken, {limit.burst} at once",
        fix="Ask less often; Retry-After says when again",
    )
    refusal.retry_after_s = -(-wait_ns // SECOND_NS)
    return refusal


def _network(host: str) -> str:
    """The one stranger that `host` stands for."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, OWN_NETWORK_BITS), strict=False))


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))


def _one_of(hosts: Iterable[bytes]) -> str:
    return f"expected one of {', '.join(sorted(each.decode() for each in hosts))}"
