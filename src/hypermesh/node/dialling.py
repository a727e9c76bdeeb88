"""Connecting to a node at whichever of its addresses answers.

A node's addresses are what it says itself, and it could name a machine that is not its own. What
that one gets of a dial is first packets of a handshake: some six datagrams, 8 KB, to an address,
four addresses a locator, only when this node has something to ask of that node, and no more than
that where nobody answers as the node itself.
"""

from __future__ import annotations

import msgspec

from hypermesh.node.addresses import dialable
from hypermesh.stoq.connection import Connection
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import (
    HandshakeTimeout,
    PeerRefused,
    UnknownIssuer,
    WrongNetwork,
    WrongPeer,
)
from hypermesh.wire.asset import Locator
from hypermesh.wire.errors import Unreachable
from hypermesh.wire.ids import Hash

TIMEOUT_MS = 5_000
ONE_OF_SEVERAL_MS = 1_500
"""For each address but the last: one that cannot be reached from here is only silent."""

_ELSEWHERE = (HandshakeTimeout, WrongNetwork, UnknownIssuer, WrongPeer)
"""What a place says that is not the node's, or not from here: two networks may give one unique
local address to two machines, and loopback is another machine's own."""


def dial(
    endpoint: Endpoint, locator: Locator, alpn: str, root_sha256: Hash | None = None
) -> tuple[Connection, Locator]:
    """A connection to the node of `locator`, and the locator with the address that answered first.

    Where none answers as that node, raises the refusal of the node itself if there was one, else
    what the first address said.
    """
    failures: list[PeerRefused | Unreachable] = []
    hosts = dialable(locator.hosts, endpoint.stack)
    if not hosts:
        raise Unreachable("The node names no address that could be one machine's")
    last = len(hosts) - 1
    for place, host in enumerate(hosts):
        try:
            connection = endpoint.connect(
                host,
                locator.port,
                peer=locator.node,
                alpn=alpn,
                timeout_ms=TIMEOUT_MS if place == last else ONE_OF_SEVERAL_MS,
                root_sha256=root_sha256,
            )
        except (PeerRefused, Unreachable) as error:
            failures.append(error)
        else:
            others = [each for each in hosts if each != host]
            return connection, msgspec.structs.replace(locator, hosts=[host, *others])
    own = [error for error in failures if not isinstance(error, _ELSEWHERE)]
    raise (own or failures)[0]
