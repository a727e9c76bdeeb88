"""Revocation: seen by the next question, in every form in which it is told."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from tests.postgresql.fixtures import STORES, place_of

from hypermesh.trustchain import der
from hypermesh.trustchain.ca.algorithm import SIGNATURES, is_signed, kind_of
from hypermesh.trustchain.ca.content import Issuer, sct_list
from hypermesh.trustchain.ca.issuing import CertificateUnknown, IssuingAuthority, State, Status
from hypermesh.trustchain.ca.lists import BASE_S, REMAKE_S, RevocationLists, serials
from hypermesh.trustchain.ca.ocsp import (
    CERTIFICATES_MAX,
    REQUEST_BYTES_MAX,
    REUSE_S,
    VALIDITY_S,
    Responder,
)
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.store import Reason
from hypermesh.wire.errors import NotFound

from .companies import NOW, Company, company, issued, parsed
from .test_alterations import positions


@pytest.fixture(scope="module", params=STORES)
def classic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """A company of this module's, whose store is a file or a database."""
    return company(tmp_path_factory.mktemp("classic"), "classic", place=place_of(request))


def ocsp_request(
    chain: tuple[bytes, ...], nonce: bytes = b"", digest: hashes.HashAlgorithm | None = None
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        parsed(chain[0]),
        parsed(chain[1]),
        digest or hashes.SHA1(),  # noqa: S303
    )
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def read(response: bytes) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(response)


def is_answer_signed(response: ocsp.OCSPResponse, certificate: bytes) -> bool:
    key = parsed(certificate).public_key()
    kind = kind_of(key)
    return is_signed(
        key,  # type: ignore[arg-type]
        SIGNATURES[kind][0],
        response.tbs_response_bytes,
        response.signature,
    )


def responder_of(firm: Company, authority: IssuingAuthority) -> Responder:
    return Responder(authority.store, authority.issuer, firm.signer)


def test_good_then_revoked(any_company: Company, any_authority: IssuingAuthority) -> None:
    answer = issued(any_authority)
    responder = responder_of(any_company, any_authority)
    question = ocsp_request(answer.chain)
    good = read(responder.respond(question, NOW))
    assert good.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert good.serial_number == answer.serial
    assert is_answer_signed(good, answer.chain[1])
    assert good.this_update_utc.timestamp() == NOW
    assert good.next_update_utc is not None
    assert good.next_update_utc.timestamp() == NOW + VALIDITY_S
    assert any_authority.status(answer.serial) == Status(State.GOOD)

    revoked = any_authority.revoke(answer.serial, Reason.KEY_COMPROMISE, NOW + 1, "tester")
    assert revoked == Status(State.REVOKED, NOW + 1, Reason.KEY_COMPROMISE)
    bad = read(responder.respond(question, NOW + 1))
    assert bad.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert bad.revocation_reason is x509.ReasonFlags.key_compromise
    assert bad.revocation_time_utc is not None
    assert bad.revocation_time_utc.timestamp() == NOW + 1
    assert is_answer_signed(bad, answer.chain[1])


def test_revoking_again_changes_nothing(authority: IssuingAuthority) -> None:
    serial = issued(authority).serial
    first = authority.revoke(serial, Reason.UNSPECIFIED, NOW, "tester")
    assert authority.revoke(serial, Reason.KEY_COMPROMISE, NOW + 9, "other") == first
    with pytest.raises(CertificateUnknown):
        authority.revoke(12345, Reason.UNSPECIFIED, NOW, "tester")
    assert authority.status(12345) == Status(State.UNKNOWN)


def test_answers_are_reused_until_they_are_old_or_wrong(
    classic: Company, authority: IssuingAuthority
) -> None:
    answer = issued(authority)
    responder = responder_of(classic, authority)
    question = ocsp_request(answer.chain)
    first = responder.respond(question, NOW)
    assert responder.respond(question, NOW + REUSE_S - 1) == first
    assert responder.respond(question, NOW + REUSE_S) != first
    kept = responder.respond(question, NOW + REUSE_S + 1)
    authority.revoke(answer.serial, Reason.UNSPECIFIED, NOW + REUSE_S + 1, "tester")
    after = responder.respond(question, NOW + REUSE_S + 1)
    assert after != kept
    assert read(after).certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert read(after).revocation_reason is None


def test_a_revocation_by_another_process_is_seen(
    classic: Company, authority: IssuingAuthority
) -> None:
    answer = issued(authority)
    responder = responder_of(classic, authority)
    question = ocsp_request(answer.chain)
    responder.respond(question, NOW)
    other = classic.open()
    other.revoke(answer.serial, Reason.SUPERSEDED, NOW, "tester")
    other.close()
    status = read(responder.respond(question, NOW)).certificate_status
    assert status is ocsp.OCSPCertStatus.REVOKED


