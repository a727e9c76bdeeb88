"""`/metrics` is what Prometheus reads: named, described, typed, and moving."""

from __future__ import annotations

import re

import httpx
from prometheus_client.parser import text_string_to_metric_families

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


def test_readiness_has_a_reason_for_each_check(owner: httpx.Client) -> None:
    assert set(owner.get("/readyz").json()) == {"ledger", "certificate", "settled", "threads"}
