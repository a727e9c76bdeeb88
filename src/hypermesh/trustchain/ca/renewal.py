"""When a certificate should be renewed (RFC 9773): pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography import x509

from hypermesh.wire.errors import InvalidInput

_FROM, _UNTIL = 3, 5
"""The window lies between these sixths of a certificate's life."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when until when to renew, in seconds since 1970; one that lies in the past says: now."""

    start_s: int
    end_s: int


def renewal_window(
    not_before_s: int, not_after_s: int, *, now_s: int, replace_since_s: int | None = None
) -> Window:
    """The window of RFC 9773 section 4.2 for a certificate of this validity.

    `replace_since_s` is when it, or who issued it, was revoked: its window is then over.
    """
    sixth = (not_after_s - not_before_s) / 6
    start, end = (round(not_before_s + share * sixth) for share in (_FROM, _UNTIL))
    if replace_since_s is None:
        return Window(start, end)
    end = min(end, replace_since_s, now_s - 1)
    return Window(min(start, end - 1), end)


def certificate_id(certificate: bytes) -> str:
    """The unique identifier of RFC 9773 section 4.1 of `certificate` (DER)."""
    parsed = x509.load_der_x509_certificate(certificate)
    key = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = parsed.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_base64(key.key_identifier or b'')}.{_base64(octets)}"


def identified(identifier: str) -> tuple[bytes, int]:
    """The issuer's key id and the serial number in `identifier`; raises `InvalidInput`."""
    key, dot, serial = identifier.partition(".")
    try:
        decoded = [
            base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)
            for part in (key, serial)
        ]
    except (ValueError, binascii.Error):
        decoded = [b"", b""]
    if (
        not dot
        or f"{_base64(decoded[0])}.{_base64(decoded[1])}" != identifier
        or not 1 <= len(decoded[0]) <= 32
        or not 1 <= len(decoded[1]) <= 21
    ):
        raise InvalidInput("This is no identifier of a certificate (RFC 9773 section 4.1)")
    return decoded[0], int.from_bytes(decoded[1], "big")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