def test_a_nonce_comes_back(classic: Company, authority: IssuingAuthority) -> None:
    answer = issued(authority)
    responder = responder_of(classic, authority)
    for nonce in (bytes(range(16)), bytes(32), bytes(128)):
        told = read(responder.respond(ocsp_request(answer.chain, nonce), NOW))
        assert told.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert is_answer_signed(told, answer.chain[1])
    refused = read(responder.respond(ocsp_request(answer.chain, bytes(129)), NOW))
    assert refused.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_certificates_it_does_not_know(classic: Company, authority: IssuingAuthority) -> None:
    answer = issued(authority)
    responder = responder_of(classic, authority)
    unknown = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        *_hashes(answer.chain[1]), 4242, hashes.SHA256()
    )
    told = read(responder.respond(unknown.build().public_bytes(Encoding.DER), NOW))
    assert told.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert is_answer_signed(told, answer.chain[1])
    # The root's certificates are the root's to answer for.
    foreign = read(responder.respond(ocsp_request(answer.chain[1:]), NOW))
    assert foreign.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def _hashes(certificate: bytes) -> tuple[bytes, bytes]:
    """The two hashes of a CertID that names `certificate` as the issuer."""
    issuer = Issuer.of(certificate)
    _, key = der.read(issuer.key_info).children()
    return hashlib.sha256(issuer.name).digest(), hashlib.sha256(key.content[1:]).digest()


def test_several_certificates_in_one_request(classic: Company, authority: IssuingAuthority) -> None:
    answers = [issued(authority) for _ in range(3)]
    authority.revoke(answers[1].serial, Reason.UNSPECIFIED, NOW, "tester")
    entries = [
        der.read(der.first(ocsp_request(each.chain))).children()[0].children()[0].encoded
        for each in answers
    ]
    responder = responder_of(classic, authority)

    def asked(parts: list[bytes]) -> bytes:
        return der.sequence(der.sequence(der.sequence(*parts)))

    told = read(responder.respond(asked(entries), NOW))
    states = [each.certificate_status for each in told.responses]
    good, bad = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
    assert states == [good, bad, good]
    for wrong in (entries * CERTIFICATES_MAX, []):
        refused = read(responder.respond(asked(wrong), NOW))
        assert refused.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_no_bytes_make_the_responder_fail(classic: Company, authority: IssuingAuthority) -> None:
    """Every altered, shortened and lengthened request has an answer that can be read."""
    responder = responder_of(classic, authority)
    question = ocsp_request(issued(authority).chain, bytes(16))
    wrong = [question[:length] for length in range(len(question))]
    wrong += [question + b"\x00", bytes(REQUEST_BYTES_MAX + 1), b"\x30\x80\x00\x00"]
    for position in range(len(question)):
        changed = bytearray(question)
        changed[position] ^= 1 << position % 8
        wrong.append(bytes(changed))
    for each in wrong:
        told = read(responder.respond(each, NOW))
        assert told.response_status in set(ocsp.OCSPResponseStatus)


def test_no_byte_of_an_answer_can_be_changed(
    any_company: Company, any_authority: IssuingAuthority
) -> None:
    answer = issued(any_authority)
    told = responder_of(any_company, any_authority).respond(ocsp_request(answer.chain), NOW)
    body = read(told).tbs_response_bytes
    start = told.index(body)
    for position in range(start, start + len(body)):
        changed = bytearray(told)
        changed[position] ^= 1 << position % 8
        try:
            response = read(bytes(changed))
            is_believed = is_answer_signed(response, answer.chain[1])
        except ValueError:
            continue
        assert not is_believed


def test_hybrid_answers_carry_the_sct(tmp_path_factory: pytest.TempPathFactory) -> None:
    firm = company(tmp_path_factory.mktemp("hybrid"), "hybrid")
    authority = firm.open()
    answer = issued(authority, Kind.NODE)
    told = read(responder_of(firm, authority).respond(ocsp_request(answer.chain), NOW))
    (extension,) = list(told.single_extensions)
    assert extension.oid.dotted_string == "1.3.6.1.4.1.11129.2.4.5"
    assert sct_list([answer.sct]) in extension.value.public_bytes()
    authority.close()


@pytest.fixture(params=STORES)
def firm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Company:
    directory = tmp_path_factory.mktemp("firm")
    return company(directory, "classic", shards=3, place=place_of(request))


