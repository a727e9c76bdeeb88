"""The parcels of this node, in one SQLite file of mode 0600.

held      in this node's custody: its own that nobody has taken yet, others' on their way, reports
sent      messages of this node, and what is known of them
inbox     messages for this node, opened
seen      every parcel that was ever here, and who handed it over, until it has expired
keys      the sealing keys of other nodes

Whatever a caller is told of is durable by then: `synchronous` is FULL but for the times of the next
try, of which nobody is told. One transaction moves a parcel from one table to another, so a crash
leaves it in one of them; and its id in `seen` is what makes a second copy of it a second copy.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hypermesh.sqlite.file import opened
from hypermesh.stoq.custody import INBOX_BYTES_MAX, INBOX_PARCELS_MAX, Load
from hypermesh.stoq.parcel import is_over, parcel_id
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import Hash, NodeId
from hypermesh.wire.parcel import (
    CLOCK_TOLERANCE_MS,
    CONTENT_BYTES_MAX,
    Parcel,
    ParcelHeader,
    ParcelOutcome,
    ParcelUnderWay,
    SignedSealingKey,
    UnknownParcel,
)

SENT_MAX = 10_000
"""Beyond it the oldest messages whose end is known are forgotten."""
KEYS_MAX = 100_000
CURSOR_DIGITS_MAX = 18
PARCEL_BYTES_MAX = CONTENT_BYTES_MAX + 8192

_SCHEMA = """
CREATE TABLE IF NOT EXISTS held (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, giver BLOB NOT NULL,
    hops INTEGER NOT NULL, size INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL, due_ms INTEGER NOT NULL, parcel BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS held_due ON held (due_ms);
CREATE INDEX IF NOT EXISTS held_by_giver ON held (giver, size);
CREATE TABLE IF NOT EXISTS sent (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, header BLOB NOT NULL,
    size INTEGER NOT NULL, custodian BLOB, outcome TEXT, ended_ms INTEGER
);
CREATE TABLE IF NOT EXISTS inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, header BLOB NOT NULL,
    service INTEGER NOT NULL, size INTEGER NOT NULL, received_ms INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS seen (
    id BLOB PRIMARY KEY, giver BLOB NOT NULL, expires_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_expires ON seen (expires_ms);
CREATE TABLE IF NOT EXISTS keys (node BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS horizon (one INTEGER PRIMARY KEY CHECK (one = 1), past_ms INTEGER);
INSERT OR IGNORE INTO horizon VALUES (1, 0);
"""


class ParcelsNotKept(HyperMeshError):
    """The file of parcels cannot be used."""

    code = "HM-PARCEL-0020"
    status = 507
    exit_code = 8
    title = "Parcels cannot be kept"
    remedy = "Make room on the disk of the data directory, then try again"


class Held(msgspec.Struct, frozen=True):
    """A parcel in custody: who handed it over (this node itself for its own), after how many hops,
    and how many rounds have tried to pass it on."""

    id: Hash
    parcel: Parcel
    giver: NodeId
    hops: int
    tries: int


class Sent(msgspec.Struct, frozen=True):
    """A message of this node. `custodian` is who took it first; None while this node has it.
    `outcome` with its time is what a report said, or what this node itself saw."""

    number: int
    id: Hash
    header: ParcelHeader
    size: int
    custodian: NodeId | None
    outcome: ParcelOutcome | None
    ended_ms: int | None


class Received(msgspec.Struct, frozen=True):
    """A message for this node. `size` is the length of its body."""

    number: int
    id: Hash
    header: ParcelHeader
    size: int
    received_ms: int


class Carried(msgspec.Struct, frozen=True):
    """A parcel that this node carries for others."""

    number: int
    id: Hash
    header: ParcelHeader
    size: int
    giver: NodeId
    tries: int


class KeptParcels:
    """The parcels of this node. Safe to use from any thread."""

    def __init__(self, file: Path, own: NodeId) -> None:
        """Raises `ParcelsNotKept` where the file is damaged or cannot be written."""
        try:
            self._database = opened(file, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise ParcelsNotKept(
                f"{file} cannot be used",
                why=str(error),
                fix="Make room on its disk; if it is damaged, remove it: parcels in it are lost",
            ) from error
        self._own = own
        self._lock = threading.RLock()

    # Coming in

    def send(self, parcel: Parcel, now_ms: int) -> None:
        """A message of this node: in its custody and on the list of what it sent."""
        with self._durably():
            self._hold(parcel, self._own, 0, now_ms)
            values = (parcel_id(parcel.header), encode(parcel.header), len(parcel.content))
            self._query("INSERT INTO sent (id, header, size) VALUES (?, ?, ?)", *values)
            self._query(
                "DELETE FROM sent WHERE number IN (SELECT number FROM sent WHERE outcome "
                "IS NOT NULL ORDER BY number DESC LIMIT -1 OFFSET ?)",
                SENT_MAX,
            )

    def take(self, parcel: Parcel, giver: NodeId, hops: int, now_ms: int) -> None:
        """Take a parcel for another node into custody. `hops` counts the one to this node."""
        with self._durably():
            self._hold(parcel, giver, hops, now_ms)

    def receive(
        self, parcel: Parcel, body: bytes, giver: NodeId, report: Parcel, now_ms: int
    ) -> None:
        """A message for this node, opened, together with the report to its source. Raises
        `ParcelsFull` where the inbox has no room."""
        header = parcel.header
        with self._durably():
            self.inbox_load().require_room(
                len(body), INBOX_PARCELS_MAX, INBOX_BYTES_MAX, "received and not removed"
            )
            self._see(parcel, giver)
            self._query(
                "INSERT INTO inbox (id, header, service, size, received_ms, body) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                parcel_id(header),
                encode(header),
                header.service,
                len(body),
                now_ms,
                body,
            )
            self._hold(report, self._own, 0, now_ms)

    def refuse(self, parcel: Parcel, giver: NodeId, report: Parcel, now_ms: int) -> None:
        """A message for this node that it cannot open: gone, and reported."""
        with self._durably():
            self._see(parcel, giver)
            self._hold(report, self._own, 0, now_ms)

    def learn(
        self, report: Parcel, giver: NodeId, about: Hash, outcome: ParcelOutcome, at_ms: int
    ) -> None:
        """A report for this node. What was delivered stays delivered, whatever comes after."""
        with self._durably():
            self._see(report, giver)
            self._conclude(about, outcome, at_ms)

    # Going out

    def due(self, now_ms: int, limit: int) -> list[Hash]:
        """Parcels whose next try is due, those that expire first before the others."""
        with self._lock:
            rows = self._query(
                "SELECT id FROM held WHERE due_ms <= ? ORDER BY expires_ms LIMIT ?", now_ms, limit
            )
        return [row[0] for row in rows]

    def held(self, parcel: Hash) -> Held | None:
        """A parcel in custody; None where it is not."""
        with self._lock:
            query = "SELECT id, parcel, giver, hops, tries FROM held WHERE id = ?"
            rows = self._query(query, parcel)
        if not rows:
            return None
        identifier, encoded, *rest = rows[0]
        return Held(identifier, decode(Parcel, encoded, size_max=PARCEL_BYTES_MAX), *rest)

    def next_due_ms(self) -> int | None:
        """When the next try is due; None where nothing waits."""
        with self._lock:
            found: int | None = self._query("SELECT min(due_ms) FROM held")[0][0]
        return found

    def put_off(self, parcel: Hash, tries: int, due_ms: int) -> None:
        """Nobody took it. A crash may lose this, and the next try comes sooner."""
        with self._durably(full=False):
            self._query("UPDATE held SET tries = ?, due_ms = ? WHERE id = ?", tries, due_ms, parcel)

    def hurry(self, now_ms: int) -> None:
        """Every parcel is due: somebody has come up."""
        with self._durably(full=False):
            self._query("UPDATE held SET due_ms = ?, tries = 0 WHERE due_ms > ?", now_ms, now_ms)

    def passed(self, parcel: Hash, custodian: NodeId) -> None:
        """Another node has it, durably: this one forgets it."""
        with self._durably():
            self._query("DELETE FROM held WHERE id = ?", parcel)
            self._query("UPDATE sent SET custodian = ? WHERE id = ?", custodian, parcel)

    def expire(self, held: Held, report: Parcel | None, now_ms: int) -> None:
        """Its time is over here. `report` goes to its source, where that is another node."""
        with self._durably():
            self._query("DELETE FROM held WHERE id = ?", held.id)
            self._conclude(held.id, ParcelOutcome.EXPIRED, now_ms)
            if report is not None:
                self._hold(report, self._own, 0, now_ms)

    def forget(self, now_ms: int) -> None:
        """Forget what was here and is over for everybody.

        From then on nothing that expires as early is accepted (`horizon_ms`), even where this
        node's clock is put back: so no parcel is taken twice.
        """
        past_ms = now_ms - 2 * CLOCK_TOLERANCE_MS
        with self._lock:
            if not self._query("SELECT 1 FROM seen WHERE expires_ms < ? LIMIT 1", past_ms):
                return
        with self._durably():
            self._query("UPDATE horizon SET past_ms = max(past_ms, ?)", past_ms)
            self._query("DELETE FROM seen WHERE expires_ms < ?", past_ms)

    # What is known

    @property
    def horizon_ms(self) -> int:
        """Parcels that expire before are forgotten."""
        with self._lock:
            return int(self._query("SELECT past_ms FROM horizon")[0][0])

    def giver_of(self, parcel: Hash) -> NodeId | None:
        """Who handed over a parcel that is or was here; None where it never was."""
        with self._lock:
            found = self._query("SELECT giver FROM seen WHERE id = ?", parcel)
        return found[0][0] if found else None

    def load(self, giver: NodeId | None = None) -> Load:
        """What is in custody, or of that what one node has handed over."""
        query = "SELECT count(*), ifnull(sum(size), 0) FROM held WHERE ?1 IS NULL OR giver = ?1"
        with self._lock:
            return Load(*self._query(query, giver)[0])

    def inbox_load(self) -> Load:
        with self._lock:
            return Load(*self._query("SELECT count(*), ifnull(sum(size), 0) FROM inbox")[0])

    def sent_header(self, parcel: Hash) -> ParcelHeader | None:
        """The header of a message of this node."""
        with self._lock:
            found = self._query("SELECT header FROM sent WHERE id = ?", parcel)
        return decode(ParcelHeader, found[0][0]) if found else None

    def sent(self, cursor: str | None, limit: int) -> list[Sent]:
        """Messages of this node, from the newest on, those beyond `cursor`."""
        columns = "number, id, header, size, custodian, outcome, ended_ms"
        return [_sent(row) for row in self._page("sent", columns, cursor, limit)]

    def received(self, service: int | None, cursor: str | None, limit: int) -> list[Received]:
        """Messages for this node, or those for one service, from the newest on."""
        columns = "number, id, header, size, received_ms"
        rows = self._page("inbox", columns, cursor, limit, service)
        return [_received(row) for row in rows]

    def carried(self, cursor: str | None, limit: int) -> list[Carried]:
        """What is carried for others, reports of this node left out."""
        columns = "number, id, parcel, size, giver, tries"
        rows = self._page("held", columns, cursor, limit, None, self._own)
        return [_carried(row) for row in rows]

    def one(self, parcel: Hash) -> tuple[Sent | Received | Carried, bytes | None]:
        """One parcel, and its body where it was received. Raises `UnknownParcel`."""
        with self._lock:
            for table, columns, read in (
                ("inbox", "number, id, header, size, received_ms", _received),
                ("sent", "number, id, header, size, custodian, outcome, ended_ms", _sent),
                ("held", "number, id, parcel, size, giver, tries", _carried),
            ):
                query = f"SELECT {columns} FROM {table} WHERE id = ?"  # noqa: S608
                rows = self._query(query, parcel)
                if rows:
                    body = None
                    if table == "inbox":
                        body = self._query("SELECT body FROM inbox WHERE id = ?", parcel)[0][0]
                    return read(rows[0]), body
        raise UnknownParcel(f"This node has no parcel {parcel.hex()}")

    def remove(self, parcel: Hash) -> None:
        """Take a received message, or one of its own whose end is known, off the list. Raises
        `UnknownParcel`, or `ParcelUnderWay`."""
        with self._durably():
            shown, _ = self.one(parcel)
            if isinstance(shown, Carried) or (isinstance(shown, Sent) and shown.outcome is None):
                raise ParcelUnderWay
            for table in ("inbox", "sent"):
                self._query(f"DELETE FROM {table} WHERE id = ?", parcel)  # noqa: S608

    def key(self, node: NodeId) -> SignedSealingKey | None:
        """The sealing key of a node, as last heard."""
        with self._lock:
            found = self._query("SELECT record FROM keys WHERE node = ?", node)
        return decode(SignedSealingKey, found[0][0]) if found else None

    def keep_key(self, record: SignedSealingKey) -> None:
        """Keep the key of another node, unless a later one is known."""
        known = self.key(record.key.node)
        if known is not None and known.key.made_ms >= record.key.made_ms:
            return
        with self._durably():
            count = self._query("SELECT count(*) FROM keys")[0][0]
            if known is not None or count < KEYS_MAX:
                values = (record.key.node, encode(record))
                self._query("INSERT OR REPLACE INTO keys VALUES (?, ?)", *values)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _hold(self, parcel: Parcel, giver: NodeId, hops: int, now_ms: int) -> None:
        self._see(parcel, giver)
        encoded = encode(parcel)
        self._query(
            "INSERT INTO held (id, giver, hops, size, expires_ms, tries, due_ms, parcel) "
            "VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
            parcel_id(parcel.header),
            giver,
            hops,
            len(encoded),
            parcel.header.expires_ms,
            now_ms,
            encoded,
        )

    def _see(self, parcel: Parcel, giver: NodeId) -> None:
        values = (parcel_id(parcel.header), giver, parcel.header.expires_ms)
        self._query("INSERT INTO seen VALUES (?, ?, ?)", *values)

    def _conclude(self, parcel: Hash, outcome: ParcelOutcome, at_ms: int) -> None:
        self._query(
            "UPDATE sent SET outcome = ?, ended_ms = ? "
            "WHERE id = ? AND (outcome IS NULL OR outcome = 'expired')",
            outcome.value,
            at_ms,
            parcel,
        )

    def _page(
        self,
        table: str,
        columns: str,
        cursor: str | None,
        limit: int,
        service: int | None = None,
        without_giver: NodeId | None = None,
    ) -> list[Any]:
        before = 1 << 62
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= CURSOR_DIGITS_MAX):
                raise InvalidInput(f"{cursor[:40]!r} is not a cursor of parcels")
            before = int(cursor)
        where, values = "number < ?", [before]
        if service is not None:
            where, values = where + " AND service = ?", [*values, service]
        if without_giver is not None:
            where, values = where + " AND giver != ?", [*values, without_giver]  # type: ignore[list-item]
        query = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY number DESC LIMIT ?"  # noqa: S608
        with self._lock:
            return self._query(query, *values, limit)

    @contextmanager
    def _durably(self, *, full: bool = True) -> Iterator[None]:
        with self._lock:
            self._query(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._query("BEGIN IMMEDIATE")
            try:
                yield
                self._query("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._query("ROLLBACK")
                raise

    def _query(self, statement: str, *values: object) -> list[Any]:
        try:
            with closing(self._database.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise ParcelsNotKept(why=str(error)) from error


def is_forgotten(header: ParcelHeader, kept: KeptParcels, now_ms: int) -> bool:
    """Whether it may have been here and nobody would know."""
    return is_over(header, now_ms) or header.expires_ms < kept.horizon_ms


def _sent(row: Any) -> Sent:
    number, identifier, header, size, custodian, outcome, ended_ms = row
    known = None if outcome is None else ParcelOutcome(outcome)
    return Sent(number, identifier, decode(ParcelHeader, header), size, custodian, known, ended_ms)


def _received(row: Any) -> Received:
    number, identifier, header, size, received_ms = row
    return Received(number, identifier, decode(ParcelHeader, header), size, received_ms)


def _carried(row: Any) -> Carried:
    number, identifier, parcel, size, giver, tries = row
    header = decode(Parcel, parcel, size_max=PARCEL_BYTES_MAX).header
    return Carried(number, identifier, header, size, giver, tries)
