"""Bundles for tests: the fourth of five certificates of a new authority, cosigned."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.bundle import (
    Bundle,
    LogKeys,
)
from hypermesh.trustchain.ca.ceremony import found_root, install, request_issuing
from hypermesh.trustchain.ca.content import Places
from hypermesh.trustchain.ca.issuing import Order, open_issuing
from hypermesh.trustchain.ca.names import Permission
from hypermesh.trustchain.ca.policy import Grant, Grants
from hypermesh.trustchain.ca.profile import Kind, profile_of
from hypermesh.trustchain.ca.signer import stored_signer
from hypermesh.trustchain.ct.checkpoint import CosignatureVerifier, cosign
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.note import read_note, with_lines
from hypermesh.trustchain.ct.recorder import CertificateRecorder

NOW_S = 1_800_000_000
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VERIFIER = CosignatureVerifier("witness.example", WITNESS.public_key().public_bytes_raw())


def made(directory: Path, profile_name: str) -> Bundle:
    """A bundle of the fourth of five certificates, cosigned."""
    profile, places = profile_of(profile_name), Places("http://ca.example")
    keys = KeyStore(directory / "keys")
    root = found_root(directory / "root", KeyStore(directory / "rk"), "B", profile, places, NOW_S)
    signer, second = stored_signer(keys, "issuing", profile.issuing, is_hybrid=profile.is_hybrid)
    certificate = root.certify_issuing(
        request_issuing(directory / "ca", signer, second, "B"), NOW_S
    )
    install(directory / "ca", certificate, root.certificate, profile, places, NOW_S)
    logs = TransparencyLogs(directory / "log", keys, "log.example", clock_ms=lambda: NOW_S * 1000)
    policy = Grants({"t": Grant(frozenset(Kind), Permission(("dns:.example",)))})
    authority = open_issuing(
        directory / "ca", root.certificate, signer, second, CertificateRecorder(logs), policy
    )
    try:
        issued = []
        for number in range(5):
            names = [x509.DNSName(f"h{number}.example")]
            request = (
                x509.CertificateSigningRequestBuilder()
                .subject_name(x509.Name([]))
                .add_extension(x509.SubjectAlternativeName(names), critical=False)
                .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
            )
            order = Order(request.public_bytes(Encoding.DER), Kind.SERVICE, "t")
            issued.append(authority.issue(order, NOW_S))
        wanted, view = issued[3], logs.certificates
        note = read_note(view.checkpoint(5))
        note = with_lines(note, [cosign(WITNESS, VERIFIER.name, note.text, NOW_S + 7)])
        at = wanted.log_index
        return Bundle(
            1,
            wanted.chain[0],
            wanted.chain[1:],
            wanted.sct,
            view.leaf(at),
            at,
            tuple(view.inclusion(at, 5)),
            note.encoded().decode(),
            LogKeys.of(view.identity),
        )
    finally:
        authority.close()
        logs.close()
        root.close()
