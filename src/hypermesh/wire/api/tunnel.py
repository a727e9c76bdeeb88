"""Tunnels as the API shows them: services that this node offers, and local sockets that lead to
services of other nodes."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex32

NAMED_MAX = 64
LIMIT_DEFAULT = 256
LIMIT_MAX = 1024
"""Connections of one tunnel at a time."""

ServiceName = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
TunnelId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
PlaceText = Annotated[str, Meta(min_length=1, max_length=128)]
Connections = Annotated[int, Meta(ge=1, le=LIMIT_MAX)]


class Who(enum.StrEnum):
    """Who may use a service. Always certified nodes of the network, never strangers."""

    MINE = "mine"
    """Nodes of the same owner."""
    NAMED = "named"
    """Those, and nodes and owners by their ids."""
    NETWORK = "network"
    """Every node of the network."""


class ServiceOffer(Body, frozen=True):
    """`POST /v1/stoq/tunnels/services`. `to` is a socket on this machine or in reach of it:
    `tcp:[::1]:5432`, `udp:...`, `unix:/path`. `named` holds ids of nodes and of owners."""

    name: ServiceName
    to: PlaceText
    who: Who = Who.MINE
    named: Annotated[list[Hex32], Meta(max_length=NAMED_MAX)] = []
    limit: Connections = LIMIT_DEFAULT


class TunnelOpen(Body, frozen=True):
    """`POST /v1/stoq/tunnels`. Whoever connects at `listen` on this machine is carried to the
    service at `address`, by the right of this node."""

    address: Annotated[str, Meta(max_length=128)]
    listen: PlaceText
    limit: Connections = LIMIT_DEFAULT


class TunnelCounters(msgspec.Struct, frozen=True):
    """Connections (of UDP: senders) since the node was started. `bytes_out` went from the local
    socket into the mesh, `bytes_in` came to it. Of UDP packets that went out, `datagrams` did in
    QUIC datagrams, which do not wait for one another, and `streamed_datagrams` over a stream, for
    want of room in a datagram or as the first ones; `dropped_datagrams`, of either direction, found
    no room on their way."""

    open: int
    opened: int
    refused: int
    failed: int
    dropped_datagrams: int
    datagrams: int
    streamed_datagrams: int
    bytes_out: int
    bytes_in: int


class TunnelFailure(msgspec.Struct, frozen=True):
    """Why the last connection that did not go well did not."""

    code: str
    what: str
    why: str
    at_ms: int


class ServiceView(msgspec.Struct, frozen=True):
    """A service that this node offers."""

    name: ServiceName
    address: str
    to: str
    who: Who
    named: list[Hex32]
    limit: int
    counters: TunnelCounters
    last_failure: TunnelFailure | None


class ServicePage(msgspec.Struct, frozen=True):
    """Services by name."""

    items: list[ServiceView]
    next_cursor: str | None


class TunnelView(msgspec.Struct, frozen=True):
    """A local socket that leads to a service of the node `node`. Where it is not `listening`, the
    last failure says why; the node tries again."""

    id: TunnelId
    address: str
    node: Hex32
    node_name: str
    listen: str
    limit: int
    listening: bool
    counters: TunnelCounters
    last_failure: TunnelFailure | None


class TunnelPage(msgspec.Struct, frozen=True):
    """Tunnels by ascending id."""

    items: list[TunnelView]
    next_cursor: TunnelId | None
