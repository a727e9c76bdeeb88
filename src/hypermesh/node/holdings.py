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
"""The table of leases is long; it is not read more often than this."""


@dataclass(frozen=True, slots=True)
class Held:
    """What concerns this node at `height`: leases that its owner lends or borrows or that it hosts,
    the final ones too, and the assets that it hosts. Do not change them."""

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

    def held(self, *, now: bool = False) -> Held:
        """As of at most a second ago, or `now`."""
        with self._lock:
            height, monotonic = self._chain.feed.height, time.monotonic()
            held = self._held
            if held is not None and (
                held.height == height or (not now and monotonic - self._looked < LOOK_S)
            ):
                return held
            self._held, self._looked = self._look(height), monotonic
            return self._held

    def _look(self, height: int) -> Held:
        node, owner = self._membership.keys.id, self._membership.owner
        with self._chain.ledger.state() as state:
            return Held(
                height,
                {
                    lease_id: row
                    for lease_id, row in leases.LEASES.rows(state)
                    if row.host == node or owner in (row.consumer, row.payee)
                },
                dict(registry.on_host(state, node)),
            )
