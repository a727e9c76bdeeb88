"""A certificate signing request (RFC 2986) against the order that it is to finalize."""

from __future__ import annotations

from collections.abc import Collection

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID, NameOID

from hypermesh.trustchain import oids
from hypermesh.trustchain.acme import identifier as identifiers
from hypermesh.trustchain.acme.identifier import Identifier
from hypermesh.trustchain.acme.key import thumbprint_of
from hypermesh.trustchain.acme.problem import AcmeRefusal, Kind

BYTES_MAX = 32 * 1024
"""The largest that has a use is that of ML-DSA-87 with 100 names, 12 KiB."""

_EXTENSIONS = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.TLS_FEATURE,
        oids.SUBJECT_ALT_PUBLIC_KEY,
    }
)
"""What a request may ask for; what is issued is for the profile to say."""


def check(der: bytes, ordered: Collection[Identifier]) -> bytes | None:
    """Raises `AcmeRefusal` (`badCSR`) unless the request names what is `ordered`, all of it and
    nothing else, and is signed by the key that it is for. Answers the thumbprint of that key, or
    None where it is of a kind that accounts do not have."""
    if len(der) > BYTES_MAX:
        raise _bad(f"it has {len(der)} bytes; at most {BYTES_MAX} are taken")
    try:
        request = x509.load_der_x509_csr(der)
        is_signed = request.is_signature_valid
        extensions = request.extensions
        asked = _names(request.subject, extensions)
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise _bad(f"it cannot be read ({type(error).__name__})") from error
    if not is_signed:
        raise _bad("it is not signed by its own key")
    for each in extensions:
        if each.oid not in _EXTENSIONS:
            raise _bad(f"it asks for the extension {each.oid.dotted_string}")
        if isinstance(each.value, x509.BasicConstraints) and each.value.ca:
            raise _bad("it asks for a certificate authority")
    missing, extra = set(ordered) - asked, asked - set(ordered)
    if missing or extra:
        named = ", ".join(sorted(each.value for each in missing | extra)[:5])
        raise _bad(f"its names are not those of the order; they differ in {named}")
    return thumbprint_of(key)


def _names(subject: x509.Name, extensions: x509.Extensions) -> set[Identifier]:
    found = set()
    for attribute in subject:
        if attribute.oid != NameOID.COMMON_NAME:
            raise _bad("its subject has more than a common name")
        found.add(_parsed("dns", str(attribute.value)))
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found
    for name in names:
        if isinstance(name, x509.DNSName):
            found.add(_parsed("dns", name.value))
        elif isinstance(name, x509.IPAddress):
            found.add(_parsed("ip", str(name.value)))
        else:
            raise _bad(f"it has a name that is no DNS name and no address ({type(name).__name__})")
    return found


def _parsed(kind: str, value: str) -> Identifier:
    try:
        return identifiers.parse(kind, value)
    except AcmeRefusal as refusal:
        raise _bad(refusal.what) from refusal


def _bad(why: str) -> AcmeRefusal:
    return AcmeRefusal(Kind.BAD_CSR, f"The certificate signing request is not taken: {why}")
