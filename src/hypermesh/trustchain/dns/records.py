"""Sets of records, from and to the text of master files (RFC 1035 section 5). Pure.

A set is what the DNS knows: all records of one owner and type (RFC 2181 section 5). Names and data
are in the canonical form of DNSSEC (RFC 4034 section 6), so that equal sets are equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import msgspec
from dns.rdatatype import RdataType

from hypermesh.wire.errors import InvalidInput

TTL_MAX = 7 * 24 * 60 * 60
"""Seconds; longer a wrong record shall not stay with others."""

SET_BYTES_MAX = 16 * 1024
"""Bytes of data in one set: it fits in one act of the log, and in a message with its signature."""

OWN_TYPES = frozenset(
    {
        RdataType.A,
        RdataType.AAAA,
        RdataType.CAA,
        RdataType.CNAME,
        RdataType.DS,
        RdataType.HTTPS,
        RdataType.MX,
        RdataType.NS,
        RdataType.PTR,
        RdataType.SRV,
        RdataType.SVCB,
        RdataType.TLSA,
        RdataType.TXT,
    }
)
"""What may be put in a zone. SOA and the records of its key are made by the zone itself."""


class NameInvalid(InvalidInput):
    """The text or the bytes are not a domain name."""

    code = "HM-DNS-0001"
    title = "This is not a domain name"


class RecordInvalid(InvalidInput):
    """A record has a type that is not served, a TTL out of range, or data that does not parse."""

    code = "HM-DNS-0002"
    title = "The record is not valid"


class RecordSet(msgspec.Struct, frozen=True, array_like=True):
    """`owner` in wire form, `kind` the number of the type, `ttl` in seconds, `data` in wire form,
    sorted. Without data it stands for the removal of the set."""

    owner: bytes
    kind: int
    ttl: int
    data: tuple[bytes, ...]

    @property
    def key(self) -> tuple[bytes, int]:
        """Owner and type, of which a zone has one set."""
        return self.owner, self.kind


def name(text: str) -> bytes:
    """The wire form of a domain name in text; a final dot is not needed. Raises `NameInvalid`."""
    try:
        read = dns.name.from_text(text, dns.name.root)
        return read.canonicalize().to_wire() or b""
    except (dns.exception.DNSException, UnicodeError) as error:
        raise NameInvalid(f"{text[:80]!r} is not a domain name", why=_why(error)) from error


def name_text(wire: bytes) -> str:
    """A name for people, without its final dot but for the root. Raises `NameInvalid`."""
    return decoded(wire).to_text(omit_final_dot=len(wire) > 1)


def decoded(wire: bytes) -> dns.name.Name:
    """The name as dnspython has it. Raises `NameInvalid`."""
    try:
        found, used = dns.name.from_wire(wire, 0)
    except dns.exception.DNSException as error:
        raise NameInvalid(why=_why(error)) from error
    if used != len(wire):
        raise NameInvalid(why="something follows it")
    return found


def is_within(owner: bytes, above: bytes) -> bool:
    """Whether the name `owner` is `above` or lies below it."""
    at = 0
    while at < len(owner):
        if owner[at:] == above:
            return True
        at += 1 + owner[at]
    return False


def kind_of(text: str) -> int:
    """The number of a type by its name. Raises `RecordInvalid`."""
    try:
        return int(dns.rdatatype.from_text(text))
    except (dns.exception.DNSException, ValueError) as error:
        raise RecordInvalid(f"{text[:20]!r} is no type of records") from error


def kind_text(kind: int) -> str:
    """The name of a type."""
    return dns.rdatatype.to_text(RdataType.make(kind))


def record_set(owner: str, kind: str, ttl: int, data: Sequence[str]) -> RecordSet:
    """The set of `owner` and type `kind` with `data` as in a master file, each name in it whole.

    Raises `NameInvalid`, `RecordInvalid`.
    """
    number = kind_of(kind)
    return checked(RecordSet(name(owner), number, ttl, tuple(wire(number, each) for each in data)))


def removal(owner: str, kind: str) -> RecordSet:
    """The removal of the set of `owner` and type `kind`."""
    return RecordSet(name(owner), kind_of(kind), 0, ())


def checked(found: RecordSet) -> RecordSet:
    """`found` in canonical order, where a zone may hold it. Raises `RecordInvalid`."""
    kind = RdataType.make(found.kind)
    if kind not in OWN_TYPES:
        raise RecordInvalid(
            f"Records of the type {kind_text(found.kind)} cannot be put in a zone",
            fix="Use one of " + " ".join(sorted(each.name for each in OWN_TYPES)),
        )
    if not 0 <= found.ttl <= TTL_MAX:
        raise RecordInvalid(f"A TTL of {found.ttl} s is not within 0 and {TTL_MAX}")
    if sum(len(each) for each in found.data) > SET_BYTES_MAX:
        raise RecordInvalid(f"A set of records has at most {SET_BYTES_MAX} bytes")
    if kind is RdataType.CNAME and len(found.data) > 1:
        raise RecordInvalid("A name is an alias of one other (RFC 1034 section 3.6.2)")
    return msgspec.structs.replace(found, data=tuple(sorted(set(found.data))))


def wire(kind: int, text: str) -> bytes:
    """Data as in a master file, in canonical wire form. Raises `RecordInvalid`."""
    try:
        read = dns.rdata.from_text(
            dns.rdataclass.IN, RdataType.make(kind), text, dns.name.root, relativize=False
        )
        return read.to_digestable()
    except (dns.exception.DNSException, ValueError, UnicodeError) as error:
        raise RecordInvalid(
            f"{text[:80]!r} is no data of a record of the type {kind_text(kind)}", why=_why(error)
        ) from error


def canonical(kind: int, data: bytes) -> bytes:
    """Data from elsewhere, uncompressed, in canonical form. Raises `RecordInvalid`."""
    try:
        read = dns.rdata.from_wire(dns.rdataclass.IN, RdataType.make(kind), data, 0, len(data))
        return read.to_digestable()
    except (dns.exception.DNSException, ValueError) as error:
        raise RecordInvalid(
            f"The data of a record of the type {kind_text(kind)} does not parse", why=_why(error)
        ) from error


def data_text(kind: int, data: bytes) -> str:
    """Data for people, as in a master file. Raises `RecordInvalid`."""
    try:
        read = dns.rdata.from_wire(dns.rdataclass.IN, RdataType.make(kind), data, 0, len(data))
    except (dns.exception.DNSException, ValueError) as error:
        raise RecordInvalid(why=_why(error)) from error
    return read.to_text()


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
