"""What a node counts, in Prometheus text and as recent latencies."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hypermesh.wire.api.ct import CtView
from hypermesh.wire.api.dns import DnsView

LATENCIES_KEPT = 1024
_DNS_LEVELS = {"signatures_held", "zones"}
"""Those of the name server's counters that go down as well as up."""
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
        self.certificate_ends = Gauge(
            "hypermesh_certificate_not_after_seconds",
            "When this node's certificate ends, seconds since 1970",
            registry=registry,
        )
        self._logged = Gauge(
            "hypermesh_log_entries",
            "Entries of the network's present transparency logs, at the node that keeps them",
            ["log"],
            registry=registry,
        )
        self._anchored = Gauge(
            "hypermesh_log_anchored_entries",
            "Entries of the present logs that the ledger has anchored",
            ["log"],
            registry=registry,
        )
        self._log_failed = Gauge(
            "hypermesh_log_failed",
            "1 where a log here takes no entries any more",
            registry=registry,
        )
        self._names = Gauge(
            "hypermesh_dns_names", "Names in the zone of the network", registry=registry
        )
        self._dns_events = Counter(
            "hypermesh_dns_events_total",
            "What the name server here has done, by kind",
            ["event"],
            registry=registry,
        )
        self._dns_seen: dict[str, int] = {}
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

    def count_logs(self, view: CtView) -> None:
        """Take over how large the present logs are, and how far they are anchored."""
        for each in view.logs:
            if each.ended_height is None:
                self._anchored.labels(each.purpose).set(each.anchored.size)
                if each.here is not None:
                    self._logged.labels(each.purpose).set(each.here.size)
        self._log_failed.set(view.failure is not None)

    def count_names(self, view: DnsView) -> None:
        """Take over what the name server counts, which begins anew when it does."""
        self._names.set(view.names)
        with self._lock:
            for event in view.counters.keys() - _DNS_LEVELS:
                count = view.counters[event]
                before = self._dns_seen.get(event, 0)
                self._dns_events.labels(event).inc(count - before if count >= before else count)
                self._dns_seen[event] = count

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
