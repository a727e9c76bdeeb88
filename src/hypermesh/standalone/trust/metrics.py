"""What the server counts, in Prometheus text. No identifier ever becomes a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """The counters of one server; a `trustchain.ca.issuing.Tally`."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._issued = Counter(
            "trustchain_certificates_issued_total",
            "Certificates issued since the start, by the API, by ACME and for the server itself",
            registry=registry,
        )
        self._revoked = Counter(
            "trustchain_certificates_revoked_total",
            "Certificates revoked since the start, by the API and by ACME",
            registry=registry,
        )
        self.requests = Counter(
            "trustchain_requests_total",
            "Requests answered, by route and status",
            ["route", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "trustchain_request_seconds",
            "How long requests took, by route",
            ["route"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.entries = Gauge(
            "trustchain_log_entries", "Entries of a transparency log", ["log"], registry=registry
        )
        self.waiting = Gauge(
            "trustchain_log_waiting", "Submissions that wait for the log", registry=registry
        )
        self.tls_ends = Gauge(
            "trustchain_tls_not_after_seconds",
            "When the server's own certificate ends, seconds since 1970",
            registry=registry,
        )

    def issued(self, count: int) -> None:
        self._issued.inc(count)

    def revoked(self) -> None:
        self._revoked.inc()

    def text(self) -> bytes:
        """All of them, in Prometheus text format."""
        return generate_latest(self._registry)
