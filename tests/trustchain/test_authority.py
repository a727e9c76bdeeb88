"""The certificate authority: durable, idempotent, and strict about who owns a node."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.authority import (
    CLOCK_SKEW_S,
    NODE_LIFETIME_S,
    RENEWAL_AGE_MIN_S,
    RENEWAL_S,
    AuthorityMissing,
    CertificateAuthority,
    CertificateOrder,
    NodeOwned,
    NodeUnknown,
    RenewalTooLate,
    RequestConflict,
)
from hypermesh.trustchain.ca.database import StoreUnavailable
from hypermesh.trustchain.verify import Anchors, check_chain

from .samples import GENESIS, NOW

Opened = Callable[[], CertificateAuthority]


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ca")
    CertificateAuthority.found(directory, KeyStore(directory / "keys"), "test", NOW).close()
    return directory


@pytest.fixture
def authority(founded: Path) -> Iterator[CertificateAuthority]:
    opened = CertificateAuthority.open(founded, KeyStore(founded / "keys"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def owner() -> bytes:
    return QuantumKeys.generate().id


def order(owner: bytes, request: bytes | None = None) -> CertificateOrder:
    node = QuantumKeys.generate()
    return CertificateOrder(request or node.id, GENESIS, node.public, owner)


def reopened(founded: Path) -> CertificateAuthority:
    return CertificateAuthority.open(founded, KeyStore(founded / "keys"))


def test_what_it_issues_is_believed(authority: CertificateAuthority, owner: bytes) -> None:
    wanted = order(owner)
    issued = authority.certify(wanted, NOW)
    anchors = Anchors(GENESIS, authority.root, authority.issuing)
    for now_s in (NOW - CLOCK_SKEW_S, NOW, NOW + NODE_LIFETIME_S):
        certified = check_chain(authority.chain(issued), anchors, now_s=now_s)
        assert certified.keys == wanted.node
        assert certified.owner == owner
    assert certified.not_after_s == issued.not_after_s == NOW + NODE_LIFETIME_S


def test_the_same_request_has_the_same_answer_for_ever(
    authority: CertificateAuthority, founded: Path, owner: bytes
) -> None:
    wanted = order(owner)
    first = authority.certify(wanted, NOW)
    assert authority.certify(wanted, NOW + 5000) == first
    authority.close()
    again = reopened(founded)
    assert again.certify(wanted, NOW + 9000) == first
    again.close()


def test_a_certificate_is_on_the_disk_before_anyone_sees_it(
    authority: CertificateAuthority, founded: Path, owner: bytes
) -> None:
    """Another reader of the file sees it while the authority is still open, as after a kill."""
    issued = authority.certify(order(owner), NOW)
    reader = sqlite3.connect(f"file:{founded / 'ca.sqlite'}?mode=ro", uri=True)
    rows = reader.execute("SELECT certificate FROM issued WHERE node = ?", (issued.node,))
    assert rows.fetchall() == [(issued.certificate,)]
    reader.close()


def test_what_was_issued_is_listed_newest_first_in_parts(
    authority: CertificateAuthority, owner: bytes
) -> None:
    made = [authority.certify(order(owner), NOW + number) for number in range(5)]
    first = authority.issued(None, 2)
    rest = authority.issued(first[-1][0], 3)
    assert [issued for _, issued in first + rest] == made[::-1]
    assert authority.issued(1, 10) == []
    assert authority.issued(2**70, 1) == first[:1]


def test_the_store_is_set_to_survive_a_power_cut(authority: CertificateAuthority) -> None:
    with authority._database.transaction() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_an_order_that_fails_leaves_nothing(
    authority: CertificateAuthority, founded: Path, owner: bytes
) -> None:
    """Signing succeeds, the disk then refuses: no certificate, and the same order works later."""
    wanted = order(owner)
    connection = authority._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        authority.certify(wanted, NOW)
    assert authority.latest(key_id(wanted.node)) is None
    authority.close()
    again = reopened(founded)
    assert again.certify(wanted, NOW).owner == owner
    again.close()


def test_one_request_hash_is_one_certificate(authority: CertificateAuthority, owner: bytes) -> None:
    request = QuantumKeys.generate().id
    authority.certify(order(owner, request), NOW)
    with pytest.raises(RequestConflict):
        authority.certify(order(owner, request), NOW)


def test_a_node_keeps_its_owner(authority: CertificateAuthority, owner: bytes) -> None:
    wanted = order(owner)
    authority.certify(wanted, NOW)
    stranger = CertificateOrder(bytes(32), GENESIS, wanted.node, bytes(32))
    with pytest.raises(NodeOwned):
        authority.certify(stranger, NOW)


def test_serial_numbers_differ_and_have_one_length(
    authority: CertificateAuthority, owner: bytes
) -> None:
    ders = [authority.certify(order(owner), NOW).certificate for _ in range(8)]
    serials = {x509.load_der_x509_certificate(der).serial_number for der in ders}
    assert len(serials) == 8
    assert {(serial.bit_length() + 7) // 8 for serial in serials} == {20}


def test_many_threads_get_one_answer(authority: CertificateAuthority, owner: bytes) -> None:
    wanted = order(owner)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: authority.certify(wanted, NOW).certificate, range(32)))
    assert len(set(answers)) == 1


def test_renewal_begins_now_and_repeats_its_answer(
    authority: CertificateAuthority, founded: Path, owner: bytes
) -> None:
    wanted = order(owner)
    first = authority.certify(wanted, NOW)
    assert authority.renew(wanted.node, GENESIS, NOW + RENEWAL_AGE_MIN_S - 1) == first
    at = NOW + RENEWAL_AGE_MIN_S
    second = authority.renew(wanted.node, GENESIS, at)
    assert second.certificate != first.certificate
    assert (second.owner, second.not_after_s) == (owner, at + NODE_LIFETIME_S)
    authority.close()
    again = reopened(founded)
    assert again.renew(wanted.node, GENESIS, at + 10) == second
    assert again.latest(second.node) == second
    again.close()


def test_renewal_after_the_end_until_thirty_days(
    authority: CertificateAuthority, owner: bytes
) -> None:
    wanted = order(owner)
    issued = authority.certify(wanted, NOW)
    last = issued.not_after_s + RENEWAL_S
    with pytest.raises(RenewalTooLate, match="30 are allowed"):
        authority.renew(wanted.node, GENESIS, last + 1)
    assert authority.renew(wanted.node, GENESIS, last).not_after_s == last + NODE_LIFETIME_S


def test_renewal_of_a_stranger(authority: CertificateAuthority) -> None:
    with pytest.raises(NodeUnknown):
        authority.renew(QuantumKeys.generate().public, GENESIS, NOW)


def test_founding_again_changes_nothing(
    authority: CertificateAuthority, founded: Path, owner: bytes
) -> None:
    again = CertificateAuthority.found(founded, KeyStore(founded / "keys"), "other", NOW + 99)
    assert (again.root, again.issuing) == (authority.root, authority.issuing)
    again.close()


def test_founding_completes_what_a_crash_left(tmp_path: Path) -> None:
    """Keys without certificates: what there is when the founder dies between the two."""
    keys = KeyStore(tmp_path / "keys")
    CertificateAuthority.found(tmp_path, keys, "test", NOW).close()
    secrets = {name: keys.get(name) for name in keys.names()}
    for file in tmp_path.glob("ca.sqlite*"):
        file.unlink()
    with pytest.raises(AuthorityMissing):
        CertificateAuthority.open(tmp_path, keys)
    CertificateAuthority.found(tmp_path, keys, "test", NOW).close()
    assert {name: keys.get(name) for name in keys.names()} == secrets


def test_an_authority_half_made_says_so(tmp_path: Path, founded: Path) -> None:
    sqlite3.connect(tmp_path / "ca.sqlite").close()
    with pytest.raises(AuthorityMissing, match="half made"):
        CertificateAuthority.open(tmp_path, KeyStore(founded / "keys"))


def test_opening_does_not_need_the_root_key(founded: Path, tmp_path: Path, owner: bytes) -> None:
    """It can be kept elsewhere."""
    source, online = KeyStore(founded / "keys"), KeyStore(tmp_path / "keys")
    online.put("ca-issuing", source.get("ca-issuing"))
    authority = CertificateAuthority.open(founded, online)
    authority.certify(order(owner), NOW)
    authority.close()


def test_a_store_that_cannot_be_used_says_why(tmp_path: Path, founded: Path) -> None:
    (tmp_path / "ca.sqlite").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        CertificateAuthority.open(tmp_path, KeyStore(founded / "keys"))
