"""What the event stream says: events of the ledger in the words of the API, and their framing as
server-sent events (HTML Living Standard, section 9.2). Pure.

A block's events are numbered in one order everywhere: 0 is the block, then what its transactions
and its time led to, as the kernel listed it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from hypermesh.assets import lease as leases
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger.kernel import decode_entry
from hypermesh.ledger.module import Event
from hypermesh.ledger.names import Name
from hypermesh.node.jobs import Record
from hypermesh.wire.api.event import (
    AccountEvent,
    AssetEvent,
    BlockEvent,
    EventKind,
    JobEvent,
    LeaseStateEvent,
    LedgerEvent,
    LiveEvent,
    NameEvent,
    NodeEvent,
    PhaseEvent,
    ResetEvent,
)
from hypermesh.wire.asset import Asset, Lease
from hypermesh.wire.block import Block
from hypermesh.wire.codec import Undecodable, decode
from hypermesh.wire.errors import InvalidInput
from hypermesh.wire.ids import OwnerId
from hypermesh.wire.tx import SignedTransaction, tag_of

KINDS = frozenset(EventKind) - {EventKind.RESET}
"""What can be asked for."""
RETRY_MS = 1000
"""How long a browser waits before it connects again."""

_PLACE = re.compile(r"(0|[1-9][0-9]{0,15})\.(0|[1-9][0-9]{0,8})")

Said = LedgerEvent | JobEvent | PhaseEvent | LiveEvent | ResetEvent
"""What an event can carry."""

Told = tuple[EventKind, LedgerEvent]

At = tuple[int, int, str]
"""Height, block time and the word for it, with which every event of the ledger begins."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands on the ledger. Text: `HEIGHT.INDEX`."""

    height: int
    index: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises `InvalidInput`."""
        if not _PLACE.fullmatch(text):
            raise InvalidInput(
                f"{text[:80]!r} is no place in the stream of events",
                why="expected HEIGHT.INDEX, such as 12.0",
                fix="Give the `id` of an event, or 0.0 for all that is kept",
            )
        height, index = text.split(".")
        return cls(int(height), int(index))

    def __str__(self) -> str:
        return f"{self.height}.{self.index}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event, ready to be sent; `place` is None where it has no id."""

    kind: EventKind
    place: Place | None
    text: bytes


def kinds_of(text: str | None) -> frozenset[EventKind]:
    """The kinds named in `?kinds=`, separated by commas; all of them by default. Raises
    `InvalidInput`."""
    if text is None:
        return KINDS
    names = [name.strip() for name in text.split(",") if name.strip()]
    strange = [name for name in names if name not in KINDS]
    if strange or not names:
        raise InvalidInput(
            f"There are no events of kind {strange[0][:40]!r}" if strange else "No kind is named",
            why=f"the kinds are {', '.join(sorted(KINDS))}",
            fix="Name some of these, or none for all but live",
        )
    return frozenset(EventKind(name) for name in names)


def frames(block: Block, events: Iterable[Event], owner: OwnerId) -> list[Frame]:
    """What a block's stream says, in order. `owner` is whose node this is."""
    header, listed = block.header, list(events)
    said: list[Told | None] = [(EventKind.BLOCK, _block(block, listed))]
    for before, each, after in zip([None, *listed], listed, [*listed[1:], None], strict=False):
        told = _told(header.height, header.time_ms, each, owner)
        if each.name in ("name.set", "name.dropped"):
            told = _name((header.height, header.time_ms), before, each, after, owner)
        said.append(told)
    return [
        frame(*each, Place(header.height, index))
        for index, each in enumerate(said)
        if each is not None
    ]


def job_event(record: Record, now_ms: int) -> JobEvent:
    """What is said of a job that came to another state."""
    return JobEvent(
        job=record.job.hex(),
        state=record.state,
        time_ms=now_ms,
        lease=None if record.lease is None else record.lease.hex(),
    )


def phase_event(before: int, phase: int, now_ms: int) -> PhaseEvent:
    """What is said of a node that goes over to another phase of its names."""
    return PhaseEvent(phase=phase, before=before, time_ms=now_ms)


def frame(kind: EventKind, said: Said, place: Place | None = None) -> Frame:
    """`said` as a server-sent event."""
    head = f"event: {kind}\n" if place is None else f"id: {place}\nevent: {kind}\n"
    # JSON as msgspec writes it has no line breaks, which would end the field.
    return Frame(kind, place, b"%bdata: %b\n\n" % (head.encode(), msgspec.json.encode(said)))


