"""Issuing: each profile and kind, logged first, the same answer for ever, whole after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID
from tests.postgresql.fixtures import STORES, place_of

from hypermesh.crypto.falcon import FalconKey
from hypermesh.postgresql.place import Place
from hypermesh.trustchain import alternative, der
from hypermesh.trustchain.ca.algorithm import KeyKind, KeyRefused
from hypermesh.trustchain.ca.authority import CLOCK_SKEW_S
from hypermesh.trustchain.ca.issuing import (
    BATCH_MAX,
    IssuedCertificate,
    IssuerEnded,
    IssuerMissing,
    IssuingAuthority,
    LifetimeRefused,
    Order,
    open_issuing,
)
from hypermesh.trustchain.ca.names import NameForbidden, NameRefused, general_names
from hypermesh.trustchain.ca.profile import PURPOSES, Kind
from hypermesh.trustchain.ca.signer import KeySigner, SignerUnusable
from hypermesh.trustchain.ca.store import CertificateStore, Reason
from hypermesh.trustchain.evidence import FinalCertificate, LogUnavailable, Precertificate
from hypermesh.wire.errors import InvalidInput

from .companies import (
    EVERYTHING,
    LEAVES,
    NAMES,
    NOW,
    Company,
    company,
    issued,
    named,
    order,
    parsed,
    request,
)
from .memory_log import MemoryLog, signed_entry
from .test_request import built

ROOT = Path(__file__).parents[3]


@pytest.fixture
def kept(request: pytest.FixtureRequest) -> Place | None:
    return place_of(request)


@pytest.fixture(scope="module", params=STORES)
def classic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """A company of this module's, whose store is a file or a database."""
    return company(tmp_path_factory.mktemp("classic"), "classic", place=place_of(request))


def embedded(certificate: x509.Certificate) -> bytes:
    """The one SCT in `certificate`, TLS-encoded."""
    value = certificate.extensions.get_extension_for_oid(
        ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
    ).value
    listed = der.read(value.public_bytes()).content
    assert int.from_bytes(listed[:2], "big") == len(listed) - 2
    assert int.from_bytes(listed[2:4], "big") == len(listed) - 4
    return listed[4:]


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_each_profile_is_issued(
    any_company: Company, any_authority: IssuingAuthority, kind: Kind
) -> None:
    for leaf in LEAVES[any_company.profile.name]:
        wanted = order(any_authority, kind, KeySigner.generate(leaf))
        answer = any_authority.issue(wanted, NOW)
        certificate, issuing, root = map(parsed, answer.chain)
        certificate.verify_directly_issued_by(issuing)
        issuing.verify_directly_issued_by(root)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value == general_names(named(*NAMES[kind]))
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert tuple(usages) == PURPOSES[kind].usages
        assert certificate.not_valid_before_utc.timestamp() == NOW - CLOCK_SKEW_S
        assert certificate.not_valid_after_utc.timestamp() == NOW + PURPOSES[kind].lifetime_s
        assert certificate.serial_number == answer.serial


def test_classic_and_pq_embed_the_sct_of_their_precertificate(
    any_company: Company, any_authority: IssuingAuthority
) -> None:
    if any_company.profile.is_hybrid:
        pytest.skip("hybrid certificates embed none")
    answer = issued(any_authority)
    submission = any_company.log.submissions[answer.log_index]
    assert isinstance(submission, Precertificate)
    certificate = parsed(answer.chain[0])
    sct = embedded(certificate)
    assert sct == answer.sct
    assert any_company.log.holds(sct, signed_entry(submission))
    # What a reader makes of the final certificate is what the log signed.
    assert certificate.tbs_precertificate_bytes == submission.tbs
    precertificate = parsed(submission.certificate)
    precertificate.verify_directly_issued_by(parsed(answer.chain[1]))
    poison = precertificate.extensions.get_extension_for_class(x509.PrecertPoison)
    assert poison.critical
    assert precertificate.serial_number == certificate.serial_number


