"""Routes of the name server: zones and their sets of records.

    GET    /v1/dns/zones                                all zones
    PUT    /v1/dns/zones/{zone}                         serve a new zone: {"address": "2001:db8::1",
                                                        "algorithm": "ed25519" or "ecdsa-p256"}
    GET, DELETE /v1/dns/zones/{zone}
    PUT    /v1/dns/zones/{zone}/{owner}/{type}          {"ttl": 300, "data": ["..."]}
    GET, DELETE /v1/dns/zones/{zone}/{owner}/{type}
    GET    /v1/dns/phases                               of the zones that move here
    PUT    /v1/dns/phases/{zone}                        {"phase": 2}
    GET    /v1/dns/names/{owner}/{type}                 what is answered, and by which source

An owner is a whole name, or @ for the zone's own. Every change is in the log of acts before anybody
is answered from it; `leaf` is its place.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.standalone.trust.call import Answer, Call, as_json
from hypermesh.standalone.trust.naming import Naming, new_zone
from hypermesh.standalone.trust.parts import Parts
from hypermesh.standalone.trust.phases import SWITCH_KIND, Switched
from hypermesh.trustchain.dns.keys import Algorithm
from hypermesh.trustchain.dns.published import Published
from hypermesh.trustchain.dns.records import (
    RecordSet,
    data_text,
    kind_of,
    kind_text,
    name,
    name_text,
    record_set,
    removal,
)
from hypermesh.trustchain.dns.resolution import Phase
from hypermesh.wire.codec import encode
from hypermesh.wire.errors import InvalidInput, NotFound

SETS_SHOWN_MAX = 10_000
ALGORITHMS = {"ed25519": Algorithm.ED25519, "ecdsa-p256": Algorithm.ECDSA_P256_SHA256}


class Zoned(msgspec.Struct, forbid_unknown_fields=True):
    """A new zone: the IPv6 address of its name server, which is `ns.` below it, and by what it is
    signed."""

    address: str
    algorithm: Literal["ed25519", "ecdsa-p256"] = "ed25519"


class Records(msgspec.Struct, forbid_unknown_fields=True):
    """A set of records; `data` as in a master file, names in it whole."""

    data: Annotated[list[str], Meta(min_length=1, max_length=1000)]
    ttl: Annotated[int, Meta(ge=0, le=7 * 24 * 60 * 60)] = 300


class RecordsView(msgspec.Struct, frozen=True):
    owner: str
    type: str
    ttl: int
    data: list[str]


class ZoneView(msgspec.Struct, frozen=True):
    """`ds` is what the zone above needs (RFC 4034 section 5), in hexadecimal."""

    zone: str
    serial: int
    sets: int
    ds: str | None
    records: list[RecordsView]


class ChangeView(msgspec.Struct, frozen=True):
    zone: str
    serial: int
    leaf: int
    at_ms: int


class PhaseChange(msgspec.Struct, forbid_unknown_fields=True):
    """Who is to answer: 0 other DNS, 1 it, compared with the zone here, 2 the zone here and it for
    the rest, 3 the zone here alone."""

    phase: Annotated[int, Meta(ge=0, le=3)]


class PhaseView(msgspec.Struct, frozen=True):
    """The phase of a zone. The last switch: by whom, when, and its leaf in the log of acts; all
    none where the settings say the phase."""

    zone: str
    phase: int
    author: str | None
    at_ms: int | None
    leaf: int | None


class PhasePage(msgspec.Struct, frozen=True):
    items: list[PhaseView]


class NameView(msgspec.Struct, frozen=True):
    """What a name has of a type. `source` is `ledger` for the zones here and `dns` for other
    servers; `agreement` what the other one says."""

    name: str
    type: str
    exists: bool
    ttl: int
    data: list[str]
    source: str
    agreement: str


def zones(parts: Parts, call: Call) -> Answer:
    del call
    naming = _naming(parts)
    return as_json({"items": [_view(naming, apex, 0) for apex in sorted(naming.zones.apexes)]})


def add(parts: Parts, call: Call) -> Answer:
    asked = call.json(Zoned)
    try:
        address = str(ipaddress.IPv6Address(asked.address))
    except ValueError as error:
        raise InvalidInput("address is an IPv6 address", why=str(error)) from error
    apex = call.path["zone"]
    zone = new_zone(apex, (f"ns.{apex}", "AAAA", [address]), algorithm=ALGORITHMS[asked.algorithm])
    (done,) = _naming(parts).zones.add([zone], call.principal.id)
    return _changed(done, 201)


def zone(parts: Parts, call: Call) -> Answer:
    return as_json(_view(_naming(parts), name(call.path["zone"]), SETS_SHOWN_MAX))


def remove(parts: Parts, call: Call) -> Answer:
    return _changed(_naming(parts).zones.remove(name(call.path["zone"]), call.principal.id))


def put(parts: Parts, call: Call) -> Answer:
    asked = call.json(Records, 256 * 1024)
    change = record_set(_owner(call), call.path["kind"], asked.ttl, asked.data)
    return _change(parts, call, change)


def drop(parts: Parts, call: Call) -> Answer:
    _found(parts, call)
    return _change(parts, call, removal(_owner(call), call.path["kind"]))


def found(parts: Parts, call: Call) -> Answer:
    return as_json(_records(_found(parts, call)))


def phases(parts: Parts, call: Call) -> Answer:
    del call
    found = _naming(parts).phases
    return as_json(PhasePage([_phase(apex, *found[apex]) for apex in sorted(found, key=name_text)]))


def switch(parts: Parts, call: Call) -> Answer:
    phase = Phase(call.json(PhaseChange).phase)
    apex = name(call.path["zone"])
    done = _naming(parts).switch(apex, phase, call.principal.id)
    parts.note(call.principal.id, SWITCH_KIND, name_text(apex), encode(done))
    return as_json(_phase(apex, phase, done))


def resolved(parts: Parts, call: Call) -> Answer:
    owner, kind = name(call.path["owner"]), kind_of(call.path["kind"])
    found = _naming(parts).resolved(owner, kind)
    ttl, data = (0, ()) if found.found is None else (found.found.ttl, found.found.data)
    return as_json(
        NameView(
            name_text(owner),
            kind_text(kind),
            found.found is not None,
            ttl,
            [data_text(kind, each) for each in data],
            found.origin.value,
            found.agreement.value,
        )
    )


def _phase(apex: bytes, phase: Phase, switched: Switched | None) -> PhaseView:
    zone = name_text(apex)
    if switched is None:
        return PhaseView(zone, phase, None, None, None)
    did = switched.switch
    return PhaseView(zone, phase, did.author, did.at_ms, switched.leaf)


def _found(parts: Parts, call: Call) -> RecordSet:
    held = _naming(parts).zones.zone(name(call.path["zone"])).sets
    records = held.get((name(_owner(call)), kind_of(call.path["kind"])))
    if records is None:
        raise NotFound("The zone has no such records")
    return records


def _change(parts: Parts, call: Call, change: RecordSet) -> Answer:
    zone_name = name(call.path["zone"])
    return _changed(_naming(parts).zones.change(zone_name, [change], call.principal.id))


def _owner(call: Call) -> str:
    owner = call.path["owner"]
    return call.path["zone"] if owner == "@" else owner


def _naming(parts: Parts) -> Naming:
    if parts.naming is None:
        raise NotFound("This server serves no names", fix="Set listen in [dns]")
    return parts.naming


def _changed(done: Published, status: int = 200) -> Answer:
    return as_json(ChangeView(name_text(done.apex), done.serial, done.leaf, done.at_ms), status)


def _view(naming: Naming, apex: bytes, shown_max: int) -> ZoneView:
    held = naming.zones.zone(apex)
    ds = naming.zones.ds(apex)
    records = [_records(each) for each in list(held.all_sets)[:shown_max]]
    return ZoneView(
        name_text(apex), held.serial, len(held.sets) + 1, ds.hex() if ds else None, records
    )


def _records(records: RecordSet) -> RecordsView:
    return RecordsView(
        name_text(records.owner),
        kind_text(records.kind),
        records.ttl,
        [data_text(records.kind, each) for each in records.data],
    )
