"""The nodes of the network as this one sees them: place, connection, and how full their assets are.

Reads of this node's own copy and of what it remembers; no other node is asked, so that a page can
ask for all of them again and again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypermesh.assets import registry
from hypermesh.consensus.attestation import bundle_of
from hypermesh.crypto.keys import key_id
from hypermesh.ledger import identity
from hypermesh.ledger.module import State
from hypermesh.node.chain import Chain
from hypermesh.node.hearing import Hearing
from hypermesh.node.lending import Lending
from hypermesh.node.membership import Membership
from hypermesh.node.peers import Link
from hypermesh.node.sightings import Sightings
from hypermesh.node.whereabouts import Whereabouts
from hypermesh.wire.api.network import ConnectionView, NodeAssetView, NodePage, NodeView
from hypermesh.wire.asset import UNIT, Asset, Descriptor, PrivacyLevel
from hypermesh.wire.errors import NotFound
from hypermesh.wire.ids import AssetId, NodeId, parse_hex

CALLED_MS = 15_000
"""A follower that is connected asks for blocks at least every 10 s."""
ASSETS_SHOWN_MAX = 64
"""Of one node."""
ME = "me"


class Topology:
    """Who is there, as far as this node knows."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        lending: Lending,
        sightings: Sightings,
        whereabouts: Whereabouts,
        link: Callable[[NodeId], Link | None],
        hearing: Hearing,
    ) -> None:
        """`link` is how this node's own connection to another fares."""
        self._membership = membership
        self._chain = chain
        self._lending = lending
        self._sightings = sightings
        self._whereabouts = whereabouts
        self._link = link
        self._hearing = hearing
        self._sequencer = key_id(membership.genesis.sequencer)

    def nodes(self, cursor: str | None, limit: int) -> NodePage:
        """Nodes by ascending id, those after `cursor`."""
        after = parse_hex(cursor, 32, "cursor") if cursor else b""
        with self._chain.ledger.state() as state:
            rows: list[tuple[NodeId, identity.Node]] = []
            for node, row in identity.nodes(state):
                if node > after:
                    rows.append((node, row))
                if len(rows) > limit:
                    break
            items = [self._node(state, node, row) for node, row in rows[:limit]]
        return NodePage(items, items[-1].node if len(rows) > limit else None)

    def node(self, named: str) -> NodeView:
        """One node by its id, or this one as `me`. Raises `NotFound`."""
        own = self._membership.keys.id
        node = own if named == ME else parse_hex(named, 32, "node id")
        with self._chain.ledger.state() as state:
            row = identity.node(state, node)
            if row is None:
                raise NotFound(f"No node has the id {named}", fix="See `hm node ls`")
            return self._node(state, node, row)

    def connection(self, node: NodeId) -> ConnectionView:
        """How this node hears `node` now."""
        link, called_ms = self._link(node), self._hearing.age_ms(node)
        heard = [] if called_ms is None else [called_ms]
        if link is not None:
            heard.append(link.heard_ms_ago)
        connected = link is not None or (called_ms is not None and called_ms <= CALLED_MS)
        return ConnectionView(
            connected=connected,
            heard_ms_ago=min(heard, default=None),
            rtt_us=None if link is None else link.rtt_us,
            bytes_sent=None if link is None else link.bytes_sent,
            bytes_received=None if link is None else link.bytes_received,
            path="direct" if connected else None,
        )

    def _node(self, state: State, node: NodeId, row: identity.Node) -> NodeView:
        here = node == self._membership.keys.id
        locators = self._whereabouts.locators
        place = locators.of(node).locator if node in locators else None
        return NodeView(
            node=node.hex(),
            owner=row.owner.hex(),
            name=locators.name(node),
            nonce=identity.nonce(state, node),
            revoked=row.revoked,
            attested=bundle_of(state, node) is not None,
            mine=row.owner == self._membership.owner,
            here=here,
            role="sequencer" if node == self._sequencer else "follower",
            hosts=[] if place is None else list(place.hosts),
            port=None if place is None else place.port,
            connection=None if here else self.connection(node),
            assets=self._assets_of(state, node),
        )

    def _assets_of(self, state: State, host: NodeId) -> list[NodeAssetView]:
        """Those that this node may know of."""
        own = self._membership.owner
        known = (
            self._asset(asset_id, asset)
            for asset_id, asset in registry.on_host(state, host)
            if asset.level is not PrivacyLevel.PRIVATE or asset.owner == own
        )
        return list(itertools.islice(known, ASSETS_SHOWN_MAX))

    def _asset(self, asset_id: AssetId, asset: Asset) -> NodeAssetView:
        known = self._descriptor(asset_id, asset)
        return NodeAssetView(
            asset=asset_id.hex(),
            kind=asset.kind,
            level=asset.level,
            state=asset.state,
            unit=UNIT.get(asset.kind, ""),
            capacity=None if known is None else known.capacity,
            free=None if known is None else known.capacity - asset.committed,
            leases=asset.leases,
            enforcement=None if known is None else known.enforcement,
        )

    def _descriptor(self, asset_id: AssetId, asset: Asset) -> Descriptor | None:
        record = self._lending.record(asset_id)
        if record is not None:
            return record.descriptor
        return asset.descriptor or self._sightings.remembered(asset_id, asset)
