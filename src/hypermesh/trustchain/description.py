"""What a certificate says of itself to people. Nothing is checked here; `verify` does that."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Description:
    """The fields that X.509 tools show: `serial` in hex, `subject` as RFC 4514 writes names, times
    in seconds since 1970."""

    serial: str
    subject: str
    not_before_s: int
    not_after_s: int


def describe(certificate: bytes) -> Description:
    """The description of a certificate in DER, which must be well-formed."""
    read = x509.load_der_x509_certificate(certificate)
    return Description(
        serial=read.serial_number.to_bytes(-(-read.serial_number.bit_length() // 8), "big").hex(),
        subject=read.subject.rfc4514_string(),
        not_before_s=int(read.not_valid_before_utc.timestamp()),
        not_after_s=int(read.not_valid_after_utc.timestamp()),
    )


def key_identifier(certificate: bytes) -> bytes:
    """How a certificate (DER, well-formed) names its own key; RFC 5280 section 4.2.1.2."""
    read = x509.load_der_x509_certificate(certificate)
    return read.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def authority_identifier(certificate: bytes) -> bytes:
    """How a certificate (DER, well-formed) names the key of who issued it; empty where it does not.
    RFC 5280 section 4.2.1.1."""
    read = x509.load_der_x509_certificate(certificate)
    value = read.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return value.key_identifier or b""


def pem(certificate: bytes) -> str:
    """A certificate in DER as PEM (RFC 7468)."""
    return ssl.DER_cert_to_PEM_cert(certificate)