def test_hybrid_certificates_are_logged_as_they_are(tmp_path: Path) -> None:
    firm = company(tmp_path, "hybrid")
    authority = firm.open()
    answer = issued(authority, Kind.NODE)
    submission = firm.log.submissions[answer.log_index]
    assert submission == FinalCertificate(answer.chain[0], answer.chain[1:])
    assert firm.log.holds(answer.sct, signed_entry(submission))
    certificates = [parsed(each) for each in answer.chain]
    for certificate, issuer in zip(certificates, [*certificates[1:], certificates[2]], strict=True):
        public = alternative.key_in(issuer)
        assert public is not None
        assert alternative.holds(certificate, public)
        assert not alternative.holds(certificate, FalconKey.generate().public)
    assert alternative.key_in(certificates[0]) is not None
    authority.close()


def test_the_same_order_has_the_same_answer_for_ever(
    any_company: Company, any_authority: IssuingAuthority
) -> None:
    wanted = order(any_authority)
    first = any_authority.issue(wanted, NOW)
    assert any_authority.issue(wanted, NOW + 5000) == first
    again = any_company.open()
    assert again.issue(wanted, NOW + 9000) == first
    other = Order(wanted.request, wanted.kind, wanted.requester, reference=b"another")
    assert again.issue(other, NOW).serial != first.serial
    again.close()


def test_an_order_is_renewed_when_it_is_time_and_not_before(
    classic: Company, authority: IssuingAuthority
) -> None:
    wanted = order(authority)
    first = authority.renew(wanted, NOW)
    window = authority.renewal(first.serial, NOW)
    assert authority.renew(wanted, window.start_s - 1) == first
    now_s, made = window.start_s, [first]
    for _ in range(9):
        made.append(authority.renew(wanted, now_s))
        assert authority.renew(wanted, now_s) == made[-1]
        now_s = authority.renewal(made[-1].serial, now_s).start_s
    assert len({each.serial for each in made}) == 10
    assert len({each.log_index for each in made}) == 10
    assert authority.issue(wanted, now_s) == first, "this one is for ever"

    # Another process renews the same order to the same certificate.
    other = classic.open()
    last = other.renew(wanted, now_s)
    assert last not in made
    assert authority.renew(wanted, now_s) == last
    other.close()


def test_a_revoked_certificate_is_not_given_again(authority: IssuingAuthority) -> None:
    wanted = order(authority)
    serials = []
    for _ in range(3):
        found = authority.renew(wanted, NOW)
        assert authority.renew(wanted, NOW) == found
        serials.append(found.serial)
        authority.revoke(found.serial, Reason.KEY_COMPROMISE, NOW, "tester")
    assert len(set(serials)) == 3
    expired = authority.renew(wanted, NOW)
    later = authority.renew(wanted, expired.not_after_s + 1)
    assert later.not_before_s > expired.not_before_s


def test_a_renewal_that_the_log_did_not_take_is_taken_up(
    classic: Company, authority: IssuingAuthority
) -> None:
    wanted = order(authority)
    first = authority.renew(wanted, NOW)
    now_s = authority.renewal(first.serial, NOW).start_s
    classic.log.is_down = True
    try:
        with pytest.raises(LogUnavailable):
            authority.renew(wanted, now_s)
    finally:
        classic.log.is_down = False
    [draft] = authority.store.unrecorded(10)
    assert authority.renew(wanted, now_s + 60).serial == draft.serial
    assert authority.renew(wanted, now_s + 60).serial == draft.serial


def test_what_is_issued_and_revoked_is_counted_once(classic: Company) -> None:
    counted = {"issued": 0, "revoked": 0}

    class Counting:
        def issued(self, count: int) -> None:
            counted["issued"] += count

        def revoked(self) -> None:
            counted["revoked"] += 1

    authority = open_issuing(
        classic.online,
        classic.root.certificate,
        classic.signer,
        classic.second,
        classic.log,
        EVERYTHING,
        classic.acts,
        classic.store(),
        Counting(),
    )
    wanted = [order(authority) for _ in range(3)]
    authority.issue_all(wanted, NOW)
    one = authority.issue(wanted[0], NOW)
    for _ in range(2):
        authority.revoke(one.serial, Reason.SUPERSEDED, NOW, "tester")
    assert counted == {"issued": 3, "revoked": 1}
    authority.close()


