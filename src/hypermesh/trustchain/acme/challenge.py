"""What a client shows for each challenge, and whether what was found is that; pure."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from hypermesh.trustchain.acme.encoding import base64url
from hypermesh.trustchain.acme.identifier import Identifier, IdentifierKind
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind

HTTP_PATH = "/.well-known/acme-challenge/"
HTTP_BYTES_MAX = 4096
"""Of an answer's body that are read; a key authorization has fewer than 100."""
DNS_LABEL = "_acme-challenge."
TLS_PROTOCOL = "acme-tls/1"
ACME_IDENTIFIER = ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""id-pe-acmeIdentifier (RFC 8737 section 3)."""

_OCTET_STRING = b"\x04\x20"


def key_authorization(token: str, thumbprint: bytes) -> str:
    """What shows that who holds the account's key answers the challenge (RFC 8555 section 8.1)."""
    return f"{token}.{base64url(thumbprint)}"


def server_name(identifier: Identifier) -> str:
    """The name that tls-alpn-01 asks for: of an address the reverse one (RFC 8738 section 6)."""
    if identifier.kind is IdentifierKind.IP:
        return ipaddress.ip_address(identifier.value).reverse_pointer
    return identifier.value


def check_http(body: bytes, expected: str) -> None:
    """http-01 (RFC 8555 section 8.3). Raises `AcmeRefusal`."""
    # White space at the end is allowed.
    if not hmac.compare_digest(body.rstrip(b" \t\r\n"), expected.encode("ascii")):
        raise _incorrect("The file does not hold the key authorization")


def check_dns(texts: Sequence[bytes], expected: str) -> None:
    """dns-01 (RFC 8555 section 8.4): one of the TXT records. Raises `AcmeRefusal`."""
    wanted = base64url(hashlib.sha256(expected.encode("ascii")).digest()).encode("ascii")
    if wanted not in texts:
        raise _incorrect(f"None of {len(texts)} TXT records is the digest of the key authorization")


def check_tls(certificate: bytes, identifier: Identifier, expected: str) -> None:
    """tls-alpn-01 (RFC 8737 section 3): a certificate for the identifier alone, with the digest in
    a critical extension. Raises `AcmeRefusal`."""
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        shown = extensions.get_extension_for_oid(ACME_IDENTIFIER)
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise _incorrect("The certificate is not one for this challenge") from error
    if names != [_general_name(identifier)]:
        raise _incorrect(f"The certificate is not for {identifier.value} alone")
    digest = hashlib.sha256(expected.encode("ascii")).digest()
    value = shown.value
    if (
        not shown.critical
        or not isinstance(value, x509.UnrecognizedExtension)
        or not hmac.compare_digest(value.value, _OCTET_STRING + digest)
    ):
        raise _incorrect("The certificate does not hold the digest of the key authorization")


def _general_name(identifier: Identifier) -> x509.GeneralName:
    if identifier.kind is IdentifierKind.IP:
        return x509.IPAddress(ipaddress.ip_address(identifier.value))
    return x509.DNSName(identifier.value)


def _incorrect(detail: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.INCORRECT_RESPONSE, detail, status=403)
