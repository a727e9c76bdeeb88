"""The name server of a node, and the names of the mesh, as the API shows them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hypermesh.wire.api.body import Body, Hex16, Hex32


class DnsPlace(msgspec.Struct, frozen=True):
    """Where one transport (`udp`, `tcp`, `tls`, `quic`) is served."""

    transport: str
    host: str
    port: int


class DnsZone(msgspec.Struct, frozen=True):
    """A zone as it is served: `serial` of its SOA, how many `sets` of records, and the `dnskey` and
    `ds` data by which its signatures are checked (RFC 4034), as in a master file."""

    zone: str
    serial: int
    sets: int
    dnskey: str
    ds: str


class DnsView(msgspec.Struct, frozen=True):
    """This node's name server.

    `phase`: who answers for names of the mesh: 0 traditional DNS, 1 both, 2 the ledger first, 3 the
    ledger only. `zone` is that of the network. `listen` is what the settings ask for; `addresses`
    is where it serves; `failure` says why it does not serve all of what the settings ask for, null
    where it does. `height` is that of the ledger at which the names stand, null before it was first
    read, and `names` how many there are. `counters` count since the node was started.
    """

    phase: int
    phase_name: str
    zone: str
    listen: str
    addresses: list[DnsPlace]
    failure: str | None
    upstream: list[str]
    height: int | None
    names: int
    zones: list[DnsZone]
    counters: dict[str, int]


class DnsRecords(msgspec.Struct, frozen=True):
    """The records of one type: `ttl` in seconds, `data` as in a master file."""

    type: str
    ttl: int
    data: list[str]


class DnsName(msgspec.Struct, frozen=True):
    """A name that the ledger knows, and what is at it."""

    name: str
    records: list[DnsRecords]


class DnsNamePage(msgspec.Struct, frozen=True):
    """A page of names, in the order of the names; `next_cursor` is null at the end."""

    items: list[DnsName]
    next_cursor: str | None


class DnsLabel(msgspec.Struct, frozen=True):
    """What an owner calls a node or an asset of his, as the ledger has it: `name` in full, `asset`
    null where it stands for the node. `answered`: whether the name server answers for it now; it
    does not for an asset that is not public, nor for a node without rights."""

    label: str
    name: str
    owner: Hex32
    node: Hex32 | None
    asset: Hex16 | None
    mine: bool
    answered: bool


class DnsLabelPage(msgspec.Struct, frozen=True):
    """A page of labels, in their order; `next_cursor` is null at the end."""

    items: list[DnsLabel]
    next_cursor: str | None


class DnsLabelChange(Body, frozen=True):
    """`PUT /v1/dns/labels/{label}`: what it shall stand for, one of the two."""

    node: Hex32 | None = None
    asset: Hex16 | None = None


class DnsResolved(msgspec.Struct, frozen=True):
    """What a name has of one type, and who said so.

    `origin`: `ledger`, `dns`, or `local` for what is fixed on this machine. `agreement`: what the
    other source says in phase 1: `agrees`, `differs`, `unavailable`; else `not asked`. `exists`:
    whether there is such a name at all; without `data` it has nothing of the type. `ttl` in
    seconds. `height` is that of the ledger, where it was asked.
    """

    name: str
    type: str
    phase: int
    origin: Literal["ledger", "dns", "local"]
    agreement: Literal["not asked", "agrees", "differs", "unavailable"]
    exists: bool
    ttl: int
    data: list[str]
    height: int | None


class DnsPhaseChange(Body, frozen=True):
    """`PUT /v1/dns/phase`."""

    phase: Annotated[int, Meta(ge=0, le=3)]
