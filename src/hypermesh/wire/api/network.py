"""Nodes, invitations and this node itself as the API shows them."""

from __future__ import annotations

import msgspec

from hypermesh.wire.api.body import Body, Hex32


class InvitationRequest(Body, frozen=True):
    """`POST /v1/network/invitations`; `mine` takes the new node in under this node's owner."""

    mine: bool = False


class InvitationView(msgspec.Struct, frozen=True):
    """An invitation: good once, until it expires."""

    token: str
    expires_ms: int


class NodeView(msgspec.Struct, frozen=True):
    """One node of the network as the ledger knows it."""

    node: Hex32
    owner: Hex32
    name: str
    nonce: int
    revoked: bool
    attested: bool


class StatusView(msgspec.Struct, frozen=True):
    """`GET /v1/network`: this node in one look."""

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
    height: int
    app_hash: Hex32
    block_time_ms: int
    contact_age_ms: int | None
    certificate_sha256: Hex32
    certificate_expires_ms: int
    key_protection: str
    assets: int
    leases: int
