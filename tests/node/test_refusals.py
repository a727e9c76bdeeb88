"""Refusals of peers: counted by their reason, bounded, the most recent first."""

from __future__ import annotations

from hypermesh.node.refusals import REFUSALS_KEPT, Refusals
from hypermesh.stoq.errors import CertificateExpired, PeerRevoked


def test_refusals_are_counted_by_code() -> None:
    refusals = Refusals()
    assert refusals.by_code() == []
    for kind in (PeerRevoked, CertificateExpired, PeerRevoked, CertificateExpired, PeerRevoked):
        refusals.note(kind())
    first, second = refusals.by_code()
    assert (first.code, first.title, first.count) == (PeerRevoked.code, PeerRevoked.title, 3)
    assert (second.code, second.count) == (CertificateExpired.code, 2)
    assert first.last_ms >= second.last_ms > 0


def test_old_ones_are_forgotten() -> None:
    refusals = Refusals()
    refusals.note(PeerRevoked())
    for _ in range(REFUSALS_KEPT):
        refusals.note(CertificateExpired())
    assert [(each.code, each.count) for each in refusals.by_code()] == [
        (CertificateExpired.code, REFUSALS_KEPT)
    ]
