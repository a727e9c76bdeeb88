"""What a monitor of a log knows already: certificates, digests, serial numbers and names in one
text. Pure.

    -----BEGIN CERTIFICATE-----   one certificate or many, as it was issued (PEM)
    sha256:7f83b165...            the digest of an entry, as an alert says it
    serial:1f:03:aa               of whichever authority, so it says less than the certificate
    web.example.com               a name, or *.example.com for all below it
    # whatever                    nothing
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.wire.errors import InvalidInput

BYTES_MAX = 16 << 20
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")
_DIGEST = re.compile("[0-9a-f]{64}")
_SERIAL = re.compile("[0-9a-f]{1,40}")
_NAME = re.compile(r"\S{1,253}")


@dataclass(frozen=True, slots=True)
class Known:
    """`digests`: SHA-256 of what a log holds of certificates: the certificate, or the
    TBSCertificate of its precertificate. `names`: patterns as in `watch.Names`."""

    digests: frozenset[bytes] = frozenset()
    serials: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()


def read_known(text: str) -> Known:
    """What `text` lists. Raises `InvalidInput`, with the line."""
    digests: set[bytes] = set()
    for pem in _PEM.findall(text):
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            digests |= _digests_of(certificate)
        except ValueError as error:
            raise InvalidInput("A certificate cannot be read", why=str(error)) from error
    serials: set[int] = set()
    names: dict[str, None] = {}
    for line in _PEM.sub("", text).splitlines():
        word = line.partition("#")[0].strip().lower()
        kind, _, value = word.partition(":")
        plain = value.replace(":", "")
        if not word:
            continue
        if kind == "sha256" and _DIGEST.fullmatch(plain):
            digests.add(bytes.fromhex(plain))
        elif kind == "serial" and _SERIAL.fullmatch(plain):
            serials.add(int(plain, 16))
        elif kind not in ("sha256", "serial") and _NAME.fullmatch(word):
            names[word] = None
        else:
            raise InvalidInput(
                f"{line[:80]!r} is nothing that can be known",
                why="expected a certificate (PEM), sha256:DIGEST, serial:NUMBER or a name",
            )
    return Known(frozenset(digests), frozenset(serials), tuple(names))


def _digests_of(certificate: x509.Certificate) -> set[bytes]:
    found = {certificate.public_bytes(Encoding.DER)}
    # With its SCTs in it, the log has the precertificate of it (RFC 6962 section 3.1).
    with contextlib.suppress(ValueError):
        found.add(certificate.tbs_precertificate_bytes)
    return {hashlib.sha256(each).digest() for each in found}
