"""The RFC 6962 endpoints, checked by what a client of the RFC knows alone."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.trustchain.ct.entry import read_leaf
from hypermesh.trustchain.ct.errors import EntryInvalid, NotInLog, SubmissionRefused
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.precertificate import PRECERTIFICATE_SIGNING
from hypermesh.trustchain.ct.recorder import CertificateRecorder
from hypermesh.trustchain.ct.rfc6962 import ENTRIES_MAX, Rfc6962
from hypermesh.trustchain.ct.sct import Sct, verify_sct
from hypermesh.trustchain.ct.tree import consistent, included, leaf_hash
from hypermesh.trustchain.evidence import FinalCertificate

from .samples import WAIT_S, Issuer, base64_of, begun, plain


@pytest.fixture
def log(logs: TransparencyLogs, issuer: Issuer) -> Rfc6962:
    recorder = CertificateRecorder(logs, WAIT_S)
    return Rfc6962(logs.certificates, recorder, [issuer.der])


def test_a_chain_is_added(log: Rfc6962, logs: TransparencyLogs, issuer: Issuer) -> None:
    certificate = issuer.issue("a.example")
    answer = log.add_chain(base64_of(certificate, issuer.der))
    # The root may be left out; it is the same submission.
    assert log.add_chain(base64_of(certificate)) == answer
    key = logs.certificates.identity.p256
    assert key is not None
    assert answer.signature[:2] == b"\x04\x03"
    sct = Sct(answer.id, answer.timestamp, answer.extensions, answer.signature[4:])
    leaf = verify_sct(sct, FinalCertificate(certificate, ()), key)
    logged = log.get_entries(0, 0).entries[0]
    assert logged.leaf_input == leaf
    chain = len(issuer.der).to_bytes(3, "big") + issuer.der
    assert logged.extra_data == len(chain).to_bytes(3, "big") + chain
    found = json.loads(msgspec.json.encode(answer))
    assert found["sct_version"] == 0
    assert base64.b64decode(found["id"]) == logs.certificates.identity.log_id


def test_a_precertificate_is_added(log: Rfc6962, issuer: Issuer) -> None:
    builder = issuer.builder("pre.example")
    pre = issuer.sign(builder.add_extension(x509.PrecertPoison(), critical=True))
    log.add_pre_chain(base64_of(pre))
    final = x509.load_der_x509_certificate(issuer.sign(builder))
    logged = log.get_entries(0, 0).entries[0]
    assert read_leaf(logged.leaf_input).signed == final.tbs_certificate_bytes
    assert logged.extra_data[: len(pre) + 3] == len(pre).to_bytes(3, "big") + pre
    with pytest.raises(EntryInvalid):
        log.add_chain(base64_of(pre))
    with pytest.raises(EntryInvalid):
        log.add_pre_chain(base64_of(issuer.issue("a.example")))


def test_chains_that_lead_nowhere(log: Rfc6962, logs: TransparencyLogs, issuer: Issuer) -> None:
    other = Issuer.make()  # Of the same name, with another key.
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    builder = begun("leaf", "Root", leaf_key.public_key())
    leaf = issuer.sign(builder)
    below = begun("below", "leaf", leaf_key.public_key()).sign(leaf_key, hashes.SHA256())
    for chain in (
        base64_of(other.issue("a.example")),
        base64_of(other.issue("a.example"), other.der),
        base64_of(issuer.issue("a.example"), other.der),
        base64_of(below.public_bytes(Encoding.DER), leaf, issuer.der),
        base64_of(below.public_bytes(Encoding.DER), leaf),
    ):
        with pytest.raises(SubmissionRefused):
            log.add_chain(chain)
    for malformed in ([], ["AAAA"], ["not base64!"], ["A" * 300_000], base64_of(leaf) * 17):
        with pytest.raises(EntryInvalid):
            log.add_chain(malformed)
    assert logs.certificates.head.size == 0


def test_no_precertificate_signing_certificates(log: Rfc6962, issuer: Issuer) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        begun("Pre", "Root", key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([PRECERTIFICATE_SIGNING]), critical=False)
    )
    between = Issuer(key, x509.load_der_x509_certificate(issuer.sign(builder)))
    pre = between.sign(
        between.builder("a.example").add_extension(x509.PrecertPoison(), critical=True)
    )
    with pytest.raises(SubmissionRefused, match="precertificate signing"):
        log.add_pre_chain(base64_of(pre, between.der))


def test_reads(log: Rfc6962, logs: TransparencyLogs, issuer: Issuer) -> None:
    count = ENTRIES_MAX + 44
    CertificateRecorder(logs, WAIT_S).record(
        [FinalCertificate(plain(number).certificate, (issuer.der,)) for number in range(count)]
    )
    logs.certificates.checkpoint(count)
    sth = log.get_sth()
    assert sth.tree_size == count
    signed = (
        b"\x00\x01"
        + sth.timestamp.to_bytes(8, "big")
        + sth.tree_size.to_bytes(8, "big")
        + sth.sha256_root_hash
    )
    assert sth.tree_head_signature[:2] == b"\x04\x03"
    key = logs.certificates.identity.p256
    assert key is not None
    key.verify(sth.tree_head_signature[4:], signed, ec.ECDSA(hashes.SHA256()))
    entries = log.get_entries(0, count).entries
    assert len(entries) == ENTRIES_MAX
    entries += log.get_entries(ENTRIES_MAX, count + 99).entries
    assert len(entries) == count
    for index in (0, 255, 256, count - 1):
        leaf = leaf_hash(entries[index].leaf_input)
        proof = log.get_proof_by_hash(leaf, count)
        assert proof.leaf_index == index
        assert included(sth.sha256_root_hash, index, count, leaf, proof.audit_path)
        both = log.get_entry_and_proof(index, count)
        assert both.audit_path == proof.audit_path
        assert both.leaf_input == entries[index].leaf_input
    old = logs.certificates.root(100)
    path = log.get_sth_consistency(100, count).consistency
    assert consistent(100, old, count, sth.sha256_root_hash, path)
    assert log.get_roots().certificates == [issuer.der]


def test_reads_of_what_is_not_there(log: Rfc6962, logs: TransparencyLogs) -> None:
    assert log.get_sth().tree_size == 0
    CertificateRecorder(logs, WAIT_S).record([plain(0)])
    for missing in (
        lambda: log.get_entries(1, 2),
        lambda: log.get_proof_by_hash(bytes(32), 1),
        lambda: log.get_entry_and_proof(0, 2),
        lambda: log.get_entry_and_proof(1, 1),
        lambda: log.get_sth_consistency(0, 2),
    ):
        with pytest.raises(NotInLog):
            missing()
    for malformed in (
        lambda: log.get_entries(2, 1),
        lambda: log.get_entries(-1, 1),
        lambda: log.get_sth_consistency(2, 1),
        lambda: log.get_sth_consistency(-1, 1),
        lambda: log.get_proof_by_hash(b"short", 1),
    ):
        with pytest.raises(EntryInvalid):
            malformed()
