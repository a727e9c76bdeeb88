"""Remote memory as it is used: leases with what their consumer measures and their host counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hypermesh.assets import address
from hypermesh.assets import lease as leases
from hypermesh.assets.adapters.memory import Regions, region_id
from hypermesh.assets.registry import ASSETS
from hypermesh.node.chain import Chain
from hypermesh.node.holdings import Holdings
from hypermesh.node.measurements import Measurements
from hypermesh.node.membership import Membership
from hypermesh.stoq.errors import RegionUnknown
from hypermesh.wire.api.memory import (
    COUNTED_BY_PROVIDER,
    CountedView,
    MeasurementReport,
    MeasurementTaken,
    MemoryLeaseView,
    MemoryPage,
    MemorySeries,
)
from hypermesh.wire.asset import AssetKind, Lease
from hypermesh.wire.errors import InvalidInput, NotFound
from hypermesh.wire.ids import AssetId, LeaseId, NodeId, parse_hex

RATE_S = 5.0
"""Over how long rates are taken."""
COUNT_S = 0.1
"""Counts that are taken closer together are not all remembered: anybody may ask, and often."""
SHOWN_LIVE_MAX = 64
"""Leases in one live snapshot."""
FRESH_MS = 3_000
"""A report older than this is no rate of now."""


@dataclass(frozen=True, slots=True)
class _Count:
    at: float
    read: int
    written: int
    operations: int


class MemoryUse:
    """The memory leases that this owner borrows or this node hosts."""

    def __init__(
        self,
        membership: Membership,
        chain: Chain,
        holdings: Holdings,
        regions: Regions,
        measurements: Measurements,
        name: Callable[[NodeId], str],
    ) -> None:
        self._membership = membership
        self._chain = chain
        self._holdings = holdings
        self._regions = regions
        self._measurements = measurements
        self._name = name
        self._counts: dict[LeaseId, deque[_Count]] = {}
        self._kinds: dict[AssetId, AssetKind] = {}
        self._lock = threading.Lock()

    def live(self) -> list[MemoryLeaseView]:
        """Running leases, the newest first, a bounded number of them."""
        rows = sorted(self._running().items(), key=lambda pair: -pair[1].opened_ms)
        return [self._view(lease_id, row) for lease_id, row in rows[:SHOWN_LIVE_MAX]]

    def page(self, cursor: str | None, limit: int) -> MemoryPage:
        """Running leases by ascending id, those after `cursor`."""
        after = parse_hex(cursor, 32, "cursor") if cursor else b""
        rows = sorted(pair for pair in self._running().items() if pair[0] > after)
        items = [self._view(lease_id, row) for lease_id, row in rows[:limit]]
        return MemoryPage(items, items[-1].lease if len(rows) > limit else None)

    def series(self, lease_id: LeaseId) -> MemorySeries:
        """One lease with its reports. Raises `NotFound`."""
        return MemorySeries(
            self._view(lease_id, self._existing(lease_id)), self._measurements.series(lease_id)
        )

    def report(self, lease_id: LeaseId, report: MeasurementReport) -> MeasurementTaken:
        """Keep what a program of this owner measured on a lease of this owner's. Raises `NotFound`
        and `ReportedTooSoon`."""
        row = self._existing(lease_id)
        if row.consumer != self._membership.owner:
            raise NotFound(f"This owner does not borrow lease {lease_id.hex()}")
        named = [each.operation for each in report.measurements]
        if len(set(named)) != len(named):
            raise InvalidInput("An operation is reported twice in one report")
        return self._measurements.take(lease_id, report)

    def _existing(self, lease_id: LeaseId) -> Lease:
        row = self._holdings.lease(lease_id)
        if row is None or not self._is_memory(row.asset):
            raise NotFound(f"No lease of memory {lease_id.hex()} concerns this node")
        return row

    def _running(self) -> dict[LeaseId, Lease]:
        running = {
            lease_id: row
            for lease_id, row in self._holdings.held().leases.items()
            if row.state in leases.LIVE and self._is_memory(row.asset)
        }
        with self._lock:
            for over in self._counts.keys() - running.keys():
                del self._counts[over]
        return running

    def _is_memory(self, asset_id: AssetId) -> bool:
        if asset_id not in self._kinds:
            with self._chain.ledger.state() as state:
                asset = ASSETS.get(state, asset_id)
            if asset is None:
                return False
            self._kinds[asset_id] = asset.kind
        return self._kinds[asset_id] is AssetKind.MEMORY

    def _view(self, lease_id: LeaseId, row: Lease) -> MemoryLeaseView:
        membership = self._membership
        borrowed, lent = row.consumer == membership.owner, row.host == membership.keys.id
        place = address.address(membership.genesis_id, row.host, row.asset, AssetKind.MEMORY)
        return MemoryLeaseView(
            lease=lease_id.hex(),
            asset=row.asset.hex(),
            address=str(place),
            host=row.host.hex(),
            host_name=self._name(row.host),
            borrowed=borrowed,
            lent=lent,
            state=row.state,
            size_bytes=row.amount,
            ends_ms=row.ends_ms,
            measured=self._measurements.newest(lease_id) if borrowed else None,
            counted=self._counted(lease_id) if lent else None,
        )

    def _counted(self, lease_id: LeaseId) -> CountedView | None:
        try:
            read, written, operations = self._regions.counters(region_id(lease_id))
        except RegionUnknown:
            with self._lock:
                self._counts.pop(lease_id, None)
            return None
        now = _Count(time.monotonic(), read, written, operations)
        with self._lock:
            counts = self._counts.setdefault(lease_id, deque())
            while counts and now.at - counts[0].at > RATE_S:
                counts.popleft()
            before = counts[0] if counts else now
            if not counts or now.at - counts[-1].at >= COUNT_S:
                counts.append(now)
        passed = now.at - before.at
        return CountedView(
            source=COUNTED_BY_PROVIDER,
            bytes_read=read,
            bytes_written=written,
            operations=operations,
            read_bytes_per_s=_rate(read - before.read, passed),
            written_bytes_per_s=_rate(written - before.written, passed),
            operations_per_s=_rate(operations - before.operations, passed),
        )


def moved_per_s(views: list[MemoryLeaseView]) -> tuple[float, float]:
    """Bytes read and written each second, over all leases; where both sides say something of a
    lease, the host's count."""
    read = written = 0.0
    for view in views:
        if view.counted is not None:
            read += view.counted.read_bytes_per_s or 0.0
            written += view.counted.written_bytes_per_s or 0.0
        elif view.measured is not None and view.measured.age_ms <= FRESH_MS:
            read += view.measured.read.bytes_per_s if view.measured.read else 0.0
            written += view.measured.write.bytes_per_s if view.measured.write else 0.0
    return read, written


def _rate(grown: int, passed_s: float) -> float | None:
    return round(grown / passed_s, 1) if passed_s > 0 else None
