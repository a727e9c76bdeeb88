"""What a zone may hold, and how it changes. Pure: serial numbers and sets in, sets out.

A zone changes as a whole: a change names sets that become others or go, and gives the zone another
serial number (RFC 1982). What the DNS itself demands is checked here (RFC 1034, RFC 2181).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from dns.rdatatype import RdataType

from hypermesh.trustchain.dns.records import (
    OWN_TYPES,
    RecordSet,
    checked,
    is_within,
    kind_text,
    name_text,
)
from hypermesh.wire.errors import Conflict, InvalidInput, NotFound

SETS_MAX = 200_000
"""Sets in one zone."""

CHANGE_SETS_MAX = 10_000
"""Sets in one change."""

_SERIAL_MODULUS = 2**32
MADE_TYPES = frozenset({RdataType.SOA, RdataType.DNSKEY, RdataType.CDS, RdataType.CDNSKEY})
"""What a zone makes itself, at its apex."""


class ZoneMissing(NotFound):
    """This server does not serve a zone of that name."""

    code = "HM-DNS-0003"
    title = "There is no such zone"


class ZoneExists(Conflict):
    """A zone of that name is there already."""

    code = "HM-DNS-0004"
    title = "There is a zone of this name already"


class ChangeInvalid(InvalidInput):
    """The change would leave a zone that the DNS does not allow, or is too large."""

    code = "HM-DNS-0005"
    title = "The zone cannot be changed like this"


class Start(msgspec.Struct, frozen=True, array_like=True):
    """The SOA of a zone but for its serial (RFC 1035 section 3.3.13): names in wire form, times in
    seconds. `minimum_s` is how long others remember that something is not there."""

    primary: bytes
    contact: bytes
    ttl_s: int = 3600
    refresh_s: int = 3600
    retry_s: int = 600
    expire_s: int = 14 * 24 * 60 * 60
    minimum_s: int = 300

    def set_of(self, apex: bytes, serial: int) -> RecordSet:
        """The SOA of the zone `apex` at `serial`."""
        times = (serial, self.refresh_s, self.retry_s, self.expire_s, self.minimum_s)
        data = self.primary + self.contact + struct.pack("!5L", *times)
        return RecordSet(apex, RdataType.SOA, self.ttl_s, (data,))


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone at one serial. `sets` holds all but the SOA, by owner and type."""

    apex: bytes
    start: Start
    serial: int
    sets: Mapping[tuple[bytes, int], RecordSet] = field(repr=False)

    @property
    def all_sets(self) -> Iterator[RecordSet]:
        """The SOA first."""
        yield self.start.set_of(self.apex, self.serial)
        yield from self.sets.values()

    def at(self, owner: bytes) -> Iterator[RecordSet]:
        """The sets of one owner."""
        if owner == self.apex:
            yield self.start.set_of(self.apex, self.serial)
        for kind in _TYPES_AT_A_NAME:
            if (found := self.sets.get((owner, kind))) is not None:
                yield found


_TYPES_AT_A_NAME = sorted(OWN_TYPES | MADE_TYPES - {RdataType.SOA})


def next_serial(serial: int) -> int:
    """The serial after `serial`, as others compare them (RFC 1982 section 3.1); never 0, which some
    read as none."""
    return (serial + 1) % _SERIAL_MODULUS or 1


def founded(
    apex: bytes, start: Start, sets: Sequence[RecordSet], made: Sequence[RecordSet]
) -> Zone:
    """A new zone at serial 1 of `sets` and of what was `made` for its key.

    Raises `ChangeInvalid`, `RecordInvalid`.
    """
    empty = Zone(apex, start, 0, {each.key: each for each in made})
    return changed(empty, sets)


def changed(zone: Zone, changes: Sequence[RecordSet]) -> Zone:
    """`zone` after `changes`, at the next serial. Raises `ChangeInvalid`, `RecordInvalid`."""
    if len(changes) > (SETS_MAX if zone.serial == 0 else CHANGE_SETS_MAX):
        raise ChangeInvalid(f"A change has at most {CHANGE_SETS_MAX} sets")
    sets = dict(zone.sets)
    for each in changes:
        _allowed(zone, each)
        if each.data:
            sets[each.key] = checked(each)
        else:
            sets.pop(each.key, None)
    if len(sets) > SETS_MAX:
        raise ChangeInvalid(f"A zone has at most {SETS_MAX} sets")
    after = Zone(zone.apex, zone.start, next_serial(zone.serial), sets)
    for owner in {each.owner for each in changes}:
        _consistent(after, owner)
    if (zone.apex, RdataType.NS) not in sets:
        raise ChangeInvalid(f"{name_text(zone.apex)} must have a name server", why="no NS at it")
    return after


def _allowed(zone: Zone, change: RecordSet) -> None:
    if not is_within(change.owner, zone.apex):
        raise ChangeInvalid(
            f"{name_text(change.owner)} is not in the zone {name_text(zone.apex)}",
        )
    if change.kind in MADE_TYPES:
        raise ChangeInvalid(f"{kind_text(change.kind)} records are made by the zone itself")
    if change.owner == zone.apex and change.kind in (RdataType.DS, RdataType.CNAME):
        raise ChangeInvalid(f"{kind_text(change.kind)} cannot be at the name of a zone")


def _consistent(zone: Zone, owner: bytes) -> None:
    kinds = {each.kind for each in zone.at(owner)}
    if RdataType.CNAME in kinds and len(kinds) > 1:
        raise ChangeInvalid(
            f"{name_text(owner)} is an alias and has other records",
            why="an alias stands alone (RFC 1034 section 3.6.2)",
        )
    if RdataType.DS in kinds and RdataType.NS not in kinds:
        raise ChangeInvalid(
            f"{name_text(owner)} has a DS and is not delegated", why="a DS goes with NS records"
        )


def difference(before: Zone, after: Zone) -> list[RecordSet]:
    """The changes that lead from one zone to the other, but for the SOA."""
    gone = [
        RecordSet(owner, kind, 0, ())
        for owner, kind in sorted(before.sets.keys() - after.sets.keys())
    ]
    put = [each for key, each in after.sets.items() if before.sets.get(key) != each]
    return [*gone, *put]
