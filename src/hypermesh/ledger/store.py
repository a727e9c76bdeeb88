"""The ledger on disk: one SQLite database, one writer, any number of snapshots.

Contract. `commit` is durable when it returns (WAL, `synchronous=FULL`: the log is synced at every
commit). A block's bytes, its rows, bucket hashes and transaction ids are one SQLite transaction, so
after a crash the database holds a block wholly or not at all, and its height and root always fit
its rows. A snapshot sees one height, whatever is committed meanwhile. Only one process has a ledger
open. The disk is trusted to keep what was synced; at start the root over the stored bucket hashes
is compared with the last header, so a damaged tree is found before it is served.

    rows          key -> value
    buckets       number -> hash, encoded entries of the state tree
    blocks        height -> encoded `Header`, encoded `Block`
    transactions  id -> height, index (those that spent a nonce, so each id is there at most once)
    events        height -> the events of the block, for the last `EVENTS_KEPT` blocks
    meta          the genesis document and the root of its rows

Events follow from the block and the state before it. They are kept because what falls due by time
alone stands in no transaction, and whoever missed it shall still hear of it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from hypermesh.crypto.files import make_directory
from hypermesh.ledger.errors import (
    AnotherNetwork,
    DiskFull,
    LedgerDamaged,
    LedgerInUse,
    LedgerStopped,
    NewerSchema,
)
from hypermesh.ledger.kernel import Execution
from hypermesh.ledger.module import Event
from hypermesh.ledger.tree import BUCKETS, Changes, Entries, Tree, bucket_of
from hypermesh.sqlite.file import is_full, lay_out, opened, transaction, version
from hypermesh.wire.block import BucketProof, Genesis, Header
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import ZERO_HASH, Hash, TxId

SCHEMA: Final = 1
READERS_MAX: Final = 4
"""Threads with a snapshot open at a time; a further one waits for its turn."""
SCAN_FIRST: Final = 16
SCAN_PAGE: Final = 512
"""Rows read ahead by a scan. It reads in pages, so that no cursor outlives its snapshot."""
CACHE_KIB: Final = 8 * 1024
"""Page cache of the writer's connection."""
READER_CACHE_KIB: Final = 2 * 1024
"""Page cache of a reader's; a block that was committed meanwhile empties it."""
ROWS_KEPT: Final = 4096
ROW_KEPT_BYTES_MAX: Final = 2048
"""The writer keeps that many small rows at hand, for blocks read the same few rows again."""
SNAPSHOT_ROWS_KEPT: Final = 1024
EVENTS_KEPT: Final = 16_384
"""Blocks whose events are kept."""
EVENTS_BYTES_MAX: Final = 64 << 20
"""Of one block: more than the largest block leads to."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE buckets (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, entries BLOB NOT NULL);
CREATE TABLE blocks (height INTEGER PRIMARY KEY, header BLOB NOT NULL, block BLOB NOT NULL);
CREATE TABLE transactions (
  id BLOB PRIMARY KEY, height INTEGER NOT NULL, position INTEGER NOT NULL
) WITHOUT ROWID;
"""

_EVENTS_TABLE = (
    "CREATE TABLE IF NOT EXISTS events (height INTEGER PRIMARY KEY, events BLOB NOT NULL)"
)
"""Apart: ledgers of schema 1 that were laid out before it get it when they are opened."""

_Events = list[tuple[str, bytes, bytes, int | None]]


