"""What the server counts, in Prometheus text. No identifier ever becomes a label."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LOGS = ("certificates", "acts")
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class CosigningFigures:
    """What became of asking the witnesses of one log. `late` did not answer in time, or were not
    asked again so soon; `by_any` and `by_all`: entries of the largest checkpoint that one of them,
    or each of them, cosigned."""

    asked: Counter
    given: Counter
    late: Counter
    refused: Counter
    by_any: Gauge
    by_all: Gauge

    def count(self, size: int, given: int, late: int, refused: int) -> None:
        """Witnesses that were asked for a checkpoint of `size` entries, by what they did."""
        self.asked.inc(given + late + refused)
        self.given.inc(given)
        self.late.inc(late)
        self.refused.inc(refused)
        if given:
            self.by_any.set(size)
            if not late + refused:
                self.by_all.set(size)


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

        self._cosigning = _cosigning_of(registry)

    def issued(self, count: int) -> None:
        self._issued.inc(count)

    def revoked(self) -> None:
        self._revoked.inc()

    def cosigning(self, log: str) -> CosigningFigures:
        """The figures of the witnesses of `log`: "certificates" or "acts"."""
        return self._cosigning[log]

    def text(self) -> bytes:
        """All of them, in Prometheus text format."""
        return generate_latest(self._registry)


def _cosigning_of(registry: CollectorRegistry) -> dict[str, CosigningFigures]:
    asked = Counter(
        "trustchain_cosignatures_asked_total",
        "Cosignatures asked of witnesses",
        ["log"],
        registry=registry,
    )
    given = Counter(
        "trustchain_cosignatures_given_total",
        "Cosignatures that witnesses gave",
        ["log"],
        registry=registry,
    )
    late = Counter(
        "trustchain_cosignatures_late_total",
        "Cosignatures that did not come in time",
        ["log"],
        registry=registry,
    )
    refused = Counter(
        "trustchain_cosignatures_refused_total",
        "Cosignatures that witnesses refused",
        ["log"],
        registry=registry,
    )
    entries = Gauge(
        "trustchain_cosigned_entries",
        "Entries of the largest checkpoint that any witness, or all of them, cosigned",
        ["log", "by"],
        registry=registry,
    )
    return {
        log: CosigningFigures(
            asked.labels(log),
            given.labels(log),
            late.labels(log),
            refused.labels(log),
            entries.labels(log, "any"),
            entries.labels(log, "all"),
        )
        for log in LOGS
    }
