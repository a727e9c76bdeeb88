"""A whole lease between two nodes: allocate (describe, open, activate) and release (settle).

Both go over the consumer's API; each of them waits for blocks of the ledger and for the other node.
"""

from __future__ import annotations

import time

from result import Metric, metric

from hypermesh.wire.asset import AssetKind, LeaseState
from measures.network import network

LEASES = 25
AMOUNT = 1 << 20
DURATION_MS = 60_000


def measure(leases: int = LEASES) -> list[Metric]:
    opened: list[float] = []
    settled: list[float] = []
    with network() as nodes:
        alice = nodes.found("alice")
        bob = nodes.join("bob", alice)
        asset = next(a.asset for a in bob.mesh.assets.list(AssetKind.MEMORY) if a.mine)
        for _ in range(leases):
            started = time.perf_counter()
            session = alice.mesh.leases.allocate(asset, AMOUNT, duration_ms=DURATION_MS)
            between = time.perf_counter()
            final = alice.mesh.leases.release(session.lease)
            ended = time.perf_counter()
            if final.state is not LeaseState.SETTLED:
                raise SystemExit(f"the lease is {final.state}, not settled")
            opened.append((between - started) * 1000)
            settled.append((ended - between) * 1000)
    return [
        metric("core.lease.open", opened, "ms"),
        metric("core.lease.settle", settled, "ms"),
    ]