def test_lists_come_in_parts_and_grow_at_once(firm: Company) -> None:
    authority = firm.open()
    lists = RevocationLists(authority.store, authority.issuer, firm.signer)
    answers = [issued(authority) for _ in range(12)]
    shards = {each.serial: authority.issuer.shard_of(each.serial) for each in answers}
    revoked: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    numbers = {shard: number_of(lists.complete(shard, NOW)) for shard in range(3)}
    for later, (serial, shard) in enumerate(shards.items()):
        authority.revoke(serial, Reason.SUPERSEDED, NOW + later, "tester")
        revoked[shard].add(serial)
        complete, delta = lists.complete(shard, NOW + later), lists.delta(shard, NOW + later)
        assert serials(complete) == revoked[shard] == serials(delta)
        assert number_of(complete) == number_of(delta) == numbers[shard] + 1
        numbers[shard] += 1
        point = parsed(answers[later].chain[0]).extensions.get_extension_for_class(
            x509.CRLDistributionPoints
        )
        named = crl(complete).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert point.value[0].full_name == named.value.full_name
        assert named.critical
        assert named.value.only_contains_user_certs
    for shard in range(3):
        assert serials(lists.complete(shard, NOW + 100)) == revoked[shard]
    with pytest.raises(NotFound):
        lists.complete(3, NOW)
    authority.close()


def test_a_delta_says_what_came_after_its_base(firm: Company) -> None:
    authority = firm.open()
    lists = RevocationLists(authority.store, authority.issuer, firm.signer)
    answers = [issued(authority) for _ in range(30)]
    mine = [each.serial for each in answers if authority.issuer.shard_of(each.serial) == 0]
    while len(mine) < 3:
        another = issued(authority)
        if authority.issuer.shard_of(another.serial) == 0:
            mine.append(another.serial)
    authority.revoke(mine[0], Reason.SUPERSEDED, NOW, "tester")
    base = lists.complete(0, NOW)
    assert serials(lists.delta(0, NOW)) == set()
    authority.revoke(mine[1], Reason.SUPERSEDED, NOW, "tester")
    delta = lists.delta(0, NOW + 1)
    indicated = crl(delta).extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert indicated.critical
    assert indicated.value.crl_number == number_of(base)
    assert serials(delta) == {mine[1]}
    # A day later there is a new base, and the delta begins anew.
    at = NOW + BASE_S
    assert serials(lists.delta(0, at)) == set()
    authority.revoke(mine[2], Reason.SUPERSEDED, at, "tester")
    assert serials(lists.delta(0, at)) == {mine[2]}
    assert serials(lists.complete(0, at)) == set(mine[:3])
    authority.close()


def test_lists_are_kept_until_they_are_old(firm: Company) -> None:
    authority = firm.open()
    lists = RevocationLists(authority.store, authority.issuer, firm.signer)
    first = lists.complete(1, NOW)
    assert lists.complete(1, NOW + REMAKE_S - 1) == first
    again = RevocationLists(authority.store, authority.issuer, firm.signer)
    assert again.complete(1, NOW + 5) == first
    anew = lists.complete(1, NOW + REMAKE_S)
    assert number_of(anew) == number_of(first) + 1
    authority.close()


def test_certificates_that_ended_leave_the_lists(firm: Company) -> None:
    authority = firm.open()
    lists = RevocationLists(authority.store, authority.issuer, firm.signer)
    answer = issued(authority, Kind.NODE)
    shard = authority.issuer.shard_of(answer.serial)
    authority.revoke(answer.serial, Reason.SUPERSEDED, NOW, "tester")
    assert serials(lists.complete(shard, answer.not_after_s)) == {answer.serial}
    assert serials(lists.complete(shard, answer.not_after_s + REMAKE_S)) == set()
    authority.close()


def test_no_byte_of_a_list_can_be_changed(
    any_company: Company, any_authority: IssuingAuthority
) -> None:
    answer = issued(any_authority)
    any_authority.revoke(answer.serial, Reason.SUPERSEDED, NOW, "tester")
    lists = RevocationLists(any_authority.store, any_authority.issuer, any_company.signer)
    whole = lists.complete(any_authority.issuer.shard_of(answer.serial), NOW)
    key = parsed(answer.chain[1]).public_key()
    assert crl(whole).is_signature_valid(key)  # type: ignore[arg-type]
    for position in positions(whole):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        try:
            is_believed = crl(bytes(changed)).is_signature_valid(key)  # type: ignore[arg-type]
        except (ValueError, x509.InvalidVersion):
            continue
        assert not is_believed, position


def crl(data: bytes) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(data)


def number_of(data: bytes) -> int:
    return crl(data).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
