"""One directory with all that both ends of a measurement need to know each other.

| file | holds |
|---|---|
| `genesis`, `root.der`, `issuing.der` | the network of STOQ's ends |
| `server.der`, `server.keys`, `client.der`, `client.keys` | a node each: certificate, secrets |
| `tls.der`, `tls.pem`, `tls.pkcs8`, `tls.key` | an Ed25519 certificate and its key, twice encoded |
| `pattern` | random bytes that timed transfers repeat |
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Authority,
    AuthorityKeys,
    Validity,
    issuing_certificate,
    node_certificate,
    root_certificate,
    serial_number,
)

PATTERN_BYTES = 262_139
"""The largest prime below 2^18: a period that no datagram, record or write is a multiple of, and
that stays in the processor's second-level cache."""
TLS_NAME = "bench.hm.internal"
HOUR_S = 3600
LASTING_S = 24 * HOUR_S


def make(directory: Path) -> None:
    """Fill `directory`, which exists."""
    now = int(time.time())
    validity = Validity(now - HOUR_S, now + LASTING_S)
    root_keys, issuing_keys = _authority_keys(), _authority_keys()
    root = Authority(root_certificate(root_keys, "bench", validity, _serial()), root_keys)
    issuing = Authority(
        issuing_certificate(issuing_keys, root, "bench", validity, _serial()), issuing_keys
    )
    genesis = secrets.token_bytes(32)
    files = {
        "genesis": genesis,
        "root.der": root.certificate,
        "issuing.der": issuing.certificate,
        "pattern": secrets.token_bytes(PATTERN_BYTES),
        **_tls(),
    }
    for who in ("server", "client"):
        keys = QuantumKeys.generate()
        owner = secrets.token_bytes(32)
        leaf = node_certificate(keys.public, owner, genesis, issuing, validity, _serial())
        files |= {f"{who}.der": leaf, f"{who}.keys": keys.secret_bytes()}
    for name, content in files.items():
        (directory / name).write_bytes(content)


def _tls() -> dict[str, bytes]:
    """A certificate that signs itself, as any TLS library takes it."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, TLS_NAME)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(seconds=HOUR_S))
        .not_valid_after(now + dt.timedelta(seconds=LASTING_S))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
        .sign(key, None)
    )
    pkcs8 = PrivateFormat.PKCS8
    return {
        "tls.der": certificate.public_bytes(Encoding.DER),
        "tls.pem": certificate.public_bytes(Encoding.PEM),
        "tls.pkcs8": key.private_bytes(Encoding.DER, pkcs8, NoEncryption()),
        "tls.key": key.private_bytes(Encoding.PEM, pkcs8, NoEncryption()),
    }


def _authority_keys() -> AuthorityKeys:
    return AuthorityKeys(ec.generate_private_key(ec.SECP256R1()), FalconKey.generate())


def _serial() -> int:
    return serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES))
