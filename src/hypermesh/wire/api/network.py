"""Nodes, invitations and this node itself as the API shows them."""

from __future__ import annotations

from typing import Literal

import msgspec

from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import AssetKind, AssetState, Enforcement, PrivacyLevel


class InvitationRequest(Body, frozen=True):
    """`POST /v1/network/invitations`; `mine` takes the new node in under this node's owner."""

    mine: bool = False


class InvitationView(msgspec.Struct, frozen=True):
    """An invitation: good once, until it expires."""

    token: str
    expires_ms: int


class ConnectionView(msgspec.Struct, frozen=True):
    """How this node hears another. `connected`: a connection that this node dialled is open, or
    the other has called within the last seconds. Nodes connect when one needs something of the
    other, so one that is not connected is none the worse for it. Round-trip time (microseconds)
    and bytes are those of the connection that this node dialled; null where it did not."""

    connected: bool
    heard_ms_ago: int | None
    rtt_us: int | None
    bytes_sent: int | None
    bytes_received: int | None
    path: Literal["direct"] | None


class NodeAssetView(msgspec.Struct, frozen=True):
    """An asset of a node and how full it is, as far as this node may know: `capacity`, `free` and
    `enforcement` are null where the host does not show them."""

    asset: Hex16
    kind: AssetKind
    level: PrivacyLevel
    state: AssetState
    unit: str
    capacity: int | None
    free: int | None
    leases: int
    enforcement: Enforcement | None


class NodeView(msgspec.Struct, frozen=True):
    """One node of the network as the ledger and this node know it. `here` is this node itself,
    whose `connection` is null; `mine` says that its owner is this node's. `hosts` are its IPv6
    addresses, the one that answered first in front; none, and no port, where its place is not
    known."""

    node: Hex32
    owner: Hex32
    name: str
    nonce: int
    revoked: bool
    attested: bool
    mine: bool
    here: bool
    role: Literal["sequencer", "follower"]
    hosts: list[str]
    port: int | None
    connection: ConnectionView | None
    assets: list[NodeAssetView]


class NodePage(msgspec.Struct, frozen=True):
    """A page of nodes by ascending id; `next_cursor` is null at the end."""

    items: list[NodeView]
    next_cursor: str | None


class StatusView(msgspec.Struct, frozen=True):
    """`GET /v1/network`: this node in one look. `tls` is where other machines reach its API with a
    token, null where they do not; `dns` where it serves names, null where it does not."""

    name: str
    node: Hex32
    owner: Hex32
    genesis: Hex32
    network: str
    network_class: str
    role: str
    assurance: str
    pid: int
    stoq: str
    api: str
    tls: str | None
    dns: str | None
    height: int
    app_hash: Hex32
    block_time_ms: int
    contact_age_ms: int | None
    certificate_sha256: Hex32
    certificate_expires_ms: int
    key_protection: str
    assets: int
    leases: int
