"""Who asks, recognised before a route runs; what no listener takes is refused here.

By a bearer token, else by the client certificate of the TLS connection, else as the address that
the request comes from (a /64 of IPv6 is one stranger: RFC 4291 section 2.5.1). Each has a rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cryptography import x509
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
from hypermesh.http.protocol import HttpProtocol
from hypermesh.http.rate import Buckets, Limit
from hypermesh.standalone.trust.access import Principal
from hypermesh.standalone.trust.errors import PrincipalMissing
from hypermesh.standalone.trust.granting import CLIENT, TOKEN
from hypermesh.standalone.trust.settings import Settings
from hypermesh.standalone.trust.tokens import PREFIX, Role, Tokens
from hypermesh.trustchain.ca.names import Name, names_of
from hypermesh.wire.errors import HyperMeshError, InvalidInput

BODY_BYTES_MAX = 2 * 1024 * 1024
CERTIFICATES_KNOWN_MAX = 1024


class TlsProtocol(HttpProtocol):
    """HTTP over TLS that tells the application the client's certificate (DER), where there is one:
    `scope["state"]["client_certificate"]`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        tls = self.transport.get_extra_info("ssl_object")
        if tls is not None and (certificate := tls.getpeercert(binary_form=True)):
            self.scope.setdefault("state", {})["client_certificate"] = certificate


class Guard:
    """An ASGI application around the routes of one listener."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        tokens: Tokens,
        is_good: Callable[[bytes], bool],
        *,
        is_plain: bool,
    ) -> None:
        """`is_good` says whether a certificate (DER) is this authority's and not revoked."""
        self._app = app
        self._settings = settings
        self._tokens = tokens
        self._is_good = is_good
        self._is_plain = is_plain
        self._buckets = Buckets(BUCKETS_MAX)
        self._names: dict[bytes, tuple[Name, ...]] = {}

    def change(self, settings: Settings) -> None:
        """Obey other rates and clients from the next request on."""
        self._settings = settings

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
        state["is_plain"] = self._is_plain
        await self._app(scope, receive, send)

    def _admit(self, scope: HTTPScope) -> Principal:
        headers: Headers = dict(scope["headers"])
        require_length(headers, BODY_BYTES_MAX)
        try:
            principal = self._recognised(scope, headers) or _stranger(scope)
        except PrincipalMissing:
            self._take(_stranger(scope))
            raise
        self._take(principal)
        return principal

    def _recognised(self, scope: HTTPScope, headers: Headers) -> Principal | None:
        if self._is_plain and b"authorization" in headers:
            raise PrincipalMissing(why="a token is not taken over plain HTTP")
        token = bearer(headers, PrincipalMissing)
        if token is not None:
            return self._bearer_of(token)
        certificate = scope.get("state", {}).get("client_certificate")
        return None if certificate is None else self._client(certificate)

    def _bearer_of(self, text: str) -> Principal:
        token = self._tokens.find(text) if text.startswith(PREFIX) else None
        if token is None:
            raise PrincipalMissing(why="the one given is not known here, or was revoked")
        if token.expires_s <= time.time():
            raise PrincipalMissing(why=f"{token.label!r} has expired")
        return Principal(f"{TOKEN}{token.id}", token.role)

    def _client(self, certificate: bytes) -> Principal | None:
        """Who the settings say it is; a stranger where they name none of its names."""
        names = self._names.get(certificate)
        if names is None:
            try:
                parsed = x509.load_der_x509_certificate(certificate)
                general = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
                names = names_of(general.value)
            except (ValueError, x509.ExtensionNotFound, InvalidInput):
                names = ()
            if len(self._names) >= CERTIFICATES_KNOWN_MAX:
                self._names.clear()
            self._names[certificate] = names
        told = {str(name) for name in names}
        for client in self._settings.client:
            if client.name in told:
                if not self._is_good(certificate):
                    raise PrincipalMissing(why="the client certificate is revoked or not known")
                return Principal(f"{CLIENT}{client.name}", Role(client.role))
        return None

    def _take(self, principal: Principal) -> None:
        rate = self._settings.rate
        per_s = rate.stranger_per_s if principal.role is None else rate.member_per_s
        require_turn(self._buckets, principal.id, Limit(per_s=per_s, burst=2 * per_s))


def _stranger(scope: HTTPScope) -> Principal:
    return Principal(f"address:{network_of(scope)}")
