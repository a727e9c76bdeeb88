"""What a node counts, in Prometheus text and as recent latencies."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCIES_KEPT = 1024
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """Counters of one node. No identifier ever becomes a label: their number would be unbounded."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.height = Gauge(
            "hypermesh_ledger_height_blocks", "Height of the ledger here", registry=registry
        )
        self.transactions = Counter(
            "hypermesh_ledger_transactions_total",
            "Transactions in blocks seen here, by outcome",
            ["outcome"],
            registry=registry,
        )
        self.leases = Counter(
            "hypermesh_lease_events_total", "Lease events seen here", ["event"], registry=registry
        )
        self.jobs = Counter(
            "hypermesh_job_runs_total", "Jobs run here for others", ["reason"], registry=registry
        )
        self.refusals = Counter(
            "hypermesh_stoq_refusals_total",
            "Peers that were not admitted, or whose rights ended, by error code",
            ["code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "hypermesh_operation_seconds",
            "How long operations took that this node waited for",
            ["operation"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.operations_seen = 0
        """Transactions in blocks seen here, whatever became of them."""
        self._recent: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Measure what happens inside, whether it succeeds or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self._seconds.labels(operation).observe(elapsed)
            with self._lock:
                kept = self._recent.setdefault(operation, deque(maxlen=LATENCIES_KEPT))
                kept.append(elapsed)

    def exposition(self) -> bytes:
        """Prometheus text exposition format 0.0.4."""
        return generate_latest(self._registry)

    def performance(self) -> dict[str, dict[str, float]]:
        """Count, median and 99th percentile of the last operations, in microseconds."""
        with self._lock:
            recent = {name: sorted(kept) for name, kept in self._recent.items() if kept}
        return {
            name: {
                "count": len(values),
                "p50_us": round(values[len(values) // 2] * 1e6, 1),
                "p99_us": round(values[min(len(values) - 1, len(values) * 99 // 100)] * 1e6, 1),
            }
            for name, values in recent.items()
        }
