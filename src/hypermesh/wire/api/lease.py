"""Leases and sessions as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.asset import PriceView
from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.api.ledger import OperationView
from hypermesh.wire.asset import AssetKind, LeaseState, PrivacyLevel, Region
from hypermesh.wire.errors import HyperMeshError

ZERO = "0" * 64


class TooDear(HyperMeshError):
    """The lease would cost more than its consumer allows. Nothing was leased."""

    code = "HM-NODE-0038"
    status = 402
    exit_code = 8
    title = "The lease costs more than was allowed"
    remedy = "Allow more, ask for less or for a shorter time, or choose another asset"


class AllocateAsset(Body, frozen=True):
    """`PUT /assets/{id}/allocate`: lease `amount` units for `duration_ms`.

    With `keep` the node keeps the keys of the session, so that any program of the owner can go on
    with the lease; without, only the answer has them. With `region` the lease is opened only where
    the asset's owner says that it is there; with `cost_max` only where price and fee for the whole
    duration are no more nCAES.
    """

    amount: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    duration_ms: Annotated[int, Meta(ge=1000, le=86_400_000)] = 600_000
    keep: bool = False
    region: Region | None = None
    cost_max: Amount | None = None


class TrustView(msgspec.Struct, frozen=True):
    """What a session needs to check the provider: DER certificates as hex, the genesis id.
    `issuing` is the present issuing CA; `replaced` are those before it whose certificates are
    believed until `replaced_until_ms`."""

    genesis: Hex32
    root: str
    issuing: str
    replaced: list[str] = msgspec.field(default_factory=list)
    replaced_until_ms: int | None = None


class LeaseView(msgspec.Struct, frozen=True):
    """A lease with its capability, as long as it is active.

    `paid`, `fee` and `refund` are null until the lease is over; then they make `escrow`. The names
    are what nodes call themselves. `deadline_ms` is when the ledger acts by itself next: a
    reservation expires, a running lease ends, an ended one expires; null for one that is over.
    """

    lease: Hex32
    asset: Hex16
    address: str
    kind: AssetKind
    provider: Hex32
    consumer: Hex32
    state: LeaseState
    amount: int
    escrow: Amount
    start_ms: int
    end_ms: int
    epoch: int
    session: Hex32
    host: str | None = None
    port: int | None = None
    paid: Amount | None = None
    fee: Amount | None = None
    refund: Amount | None = None
    provider_name: str = ""
    consumer_name: str = ""
    payee: Hex32 = ZERO
    level: PrivacyLevel = PrivacyLevel.PRIVATE
    unit: str = ""
    price: PriceView | None = None
    duration_ms: int = 0
    opened_ms: int = 0
    deadline_ms: int | None = None


class LeasePage(msgspec.Struct, frozen=True):
    """A page of leases, newest first; `next_cursor` is null at the end."""

    items: list[LeaseView]
    next_cursor: str | None


class LeaseEvent(msgspec.Struct, frozen=True):
    """Something that happened to a lease. `operation` is the transaction that did it; null where
    the ledger itself acted, because something fell due."""

    name: str
    height: int
    time_ms: int
    words: str
    operation: OperationView | None


class LeaseDetail(msgspec.Struct, frozen=True):
    """`GET /v1/leases/{id}`: the lease and its life so far, oldest first."""

    lease: LeaseView
    events: list[LeaseEvent]


class SessionView(msgspec.Struct, frozen=True):
    """A session: its lease, its secret keys as hex, and what checks the provider. `secret` is null
    everywhere but on the owner's UNIX socket: keys never cross TCP."""

    lease: LeaseView
    secret: str | None
    trust: TrustView
