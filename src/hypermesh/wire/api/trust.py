"""Partner networks, as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import AssetKind, AssetState
from hypermesh.wire.tx import PartnerService

DAYS_MAX = 3650


class IntroductionView(msgspec.Struct, frozen=True):
    """What another network needs to let this one's nodes in. `introduction` is the text to carry
    there; `network` is what people compare by another way. Nothing in it is secret."""

    network: Hex32
    name: str
    zone: str
    introduction: str


class PartnerRequest(Body, frozen=True):
    """`POST /v1/trust`: let nodes of another network in. `nodes` names those (all where it is
    empty), `without` those that are not; both are NodeIds there. Adding a network again changes the
    terms."""

    introduction: Annotated[str, Meta(max_length=128 * 1024)]
    nodes: Annotated[list[Hex32], Meta(max_length=64)] = []
    without: Annotated[list[Hex32], Meta(max_length=64)] = []
    services: Annotated[list[PartnerService], Meta(max_length=8)] = []
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = 90


class PartnerPreview(msgspec.Struct, frozen=True):
    """What would follow, in words too. `permitted` and `excluded` are DNS names, each with all
    below it. `replaces`: the network is listed already."""

    network: Hex32
    name: str
    root_sha256: Hex32
    permitted: list[str]
    excluded: list[str]
    services: list[PartnerService]
    not_after_ms: int
    replaces: bool
    consequences: list[str]


class PartnerView(msgspec.Struct, frozen=True):
    """A network that is listed. `heard_ms_ago` is since this node had an answer of it, null for
    never since it started; `revoked` are the nodes that it has revoked, up to its block
    `list_height`; `failure` is why it does not answer. `says` puts that into sentences."""

    network: Hex32
    name: str
    zone: str
    permitted: list[str]
    excluded: list[str]
    services: list[PartnerService]
    not_after_ms: int
    in_force: bool
    height: int
    heard_ms_ago: int | None
    list_height: int | None
    revoked: list[Hex32]
    failure: str | None
    says: list[str]


class PartnerFollowRequest(Body, frozen=True):
    """`POST /v1/trust/{network}/follow`: the address at which the partner is now; without it the
    partner is asked where it is listed."""

    host: Annotated[str, Meta(max_length=64)] | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None


class PartnerFollowView(msgspec.Struct, frozen=True):
    """What the listing followed: the partner has `moved`, to `hosts` and `port`; `reissued`: it has
    another issuing CA. Where neither is so nothing was changed. `height` is that of the ledger."""

    network: Hex32
    moved: bool
    reissued: bool
    hosts: list[str]
    port: int
    height: int


class PartnerPage(msgspec.Struct, frozen=True):
    """All partners, by ascending id."""

    items: list[PartnerView]
    next_cursor: str | None


class PartnerAssetView(msgspec.Struct, frozen=True):
    """An asset that a partner shows to anyone; `capacity` is in units of its kind."""

    asset: Hex16
    host: Hex32
    kind: AssetKind
    state: AssetState
    capacity: int


class PartnerAssetPage(msgspec.Struct, frozen=True):
    """A page of them by ascending id."""

    items: list[PartnerAssetView]
    next_cursor: str | None


class HandshakeFailure(msgspec.Struct, frozen=True):
    """A recorded connection that would not have come about. `opened`: this node dialled. `service`
    is the protocol that it was for; `network` that of the peer's certificate, null where it had
    none; `reason` is what the verifier says."""

    at_ms: int
    peer: Hex32
    name: str
    network: Hex32 | None
    service: str
    opened: bool
    remote: str
    reason: str


class WhatIfView(msgspec.Struct, frozen=True):
    """What a revocation would have cut off. `records` handshakes were replayed, back to `since_ms`
    (null where there are none); `missed` more were not recorded. `failures` are the newest of
    `failed`."""

    target: str
    kind: Literal["node", "authority", "partner"]
    records: int
    missed: int
    since_ms: int | None
    failed: int
    failures: list[HandshakeFailure]
