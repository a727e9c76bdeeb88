"""Dynamic updates (RFC 2136): what a message asks for, and what becomes of a zone. Pure.

The bytes are read by dnspython, record by record in their order; the rules of the RFC are here, by
its sections. Where the RFC ignores what a zone cannot hold, so is it here; what the zone makes
itself (SOA, the records of its key) cannot be asked for at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rrset
import dns.update
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from hypermesh.trustchain.dns.records import RecordSet, canonical, is_within
from hypermesh.trustchain.dns.zone import MADE_TYPES, Zone
from hypermesh.wire.errors import InvalidInput

MESSAGE_BYTES_MAX = 65_535
RECORDS_MAX = 1000
"""Records in one message, prerequisites among them."""


class UpdateRefused(InvalidInput):
    """An update that is malformed, not met by the zone, or not allowed. `rcode` says which."""

    code = "HM-DNS-0007"
    title = "The update was refused"

    def __init__(self, rcode: Rcode, why: str) -> None:
        super().__init__(f"The update was refused: {rcode.name}", why=why)
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class Item:
    """One record of a message. `mode` is the zone's class, ANY or NONE, which each section reads in
    its own way; `data` is None where the record has none; `ttl` in seconds."""

    owner: bytes
    kind: int
    mode: int
    ttl: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Update:
    """What a message asks for: of the zone `apex`, `operations` if all `prerequisites` hold."""

    apex: bytes
    prerequisites: tuple[Item, ...]
    operations: tuple[Item, ...]


def read(message: bytes) -> Update:
    """The update in a message (RFC 2136 section 2). Raises `UpdateRefused`."""
    if len(message) > MESSAGE_BYTES_MAX:
        raise UpdateRefused(Rcode.FORMERR, f"more than {MESSAGE_BYTES_MAX} bytes")
    try:
        found = dns.message.from_wire(message, one_rr_per_rrset=True)
    except (dns.exception.DNSException, ValueError) as error:
        raise UpdateRefused(Rcode.FORMERR, str(error) or type(error).__name__) from error
    if not isinstance(found, dns.update.UpdateMessage) or len(found.zone) != 1:
        raise UpdateRefused(Rcode.FORMERR, "it is no update of one zone")
    zone = found.zone[0]
    if zone.rdtype != RdataType.SOA or zone.rdclass != RdataClass.IN:
        raise UpdateRefused(Rcode.FORMERR, "its zone is not named by an SOA")
    if len(found.prerequisite) + len(found.update) > RECORDS_MAX:
        raise UpdateRefused(Rcode.FORMERR, f"more than {RECORDS_MAX} records")
    apex = _wire(zone.name)
    update = Update(
        apex,
        tuple(_item(each) for each in found.prerequisite),
        tuple(_item(each) for each in found.update),
    )
    for item in (*update.prerequisites, *update.operations):
        if not is_within(item.owner, apex):
            raise UpdateRefused(Rcode.NOTZONE, "a name is not in the zone")
    for item in update.prerequisites:
        if item.ttl != 0 or (item.mode == RdataClass.IN and item.kind == RdataType.ANY):
            raise UpdateRefused(Rcode.FORMERR, "a prerequisite has a TTL or no type")
    for item in update.operations:
        _prescan(item)
    return update


def _prescan(item: Item) -> None:
    """RFC 2136 section 3.4.1."""
    if item.kind in MADE_TYPES:
        raise UpdateRefused(Rcode.REFUSED, "the zone makes these records itself")
    if item.mode != RdataClass.ANY and (item.kind == RdataType.ANY or item.data is None):
        raise UpdateRefused(Rcode.FORMERR, "a record has no data")
    if item.mode != RdataClass.IN and item.ttl != 0:
        raise UpdateRefused(Rcode.FORMERR, "what is deleted has a TTL")


def _item(found: dns.rrset.RRset) -> Item:
    mode = RdataClass.IN if found.deleting is None else RdataClass(found.deleting)
    data = None
    for record in found:
        if mode is RdataClass.ANY or (raw := record.to_wire()) is None:
            raise UpdateRefused(Rcode.FORMERR, "a record has data that it must not have")
        data = canonical(found.rdtype, raw)
    return Item(_wire(found.name), int(found.rdtype), int(mode), int(found.ttl), data)


def _wire(name: dns.name.Name) -> bytes:
    return name.canonicalize().to_wire() or b""


def check_prerequisites(update: Update, zone: Zone) -> None:
    """Raise `UpdateRefused` where a prerequisite does not hold in `zone` (RFC 2136 section 3.2)."""
    wanted: dict[tuple[bytes, int], set[bytes]] = {}
    for item in update.prerequisites:
        sets = {each.kind: each for each in zone.at(item.owner)}
        is_there = bool(sets) if item.kind == RdataType.ANY else item.kind in sets
        whole_name = item.kind == RdataType.ANY
        if item.mode == RdataClass.IN and item.data is not None:
            wanted.setdefault((item.owner, item.kind), set()).add(item.data)
        elif item.mode == RdataClass.NONE and is_there:
            rcode = Rcode.YXDOMAIN if whole_name else Rcode.YXRRSET
            raise UpdateRefused(rcode, "something is there that must not be")
        elif item.mode != RdataClass.NONE and not is_there:
            rcode = Rcode.NXDOMAIN if whole_name else Rcode.NXRRSET
            raise UpdateRefused(rcode, "something is not there that must be")
    for (owner, kind), data in wanted.items():
        held = next((each for each in zone.at(owner) if each.kind == kind), None)
        if held is None or set(held.data) != data:
            raise UpdateRefused(Rcode.NXRRSET, "a set is another than it must be")


def touched(update: Update, zone: Zone) -> set[tuple[bytes, int]]:
    """Owners and types that the update may change in `zone`: whoever sends it needs the right to
    each of them."""
    found: set[tuple[bytes, int]] = set()
    for item in update.operations:
        if item.kind == RdataType.ANY:
            kinds = {each.kind for each in zone.at(item.owner)} - MADE_TYPES
            if item.owner == zone.apex:
                kinds.discard(RdataType.NS)
            found |= {(item.owner, kind) for kind in kinds or {int(RdataType.ANY)}}
        else:
            found.add((item.owner, item.kind))
    return found


def changes(update: Update, zone: Zone) -> Sequence[RecordSet]:
    """What the update makes of the sets of `zone` (RFC 2136 section 3.4.2)."""
    sets: dict[bytes, dict[int, RecordSet]] = {}
    for item in update.operations:
        at = sets.setdefault(item.owner, {each.kind: each for each in zone.at(item.owner)})
        _carry_out(item, at, at_apex=item.owner == zone.apex)
    found: list[RecordSet] = []
    for owner, at in sets.items():
        before = {each.kind: each for each in zone.at(owner)}
        gone = sorted(before.keys() - at.keys())
        found += [RecordSet(owner, kind, 0, ()) for kind in gone]
        found += [each for kind, each in at.items() if before.get(kind) != each]
    return found


def _carry_out(item: Item, at: dict[int, RecordSet], *, at_apex: bool) -> None:
    kept = MADE_TYPES | ({RdataType.NS} if at_apex else set())
    held = at.get(item.kind)
    if item.mode == RdataClass.ANY:
        for kind in list(at) if item.kind == RdataType.ANY else [item.kind]:
            if kind not in kept:
                at.pop(kind, None)
    elif item.data is None:
        return
    elif item.mode == RdataClass.NONE:
        if held is None:
            return
        data = tuple(each for each in held.data if each != item.data)
        if data:
            at[item.kind] = RecordSet(item.owner, item.kind, held.ttl, data)
        elif item.kind not in kept:
            del at[item.kind]
    elif _fits(item.kind, at):
        is_alias = item.kind == RdataType.CNAME
        others = set() if held is None or is_alias else set(held.data)
        data = tuple(sorted(others | {item.data}))
        at[item.kind] = RecordSet(item.owner, item.kind, item.ttl, data)


def _fits(kind: int, at: dict[int, RecordSet]) -> bool:
    """Aliases stand alone, and what would stand beside one is ignored (section 3.4.2.2)."""
    if kind == RdataType.CNAME:
        return not at.keys() - {RdataType.CNAME}
    return RdataType.CNAME not in at


def response(message: bytes, rcode: Rcode) -> bytes:
    """The response to an update: its id and its operation, and nothing else."""
    flags = 0x8000 | dns.opcode.to_flags(dns.opcode.UPDATE) | rcode
    return message[:2] + flags.to_bytes(2, "big") + bytes(8)