def test_names_that_were_validated_are_those_of_the_request(authority: IssuingAuthority) -> None:
    key = KeySigner.generate(KeyKind.P256)
    names = named("dns:a.example.internal", "dns:b.example.internal")
    both = request(key, ["dns:b.example.internal", "dns:a.example.internal"])
    for data in (both, request(key, [])):
        answer = authority.issue(Order(data, Kind.SERVICE, "tester", names=names), NOW)
        kept = authority.store.by_serial(answer.serial)
        assert kept is not None
        assert kept.names == tuple(map(str, names))
    with pytest.raises(NameForbidden, match="validated"):
        authority.issue(Order(both, Kind.SERVICE, "tester", names=names[:1]), NOW)


def test_what_is_not_permitted_is_refused(authority: IssuingAuthority) -> None:
    for names, kind in (
        (["dns:www.example.org"], Kind.SERVICE),
        (["ip:2001:db9::1"], Kind.SERVICE),
        (["email:who@example.org"], Kind.USER),
    ):
        with pytest.raises(NameForbidden):
            authority.issue(order(authority, kind, names=names), NOW)
    wanted = order(authority)
    for requester in ("stranger", "Tester"):
        with pytest.raises(NameForbidden, match=requester):
            authority.issue(Order(wanted.request, wanted.kind, requester), NOW)
    with pytest.raises(NameRefused, match="carries no name"):
        authority.issue(order(authority, Kind.USER, names=["dns:a.example.internal"]), NOW)
    with pytest.raises(NameRefused, match="names nothing"):
        authority.issue(order(authority, names=[]), NOW)
    wild = order(authority, names=["dns:*.apps.example.internal"])
    assert authority.issue(wild, NOW).chain
    for lifetime_s in (1, 365 * 86_400):
        wrong = Order(wanted.request, wanted.kind, "tester", lifetime_s=lifetime_s)
        with pytest.raises(LifetimeRefused):
            authority.issue(wrong, NOW)
    with pytest.raises(InvalidInput, match="requester"):
        authority.issue(Order(wanted.request, wanted.kind, ""), NOW)
    with pytest.raises(InvalidInput, match="reference"):
        authority.issue(Order(wanted.request, wanted.kind, "tester", reference=bytes(65)), NOW)


def test_each_profile_certifies_its_keys_alone(any_authority: IssuingAuthority) -> None:
    for kind in KeyKind:
        if kind is KeyKind.RSA or kind in any_authority.profile.leaves:
            continue
        with pytest.raises(KeyRefused, match="certifies"):
            any_authority.issue(order(any_authority, key=KeySigner.generate(kind)), NOW)


def test_rsa_keys_of_classic_services(authority: IssuingAuthority) -> None:
    data = built(rsa.generate_private_key(65_537, 2048), [x509.DNSName("r.example.internal")])
    answer = authority.issue(Order(data, Kind.SERVICE, "tester"), NOW)
    usage = parsed(answer.chain[0]).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment


def test_the_key_of_the_authority_is_not_certified(
    classic: Company, authority: IssuingAuthority
) -> None:
    data = request(classic.signer, ["dns:a.example.internal"])
    with pytest.raises(KeyRefused, match="issuing CA"):
        authority.issue(Order(data, Kind.SERVICE, "tester"), NOW)


def test_hybrid_nodes_bring_a_falcon_key_and_no_other_profile_takes_one(
    any_authority: IssuingAuthority,
) -> None:
    key = KeySigner.generate(LEAVES[any_authority.profile.name][0])
    second = None if any_authority.profile.is_hybrid else FalconKey.generate()
    data = request(key, NAMES[Kind.NODE], second)
    with pytest.raises(KeyRefused, match="FALCON"):
        any_authority.issue(Order(data, Kind.NODE, "tester"), NOW)


def test_an_authority_issues_nothing_that_outlives_it(
    classic: Company, authority: IssuingAuthority
) -> None:
    end = authority.issuer.validity.not_after_s
    with pytest.raises(IssuerEnded):
        authority.issue(order(authority), end - 86_400)


