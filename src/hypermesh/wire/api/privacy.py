"""Who may see and lease an asset and on what terms, as the API takes and shows it."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.asset import PriceView
from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import (
    AssetKind,
    BasisPoints,
    ConsumerIdentity,
    PrivacyLevel,
    Region,
)


class PresetWord(enum.StrEnum):
    """An older word: a level (`private`, `public`) or a requirement on the consumer."""

    PRIVATE = "private"
    PUBLIC = "public"
    ANONYMOUS = "anonymous"
    VERIFIED = "verified"


class PrivacyChange(Body, frozen=True):
    """`PUT /privacy/level`: what shall change of an asset's terms; what is absent stays as it is.

    `level` and `identity` win over what `preset` stands for. `attested` and `bond_min` (nCAES) are
    the proofs asked of a consumer's node. Durations are milliseconds.
    """

    asset: Hex16
    level: PrivacyLevel | None = None
    preset: PresetWord | None = None
    nodes: Annotated[list[Hex32], Meta(max_length=256)] | None = None
    networks: Annotated[list[Hex32], Meta(max_length=64)] | None = None
    share_basis_points: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)] | None = None
    duration_ms_min: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    duration_ms_max: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    price: PriceView | None = None
    region: Region | None = None
    identity: ConsumerIdentity | None = None
    attested: bool | None = None
    bond_min: Amount | None = None


class PrivacyView(msgspec.Struct, frozen=True):
    """One asset's terms. `share_basis_points` is the part of its capacity that is lent at most;
    `revision` is the asset's on the ledger, and a change of it voids older offers."""

    asset: Hex16
    kind: AssetKind
    host: Hex32
    host_name: str
    level: PrivacyLevel
    nodes: list[Hex32]
    networks: list[Hex32]
    share_basis_points: BasisPoints
    concurrent_max: int
    duration_ms_min: int
    duration_ms_max: int
    price: PriceView
    region: str
    identity: ConsumerIdentity
    attested: bool
    bond_min: Amount
    revision: int


class PrivacyPage(msgspec.Struct, frozen=True):
    """`GET /privacy/settings`: the terms of this owner's assets by ascending asset id;
    `next_cursor` is null at the end."""

    items: list[PrivacyView]
    next_cursor: str | None


class VerdictView(msgspec.Struct, frozen=True):
    """Yes or no, and why. `was` is the answer under the present terms."""

    allowed: bool
    reason: str
    was: bool


class RequesterView(msgspec.Struct, frozen=True):
    """One node known to the ledger, and what the terms let it do."""

    node: Hex32
    name: str
    owner: Hex32
    own: bool
    revoked: bool
    discover: VerdictView
    lease: VerdictView


class TermChange(msgspec.Struct, frozen=True):
    """One term that would change, in words."""

    term: str
    before: str
    after: str


class PrivacyPreview(msgspec.Struct, frozen=True):
    """`PUT /privacy/level?preview=true`: what the change would do; nothing is changed.

    `summary` says in words who could see and who could lease. `blocked` says why nobody could lease
    now whatever the terms (out of service, nothing free, the host not attested); empty otherwise.
    `requesters` are the nodes that the ledger knows, at most 1,000; `requesters_total` counts all.
    """

    asset: Hex16
    before: PrivacyView
    after: PrivacyView
    changes: list[TermChange]
    summary: list[str]
    blocked: list[str]
    requesters: list[RequesterView]
    requesters_total: int
