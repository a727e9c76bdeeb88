"""The ACME server of a running server, below the path of its URL."""

from __future__ import annotations

import contextlib
import ipaddress
from urllib.parse import urlsplit

from hypermesh.crypto.files import make_directory
from hypermesh.standalone.peers import Server, parse_server
from hypermesh.standalone.trust.acme_issuer import AcmeIssuer
from hypermesh.standalone.trust.errors import SettingsInvalid
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.settings import Settings
from hypermesh.trustchain.acme.policy import Policy, Validation
from hypermesh.trustchain.acme.server import AcmeServer
from hypermesh.trustchain.acme.sqlite import SqliteStore


async def opened(
    parts: Parts, port: int, stack: contextlib.AsyncExitStack
) -> tuple[AcmeServer, str]:
    """The server, working, behind the API's `port`, and the path that its application answers
    below. `stack` ends it."""
    make_directory(parts.directory.acme, 0o700)
    store = SqliteStore(parts.directory.acme)
    stack.callback(store.close)
    policy = policy_of(parts.settings, port, _resolver(parts))
    server = AcmeServer(store, AcmeIssuer(lambda: parts.authority), policy)
    await server.start()
    stack.push_async_callback(server.close)
    return server, urlsplit(policy.url).path


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