def test_a_batch_shares_one_call_of_the_log(classic: Company, authority: IssuingAuthority) -> None:
    key = KeySigner.generate(KeyKind.P256)
    orders = [
        order(authority, key=key, reference=number.to_bytes(2, "big"))
        for number in range(BATCH_MAX + 10)
    ]
    orders[7] = order(authority, names=["dns:elsewhere.example.org"])
    orders[9] = orders[8]
    before = len(classic.log.calls)
    answers = authority.issue_all(orders, NOW)
    assert classic.log.calls[before:] == [BATCH_MAX - 1, 9]
    assert isinstance(answers[7], NameForbidden)
    assert answers[9] == answers[8]
    good = [each for each in answers if isinstance(each, IssuedCertificate)]
    assert len({each.serial for each in good}) == len(orders) - 2
    assert authority.issue_all(orders[:3], NOW + 60) == answers[:3]


def test_many_threads_are_carried_together(classic: Company, authority: IssuingAuthority) -> None:
    key = KeySigner.generate(KeyKind.P256)
    wanted = [order(authority, key=key, reference=b"t%d" % number) for number in range(32)]
    orders = [each for each in wanted for _ in range(2)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda each: authority.issue(each, NOW), orders))
    assert answers[::2] == answers[1::2]
    assert len({each.serial for each in answers}) == 32


def test_without_the_log_nothing_is_shown_and_nothing_lost(
    classic: Company, authority: IssuingAuthority
) -> None:
    wanted = [order(authority), order(authority)]
    classic.log.is_down = True
    try:
        with pytest.raises(LogUnavailable):
            authority.issue(wanted[0], NOW)
        assert [type(each) for each in authority.issue_all(wanted, NOW)] == [LogUnavailable] * 2
    finally:
        classic.log.is_down = False
    drafts = authority.store.unrecorded(10)
    assert len(drafts) == 2
    assert all(each.recording is None for each in drafts)
    answer = authority.issue(wanted[0], NOW + 100)
    assert answer.serial in {each.serial for each in drafts}
    assert authority.complete_all(NOW + 200) == 1
    assert authority.store.unrecorded(10) == []


