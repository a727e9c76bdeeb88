"""The assets of the pool as this node may show them: what the chain holds, what this node knows as
a host, and what other hosts have shown it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import islice

import msgspec

from hypermesh.assets import address, provider, registry, title
from hypermesh.assets.hosting import Hosted
from hypermesh.ledger.module import State
from hypermesh.node.attestations import Attestations
from hypermesh.node.chain import Chain
from hypermesh.node.lending import Lending
from hypermesh.node.membership import Membership
from hypermesh.node.sightings import Sightings
from hypermesh.wire.api.asset import AssetView, Page, PriceView, TitleOfferView
from hypermesh.wire.api.attestation import AttestationView
from hypermesh.wire.asset import (
    UNIT,
    Asset,
    AssetKind,
    Enforcement,
    Price,
    PrivacyLevel,
    Sharing,
    TitleOffer,
)
from hypermesh.wire.ids import AssetId, GenesisId, NodeId, parse_hex
from hypermesh.wire.rpc import AssetView as HostView

ASKED_AT_ONCE = 64
"""Assets whose hosts are asked together while a page fills."""
ADDRESSES_KEPT = 4096


class Pool:
    """Reads, by any thread."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        lending: Lending,
        sightings: Sightings,
        attestations: Attestations,
        names: Callable[[NodeId], str],
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._lending = lending
        self._sightings = sightings
        self._attestations = attestations
        self._names = names

    def page(
        self,
        kind: AssetKind | None,
        cursor: str | None,
        limit: int,
        *,
        region: str | None = None,
        owned: bool = False,
    ) -> Page:
        """Assets that this node may discover by ascending id, those after `cursor`; where asked for
        only those of a kind, a region, or this owner. Below FullPublic the hosts decide; one that
        does not answer has its assets left out, unless they are this owner's, hosted here, or
        offered for sale to this owner."""
        after = parse_hex(cursor, 16, "cursor") if cursor else b""
        with self._chain.ledger.state() as state:
            rows = iter(
                [
                    (asset_id, asset, self._offered(state, asset_id))
                    for asset_id, asset in registry.ASSETS.rows(state)
                    if asset_id > after
                    and kind in (None, asset.kind)
                    and (not owned or asset.owner == self._membership.owner)
                ]
            )
        found: list[AssetView] = []
        while chunk := list(islice(rows, ASKED_AT_ONCE)):
            candidates = [
                each for each in chunk if self._is_certain(each) or not _is_private(each[1])
            ]
            shown = self._sightings.views(
                [
                    (asset_id, asset)
                    for asset_id, asset, _ in candidates
                    if not self._is_known(asset_id, asset)
                ]
            )
            with self._chain.ledger.state() as state:
                rights = self._rights(state)
                for each in candidates:
                    asset_id, asset, _ = each
                    view = shown.get(asset_id)
                    seen = view is not None or self._is_known(asset_id, asset)
                    if not seen and not self._is_certain(each):
                        continue
                    made = self._view(state, asset_id, asset, view, rights)
                    if region is not None and made.region != region:
                        continue
                    if len(found) == limit:
                        return Page(found, found[-1].asset)
                    found.append(made)
        return Page(found, None)

    def asset(self, asset_id: AssetId) -> AssetView:
        """One asset as far as the chain, or this node as its host, knows it."""
        with self._chain.ledger.state() as state:
            asset = registry.existing(state, asset_id)
            return self._view(state, asset_id, asset, None, self._rights(state))

    def shown(self, known: AssetView, host: HostView) -> AssetView:
        """`known`, with what its host has shown of it."""
        return msgspec.structs.replace(
            known,
            capacity=host.descriptor.capacity,
            free=host.free,
            enforcement=host.descriptor.enforcement,
            detail=dict(host.descriptor.detail),
            shared_basis_points=host.share,
            region=host.region,
        )

    def _offered(self, state: State, asset_id: AssetId) -> TitleOffer | None:
        """The open offer of it that this owner may accept."""
        offer = title.open_offer(state, asset_id, self._chain.now_ms())
        if offer is None or offer.buyer not in (None, self._membership.owner):
            return None
        return offer

    def _is_certain(self, row: tuple[AssetId, Asset, TitleOffer | None]) -> bool:
        """Whether it is listed whatever its host says."""
        asset_id, asset, offer = row
        return (
            asset.owner == self._membership.owner
            or self._lending.record(asset_id) is not None
            or offer is not None
        )

    def _is_known(self, asset_id: AssetId, asset: Asset) -> bool:
        return asset.descriptor is not None or self._lending.record(asset_id) is not None

    def _rights(self, state: State) -> Callable[[NodeId], AttestationView]:
        """What each host may do at `state`, looked up once: a host has many assets."""
        return functools.cache(functools.partial(self._attestations.summary, state))

    def _view(
        self,
        state: State,
        asset_id: AssetId,
        asset: Asset,
        shown: HostView | None,
        rights: Callable[[NodeId], AttestationView],
    ) -> AssetView:
        membership = self._membership
        record = self._lending.record(asset_id)
        committed = registry.TERMS.get(state, asset_id)
        known = _Known.of(asset, record, shown, "" if committed is None else committed.region)
        owned = asset.owner == membership.owner
        offer = title.open_offer(state, asset_id, self._chain.now_ms())
        return AssetView(
            asset=asset_id.hex(),
            address=_address(membership.genesis_id, asset.host, asset_id, asset.kind),
            kind=asset.kind,
            level=asset.level,
            state=asset.state,
            owner=asset.owner.hex(),
            host=asset.host.hex(),
            host_name=self._names(asset.host),
            mine=asset.host == membership.keys.id,
            unit=UNIT.get(asset.kind, ""),
            capacity=known.capacity,
            free=known.free,
            enforcement=known.enforcement,
            price=None if known.price is None else price_view(known.price),
            detail=known.detail,
            owned=owned,
            revision=asset.revision,
            registered_ms=asset.registered_ms,
            leases=asset.leases,
            concurrent_max=asset.concurrent_max,
            shared_basis_points=known.share,
            region=known.region,
            actions=registry.steps(asset.state) if owned else [],
            title=None if offer is None else _offer_view(offer),
            attestation=rights(asset.host),
        )


