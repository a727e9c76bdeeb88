"""Hybrid X.509 certificates, written: two public keys and two signatures in one certificate.

The outer key and signature are classical, so any tool verifies the chain. The inner ones are
FALCON-1024, in the extensions of `alternative`; `cryptography` cannot sign what the inner signature
covers, so a certificate is built twice: once to know the bytes that FALCON signs, once with the
signature in place. Sources: ITU-T X.509 (10/2019) clause 9.8; RFC 5280.

Serial numbers and times are arguments; times are whole seconds since 1970.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hypermesh._native import x509_self_signed
from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys, key_id
from hypermesh.trustchain import alternative, oids
from hypermesh.wire.ids import GenesisId, NodeId, OwnerId
from hypermesh.wire.keys import PublicKeys

SERIAL_ENTROPY_BYTES = 19
"""Random bytes in a serial number; with the octet before them it has 20, the most that RFC 5280
section 4.1.2.2 allows."""


@dataclass(frozen=True, slots=True)
class AuthorityKeys:
    """The two keys a certificate authority signs with; `outer` is a P-256 key."""

    outer: EllipticCurvePrivateKey
    inner: FalconKey


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate in DER, and the keys that it names."""

    certificate: bytes
    keys: AuthorityKeys


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


def root_certificate(keys: AuthorityKeys, network: str, validity: Validity, serial: int) -> bytes:
    """The self-signed root CA of the network called `network`, DER. It cannot name the genesis id,
    which is a digest over it."""
    name = authority_name(network, "Root CA")
    builder = _authority(keys, name, path_length=1).issuer_name(name)
    return _signed(_timed(builder, validity, serial), keys)


def issuing_certificate(
    keys: AuthorityKeys, root: Authority, network: str, validity: Validity, serial: int
) -> bytes:
    """The CA below `root` that signs nodes and no further CA, DER."""
    builder = _authority(keys, authority_name(network, "Issuing CA"), path_length=0)
    return _signed(_timed(_below(root, builder), validity, serial), root.keys)


def cross_certificate(
    partner: bytes,
    root: Authority,
    permitted: Sequence[str],
    excluded: Sequence[str],
    policies: Sequence[x509.ObjectIdentifier],
    validity: Validity,
    serial: int,
) -> bytes:
    """The certificate (DER) by which those below `root` trust another network's issuing CA, whose
    certificate is `partner` (DER): the same name and keys, for the DNS names `permitted` without
    those `excluded`, under `policies`, and for no further CA.

    That the partner has both keys is for the caller to know: its own root signed them.
    """
    theirs = x509.load_der_x509_certificate(partner)
    public = theirs.public_key()
    if not isinstance(public, EllipticCurvePublicKey):
        raise TypeError("an issuing CA has a P-256 key")
    second = theirs.extensions.get_extension_for_oid(oids.SUBJECT_ALT_PUBLIC_KEY).value
    identifier = theirs.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    constraints = x509.NameConstraints(
        [x509.DNSName(name) for name in permitted] or None,
        [x509.DNSName(name) for name in excluded] or None,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(theirs.subject)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(constraints, critical=True)
        .add_extension(
            x509.CertificatePolicies([x509.PolicyInformation(each, None) for each in policies]),
            critical=False,
        )
        .add_extension(second, critical=False)
    )
    return _signed(_timed(_below(root, builder), validity, serial), root.keys)


def node_certificate(
    node: PublicKeys,
    owner: OwnerId,
    genesis: GenesisId,
    issuing: Authority,
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
            x509.DNSName(server_name(identifier, genesis)),
        ]
    )
    builder = _below(issuing, _leaf(node).add_extension(names, critical=False))
    return _signed(_timed(builder, validity, serial), issuing.keys)


def service_certificate(
    public: EllipticCurvePublicKey,
    names: Sequence[str],
    issuing: Authority,
    validity: Validity,
    serial: int,
) -> bytes:
    """The certificate of a TLS server at `names`, DER: P-256, which every client knows. It names no
    node, so STOQ believes it of nobody."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        # Critical, for there is no subject beside it (RFC 5280 section 4.2.1.6).
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=True
        )
    )
    return _signed(_timed(_below(issuing, builder), validity, serial), issuing.keys)


def server_name(node: NodeId, genesis: GenesisId) -> str:
    """The DNS name of a node in its certificate, by which TLS clients check it."""
    return f"{node[:8].hex()}.{genesis[:5].hex()}.hm.internal"


def self_signed_certificate(keys: QuantumKeys) -> bytes:
    """A certificate that says no more than `keys`, DER, always the same: for the bearer of a lease
    on `hm-session/1`, and for a node that has no certificate yet on `hm-enrol/1`.

    Nobody vouches for it, so it has no inner signature; the channel binding proves both keys. It is
    written in Rust, because the transport below needs it too.
    """
    return x509_self_signed(keys.native)


def authority_name(network: str, role: str) -> x509.Name:
    """The name of a CA of the network or organization `network`."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, network),
            x509.NameAttribute(NameOID.COMMON_NAME, f"HyperMesh {role}"),
        ]
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _authority(keys: AuthorityKeys, name: x509.Name, path_length: int) -> x509.CertificateBuilder:
    """What root and issuing CA have in common."""
    public = keys.outer.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return _with_falcon_key(builder, keys.inner.public)


def _leaf(keys: PublicKeys) -> x509.CertificateBuilder:
    """What the certificates of nodes and of sessions have in common."""
    outer = Ed25519PublicKey.from_public_bytes(keys.ed25519)
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_common_name(key_id(keys).hex()))
        .public_key(outer)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(outer), critical=False)
    )
    return _with_falcon_key(builder, keys.falcon)


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _with_falcon_key(builder: x509.CertificateBuilder, key: bytes) -> x509.CertificateBuilder:
    return _with(builder, oids.SUBJECT_ALT_PUBLIC_KEY, alternative.key_info(key))


def _with(
    builder: x509.CertificateBuilder, oid: x509.ObjectIdentifier, value: bytes
) -> x509.CertificateBuilder:
    return builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)


def _below(issuer: Authority, builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    """`builder` with the name and the key identifier of `issuer`."""
    public = issuer.keys.outer.public_key()
    return builder.issuer_name(
        x509.load_der_x509_certificate(issuer.certificate).subject
    ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)


def _timed(
    builder: x509.CertificateBuilder, validity: Validity, serial: int
) -> x509.CertificateBuilder:
    return (
        builder.serial_number(serial)
        .not_valid_before(dt.datetime.fromtimestamp(validity.not_before_s, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(validity.not_after_s, dt.UTC))
    )


def _signed(builder: x509.CertificateBuilder, keys: AuthorityKeys) -> bytes:
    """`builder` under both signatures of `keys`, the inner one first: the outer one covers it."""
    builder = _with(builder, oids.ALT_SIGNATURE_ALGORITHM, alternative.ALGORITHM)
    draft = builder.sign(keys.outer, hashes.SHA256())
    value = alternative.signature(draft.tbs_certificate_bytes, keys.inner)
    builder = _with(builder, oids.ALT_SIGNATURE_VALUE, value)
    return builder.sign(keys.outer, hashes.SHA256()).public_bytes(Encoding.DER)