class _Rows:
    """The tables, read through one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: bytes) -> bytes | None:
        return self._one("SELECT value FROM rows WHERE key = ?", key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key begins with `prefix`, by ascending key."""
        end = _end_of(prefix)
        key, count = prefix, SCAN_FIRST
        operator = ">="
        while True:
            page = self._connection.execute(
                f"SELECT key, value FROM rows WHERE key {operator} ? AND key < ? "  # noqa: S608
                "ORDER BY key LIMIT ?",
                (key, end, count),
            ).fetchall()
            yield from page
            if len(page) < count:
                return
            key, operator, count = page[-1][0], ">", SCAN_PAGE

    def bucket(self, index: int) -> Entries:
        """The entries of one bucket of the state tree."""
        data = self._one("SELECT entries FROM buckets WHERE number = ?", index)
        return [] if data is None else decode(Entries, data)

    def block(self, height: int) -> bytes | None:
        """The encoded block at `height`."""
        return self._one("SELECT block FROM blocks WHERE height = ?", height)

    def events(self, height: int) -> tuple[Event, ...] | None:
        """The events of the block at `height`; None where they are not kept."""
        data = self._one("SELECT events FROM events WHERE height = ?", height)
        if data is None:
            return None
        return tuple(Event(*each) for each in decode(_Events, data, size_max=EVENTS_BYTES_MAX))

    def header(self, height: int) -> Header | None:
        """The header of the block at `height`."""
        data = self._one("SELECT header FROM blocks WHERE height = ?", height)
        return None if data is None else decode(Header, data)

    def genesis_root(self) -> Hash:
        """The root over the rows of genesis."""
        root = self.meta("root")
        if root is None:
            raise LedgerDamaged(why="the rows of genesis were never written")
        return root

    def last_height(self) -> int:
        """The height of the last block; 0 where there is only genesis."""
        return int(self._connection.execute("SELECT max(height) FROM blocks").fetchone()[0] or 0)

    def position(self, tx: TxId) -> tuple[int, int] | None:
        """(height, index in its block) of a transaction that spent its nonce."""
        row = self._connection.execute(
            "SELECT height, position FROM transactions WHERE id = ?", (tx,)
        ).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def meta(self, name: str) -> bytes | None:
        return self._one("SELECT value FROM meta WHERE name = ?", name)

    def _one(self, query: str, parameter: bytes | int | str) -> bytes | None:
        row = self._connection.execute(query, (parameter,)).fetchone()
        return None if row is None else row[0]


def _end_of(prefix: bytes) -> bytes:
    """A key greater than every key that begins with `prefix`. Keys are ASCII table names first, so
    none begins with the byte ff."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else b"\xff"


class Snapshot(_Rows):
    """A `State` to read, at one height. It refuses writes; one thread uses it at a time.

    It keeps the small rows that it has read while the height stays the same: between two blocks
    readers ask for the same few rows again and again.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.height = 0
        self._kept: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        kept = self._kept
        if key in kept:
            return kept[key]
        value = super().get(key)
        if len(kept) < SNAPSHOT_ROWS_KEPT and (value is None or len(value) <= ROW_KEPT_BYTES_MAX):
            kept[key] = value
        return value

    def put(self, key: bytes, value: bytes) -> None:  # noqa: ARG002
        raise TypeError("a snapshot is read only")

    def delete(self, key: bytes) -> None:  # noqa: ARG002
        raise TypeError("a snapshot is read only")

    def begin(self) -> None:
        """Hold on to the last committed state."""
        self._connection.execute("BEGIN")
        # SQLite takes the snapshot with the first read, not with BEGIN.
        height = self.last_height()
        if height != self.height or height == 0:
            # At height 0 the rows of genesis may be written between two looks.
            self._kept.clear()
        self.height = height

    def end(self) -> None:
        """Let go of it."""
        self._connection.execute("ROLLBACK")