def _block(block: Block, events: Iterable[Event]) -> BlockEvent:
    header = block.header
    types = Counter(
        tag_of(entry.transaction.body)
        for entry in map(decode_entry, block.entries)
        if isinstance(entry, SignedTransaction)
    )
    results = block.results[1:]
    epochs = [int.from_bytes(each.data, "big") for each in events if each.name == "consensus.epoch"]
    return BlockEvent(
        height=header.height,
        time_ms=header.time_ms,
        what="made",
        hash=digest_of("header", header).hex(),
        app_hash=header.app_hash.hex(),
        operations=len(results),
        refused=sum(result.code != "ok" for result in results),
        types=dict(types),
        epoch=epochs[-1] if epochs else None,
    )


def _told(height: int, time_ms: int, event: Event, owner: OwnerId) -> Told | None:
    """None for what its block has told already, such as a new epoch, and for what no user could
    make something of: it keeps its number."""
    part, _, what = event.name.partition(".")
    at = (height, time_ms, what)
    match part:
        case "lease":
            return EventKind.LEASE, _lease(at, event, owner)
        case "asset":
            return _asset(at, event)
        case "bank" | "stake" | "title":
            return EventKind.ACCOUNT, _account(at, event, owner)
    match event.name:
        case "identity.owned":
            mine = event.subject == owner
            return EventKind.ACCOUNT, AccountEvent(*at, [event.subject.hex()], 0, mine)
        case "identity.enrolled":
            return EventKind.NODE, NodeEvent(*at, event.subject.hex(), event.data.hex(), "")
        case "identity.revoked":
            return EventKind.NODE, NodeEvent(*at, event.subject.hex(), None, event.data.decode())
        case "consensus.attested":
            return EventKind.NODE, NodeEvent(*at, event.subject.hex(), None, "")
    return None


def _lease(at: At, event: Event, owner: OwnerId) -> LeaseStateEvent:
    row = decode(Lease, event.data)
    final = row.state in leases.FINAL
    return LeaseStateEvent(
        *at,
        lease=event.subject.hex(),
        asset=row.asset.hex(),
        host=row.host.hex(),
        payee=row.payee.hex(),
        consumer=row.consumer.hex(),
        mine=owner in (row.payee, row.consumer),
        state=row.state,
        amount=row.amount,
        ends_ms=row.ends_ms,
        paid=row.paid if final else None,
        fee=row.fee if final else None,
        refund=row.refund if final else None,
    )


def _asset(at: At, event: Event) -> Told | None:
    height, time_ms, what = at
    try:
        row = decode(Asset, event.data)
    except Undecodable:
        return None
    is_privacy = what in ("privacy", "terms")
    return EventKind.PRIVACY if is_privacy else EventKind.ASSET, AssetEvent(
        height,
        time_ms,
        "changed" if is_privacy else what,
        asset=event.subject.hex(),
        kind=row.kind,
        level=row.level,
        state=row.state,
        owner=row.owner.hex(),
        host=row.host.hex(),
        leases=row.leases,
        committed=row.committed,
        revision=row.revision,
    )


def _name(
    at: tuple[int, int], before: Event | None, event: Event, after: Event | None, owner: OwnerId
) -> Told | None:
    """A name that one transaction gives another meaning is dropped and set: that is one change."""
    if event.name == "name.dropped" and _is_one_change(event, after):
        return None
    what = "dropped" if event.name == "name.dropped" else "added"
    if what == "added" and before is not None and _is_one_change(before, event):
        what = "changed"
    row = decode(Name, event.data)
    return EventKind.NAME, NameEvent(
        *at,
        what,
        label=event.subject.decode(),
        owner=row.owner.hex(),
        node=None if row.node is None else row.node.hex(),
        asset=None if row.asset is None else row.asset.hex(),
        mine=row.owner == owner,
    )


def _is_one_change(first: Event, second: Event | None) -> bool:
    return (
        second is not None
        and (first.name, second.name) == ("name.dropped", "name.set")
        and (first.subject, first.entry) == (second.subject, second.entry)
    )


def _account(at: At, event: Event, owner: OwnerId) -> AccountEvent:
    """Every event of an account carries whose accounts it is about, and then the amount."""
    *owners, amount = decode(list[bytes | int], event.data)
    accounts = [each for each in owners if isinstance(each, bytes)]
    return AccountEvent(*at, [each.hex() for each in accounts], int(amount), mine=owner in accounts)
