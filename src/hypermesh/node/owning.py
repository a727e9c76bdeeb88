"""What an owner does with own assets, wherever they are hosted: terms, state, sale.

The ledger knows whose an asset is; its host knows on what terms. So the owner's node puts every
change on the ledger under its own signature, and tells the host beforehand what it will commit to.
The host may be this node, another one of the owner's, or that of a former owner.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec

from hypermesh.assets import address, preview, privacy, provider, registry, title
from hypermesh.assets.preview import Known
from hypermesh.caesar.economics import staking
from hypermesh.consensus.attestation import bundle_of
from hypermesh.ledger import identity
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.lending import Lending
from hypermesh.node.membership import Membership
from hypermesh.node.peers import Peers
from hypermesh.node.pool import Pool, price_view
from hypermesh.node.service import Peer
from hypermesh.node.wallet import Wallet
from hypermesh.wire.amount import format_caes
from hypermesh.wire.api.asset import ChangedAsset, OfferAsset
from hypermesh.wire.api.privacy import (
    PrivacyChange,
    PrivacyPage,
    PrivacyPreview,
    PrivacyView,
    RequesterView,
    TermChange,
    VerdictView,
)
from hypermesh.wire.asset import Asset, AssetState, Audience, Price, PrivacyLevel, Sharing
from hypermesh.wire.errors import HyperMeshError, Unreachable
from hypermesh.wire.ids import AssetId, NodeId, OwnerId, parse_hex
from hypermesh.wire.rpc import (
    ALPN_NODE,
    SetTermsRequest,
    SetTermsResponse,
    TermsRequest,
    TermsResponse,
)
from hypermesh.wire.tx import (
    AssetAccept,
    AssetOffer,
    AssetSetState,
    AssetTransfer,
    AssetWithdraw,
    Body,
)

SALE_MS = 24 * 60 * 60 * 1000
"""How long an offer to sell is open where its owner says nothing."""

REQUESTERS_MAX = 1000
TERMS_TIMEOUT_MS = 5_000


class Owning:
    """The owner's side of this node."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        wallet: Wallet,
        peers: Peers,
        lending: Lending,
        pool: Pool,
        names: Callable[[NodeId], str],
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._wallet = wallet
        self._peers = peers
        self._lending = lending
        self._pool = pool
        self._names = names
        self._trusted = frozenset({membership.genesis_id})

    # Terms

    def settings(self, cursor: str | None, limit: int) -> PrivacyPage:
        """The terms of this owner's assets by ascending id, those after `cursor`. An asset whose
        host does not tell them is left out."""
        after = parse_hex(cursor, 16, "cursor") if cursor else b""
        with self._chain.ledger.state() as state:
            rows = [
                (asset_id, asset)
                for asset_id, asset in registry.ASSETS.rows(state)
                if asset_id > after and asset.owner == self._membership.owner
            ]
        found: list[PrivacyView] = []
        silent: set[NodeId] = set()
        for asset_id, asset in rows:
            if asset.host in silent:
                continue
            if len(found) == limit:
                return PrivacyPage(found, found[-1].asset)
            try:
                told = self._terms(asset_id, asset)
            except Unreachable:
                silent.add(asset.host)
            except HyperMeshError:
                if self._is_here(asset):
                    raise
            else:
                found.append(self._settings(asset_id, asset, told.sharing))
        return PrivacyPage(found, None)

    def change(self, wanted: PrivacyChange) -> PrivacyView:
        """Bring an own asset to other terms, at its host and on the ledger."""
        asset_id = bytes.fromhex(wanted.asset)
        asset = self._own(asset_id)
        sharing = changed(self._terms(asset_id, asset).sharing, wanted)
        privacy.check(sharing)
        sharing = msgspec.structs.replace(sharing, salt=secrets.token_bytes(address.SALT_BYTES))
        written = self._tell(asset_id, asset, sharing)
        body = provider.terms_change(asset_id, sharing, written.descriptor, written.salt)
        self._wallet.submit(body, written.attestation)
        return self._settings(asset_id, self._row(asset_id), sharing)

    def preview(self, wanted: PrivacyChange) -> PrivacyPreview:
        """What `change` would do: who could see the asset and lease it. Nothing is changed."""
        asset_id = bytes.fromhex(wanted.asset)
        asset = self._own(asset_id)
        told = self._terms(asset_id, asset)
        before, after = told.sharing, changed(told.sharing, wanted)
        privacy.check(after)
        with self._chain.ledger.state() as state:
            known = [_known(state, node, row) for node, row in identity.nodes(state)]
            offer = title.open_offer(state, asset_id, self._chain.now_ms())
            attested = bundle_of(state, asset.host) is not None
        was, would = (
            [
                preview.access(
                    provider.terms_of(asset.owner, each.level, each, self._trusted, offer),
                    node,
                    self._trusted,
                )
                for node in known
            ]
            for each in (before, after)
        )
        lent = provider.lendable(told.capacity, after.share, told.free)
        return PrivacyPreview(
            asset=wanted.asset,
            before=self._settings(asset_id, asset, before),
            after=self._settings(asset_id, asset, after),
            changes=[
                TermChange(term, old, new)
                for term, old, new in preview.changes(asset.kind, before, after, self._names)
            ],
            summary=preview.summary(asset.kind, after, self._names, would),
            blocked=_blocked(asset, after, lent, attested=attested),
            requesters=[
                RequesterView(
                    node=node.node.hex(),
                    name=self._names(node.node),
                    owner=node.owner.hex(),
                    own=node.owner == asset.owner,
                    revoked=node.revoked,
                    discover=VerdictView(
                        new.discover.allowed, new.discover.reason, old.discover.allowed
                    ),
                    lease=VerdictView(new.lease.allowed, new.lease.reason, old.lease.allowed),
                )
                for node, old, new in list(zip(known, was, would, strict=True))[:REQUESTERS_MAX]
            ],
            requesters_total=len(known),
        )

    # State and title

    def set_state(self, asset_id: AssetId, state: AssetState) -> ChangedAsset:
        """Take an own asset out of service, or back."""
        return self._submit(asset_id, AssetSetState(asset_id, state))

    def transfer(self, asset_id: AssetId, to: OwnerId) -> ChangedAsset:
        """Give an own asset to another owner."""
        return self._submit(asset_id, AssetTransfer(asset_id, to))

    def offer(self, asset_id: AssetId, wanted: OfferAsset) -> ChangedAsset:
        """Offer an own asset for sale."""
        expires_ms = wanted.expires_ms
        if expires_ms is None:
            expires_ms = self._chain.now_ms() + SALE_MS
        to = None if wanted.to is None else bytes.fromhex(wanted.to)
        return self._submit(asset_id, AssetOffer(asset_id, wanted.price, to, expires_ms))

    def withdraw(self, asset_id: AssetId) -> ChangedAsset:
        """Take the offer to sell an own asset back."""
        return self._submit(asset_id, AssetWithdraw(asset_id))

    def accept(self, asset_id: AssetId, price: int) -> ChangedAsset:
        """Buy an asset at the `price` that the buyer has seen. Raises `NotForSale` and
        `OfferChanged` before anything is sent."""
        with self._chain.ledger.state() as state:
            registry.existing(state, asset_id)
            offer = title.open_offer(state, asset_id, self._chain.now_ms())
        if offer is None:
            raise title.NotForSale
        if offer.price != price:
            asked, seen = format_caes(offer.price), format_caes(price)
            raise title.OfferChanged(why=f"its price is {asked} CAES, not {seen}")
        return self._submit(asset_id, AssetAccept(asset_id, offer.offer, price))

    def _submit(self, asset_id: AssetId, body: Body) -> ChangedAsset:
        with self._chain.ledger.state() as state:
            host = registry.existing(state, asset_id).host
            attestation = bundle_of(state, host) or b""
        answer = self._wallet.submit(body, attestation)
        return ChangedAsset(self._pool.asset(asset_id), answer.result.tx.hex(), answer.height)

    # The host of an asset

    def _terms(self, asset_id: AssetId, asset: Asset) -> TermsResponse:
        request = TermsRequest(asset_id, self._chain.feed.height)
        if self._is_here(asset):
            told = self._lending.terms(self._self(), request)
        else:
            told = self._peers.call(
                asset.host, "asset.terms", request, TermsResponse, timeout_ms=TERMS_TIMEOUT_MS
            )
        # The ledger has the last word on what it holds itself.
        level = msgspec.structs.replace(told.sharing, level=asset.level)
        return msgspec.structs.replace(told, sharing=level)

    def _tell(self, asset_id: AssetId, asset: Asset, sharing: Sharing) -> SetTermsResponse:
        request = SetTermsRequest(asset_id, sharing, self._chain.feed.height)
        if self._is_here(asset):
            return self._lending.set_terms(self._self(), request)
        return self._peers.call(asset.host, "asset.set_terms", request, SetTermsResponse)

    def _is_here(self, asset: Asset) -> bool:
        return asset.host == self._membership.keys.id

    def _self(self) -> Peer:
        """This node, as its own host hears it."""
        return Peer(self._membership.keys.id, self._membership.owner, ALPN_NODE, b"")

    def _own(self, asset_id: AssetId) -> Asset:
        asset = self._row(asset_id)
        if asset.owner != self._membership.owner:
            raise registry.NotTheOwner
        return asset

    def _row(self, asset_id: AssetId) -> Asset:
        with self._chain.ledger.state() as state:
            return registry.existing(state, asset_id)

    def _settings(self, asset_id: AssetId, asset: Asset, sharing: Sharing) -> PrivacyView:
        return PrivacyView(
            asset=asset_id.hex(),
            kind=asset.kind,
            host=asset.host.hex(),
            host_name=self._names(asset.host),
            level=sharing.level,
            nodes=[node.hex() for node in sharing.audience.nodes],
            networks=[network.hex() for network in sharing.audience.networks],
            share_basis_points=sharing.share,
            concurrent_max=sharing.concurrent_max,
            duration_ms_min=sharing.duration_ms_min,
            duration_ms_max=sharing.duration_ms_max,
            price=price_view(sharing.price),
            region=sharing.region,
            identity=sharing.identity,
            attested=sharing.requirement.attested,
            bond_min=sharing.requirement.bond_min,
            revision=asset.revision,
        )


