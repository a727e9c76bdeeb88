"""Assets as the API takes and shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hypermesh.wire.amount import Amount, PositiveAmount
from hypermesh.wire.api.attestation import AttestationView
from hypermesh.wire.api.body import Body, Hex16, Hex32
from hypermesh.wire.asset import AssetKind, AssetState, Enforcement, PrivacyLevel, TimeMs


class PriceView(msgspec.Struct, frozen=True):
    """`amount` nCAES for each `per_units` units held for `per_ms` milliseconds."""

    amount: Amount
    per_units: Annotated[int, Meta(ge=1, le=2**53)]
    per_ms: Annotated[int, Meta(ge=1, le=2**53)]


class TitleOfferView(msgspec.Struct, frozen=True):
    """An open offer to sell an asset. `offer` is the id of the transaction that made it; `to` is
    the only owner who may accept, null for anybody; from `expires_ms`, block time, it is void."""

    offer: Hex32
    price: Amount
    to: Hex32 | None
    expires_ms: TimeMs


class AssetView(msgspec.Struct, frozen=True):
    """An asset as this node may show it. Below FullPublic, `capacity`, `price` and `detail` of
    other owners' assets are null: they come from the host, after its access check. `free` is what
    may be lent, as far as that is known here: at FullPublic the host may lend less.

    `mine` says that this node hosts it, `owned` that this node's owner owns it; they differ after
    a change of owner. `shared_basis_points` and `region` are null where only the host knows them.
    `actions` are the states that this node's owner may bring it to now, none where the asset is
    another's. `leases` reservations and running leases are on it, of at most `concurrent_max`.
    """

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
    owned: bool
    revision: int
    registered_ms: TimeMs
    leases: int
    concurrent_max: int
    shared_basis_points: int | None
    region: str | None
    actions: list[AssetState]
    title: TitleOfferView | None
    attestation: AttestationView


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


class SetAssetState(Body, frozen=True):
    """`PUT /assets/{id}/state`: take an asset out of service, or back."""

    state: AssetState


class TransferAsset(Body, frozen=True):
    """`POST /assets/{id}/transfer`: give an asset to another owner, free."""

    to: Hex32


class OfferAsset(Body, frozen=True):
    """`POST /assets/{id}/offer`: offer an asset for sale, to anybody or to one owner. `expires_ms`
    is block time; a day from now where it is absent."""

    price: PositiveAmount
    to: Hex32 | None = None
    expires_ms: TimeMs | None = None


class AcceptAsset(Body, frozen=True):
    """`POST /assets/{id}/accept`: buy an asset that is offered. `price` is what the buyer has seen:
    an offer at another price is refused."""

    price: PositiveAmount


class ChangedAsset(msgspec.Struct, frozen=True):
    """An asset after a change, and the transaction that changed it."""

    asset: AssetView
    tx: Hex32
    height: int
