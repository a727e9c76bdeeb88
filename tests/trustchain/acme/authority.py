"""A certificate authority in a directory, small and real: what it answers is on the disk."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hypermesh.crypto.files import make_directory, replace
from hypermesh.trustchain.acme.identifier import IdentifierKind
from hypermesh.trustchain.acme.issuer import (
    CertificateId,
    CertificateRequest,
    IssuedCertificate,
    RenewalWindow,
)

LIFETIME_S = {"classic": 90 * 86_400, "short": 6 * 86_400}
DIES = "die-after-issue"
"""A file of this name in the directory: the process is killed once a certificate is durable and
before it is answered."""
HOLDS = "hold-after-issue"
"""The same instant, held for as long as this file is there, and `HELD` is there too."""
HELD = "held-after-issue"
HELD_MAX_S = 120.0


class SmallAuthority:
    """An `Issuer` of P-256 certificates below a root of its own."""

    def __init__(self, directory: Path) -> None:
        make_directory(directory, 0o700)
        self._directory = directory
        if not (directory / "root.der").exists():
            self._found()
        self._key = serialization.load_der_private_key((directory / "key.der").read_bytes(), None)
        self.root = x509.load_der_x509_certificate((directory / "root.der").read_bytes())
        self._id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()).digest

    @property
    def profiles(self) -> Mapping[str, str]:
        return {"classic": "P-256, 90 days", "short": "P-256, 6 days"}

    def issue(self, request: CertificateRequest, now_s: int) -> Sequence[bytes]:
        file = self._directory / f"order-{request.order}"
        if not file.exists():
            serial = int.from_bytes(b"\x01" + os.urandom(15), "big")
            certificate = self._certificate(request, serial, now_s)
            row = {
                "account": request.account,
                "revoked": None,
                "certificate": certificate.hex(),
                "profile": request.profile,
            }
            replace(self._directory / f"serial-{serial:x}", json.dumps(row).encode())
            replace(file, certificate)
        flag = self._directory / DIES
        if flag.exists():
            flag.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        hold, held = self._directory / HOLDS, self._directory / HELD
        if hold.exists():
            held.touch()
            end_s = time.monotonic() + HELD_MAX_S
            while hold.exists() and time.monotonic() < end_s:
                time.sleep(0.01)
        # The issuer is a root, and certbot wants a chain.
        return [file.read_bytes(), self.root.public_bytes(Encoding.DER)]

    def find(self, certificate: CertificateId) -> IssuedCertificate | None:
        row = self._row(certificate)
        if row is None:
            return None
        return IssuedCertificate(
            bytes.fromhex(row["certificate"]), row["account"], row["revoked"] is not None
        )

    def revoke(
        self, certificate: CertificateId, account: str | None, reason: int, _now_s: int
    ) -> None:
        row = self._row(certificate)
        assert row is not None
        if row["revoked"] is None:
            row["revoked"] = reason
            row["by"] = account
            file = self._directory / f"serial-{certificate.serial:x}"
            replace(file, json.dumps(row).encode())

    def renewal_window(self, certificate: CertificateId, _now_s: int) -> RenewalWindow | None:
        found = self.find(certificate)
        if found is None:
            return None
        loaded = x509.load_der_x509_certificate(found.certificate)
        start, end = (
            int(each.timestamp())
            for each in (loaded.not_valid_before_utc, loaded.not_valid_after_utc)
        )
        if found.is_revoked:
            return RenewalWindow(start, start + 1)
        return RenewalWindow(start + (end - start) * 2 // 3, end - (end - start) // 6)

    def reason(self, certificate: x509.Certificate) -> int | None:
        """Why it was revoked; None where it was not."""
        row = self._row(CertificateId(self._id, certificate.serial_number))
        assert row is not None
        return row["revoked"]

    def revoked_by(self, certificate: x509.Certificate) -> str | None:
        """The account that revoked it; None where its own key did."""
        row = self._row(CertificateId(self._id, certificate.serial_number))
        assert row is not None
        return row["by"]

    def _row(self, certificate: CertificateId) -> dict | None:
        file = self._directory / f"serial-{certificate.serial:x}"
        if certificate.authority != self._id or not file.exists():
            return None
        return json.loads(file.read_bytes())

    def _found(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Small Root")])
        now = dt.datetime.now(dt.UTC)
        root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=True,
                    crl_sign=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(key, hashes.SHA256())
        )
        replace(
            self._directory / "key.der",
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        )
        replace(self._directory / "root.der", root.public_bytes(Encoding.DER))

    def certificate_for(self, names: Sequence[str], key: object, days: int = 30) -> bytes:
        """A certificate of a server of the tests, DER."""
        general = [x509.DNSName(each) for each in names]
        general += [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        now = dt.datetime.now(dt.UTC)
        return self._signed(key, general, 77, now, now + dt.timedelta(days=days))

    def _certificate(self, request: CertificateRequest, serial: int, now_s: int) -> bytes:
        general = [
            x509.IPAddress(ipaddress.ip_address(each.value))
            if each.kind is IdentifierKind.IP
            else x509.DNSName(each.value)
            for each in request.identifiers
        ]
        key = x509.load_der_x509_csr(request.csr).public_key()
        start = dt.datetime.fromtimestamp(now_s, dt.UTC)
        end = start + dt.timedelta(seconds=LIFETIME_S[request.profile])
        return self._signed(key, general, serial, start, end)

    def _signed(self, key, general, serial, start, end) -> bytes:
        authority_key = x509.AuthorityKeyIdentifier(self._id, None, None)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(start - dt.timedelta(hours=1))
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(general), critical=True)
            .add_extension(authority_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.DER)
