"""One look at a node as it is now: what the `live` event carries."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hypermesh.ledger import identity
from hypermesh.node.chain import Chain
from hypermesh.node.condition import Condition
from hypermesh.node.holdings import Holdings
from hypermesh.node.memory_use import MemoryUse, moved_per_s
from hypermesh.node.metrics import Metrics
from hypermesh.wire.api.event import LatencyView, LinkView, LiveEvent, RatesView
from hypermesh.wire.api.network import ConnectionView
from hypermesh.wire.ids import NodeId

RATE_S = 10.0
LINKS_MAX = 256


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    height: int
    operations: int


class Live:
    """Looks at the node. One thread at a time."""

    def __init__(
        self,
        chain: Chain,
        condition: Condition,
        holdings: Holdings,
        memory: MemoryUse,
        metrics: Metrics,
        connection: Callable[[NodeId], ConnectionView],
        own: NodeId,
    ) -> None:
        self._chain = chain
        self._condition = condition
        self._holdings = holdings
        self._memory = memory
        self._metrics = metrics
        self._connection = connection
        self._own = own
        self._seen: deque[_Seen] = deque()

    def look(self) -> LiveEvent:
        """The node now."""
        ledger, health = self._chain.ledger.status(), self._condition.health()
        held, memory = self._holdings.held(), self._memory.live()
        return LiveEvent(
            time_ms=time.time_ns() // 1_000_000,
            level=health.level,
            summary=health.summary,
            height=ledger.height,
            app_hash=ledger.app_hash.hex(),
            block_time_ms=ledger.time_ms,
            block_age_ms=max(0, self._chain.now_ms() - ledger.time_ms),
            contact_age_ms=self._chain.contact_age_ms,
            assets=len(held.assets),
            leases=held.running,
            rates=self._rates(ledger.height, *moved_per_s(memory)),
            operations={
                name: LatencyView(int(each["count"]), each["p50_us"], each["p99_us"])
                for name, each in self._metrics.performance().items()
            },
            memory=memory,
            links=self._links(),
        )

    def _rates(self, height: int, read: float, written: float) -> RatesView:
        now = _Seen(time.monotonic(), height, self._metrics.operations_seen)
        while self._seen and now.at - self._seen[0].at > RATE_S:
            self._seen.popleft()
        before = self._seen[0] if self._seen else now
        self._seen.append(now)
        passed = now.at - before.at
        return RatesView(
            window_ms=int(passed * 1000),
            blocks=round((now.height - before.height) / passed, 2) if passed else 0.0,
            operations=round((now.operations - before.operations) / passed, 2) if passed else 0.0,
            memory_read_bytes=read,
            memory_written_bytes=written,
        )

    def _links(self) -> list[LinkView]:
        with self._chain.ledger.state() as state:
            others = [
                node for node, row in identity.nodes(state) if node != self._own and not row.revoked
            ][:LINKS_MAX]
        found: list[LinkView] = []
        for node in others:
            seen = self._connection(node)
            found.append(LinkView(node.hex(), seen.connected, seen.heard_ms_ago, seen.rtt_us))
        return found
