"""The index on disk: one SQLite file that can be removed at any time.

A block is applied wholly or not at all, with the height, so the file always fits some height of the
ledger. It is not synced at every commit (`synchronous=NORMAL`): after a power cut it may be some
blocks behind, and those are read again.

    accounts      owner -> what the account has now, part by part, and how many entries
    entries       owner, sequence -> one movement, and what the account had after it
    operations    height, index -> a transaction in a block: id, type, signer, code
    timeline      kind, id, height, place -> what happened to an asset or a lease
    leases        id -> the lease as it last was, for good
    certificates  node, height -> the certificate that the node made known
    assets        id -> kind and host
    meta          schema, genesis, height and block hash
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypermesh.assets.lease import FINAL
from hypermesh.crypto.digest import digest_of
from hypermesh.ledger.kernel import Malformed, decode_entry
from hypermesh.ledger.module import Event
from hypermesh.node.index.movements import Movement, movements, postings
from hypermesh.sqlite.file import Synced, opened
from hypermesh.wire.asset import Asset, AssetKind, Lease, LeaseState
from hypermesh.wire.block import Block
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import AssetId, GenesisId, Hash, LeaseId, NodeId, OwnerId, TxId
from hypermesh.wire.tx import (
    BankTransfer,
    Body,
    IdentityEnrol,
    LeaseActivate,
    LeaseClaim,
    LeaseOpen,
    LeaseSettle,
    SignedTransaction,
    tag_of,
)

SCHEMA = 1
OK = "ok"
ASSET, LEASE = "asset", "lease"
"""Kinds of a timeline."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (
  owner BLOB PRIMARY KEY, entries INTEGER NOT NULL, balance INTEGER NOT NULL,
  bonded INTEGER NOT NULL, unbonding INTEGER NOT NULL, in_escrow INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE entries (
  owner BLOB, sequence INTEGER, height INTEGER NOT NULL, entry INTEGER, time_ms INTEGER NOT NULL,
  reason TEXT NOT NULL, balance INTEGER NOT NULL, bonded INTEGER NOT NULL,
  unbonding INTEGER NOT NULL, in_escrow INTEGER NOT NULL, balance_after INTEGER NOT NULL,
  bonded_after INTEGER NOT NULL, unbonding_after INTEGER NOT NULL,
  in_escrow_after INTEGER NOT NULL, tx BLOB, event TEXT NOT NULL, subject BLOB NOT NULL,
  counterparty BLOB, memo TEXT NOT NULL, PRIMARY KEY (owner, sequence)
) WITHOUT ROWID;
CREATE TABLE operations (
  height INTEGER, entry INTEGER, tx BLOB NOT NULL, type TEXT NOT NULL, signer BLOB NOT NULL,
  code TEXT NOT NULL, PRIMARY KEY (height, entry)
) WITHOUT ROWID;
CREATE INDEX operations_by_tx ON operations (tx);
CREATE TABLE timeline (
  kind TEXT, id BLOB, height INTEGER, place INTEGER, entry INTEGER, time_ms INTEGER NOT NULL,
  event TEXT NOT NULL, PRIMARY KEY (kind, id, height, place)
) WITHOUT ROWID;
CREATE TABLE leases (
  id BLOB PRIMARY KEY, opened_ms INTEGER NOT NULL, state TEXT NOT NULL, payee BLOB NOT NULL,
  consumer BLOB NOT NULL, lease BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX leases_by_age ON leases (opened_ms, id);
CREATE TABLE certificates (
  node BLOB, height INTEGER, entry INTEGER, owner BLOB NOT NULL, certificate BLOB NOT NULL,
  PRIMARY KEY (node, height, entry)
) WITHOUT ROWID;
CREATE INDEX certificates_by_owner ON certificates (owner, height);
CREATE TABLE assets (id BLOB PRIMARY KEY, kind TEXT NOT NULL, host BLOB NOT NULL) WITHOUT ROWID;
"""

_NAMES = frozenset(re.findall(r"CREATE (?:TABLE|INDEX) (\w+)", _TABLES))

Amounts = tuple[int, int, int, int]
"""nCAES of the four parts of an account, in the order of `movements.PARTS`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an account. `entry` and `tx` are None where the ledger acted by itself; `subject`
    is the lease or the node that `event` is about."""

    sequence: int
    height: int
    entry: int | None
    time_ms: int
    reason: str
    change: Amounts
    after: Amounts
    tx: TxId | None
    event: str
    subject: bytes
    counterparty: OwnerId | None
    memo: str


@dataclass(frozen=True, slots=True)
class Happening:
    """Something in the life of an asset or a lease; `entry` is None where the ledger acted by
    itself."""

    height: int
    place: int
    entry: int | None
    time_ms: int
    event: str


class Database:
    """The tables, for one writer (`apply`) and any number of readers."""

    def __init__(self, file: Path) -> None:
        """Raises `sqlite3.Error` where the file is no index."""
        self._lock = threading.Lock()
        self._connection = opened(file, synced=Synced.LATER)
        try:
            if not self._all("SELECT name FROM sqlite_master WHERE type = 'table'"):
                with self._transaction():
                    for statement in _TABLES.split(";")[:-1]:
                        self._connection.execute(statement)
                    self._put_meta("schema", str(SCHEMA).encode())
                    self._put_meta("height", b"0")
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # What it stands on

    def fits(self, genesis: GenesisId) -> bool:
        """Whether the file is whole, of this version and of this network."""
        with self._lock:
            (state,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            names = {row[0] for row in self._all("SELECT name FROM sqlite_master")}
            schema, network = self._meta("schema"), self._meta("genesis")
            return bool(
                state == "ok"
                and names >= _NAMES
                and schema == str(SCHEMA).encode()
                and (network == genesis or (network is None and self._meta("height") == b"0"))
            )

    def begin(self, genesis: GenesisId, created_ms: int, minted: Sequence[Movement]) -> None:
        """The network, and what its genesis minted; once."""
        with self._lock, self._transaction():
            if self._meta("genesis") is not None:
                return
            self._put_meta("genesis", genesis)
            for movement in minted:
                self._post(Event("genesis", genesis), movement, 0, created_ms, None, "")

    @property
    def height(self) -> int:
        """The last block applied."""
        with self._lock:
            return int(self._meta("height") or b"0")

    @property
    def block_hash(self) -> Hash | None:
        """The hash of the last block applied."""
        with self._lock:
            return self._meta("hash")

    def apply(self, happened: Sequence[tuple[Block, Sequence[Event]]]) -> set[OwnerId]:
        """Take the next blocks with their events; the accounts in which something moved."""
        touched: set[OwnerId] = set()
        with self._lock, self._transaction():
            for block, events in happened:
                touched |= self._take(block, events)
            header = happened[-1][0].header
            self._put_meta("height", str(header.height).encode())
            self._put_meta("hash", digest_of("header", header))
        return touched

    # What it answers

    def account(self, owner: OwnerId) -> Amounts:
        """What an account has now, part by part."""
        with self._lock:
            return self._account(owner)[1]

    def accounts(self) -> dict[OwnerId, Amounts]:
        """Every account, as the sum of its entries."""
        with self._lock:
            rows = self._all(
                "SELECT owner, sum(balance), sum(bonded), sum(unbonding), sum(in_escrow) "
                "FROM entries GROUP BY owner"
            )
        return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

    def sums(self) -> dict[OwnerId, Amounts]:
        """Every account as it stands beside its entries."""
        with self._lock:
            rows = self._all("SELECT owner, balance, bonded, unbonding, in_escrow FROM accounts")
        return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows}

    def entries(self, owner: OwnerId, before: int | None, limit: int) -> list[Entry]:
        """Entries of an account below the sequence `before`, newest first."""
        with self._lock:
            rows = self._all(
                "SELECT sequence, height, entry, time_ms, reason, balance, bonded, unbonding, "
                "in_escrow, balance_after, bonded_after, unbonding_after, in_escrow_after, tx, "
                "event, subject, counterparty, memo FROM entries WHERE owner = ? AND sequence < ? "
                "ORDER BY sequence DESC LIMIT ?",
                owner,
                2**62 if before is None else before,
                limit,
            )
        return [_entry(row) for row in rows]

    def position(self, tx: TxId) -> tuple[int, int] | None:
        """(height, index) of a transaction; where it was refused before its nonce was spent and
        sent again, of the last time."""
        found = self._one(
            "SELECT height, entry FROM operations WHERE tx = ? ORDER BY height DESC LIMIT 1", tx
        )
        return None if found is None else (found[0], found[1])

    def transactions(self, prefix: bytes, end: bytes) -> list[TxId]:
        """The first two ids from `prefix` up to `end`."""
        with self._lock:
            return [
                row[0]
                for row in self._all(
                    "SELECT DISTINCT tx FROM operations WHERE tx >= ? AND tx <= ? LIMIT 2",
                    prefix,
                    end,
                )
            ]

    def leases_from(self, prefix: bytes, end: bytes) -> list[LeaseId]:
        """As `transactions`, of leases."""
        with self._lock:
            return [
                row[0]
                for row in self._all(
                    "SELECT id FROM leases WHERE id >= ? AND id <= ? LIMIT 2", prefix, end
                )
            ]

    def timeline(
        self, kind: str, subject: bytes, after: tuple[int, int], limit: int
    ) -> list[Happening]:
        """What happened to an asset or a lease after (height, place), oldest first."""
        with self._lock:
            rows = self._all(
                "SELECT height, place, entry, time_ms, event FROM timeline "
                "WHERE kind = ? AND id = ? AND (height, place) > (?, ?) "
                "ORDER BY height, place LIMIT ?",
                kind,
                subject,
                *after,
                limit,
            )
        return [Happening(*row) for row in rows]

    def lease(self, lease_id: LeaseId) -> Lease | None:
        """A lease as it last was."""
        found = self._one("SELECT lease FROM leases WHERE id = ?", lease_id)
        return None if found is None else decode(Lease, found[0])

    def leases(
        self,
        owner: OwnerId,
        states: Sequence[str],
        before: tuple[int, LeaseId] | None,
        limit: int,
    ) -> list[tuple[LeaseId, Lease]]:
        """Leases in which `owner` lends or borrows and that are in one of `states`, newest first,
        those opened before (time, id)."""
        marks = ", ".join("?" for _ in states)
        with self._lock:
            rows = self._all(
                "SELECT id, lease FROM leases WHERE (consumer = ? OR payee = ?) "  # noqa: S608
                f"AND state IN ({marks}) AND (opened_ms, id) < (?, ?) "
                "ORDER BY opened_ms DESC, id DESC LIMIT ?",
                owner,
                owner,
                *states,
                *(before or (2**62, b"")),
                limit,
            )
        return [(row[0], decode(Lease, row[1])) for row in rows]

    def certificate(self, node: NodeId, height: int, entry: int) -> bytes | None:
        """The certificate that `node` had made known by entry `entry` of the block at `height`."""
        found = self._one(
            "SELECT certificate FROM certificates WHERE node = ? AND (height, entry) <= (?, ?) "
            "ORDER BY height DESC, entry DESC LIMIT 1",
            node,
            height,
            entry,
        )
        return None if found is None else found[0]

    def node_of(self, owner: OwnerId) -> NodeId | None:
        """The first node that named this owner."""
        found = self._one(
            "SELECT node FROM certificates WHERE owner = ? ORDER BY height, entry LIMIT 1", owner
        )
        return None if found is None else found[0]

    def asset(self, asset_id: AssetId) -> tuple[AssetKind, NodeId] | None:
        """Kind and host of an asset."""
        found = self._one("SELECT kind, host FROM assets WHERE id = ?", asset_id)
        return None if found is None else (AssetKind(found[0]), found[1])

    # How a block is taken

    def _take(self, block: Block, events: Sequence[Event]) -> set[OwnerId]:
        height, time_ms = block.header.height, block.header.time_ms
        transactions: dict[int, SignedTransaction] = {}
        for index, (entry, result) in enumerate(zip(block.entries, block.results, strict=True)):
            if index == 0:
                continue
            signed = _signed(entry)
            if signed is not None and result.code == OK:
                transactions[index] = signed
            self._run(
                "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?)",
                height,
                index,
                result.tx,
                "malformed" if signed is None else tag_of(signed.transaction.body),
                b"" if signed is None else signed.transaction.signer,
                result.code,
            )
        touched: set[OwnerId] = set()
        for event in events:
            signed = None if event.entry is None else transactions.get(event.entry)
            tx = None if event.entry is None else block.results[event.entry].tx
            memo = _memo(signed)
            for movement in movements(event):
                touched |= self._post(event, movement, height, time_ms, tx, memo)
            self._note(event, height, signed)
        self._remember(block, events, transactions)
        return touched

    def _post(
        self,
        event: Event,
        movement: Movement,
        height: int,
        time_ms: int,
        tx: TxId | None,
        memo: str,
    ) -> set[OwnerId]:
        if movement.amount == 0:
            return set()
        touched = set()
        for posting in postings(movement):
            count, before = self._account(posting.account)
            after = tuple(a + b for a, b in zip(before, posting.changes, strict=True))
            self._run(
                "INSERT INTO entries VALUES "
                "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                posting.account,
                count + 1,
                height,
                event.entry,
                time_ms,
                movement.reason.value,
                *posting.changes,
                *after,
                tx,
                event.name,
                event.subject,
                posting.counterparty,
                memo,
            )
            self._run(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "entries = excluded.entries, balance = excluded.balance, "
                "bonded = excluded.bonded, unbonding = excluded.unbonding, "
                "in_escrow = excluded.in_escrow",
                posting.account,
                count + 1,
                *after,
            )
            touched.add(posting.account)
        return touched

    def _note(self, event: Event, height: int, signed: SignedTransaction | None) -> None:
        """What an event says of nodes, assets and leases."""
        if event.name == "identity.enrolled" and signed is not None:
            body = signed.transaction.body
            if isinstance(body, IdentityEnrol):
                self._run(
                    "INSERT OR REPLACE INTO certificates VALUES (?, ?, ?, ?, ?)",
                    event.subject,
                    height,
                    event.entry,
                    event.data,
                    body.certificate,
                )
        elif event.name == "asset.registered":
            asset = decode(Asset, event.data)
            self._run(
                "INSERT OR REPLACE INTO assets VALUES (?, ?, ?)",
                event.subject,
                asset.kind.value,
                asset.host,
            )
        elif event.name.startswith("lease."):
            lease = decode(Lease, event.data)
            self._run(
                "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "state = excluded.state, lease = excluded.lease",
                event.subject,
                lease.opened_ms,
                lease.state.value,
                lease.payee,
                lease.consumer,
                encode(lease),
            )

    def _remember(
        self, block: Block, events: Sequence[Event], transactions: dict[int, SignedTransaction]
    ) -> None:
        """The timelines of assets and leases: what was done to them, then what fell due."""
        height, time_ms = block.header.height, block.header.time_ms
        for index, signed in transactions.items():
            body = signed.transaction.body
            about = _lease_of(body, block.results[index].tx)
            asset = self._asset_of(body, about)
            for kind, subject in ((LEASE, about), (ASSET, asset)):
                if subject is not None:
                    self._happened(kind, subject, height, index, index, time_ms, tag_of(body))
        place = len(block.entries)
        for event in events:
            if event.entry is None and event.name.startswith("lease."):
                place += 1
                self._happened(LEASE, event.subject, height, place, None, time_ms, event.name)

    def _happened(
        self,
        kind: str,
        subject: bytes,
        height: int,
        place: int,
        entry: int | None,
        time_ms: int,
        event: str,
    ) -> None:
        self._run(
            "INSERT INTO timeline VALUES (?, ?, ?, ?, ?, ?, ?)",
            kind,
            subject,
            height,
            place,
            entry,
            time_ms,
            event,
        )

    def _asset_of(self, body: Body, lease_id: LeaseId | None) -> AssetId | None:
        if isinstance(body, LeaseOpen):
            return body.offer.asset
        if lease_id is not None:
            found = self._all("SELECT lease FROM leases WHERE id = ?", lease_id)
            return decode(Lease, found[0][0]).asset if found else None
        asset: AssetId | None = getattr(body, "asset", None)
        return asset

    def _account(self, owner: OwnerId) -> tuple[int, Amounts]:
        rows = self._all(
            "SELECT entries, balance, bonded, unbonding, in_escrow FROM accounts WHERE owner = ?",
            owner,
        )
        return (rows[0][0], rows[0][1:]) if rows else (0, (0, 0, 0, 0))

    # SQLite

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _meta(self, name: str) -> bytes | None:
        rows = self._all("SELECT value FROM meta WHERE name = ?", name)
        return rows[0][0] if rows else None

    def _put_meta(self, name: str, value: bytes) -> None:
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock:
            rows = self._all(query, *values)
        return rows[0] if rows else None

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _run(self, query: str, *values: object) -> None:
        self._connection.execute(query, values)


def _entry(row: tuple[Any, ...]) -> Entry:
    sequence, height, entry, time_ms, reason = row[:5]
    tx, event, subject, counterparty, memo = row[13:]
    change, after = (row[5], row[6], row[7], row[8]), (row[9], row[10], row[11], row[12])
    return Entry(
        sequence,
        height,
        entry,
        time_ms,
        reason,
        change,
        after,
        tx,
        event,
        subject,
        counterparty,
        memo,
    )


def lease_states(*, over: bool | None = None) -> list[str]:
    """The states of leases that are over, of those that are not, or of all."""
    return [each.value for each in LeaseState if over is None or (each in FINAL) is over]


def _signed(entry: bytes) -> SignedTransaction | None:
    """The transaction in an entry; None where there is none, and the block refused it."""
    try:
        found = decode_entry(entry)
    except Malformed:
        return None
    return found if isinstance(found, SignedTransaction) else None


def _memo(signed: SignedTransaction | None) -> str:
    body = None if signed is None else signed.transaction.body
    return body.memo if isinstance(body, BankTransfer) else ""


def _lease_of(body: Body, tx: TxId) -> LeaseId | None:
    match body:
        case LeaseOpen():
            return tx
        case LeaseActivate():
            return body.lease
        case LeaseSettle() | LeaseClaim():
            return body.receipt.lease
        case _:
            return None
