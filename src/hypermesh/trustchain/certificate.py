"""Hybrid X.509 certificates, written: two public keys and two signatures in one certificate.

The outer key and signature are classical, so any tool verifies the chain. The inner ones are
FALCON-1024, in the extensions 2.5.29.72 (the subject's key), 73 (algorithm) and 74 (signature).
The inner signature covers the DER TBSCertificate without its `signature` field and without
extension 74; `cryptography` cannot sign that, so a certificate is built twice: once to know the
bytes that FALCON signs, once with the signature in place. None of the three is critical, or tools
that do not know them would refuse the chain. Sources: ITU-T X.509 (10/2019) clause 9.8; RFC 5280.

Serial numbers and times are arguments; times are whole seconds since 1970.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hypermesh._native import FalconKey, SecretKeys, x509_presigned
from hypermesh.crypto.keys import key_id
from hypermesh.trustchain import oids
from hypermesh.wire.ids import GenesisId, OwnerId
from hypermesh.wire.keys import PublicKeys

SERIAL_BYTES = 20
"""Octets of every serial number, the most that RFC 5280 section 4.1.2.2 allows."""

SERIAL_ENTROPY_BYTES = 19


@asn1.sequence
class _Algorithm:
    algorithm: x509.ObjectIdentifier


@asn1.sequence
class _PublicKeyInfo:
    algorithm: _Algorithm
    key: asn1.BitString


_FALCON = _Algorithm(algorithm=oids.FALCON_1024_PADDED)


@dataclass(frozen=True, slots=True)
class AuthorityKeys:
    """The two keys a certificate authority signs with."""

    outer: EllipticCurvePrivateKey
    """P-256."""
    inner: FalconKey


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when, in seconds since 1970, both included."""

    not_before_s: int
    not_after_s: int


def serial_number(entropy: bytes) -> int:
    """The serial number of 20 octets that `entropy` (19 random bytes) gives.

    A leading 01 makes all of them positive and of one length, so that no certificate is shorter
    than another for its number alone.
    """
    if len(entropy) != SERIAL_ENTROPY_BYTES:
        raise ValueError(f"a serial number is made of {SERIAL_ENTROPY_BYTES} random bytes")
    return int.from_bytes(b"\x01" + entropy, "big")


def root_certificate(keys: AuthorityKeys, name: str, validity: Validity, serial: int) -> bytes:
    """The self-signed root CA of the network called `name`, DER. It does not name the genesis id:
    the genesis id is a digest over it."""
    subject = _authority_name(name, "Root CA")
    builder = _authority(keys, subject, path_length=1).issuer_name(subject)
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(keys.outer.public_key())
    builder = _following(builder, key_identifier)
    return _signed(builder, keys.outer, keys.inner, validity, serial)


def issuing_certificate(
    keys: AuthorityKeys,
    root: bytes,
    root_keys: AuthorityKeys,
    name: str,
    validity: Validity,
    serial: int,
) -> bytes:
    """The CA below `root` that signs nodes and no further CA, DER."""
    builder = _authority(keys, _authority_name(name, "Issuing CA"), path_length=0)
    builder = _below(builder, x509.load_der_x509_certificate(root))
    return _signed(builder, root_keys.outer, root_keys.inner, validity, serial)


def node_certificate(
    node: PublicKeys,
    owner: OwnerId,
    genesis: GenesisId,
    issuing: bytes,
    issuing_keys: AuthorityKeys,
    validity: Validity,
    serial: int,
) -> bytes:
    """The certificate that binds a node's keys to its owner on one network, DER."""
    identifier = key_id(node)
    names = x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(f"hm:node:{identifier.hex()}"),
            x509.UniformResourceIdentifier(f"hm:owner:{owner.hex()}"),
            x509.UniformResourceIdentifier(f"hm:network:{genesis.hex()}"),
            x509.DNSName(f"{identifier[:8].hex()}.{genesis[:5].hex()}.hm.internal"),
        ]
    )
    builder = _leaf(node, identifier.hex()).add_extension(names, critical=False)
    builder = _below(builder, x509.load_der_x509_certificate(issuing))
    return _signed(builder, issuing_keys.outer, issuing_keys.inner, validity, serial)


def self_signed_certificate(
    public: PublicKeys, secret: SecretKeys, validity: Validity, serial: int
) -> bytes:
    """A certificate that says no more than its keys, DER: for the bearer of a lease on
    `hm-session/1`, and for a node that has no certificate yet on `hm-enrol/1`."""
    builder = _leaf(public, key_id(public).hex())
    return builder


def _authority_name(network: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, network),
            x509.NameAttribute(NameOID.COMMON_NAME, f"HyperMesh {role}"),
        ]
    )
