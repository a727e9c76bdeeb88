"""The ACME server of a running server, below the path of its URL."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any
from urllib.parse import urlsplit

from hypermesh.standalone.peers import Server, parse_server
from hypermesh.standalone.trust.acme_issuer import AcmeIssuer
from hypermesh.standalone.trust.errors import SettingsInvalid
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.settings import Settings
from hypermesh.trustchain.acme.policy import Policy, Validation
from hypermesh.trustchain.acme.server import AcmeServer
from hypermesh.trustchain.acme.store import Store


class Acme:
    """The ACME server behind the API's `port`. Open one with `opened`."""

    def __init__(self, parts: Parts, port: int, store: Store) -> None:
        self._parts = parts
        self._port = port
        self._store = store
        self._policy = policy_of(parts.settings, port, _resolver(parts))
        self._server = self._made(self._policy)

    @property
    def path(self) -> str:
        """What its application answers below."""
        return urlsplit(self._policy.url).path

    @property
    def application(self) -> Any:
        return self._server.application

    def is_changed(self) -> bool:
        """Whether the settings of now say something else than those that it obeys."""
        return self._policy != self._policy_now()

    async def start(self) -> None:
        await self._server.start()

    async def change(self) -> Any:
        """The application that obeys the settings of now, to be called while no request is under
        way. What clients were answered stays; a nonce from before is refused, and they ask again
        with another (RFC 8555 section 6.5)."""
        policy = self._policy_now()
        await self._server.close()
        self._server = self._made(policy)
        await self._server.start()
        self._policy = policy
        return self._server.application

    async def close(self) -> None:
        await self._server.close()

    def _policy_now(self) -> Policy:
        return policy_of(self._parts.settings, self._port, _resolver(self._parts))

    def _made(self, policy: Policy) -> AcmeServer:
        return AcmeServer(self._store, AcmeIssuer(lambda: self._parts.authority), policy)


async def opened(parts: Parts, port: int, stack: contextlib.AsyncExitStack) -> Acme:
    """The server, working, behind the API's `port`. `stack` ends it."""
    store = parts.stores.orders()
    stack.callback(store.close)
    acme = Acme(parts, port, store)
    await acme.start()
    stack.push_async_callback(acme.close)
    return acme


def _resolver(parts: Parts) -> Server:
    """Whom the ACME server asks for names: as told, else the name server of this process."""
    if parts.settings.acme.resolver:
        return parse_server(parts.settings.acme.resolver)
    place, naming = parts.settings.dns_place, parts.naming
    if place is None or naming is None:
        raise SettingsInvalid("There is no name server for ACME to ask")
    host = "::1" if place.host == "::" else place.host
    return Server(host, naming.port)


def policy_of(settings: Settings, port: int, resolver: Server) -> Policy:
    """What the settings say to the ACME server behind `port`."""
    suffixes = [
        each.removeprefix("dns:").removeprefix(".")
        for each in settings.permitted
        if each.startswith("dns:")
    ]
    networks = [
        ipaddress.ip_network(each.removeprefix("ip:"))
        for each in settings.permitted
        if each.startswith("ip:")
    ]
    return Policy(
        settings.acme_url(port),
        names=suffixes,
        addresses=networks,
        external_account_required=settings.acme.external_account_required,
        validation=Validation(
            resolver=resolver.host,
            resolver_port=resolver.port,
            http_port=settings.acme.http_port,
            tls_alpn_port=settings.acme.tls_alpn_port,
            allowed=tuple(ipaddress.ip_network(each) for each in settings.acme.allowed),
        ),
    )