@functools.lru_cache(maxsize=ADDRESSES_KEPT)
def _address(genesis: GenesisId, host: NodeId, asset: AssetId, kind: AssetKind) -> str:
    """An asset's address as text: it never changes, and lists ask for it again and again."""
    return str(address.address(genesis, host, asset, kind))


class _Known(msgspec.Struct, frozen=True):
    """What may be said of an asset here; all is None where only its host knows."""

    capacity: int | None = None
    free: int | None = None
    enforcement: Enforcement | None = None
    price: Price | None = None
    detail: dict[str, str] | None = None
    share: int | None = None
    region: str | None = None

    @classmethod
    def of(cls, asset: Asset, record: Hosted | None, shown: HostView | None, region: str) -> _Known:
        descriptor, sharing = asset.descriptor, _sharing(asset, record)
        share = None if sharing is None else sharing.share
        price = asset.price if sharing is None else sharing.price
        if record is not None:
            descriptor, region = record.descriptor, record.sharing.region
        elif shown is not None:
            descriptor, share, region = shown.descriptor, shown.share, shown.region
        if descriptor is None:
            return cls()
        free = provider.lendable(
            descriptor.capacity, share or 10_000, descriptor.capacity - asset.committed
        )
        return cls(
            descriptor.capacity,
            free,
            descriptor.enforcement,
            price,
            dict(descriptor.detail),
            share,
            region,
        )


def price_view(price: Price) -> PriceView:
    """A price for people."""
    return PriceView(price.amount, price.per_units, price.per_ms)


def _sharing(asset: Asset, record: Hosted | None) -> Sharing | None:
    return None if record is None or record.owner != asset.owner else record.sharing


def _is_private(asset: Asset) -> bool:
    return asset.level is PrivacyLevel.PRIVATE


def _offer_view(offer: TitleOffer) -> TitleOfferView:
    buyer = None if offer.buyer is None else offer.buyer.hex()
    return TitleOfferView(offer.offer.hex(), offer.price, buyer, offer.expires_ms)
