"""Certificates to log, of a small authority, and logs to put them in."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.crypto.keystore import KeyStore
from hypermesh.postgresql.place import Place
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.evidence import FinalCertificate

ORIGIN = "trust.example/ct"
BEGIN = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
END = dt.datetime(2027, 11, 1, tzinfo=dt.UTC)
WAIT_S = 60.0
PLACE = "place"


@dataclass(frozen=True)
class Issuer:
    """A root that issues certificates for P-256 keys."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str = "Root", ca: bool = True) -> Issuer:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = begun(name, name, key.public_key()).add_extension(
            x509.BasicConstraints(ca=ca, path_length=None), critical=True
        )
        return cls(key, builder.sign(key, hashes.SHA256()))

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def builder(self, *names: str) -> x509.CertificateBuilder:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        issuer = self.certificate.subject.rfc4514_string().removeprefix("CN=")
        return begun(names[0], issuer, key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )

    def issue(self, *names: str) -> bytes:
        """A certificate for `names`, DER."""
        return self.sign(self.builder(*names))

    def sign(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def final(self, *names: str) -> FinalCertificate:
        return FinalCertificate(self.issue(*names), (self.der,))


def begun(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
    )


def place_in(directory: Path) -> Place | None:
    """The database that the logs of `directory` are in; None: a file."""
    named = directory / PLACE
    return Place(named.read_text()) if named.exists() else None


def opened(directory: Path, **options: object) -> TransparencyLogs:
    """The logs of `directory`, with keys beside them; in a database where the file `PLACE` names
    one."""
    if "store" not in options and (place := place_in(directory)) is not None:
        from hypermesh.trustchain.ct.postgresql_store import PostgresqlLogStore

        options["store"] = lambda path: PostgresqlLogStore(path, place)
    keys = KeyStore(directory / "keys")
    return TransparencyLogs(directory / "ct", keys, ORIGIN, **options)  # type: ignore[arg-type]


def plain(number: int, size: int = 300) -> FinalCertificate:
    """Bytes that stand for a certificate, where nothing reads it."""
    return FinalCertificate(number.to_bytes(8, "big") * (size // 8), (b"issuer", b"root"))


def base64_of(*certificates: bytes) -> list[str]:
    return [base64.b64encode(each).decode() for each in certificates]