def changed(sharing: Sharing, wanted: PrivacyChange) -> Sharing:
    """`sharing` with what `wanted` names; what it leaves out stays."""
    preset = None if wanted.preset is None else privacy.PRESETS[wanted.preset.value]
    level: PrivacyLevel | None = wanted.level
    identity = wanted.identity
    if preset is not None:
        level, identity = level or preset.level, identity or preset.identity
    audience, requirement = sharing.audience, sharing.requirement
    if wanted.nodes is not None:
        nodes = [bytes.fromhex(node) for node in wanted.nodes]
        audience = Audience(nodes, audience.networks)
    if wanted.networks is not None:
        networks = [bytes.fromhex(network) for network in wanted.networks]
        audience = Audience(audience.nodes, networks)
    if wanted.attested is not None:
        requirement = msgspec.structs.replace(requirement, attested=wanted.attested)
    if wanted.bond_min is not None:
        requirement = msgspec.structs.replace(requirement, bond_min=wanted.bond_min)
    asked = wanted.price
    given = {
        "level": level,
        "audience": audience,
        "identity": identity,
        "requirement": requirement,
        "price": None if asked is None else Price(asked.amount, asked.per_units, asked.per_ms),
        "share": wanted.share_basis_points,
        "concurrent_max": wanted.concurrent_max,
        "duration_ms_min": wanted.duration_ms_min,
        "duration_ms_max": wanted.duration_ms_max,
        "region": wanted.region,
    }
    return msgspec.structs.replace(
        sharing, **{name: value for name, value in given.items() if value is not None}
    )


def _known(state: State, node: NodeId, row: identity.Node) -> Known:
    return Known(
        node=node,
        owner=row.owner,
        revoked=row.revoked,
        attested=bundle_of(state, node) is not None,
        bonded=staking.bonded(state, node),
    )


def _blocked(asset: Asset, sharing: Sharing, lent: int, *, attested: bool) -> list[str]:
    """Why nobody could lease the asset now, whatever its terms."""
    found = []
    if asset.state not in (AssetState.AVAILABLE, AssetState.ALLOCATED):
        found.append(f"its state is {asset.state}")
    if not attested:
        found.append("its host has no attestation in force")
    if asset.leases >= sharing.concurrent_max:
        found.append(f"{asset.leases} leases are on it, as many as it allows")
    if lent < 1:
        found.append("nothing of it is free")
    return found
