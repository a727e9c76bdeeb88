"""`/metrics` is what Prometheus reads: named, described, typed, and moving."""

from __future__ import annotations

import re
import time

import dns.message
import dns.query
import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from hypermesh.wire.api.dns import DnsView

from .nodes import Running, eventually


def families(client: httpx.Client) -> dict[str, object]:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def test_every_family_is_named_described_and_typed(owner: httpx.Client) -> None:
    found = families(owner)
    assert len(found) >= 5
    for name, family in found.items():
        assert re.fullmatch(r"hypermesh_[a-z]+_[a-z_]+", name), name
        assert family.documentation  # type: ignore[attr-defined]
        assert family.type in ("counter", "gauge", "histogram"), name  # type: ignore[attr-defined]


def test_no_identifier_is_a_label(owner: httpx.Client, alice: Running) -> None:
    for family in families(owner).values():
        for sample in family.samples:  # type: ignore[attr-defined]
            for value in sample.labels.values():
                assert not re.fullmatch(r"[0-9a-f]{8,}", value), sample


def test_they_follow_what_happens(owner: httpx.Client, bob: Running) -> None:
    def height() -> float:
        family = families(owner)["hypermesh_ledger_height_blocks"]
        return float(family.samples[0].value)  # type: ignore[attr-defined]

    before = height()
    body = {"to": bob.owner, "amount": 1}
    assert owner.post("/v1/accounts/transfer", json=body).status_code == 201
    assert eventually(lambda: height() > before, "the height in the metrics rises")


def test_logs_and_names_are_counted(owner: httpx.Client, alice: Running, bob: Running) -> None:
    def values(name: str) -> dict[str, float]:
        family = families(owner)[name]
        samples = family.samples  # type: ignore[attr-defined]
        return {"".join(each.labels.values()): each.value for each in samples}

    def anchored() -> bool:
        sizes = values("hypermesh_log_entries")
        return (
            sizes.get("certificates", 0) >= 2 and values("hypermesh_log_anchored_entries") == sizes
        )

    assert eventually(anchored, "both certificates are logged, and the ledger has the logs")
    assert values("hypermesh_log_failed") == {"": 0}
    assert values("hypermesh_certificate_not_after_seconds")[""] > time.time()
    assert values("hypermesh_dns_names")[""] > 0
    place = msgspec.json.decode(owner.get("/v1/dns").content, type=DnsView).addresses[0]
    before = values("hypermesh_dns_events")["udp"]
    question = dns.message.make_query("trust.hypermesh.online", "AAAA")
    assert dns.query.udp(question, place.host, 30, place.port).answer
    assert eventually(lambda: values("hypermesh_dns_events")["udp"] > before, "it is counted")


def test_readiness_has_a_reason_for_each_check(owner: httpx.Client) -> None:
    assert set(owner.get("/readyz").json()) == {"ledger", "certificate", "settled", "threads"}
