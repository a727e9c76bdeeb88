"""The leases and assets that concern this node, looked up once for all who ask at a time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from hypermesh.assets import lease as leases
from hypermesh.assets import registry
from hypermesh.node.chain import Chain
from hypermesh.node.membership import Membership
from hypermesh.wire.asset import Asset, Lease
from hypermesh.wire.ids import AssetId, LeaseId

LOOK_S = 1.0
"""There may be many leases and assets; they are not read more often than this."""


@dataclass(frozen=True, slots=True)
class Held:
    """What concerns this node at `height`: leases that its owner lends or borrows or that it hosts
    and that are not final, and the assets that it hosts. Do not change them."""

    height: int
    leases: dict[LeaseId, Lease]
    assets: dict[AssetId, Asset]

    @property
    def running(self) -> int:
        """Leases that take up their assets."""
        return sum(row.state in leases.LIVE for row in self.leases.values())


class Holdings:
    """What this node holds, by any thread."""

    def __init__(self, membership: Membership, chain: Chain) -> None:
        self._membership = membership
        self._chain = chain
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._looked = 0.0

    def lease(self, lease_id: LeaseId) -> Lease | None:
        """A lease that concerns this node, final or not, as it is now."""
        with self._chain.ledger.state() as state:
            row = leases.LEASES.get(state, lease_id)
        return row if row is not None and self._concerns(row) else None

    def held(self) -> Held:
        """As of at most a second ago."""
        with self._lock:
            height, monotonic = self._chain.feed.height, time.monotonic()
            held = self._held
            if held is not None and (held.height == height or monotonic - self._looked < LOOK_S):
                return held
            self._held, self._looked = self._look(height), monotonic
            return self._held

    def _look(self, height: int) -> Held:
        node = self._membership.keys.id
        with self._chain.ledger.state() as state:
            return Held(
                height,
                {
                    lease_id: row
                    for lease_id, row in leases.unfinished(state)
                    if self._concerns(row)
                },
                dict(registry.on_host(state, node)),
            )

    def _concerns(self, row: Lease) -> bool:
        membership = self._membership
        return row.host == membership.keys.id or membership.owner in (row.consumer, row.payee)
