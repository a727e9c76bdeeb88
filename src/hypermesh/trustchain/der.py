"""DER (ITU-T X.690), as much as certificates need: written from values, read as elements.

Writing is plain concatenation, so that what is signed is what stands in the source. Reading is
strict: one encoding of each length, nothing after the end, no indefinite lengths.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Iterator

import msgspec
from cryptography.x509 import ObjectIdentifier

from hypermesh.wire.errors import InvalidInput

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, SEQUENCE, SET, UTC_TIME, GENERALIZED_TIME = 0x0A, 0x30, 0x31, 0x17, 0x18
UTF8_STRING = 0x0C

_GENERALIZED_FROM_YEAR = 2050
"""RFC 5280 section 4.1.2.5: dates through 2049 are UTCTime, later ones GeneralizedTime."""


class NotDer(InvalidInput):
    """The bytes are not DER."""

    code = "HM-TRUST-0100"
    title = "The bytes are not DER"


def tlv(tag: int, *parts: bytes) -> bytes:
    """The element `tag` whose content is `parts`, one after the other."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, *parts)


def set_of(parts: Iterable[bytes]) -> bytes:
    """In the order of their encodings (X.690 clause 11.6)."""
    return tlv(SET, *sorted(parts))


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def enumerated(value: int) -> bytes:
    return tlv(ENUMERATED, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def boolean(value: object) -> bytes:
    return tlv(BOOLEAN, b"\xff" if value else b"\x00")


def octets(*content: bytes) -> bytes:
    return tlv(OCTET_STRING, *content)


def bits(content: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\x00", content)


def context(number: int, *parts: bytes, is_constructed: bool = True) -> bytes:
    """The element `[number]` of the context; constructed for EXPLICIT tags and structures."""
    return tlv(0x80 | (0x20 if is_constructed else 0) | number, *parts)


@functools.lru_cache(maxsize=256)
def oid(identifier: ObjectIdentifier) -> bytes:
    first, second, *rest = (int(arc) for arc in identifier.dotted_string.split("."))
    return tlv(OID, *(_base128(arc) for arc in (40 * first + second, *rest)))


@functools.lru_cache(maxsize=256)
def moment(seconds: int) -> bytes:
    """The Time of RFC 5280 section 4.1.2.5 of `seconds` since 1970."""
    when = dt.datetime.fromtimestamp(seconds, dt.UTC)
    if when.year < _GENERALIZED_FROM_YEAR:
        return tlv(UTC_TIME, when.strftime("%y%m%d%H%M%SZ").encode())
    return generalized(seconds)


def generalized(seconds: int) -> bytes:
    """A GeneralizedTime, as OCSP has them (RFC 6960 section 4.2.1)."""
    when = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return tlv(GENERALIZED_TIME, when.strftime("%Y%m%d%H%M%SZ").encode())


def _base128(arc: int) -> bytes:
    groups = [arc & 0x7F]
    while arc := arc >> 7:
        groups.append(0x80 | arc & 0x7F)
    return bytes(reversed(groups))


class Element(msgspec.Struct, frozen=True):
    """One element: `encoded` with tag and length, `content` without."""

    tag: int
    encoded: bytes
    content: bytes

    def children(self) -> list[Element]:
        """The elements that the content is made of. Raises `NotDer`."""
        return list(elements(self.content))


def read(data: bytes) -> Element:
    """The one element that `data` is. Raises `NotDer`."""
    if not data:
        raise NotDer(why="nothing stands where an element is expected")
    end, content = _bounds(data, 0)
    if end != len(data):
        raise NotDer(why="something follows the one element that is expected")
    return Element(data[0], data, data[content:end])


def first(data: bytes) -> bytes:
    """The first element, encoded, of what the one element `data` is made of: of a certificate its
    TBSCertificate. Raises `NotDer`."""
    content = read(data).content
    if not content:
        raise NotDer(why="nothing stands where an element is expected")
    return content[: _bounds(content, 0)[0]]


def elements(data: bytes) -> Iterator[Element]:
    """The elements of `data`, one after the other. Raises `NotDer`."""
    start, size = 0, len(data)
    while start < size:
        end, content = _bounds(data, start)
        yield Element(data[start], data[start:end], data[content:end])
        start = end


def _bounds(data: bytes, start: int) -> tuple[int, int]:
    """Where the element at `start` ends, and where its content begins."""
    if data[start] & 0x1F == 0x1F:
        raise NotDer(why="a tag has more than one octet")
    if start + 2 > len(data):
        raise NotDer(why="it ends within an element")
    length, content = data[start + 1], start + 2
    if length >= 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[content : content + count], "big")
        if not 1 <= count <= 4 or data[content : content + 1] == b"\x00" or length < 0x80:
            raise NotDer(why="a length is not in its one form")
        content += count
    if content + length > len(data):
        raise NotDer(why="it ends within an element")
    return content + length, content