@pytest.mark.parametrize("instant", ["before log", "after log", "before store", "after store"])
@pytest.mark.parametrize("kept", STORES, indirect=True)
def test_killed_at_any_step_it_is_completed_by_asking_again(
    tmp_path: Path, instant: str, kept: Place | None
) -> None:
    """Another process issues and ends by SIGKILL at the instant."""
    firm = company(tmp_path, "classic", place=kept)
    kept_log = tmp_path / "log.json"
    log = MemoryLog(NOW * 1000, kept_log)
    authority = replace(firm, log=log).open()
    wanted = order(authority)
    (tmp_path / "request.der").write_bytes(wanted.request)
    where = [] if kept is None else [kept.url]
    done = subprocess.run(
        [sys.executable, "-m", "tests.trustchain.ca.killed", tmp_path, instant, *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    log.reload()
    is_logged = instant != "before log"
    assert len(log.entries) == is_logged
    drafts = authority.store.unrecorded(10)
    assert len(drafts) == (instant != "after store")
    found = authority.store.by_name(NAMES[Kind.SERVICE][0], 10)
    answer = authority.issue(wanted, NOW + 50)
    assert [each.serial for each in found] == [answer.serial]
    assert (answer.not_before_s, answer.not_after_s) == (
        found[0].not_before_s,
        found[0].not_after_s,
    )
    parsed(answer.chain[0]).verify_directly_issued_by(parsed(answer.chain[1]))
    assert authority.issue(wanted, NOW + 60) == answer
    # Neither a second certificate nor a second entry of the log came of it.
    assert len(authority.store.by_name(NAMES[Kind.SERVICE][0], 10)) == 1
    assert (len(log.entries), answer.log_index) == (1, 0)
    authority.close()


def test_what_was_issued_is_found(authority: IssuingAuthority) -> None:
    key = KeySigner.generate(KeyKind.P256)
    names = ["dns:found.example.internal", "dns:also.example.internal"]
    answer = authority.issue(order(authority, key=key, names=names), NOW + 77)
    kept = authority.find(answer.chain[0])
    assert kept is not None
    store = authority.store
    assert store.by_serial(answer.serial) == kept
    for name in names:
        assert store.by_name(name, 10) == [kept]
    assert store.by_holder(kept.holder, 10) == [kept]
    assert store.by_requester("tester", 1) == [kept]
    assert store.issued_between(NOW + 77, NOW + 78, 10) == [kept]
    assert store.by_name("dns:nowhere.example.internal", 10) == []
    assert store.by_serial(5) is None
    assert store.by_serial(-5) is None
    assert store.by_serial(1 << 200) is None
    assert authority.find(answer.chain[1]) is None
    assert authority.find(b"nothing") is None


@pytest.mark.parametrize("classic", ["sqlite"], indirect=True)
def test_lookups_use_an_index(authority: IssuingAuthority) -> None:
    """No lookup reads the whole table, whatever its size."""
    statements: list[str] = []
    connection = authority.store._database._connection  # type: ignore[attr-defined]
    connection.set_trace_callback(statements.append)
    _look_up(authority.store)
    connection.set_trace_callback(None)
    asked = [each for each in statements if each.startswith("SELECT")]
    assert len(asked) >= 10
    for statement in asked:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        scans = [
            step
            for step in plan
            if step.startswith("SCAN")
            and "USING INDEX certificates_unrecorded" not in step
            and step not in ("SCAN told", "SCAN CONSTANT ROW")
            # What a part of the question has answered.
            and not step.startswith("SCAN kind_")
        ]
        assert not scans, (statement, plan)
        assert not any("TEMP B-TREE" in step for step in plan), (statement, plan)


def test_opening_needs_the_right_root_and_keys(classic: Company, tmp_path: Path) -> None:
    other = company(tmp_path, "classic")
    log = MemoryLog(NOW)
    with pytest.raises(IssuerMissing, match="no issuing CA"):
        open_issuing(tmp_path / "x", other.root.certificate, other.signer, None, log, EVERYTHING)
    with pytest.raises(IssuerMissing, match="another root"):
        open_issuing(other.online, classic.root.certificate, other.signer, None, log, EVERYTHING)
    with pytest.raises(SignerUnusable, match="not the key"):
        open_issuing(other.online, other.root.certificate, classic.signer, None, log, EVERYTHING)
    with pytest.raises(SignerUnusable, match="FALCON"):
        open_issuing(
            other.online,
            other.root.certificate,
            other.signer,
            FalconKey.generate(),
            log,
            EVERYTHING,
        )


@pytest.mark.parametrize("classic", ["postgresql"], indirect=True)
def test_lookups_in_a_database_use_an_index(
    authority: IssuingAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, tuple[object, ...]]] = []
    from hypermesh.postgresql.marks import marked
    from hypermesh.trustchain.ca import postgresql_store

    pool = authority.store._pool  # type: ignore[attr-defined]
    answered = postgresql_store._Rows.all

    def noted(rows: postgresql_store._Rows, query: str, *values: object) -> list[Any]:
        asked.append((marked(query), values))
        return answered(rows, query, *values)

    monkeypatch.setattr(postgresql_store._Rows, "all", noted)
    _look_up(authority.store)
    assert len(asked) >= 10
    with pool.transaction(writes=False) as connection:
        # Small tables are read as they are; one that has an index uses it where it must.
        connection.execute("SET LOCAL enable_seqscan = off")
        for query, values in asked:
            plan = connection.execute(f"EXPLAIN {query}", values).fetchall()
            assert not any("Seq Scan" in step for (step,) in plan), (query, plan)
        whole = connection.execute("EXPLAIN SELECT 1 FROM certificates WHERE kind = 'x'").fetchall()
        assert any("Seq Scan" in step for (step,) in whole), "the check sees one"


def _look_up(store: CertificateStore) -> None:
    store.by_serial(5)
    store.by_name("dns:a", 5)
    store.by_holder(bytes(32), 5)
    store.by_requester("a", 5)
    store.issued_between(1, 2, 5)
    store.find([bytes(32)])
    store.unrecorded(5)
    store.revocations(b"", 0, 0, 0)
    store.revocation_count(b"", 0)
    store.untold(("ca.revoke",), 5)
    store.untold(("ca.revoke", "ca.install", "ca.retire"), 5)
