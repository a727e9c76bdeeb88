"""Precertificates: RFC 6962 section 3.1. DER in, DER out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hypermesh.trustchain.ct.errors import EntryInvalid
from hypermesh.trustchain.evidence import FinalCertificate, Precertificate, Submission

PRECERTIFICATE_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.4")
"""Extended key usage of issuers of precertificates alone; the log takes none of those."""
_POISON = bytes.fromhex("060a2b06010401d679020403")
"""The object identifier 1.3.6.1.4.1.11129.2.4.3 in DER."""
_POISON_VALUE = b"\x05\x00"
_SEQUENCE = 0x30
_EXTENSIONS = 0xA3


def is_poisoned(certificate: x509.Certificate) -> bool:
    """Whether `certificate` is a precertificate. Raises `EntryInvalid` where its poison is not as
    the RFC has it: critical, and a NULL."""
    try:
        poison = certificate.extensions.get_extension_for_class(x509.PrecertPoison)
    except x509.ExtensionNotFound:
        return False
    except ValueError as error:
        raise EntryInvalid("The certificate's extensions cannot be read", why=str(error)) from error
    if not poison.critical or poison.value.public_bytes() != _POISON_VALUE:
        raise EntryInvalid("The poison extension is not a critical NULL")
    return True


def submission_of(certificate: x509.Certificate, chain: tuple[x509.Certificate, ...]) -> Submission:
    """What a log takes for `certificate`, whose issuers are `chain`, the nearest first."""
    der = certificate.public_bytes(Encoding.DER)
    issuers = tuple(each.public_bytes(Encoding.DER) for each in chain)
    if not is_poisoned(certificate):
        return FinalCertificate(der, issuers)
    if not chain:
        raise EntryInvalid("A precertificate needs its issuer")
    tbs = without_poison(certificate.tbs_certificate_bytes)
    return Precertificate(der, tbs, key_hash(chain[0]), issuers)


def key_hash(issuer: x509.Certificate) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of `issuer`."""
    key = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def without_poison(tbs: bytes) -> bytes:
    """The TBSCertificate `tbs` without its poison extension; raises `EntryInvalid` where it has
    none, or is no TBSCertificate."""
    fields = list(_elements(_content(tbs, _SEQUENCE)))
    if not fields or fields[-1][0] != _EXTENSIONS:
        raise EntryInvalid("The TBSCertificate has no extensions")
    extensions = list(_elements(_content(_content(fields[-1], _EXTENSIONS), _SEQUENCE)))
    kept = [each for each in extensions if not _content(each, _SEQUENCE).startswith(_POISON)]
    if len(kept) != len(extensions) - 1:
        raise EntryInvalid("The TBSCertificate has no poison, or more than one")
    if kept:
        fields[-1] = _element(_EXTENSIONS, _element(_SEQUENCE, b"".join(kept)))
    else:
        fields.pop()
    return _element(_SEQUENCE, b"".join(fields))


def _elements(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        end = _end(content, at)
        yield content[at:end]
        at = end


def _content(element: bytes, tag: int) -> bytes:
    if element[:1] != bytes((tag,)) or _end(element, 0) != len(element):
        raise EntryInvalid(f"The DER has no element {tag:02x} where one belongs")
    return element[_head_bytes(element, 0) :]


def _end(data: bytes, at: int) -> int:
    """Where the element at `at` ends; raises `EntryInvalid`."""
    head = _head_bytes(data, at)
    first = data[at + 1]
    length = first if first < 0x80 else int.from_bytes(data[at + 2 : at + head], "big")
    if at + head + length > len(data):
        raise EntryInvalid("The DER is cut off")
    return at + head + length


def _head_bytes(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise EntryInvalid("The DER is cut off")
    return 2 if data[at + 1] < 0x80 else 2 + (data[at + 1] & 0x7F)


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content