class Store:
    """The ledger of one genesis in `directory`. It is a `Base`, for the thread that commits.

    `get`, `scan`, `bucket`, `tree`, `found` and `commit` belong to that one thread; `snapshot` and
    `prove` to all.
    """

    def __init__(self, directory: Path, genesis: Genesis) -> None:
        """Open the ledger, or lay out an empty one (then `found` must be called).

        Raises `LedgerInUse`, `NewerSchema`, `AnotherNetwork`, `LedgerDamaged`.
        """
        make_directory(directory)
        self._path = directory / "ledger.sqlite"
        self._connections: list[sqlite3.Connection] = []
        self._idle: list[Snapshot] = []
        self._places = threading.BoundedSemaphore(READERS_MAX)
        self._mine = threading.local()
        self._turn = threading.Lock()
        """Held while the database and the tree in memory move on together."""
        self._kept: dict[bytes, bytes | None] = {}
        self._closed = False
        self._claim = _claim(directory / "ledger.lock")
        try:
            self._writer = self._connect()
            self._rows = _Rows(self._writer)
            self._adopt(genesis)
            self._tree = self._stored_tree()
            self._height = self._rows.last_height()
            self._compare_roots()
        except sqlite3.DatabaseError as error:
            self.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise LedgerDamaged(why=f"{self._path}: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the ledger up. No snapshot may be in use."""
        if self._closed:
            return
        self._closed = True
        for connection in self._connections:
            connection.close()
        os.close(self._claim)

    @property
    def tree(self) -> Tree:
        return self._tree

    @property
    def founded(self) -> bool:
        """Whether the rows of genesis are written."""
        return self._rows.meta("root") is not None

    @property
    def height(self) -> int:
        """Height of the last committed block."""
        return self._height

    def get(self, key: bytes) -> bytes | None:
        kept = self._kept
        if key in kept:
            return kept[key]
        value = self._rows.get(key)
        self._keep(key, value)
        return value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._rows.scan(prefix)

    def bucket(self, index: int) -> Entries:
        return self._rows.bucket(index)

    def block(self, height: int) -> bytes | None:
        """The encoded block at `height`."""
        return self._rows.block(height)

    def position(self, tx: TxId) -> tuple[int, int] | None:
        """(height, index in its block) of a transaction that spent its nonce."""
        return self._rows.position(tx)

    def found(self, genesis_rows: Changes) -> None:
        """Write the rows of genesis, once."""
        with self._turn:
            with self._transaction():
                self._writer.execute(
                    "INSERT INTO meta VALUES ('root', ?)", (genesis_rows.step.root,)
                )
                self._write(genesis_rows)
            self._tree.take(genesis_rows.step)
            self._kept.clear()

    def commit(self, block: bytes, execution: Execution) -> None:
        """Store an encoded block and what it leads to: durable, and wholly or not at all.

        Raises `DiskFull`, after which the store is as it was and may be used. Any other error of
        SQLite leaves open what the disk holds: the store must be opened again.
        """
        height = execution.header.height
        with self._turn:
            with self._transaction():
                self._writer.execute(
                    "INSERT INTO blocks VALUES (?, ?, ?)",
                    (height, encode(execution.header), block),
                )
                self._writer.executemany(
                    "INSERT INTO transactions VALUES (?, ?, ?)",
                    [(tx, height, index) for index, tx in execution.executed],
                )
                self._keep_events(height, execution.events)
                self._write(execution.changes)
            self._tree.take(execution.changes.step)
            self._height = height
            for key, value in execution.changes.rows.items():
                self._keep(key, value)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The last committed state; it stays the same until the `with` block ends."""
        with self._borrowed() as reader:
            reader.begin()
            try:
                yield reader
            finally:
                reader.end()

    def prove(self, key: bytes) -> tuple[int, bytes | None, BucketProof]:
        """(height, value or None, proof) of one row, under the app hash of the block there."""
        height, ((value, proof),) = self.prove_all([key])
        return height, value, proof

    def prove_all(
        self, keys: Sequence[bytes]
    ) -> tuple[int, list[tuple[bytes | None, BucketProof]]]:
        """As `prove`, of several rows at one height."""
        numbers = [bucket_of(key) for key in keys]
        with self._borrowed() as reader:
            with self._turn:
                reader.begin()
                paths = [self._tree.path(number) for number in numbers]
            try:
                proofs = [
                    (reader.get(key), BucketProof(key, reader.bucket(number), path))
                    for key, number, path in zip(keys, numbers, paths, strict=True)
                ]
                return reader.height, proofs
            finally:
                reader.end()

    @contextmanager
    def _borrowed(self) -> Iterator[Snapshot]:
        with self._place():
            try:
                reader = self._idle.pop()
            except IndexError:
                reader = Snapshot(self._connect(READER_CACHE_KIB))
            try:
                yield reader
            finally:
                self._idle.append(reader)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One place for each thread, however many snapshots it opens inside one another: threads
        that waited for a second with the first in hand would wait for one another for ever."""
        mine = self._mine
        held: int = getattr(mine, "held", 0)
        with nullcontext() if held else self._places:
            mine.held = held + 1
            try:
                yield
            finally:
                mine.held = held

    def _connect(self, cache_kib: int = CACHE_KIB) -> sqlite3.Connection:
        if self._closed:
            raise LedgerStopped("The ledger is closed")
        connection = opened(self._path, cache_kib=cache_kib)
        self._connections.append(connection)
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with transaction(self._writer):
                yield
        except sqlite3.Error as error:
            if is_full(error):
                raise DiskFull(why=str(error)) from error
            raise

    def _keep_events(self, height: int, events: list[Event]) -> None:
        kept = encode([(each.name, each.subject, each.data, each.entry) for each in events])
        self._writer.execute("INSERT INTO events VALUES (?, ?)", (height, kept))
        self._writer.execute("DELETE FROM events WHERE height <= ?", (height - EVENTS_KEPT,))

    def _write(self, changes: Changes) -> None:
        writer = self._writer
        writer.executemany(
            "INSERT INTO rows VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            [(key, value) for key, value in changes.rows.items() if value is not None],
        )
        writer.executemany(
            "DELETE FROM rows WHERE key = ?",
            [(key,) for key, value in changes.rows.items() if value is None],
        )
        writer.executemany(
            "INSERT INTO buckets VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET hash = excluded.hash, entries = excluded.entries",
            [(number, each.hash, each.entries) for number, each in changes.buckets.items()],
        )

    def _keep(self, key: bytes, value: bytes | None) -> None:
        kept = self._kept
        kept.pop(key, None)
        if value is not None and len(value) > ROW_KEPT_BYTES_MAX:
            return
        if len(kept) >= ROWS_KEPT:
            del kept[next(iter(kept))]
        kept[key] = value

    def _adopt(self, genesis: Genesis) -> None:
        """Check that the database is ours, or make it so."""
        schema = version(self._writer)
        if schema > SCHEMA:
            raise NewerSchema(why=f"it has schema {schema}, this version knows {SCHEMA}")
        if schema == 0:
            with self._transaction():
                lay_out(self._writer, _TABLES, SCHEMA)
                self._writer.execute("INSERT INTO meta VALUES ('genesis', ?)", (encode(genesis),))
                self._writer.execute(_EVENTS_TABLE)
            return
        stored = self._rows.meta("genesis")
        if stored != encode(genesis):
            raise AnotherNetwork(
                why=f"the database in {self._path.parent} began with another genesis",
                fix="Give this network its own data directory",
            )
        self._writer.execute(_EVENTS_TABLE)

    def _stored_tree(self) -> Tree:
        (strange,) = self._writer.execute(
            "SELECT count(*) FROM buckets WHERE typeof(hash) <> 'blob' OR length(hash) <> ? "
            "OR number NOT BETWEEN 0 AND ?",
            (len(ZERO_HASH), BUCKETS - 1),
        ).fetchone()
        if strange:
            raise LedgerDamaged(why=f"{strange} buckets of the state tree are none")
        return Tree.of(dict(self._writer.execute("SELECT number, hash FROM buckets")))

    def _compare_roots(self) -> None:
        """The root over the stored bucket hashes is the one that the last block promises."""
        promised = self._rows.meta("root")
        last = self._rows.header(self._height)
        if last is not None:
            promised = last.app_hash
        if promised is not None and promised != self._tree.root:
            raise LedgerDamaged(
                why=f"the state tree at height {self._height} does not lead to the app hash"
            )


def _claim(lock: Path) -> int:
    """An exclusive claim that ends with this process, whichever way it ends."""
    claim = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(claim)
        raise LedgerInUse(why=f"{lock} is claimed") from error
    return claim
