"""Leases and sessions as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import AssetKind, LeaseState


class AllocateAsset(Body, frozen=True):
    """`PUT /assets/{id}/allocate`: lease `amount` units for `duration_ms`.

    With `keep` the node keeps the keys of the session, so that any program of the owner can go on
    with the lease; without, only the answer has them.
    """

    amount: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    duration_ms: Annotated[int, Meta(ge=1000, le=86_400_000)] = 600_000
    keep: bool = False


class TrustView(msgspec.Struct, frozen=True):
    """What a session needs to check the provider: DER certificates as hex, the genesis id."""

    genesis: Hex32
    root: str
    issuing: str


class LeaseView(msgspec.Struct, frozen=True):
    """A lease with its capability, as long as it is active."""

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


class SessionView(msgspec.Struct, frozen=True):
    """A session: its lease, its secret keys as hex, and what checks the provider. `secret` is null
    everywhere but on the owner's UNIX socket: keys never cross TCP."""

    lease: LeaseView
    secret: str | None
    trust: TrustView
