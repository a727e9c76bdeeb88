"""Assets as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount
from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import AssetKind, AssetState, Enforcement, PrivacyLevel


class PriceView(msgspec.Struct, frozen=True):
    """`amount` nCAES for each `per_units` units held for `per_ms` milliseconds."""

    amount: Amount
    per_units: int
    per_ms: int


class AssetView(msgspec.Struct, frozen=True):
    """An asset as this node may show it. Below FullPublic, `capacity`, `price` and `detail` of
    other owners' assets are null: they come from the host, after its access check."""

    asset: Hex16
    address: str
    kind: AssetKind
    level: PrivacyLevel
    state: AssetState
    owner: Hex32
    host: Hex32
    host_name: str
    mine: bool
    unit: str
    capacity: int | None
    free: int | None
    enforcement: Enforcement | None
    price: PriceView | None
    detail: dict[str, str] | None


class Page(msgspec.Struct, frozen=True):
    """A page of assets; `next_cursor` is null at the end."""

    items: list[AssetView]
    next_cursor: str | None


class RegisterAsset(Body, frozen=True):
    """`POST /assets/register`: declare a share of this machine's hardware of one kind."""

    kind: AssetKind
    level: PrivacyLevel = PrivacyLevel.PRIVATE
    share_basis_points: Annotated[int, Meta(ge=1, le=10_000)] = 5_000
    price: PriceView | None = None
    concurrent_max: Annotated[int, Meta(ge=1, le=1024)] = 16
