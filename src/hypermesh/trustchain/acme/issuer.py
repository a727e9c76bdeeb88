"""The certificate authority, as the ACME server needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509

from hypermesh.trustchain.acme.encoding import base64url, from_base64url
from hypermesh.trustchain.acme.identifier import Identifier
from hypermesh.trustchain.acme.problem import malformed

SERIAL_BYTES_MAX = 20
KEY_IDENTIFIER_BYTES_MAX = 64


@dataclass(frozen=True, slots=True)
class CertificateId:
    """Who issued a certificate, by key identifier, and its serial number: what names it in renewal
    information (RFC 9773 section 4.1)."""

    authority: bytes
    serial: int

    def __str__(self) -> str:
        # The content octets of a DER INTEGER: with a zero before a first bit that is set.
        serial = self.serial.to_bytes(self.serial.bit_length() // 8 + 1, "big")
        return f"{base64url(self.authority)}.{base64url(serial)}"

    @classmethod
    def parse(cls, text: str) -> CertificateId:
        """Raises `AcmeRefusal`: `malformed`."""
        authority, dot, serial = text.partition(".")
        if not dot:
            raise malformed("A certificate identifier has two parts, with a dot between")
        data = (from_base64url(authority), from_base64url(serial))
        if not (
            0 < len(data[0]) <= KEY_IDENTIFIER_BYTES_MAX
            and 0 < len(data[1]) <= SERIAL_BYTES_MAX + 1
        ):
            raise malformed("A part of the certificate identifier has no possible length")
        found = cls(data[0], int.from_bytes(data[1], "big"))
        if str(found) != text:
            raise malformed("The serial number is not written as in DER")
        return found

    @classmethod
    def of(cls, certificate: x509.Certificate) -> CertificateId | None:
        """That of `certificate`; None where it does not name its issuer's key."""
        try:
            extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
            return None
        authority = extension.value.key_identifier
        return None if authority is None else cls(authority, certificate.serial_number)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What is to be certified: the key in `csr` (DER, its signature verified) for `identifiers`,
    which `account` has shown to control, under `profile`. `order` names the request."""

    order: str
    account: str
    csr: bytes
    identifiers: tuple[Identifier, ...]
    profile: str


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate of the authority, DER, the account that it was issued to, where that was one
    of ACME, and whether it is revoked."""

    certificate: bytes
    account: str | None
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """When a certificate is best renewed, in seconds since 1970 (RFC 9773 section 4.2)."""

    start_s: int
    end_s: int


class Issuer(Protocol):
    """May be called from several threads. What it answers is durable.

    A refusal with a status below 500 stands; any other may be asked again.
    """

    @property
    def profiles(self) -> Mapping[str, str]:
        """What each profile is, by its name; the first is that of who asks for none."""
        ...

    def issue(self, request: CertificateRequest, now_s: int) -> Sequence[bytes]:
        """The certificate and its issuers without the root, DER. Again for the same `order` it is
        the same certificate, also after a crash."""
        ...

    def find(self, certificate: CertificateId) -> IssuedCertificate | None: ...

    def revoke(
        self, certificate: CertificateId, account: str | None, reason: int, now_s: int
    ) -> None:
        """`reason` is a CRLReason (RFC 5280 section 5.3.1), `account` who asks; None: who has the
        certificate's key. Of a revoked one it changes nothing."""
        ...

    def renewal_window(self, certificate: CertificateId, now_s: int) -> RenewalWindow | None:
        """None where the certificate is not known."""
        ...
