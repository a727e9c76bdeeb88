"""The network's authority with another issuing CA: what it answers, and what a crash leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.authority import (
    CertificateAuthority,
    CertificateOrder,
    IssuingUnknown,
)
from hypermesh.trustchain.verify import Anchors, CertificateRefused, check_chain, check_issuing

from .samples import GENESIS, NOW


def reopened(directory: Path) -> CertificateAuthority:
    return CertificateAuthority.open(directory, KeyStore(directory / "keys"))


@pytest.fixture
def founded(tmp_path: Path) -> Path:
    CertificateAuthority.found(tmp_path, KeyStore(tmp_path / "keys"), "test", NOW).close()
    return tmp_path


def order() -> CertificateOrder:
    node = QuantumKeys.generate()
    return CertificateOrder(node.id, GENESIS, node.public, QuantumKeys.generate().id)


def test_another_issuing_ca_takes_over(founded: Path) -> None:
    authority, wanted = reopened(founded), order()
    first = authority.issuing
    old = authority.certify(wanted, NOW)
    second = authority.prepare_issuing("test", NOW + 1)
    check_issuing(second, authority.root, now_s=NOW + 1)
    # Made, and not in force.
    assert authority.issuing == first
    assert authority.certify(wanted, NOW + 1) == old
    assert authority.renew(wanted.node, GENESIS, NOW + 1) == old

    authority.use_issuing(second)
    assert authority.issuing == second
    # The same request and a renewal have the answer of the new one, and the same one.
    new = authority.certify(wanted, NOW + 2)
    assert new.certificate != old.certificate
    assert authority.renew(wanted.node, GENESIS, NOW + 3) == new
    assert authority.certify(wanted, NOW + 4) == new
    assert authority.latest(old.node) == new
    for issued, issuing, other in ((old, first, second), (new, second, first)):
        chain = authority.chain(issued)
        assert chain[1:] == [issuing, authority.root]
        check_chain(chain, Anchors(GENESIS, authority.root, issuing), now_s=NOW + 2)
        with pytest.raises(CertificateRefused):
            check_chain(chain, Anchors(GENESIS, authority.root, other), now_s=NOW + 2)
    authority.close()


def test_until_it_is_used_it_stays_the_same_through_restarts(founded: Path) -> None:
    authority = reopened(founded)
    first, second = authority.issuing, authority.prepare_issuing("test", NOW)
    authority.close()
    authority = reopened(founded)
    assert authority.issuing == first
    assert authority.prepare_issuing("test", NOW + 60) == second
    authority.use_issuing(second)
    authority.close()
    authority = reopened(founded)
    assert authority.issuing == second
    third = authority.prepare_issuing("test", NOW + 120)
    assert third not in (first, second)
    authority.use_issuing(third)
    authority.close()
    assert reopened(founded).issuing == third


def test_an_issuing_ca_of_others_is_not_used(founded: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = CertificateAuthority.found(elsewhere, KeyStore(elsewhere / "keys"), "test", NOW)
    authority = reopened(founded)
    for foreign in (other.issuing, authority.root):
        with pytest.raises(IssuingUnknown):
            authority.use_issuing(foreign)
    authority.close()
    other.close()
