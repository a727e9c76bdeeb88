"""Where the logs are kept: one store for both, so that one transaction sequences both.

Contract of `LogStore`. `append` is durable when it returns and is done wholly or not at all; it
raises `NothingStored` where there was no room or the database is away, after which the store is as
it was and may be used; so do `placed` and `publish`. Any other error leaves open what is stored.
Readers see what was committed, from any thread; they raise `LogUnavailable` or `LogDamaged`. One
process writes (`TransparencyLogs` and the store see to it).

`SqliteLogStore` has for log `n`:

    entries_n     index -> TileLeaf, or a leaf of the acts
    leaves_n      leaf hash -> index, but for the newest
    hashes_n      (level, index) -> the hashes of a tile, full or not yet
    identities    identity of a submission -> index in the log of certificates, but for the newest
    issuers       SHA-256 -> certificate
    heads         log -> identity of its keys, size, root, timestamp, last published checkpoint,
                  and how many entries are surely in the two indexes

Hashes are random, so each row of an index is on a page of its own, and a batch of 16 entries
would write 130 KB of pages for 1 KB of rows. `_Index` therefore keeps the newest rows in memory and
moves a sixteenth of the key space at a time. Nothing is lost with them: they follow from the
entries, from which they are read again when the store opens.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from hypermesh.sqlite.file import is_full, lay_out, opened, transaction, version
from hypermesh.sqlite.rows import insert
from hypermesh.trustchain.ct.entry import read_tile_leaves
from hypermesh.trustchain.ct.errors import LogDamaged
from hypermesh.trustchain.ct.tree import EMPTY_ROOT, leaf_hash
from hypermesh.trustchain.evidence import LogUnavailable

CERTIFICATES: Final = 0
ACTS: Final = 1
LOGS: Final = (CERTIFICATES, ACTS)
SCHEMA: Final = 1
READERS_MAX: Final = 4
WAL_PAGES: Final = 4096
"""Pages in the write-ahead log before SQLite carries them over into the database."""
CACHE_KIB: Final = 32 * 1024
ASKED_AT_ONCE: Final = 500
INDEXED_LATER: Final = 16_384
"""Rows of an index that wait in memory before some are moved into it."""
SHARES: Final = 16
READ_AT_ONCE: Final = 512

_TABLES = """
CREATE TABLE heads (
  log INTEGER PRIMARY KEY, identity BLOB NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
  timestamp_ms INTEGER NOT NULL, published BLOB, indexed INTEGER NOT NULL
);
CREATE TABLE identities (identity BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE issuers (fingerprint BLOB PRIMARY KEY, certificate BLOB NOT NULL) WITHOUT ROWID;
"""
_TABLES_OF_A_LOG = """
CREATE TABLE entries_{log} (position INTEGER PRIMARY KEY, entry BLOB NOT NULL);
CREATE TABLE leaves_{log} (hash BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE hashes_{log} (
  level INTEGER NOT NULL, number INTEGER NOT NULL, hashes BLOB NOT NULL,
  PRIMARY KEY (level, number)
);
"""


class NothingStored(Exception):
    """The store does not take it now, and is as it was."""


class StoreFull(NothingStored):
    """There is no room."""


class StoreAway(NothingStored):
    """The database cannot be reached."""


@dataclass(frozen=True, slots=True)
class Head:
    """A log as it stands. `timestamp_ms` is that of its newest entry."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    timestamp_ms: int = 0


@dataclass(slots=True)
class Growth:
    """What one batch adds to one log, and the head it leads to.

    `entries` follow the present ones in order; `leaves` are their hashes; `tiles` the tiles that
    changed: (level, index, hashes).
    """

    log: int
    head: Head
    entries: list[bytes]
    leaves: list[bytes]
    tiles: list[tuple[int, int, bytes]]
    identities: list[bytes] = field(default_factory=list)
    issuers: list[tuple[bytes, bytes]] = field(default_factory=list)


class LogStore(Protocol):
    """See the contract at the top of the module."""

    def adopt(self, identities: Mapping[int, bytes]) -> Mapping[int, bytes]:
        """The identities (32 bytes) of the stored logs; an empty store takes these on."""
        ...

    def head(self, log: int) -> Head: ...

    def append(self, growths: Sequence[Growth]) -> None: ...

    def placed(self, identities: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """(index, timestamp in milliseconds) of those submissions that are in the log."""
        ...

    def entries(self, log: int, first: int, count: int) -> list[bytes]:
        """Up to `count` entries from `first` on, in order."""
        ...

    def hashes(self, log: int, level: int, index: int) -> bytes | None:
        """The hashes of a tile, at least as many as the head asks for."""
        ...

    def index_of(self, log: int, leaf: bytes) -> int | None:
        """The index of the leaf with this hash."""
        ...

    def issuer(self, fingerprint: bytes) -> bytes | None: ...

    def publish(self, log: int, note: bytes) -> None:
        """Keep the last checkpoint shown, durably; raises `NothingStored`."""
        ...

    def published(self, log: int) -> bytes | None: ...

    def close(self) -> None: ...


class _Index:
    """One index, as far as it is in memory: keys (hashes) of entries that are not in `table` yet,
    by the share of the key space that they are in."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._shares: list[dict[bytes, int]] = [{} for _ in range(SHARES)]
        self._count = 0

    def get(self, key: bytes) -> int | None:
        return self._shares[key[0] * SHARES >> 8].get(key)

    def add(self, keys: Sequence[bytes], first: int) -> None:
        for place, key in enumerate(keys, first):
            self._shares[key[0] * SHARES >> 8].setdefault(key, place)
        self._count += len(keys)

    def due(self) -> int | None:
        """The share that is to be moved now."""
        if self._count < INDEXED_LATER:
            return None
        return max(range(SHARES), key=lambda share: len(self._shares[share]))

    def rows(self, share: int) -> list[tuple[bytes, int]]:
        """In the order of the table, so that each of its pages is written once."""
        return sorted(self._shares[share].items())

    def forget(self, share: int) -> None:
        # Replaced and not emptied: a reader may be looking into it.
        self._count -= len(self._shares[share])
        self._shares[share] = {}

    def least(self, but: int | None, end: int) -> int:
        """The first entry that is in memory alone, leaving share `but` aside; or `end`."""
        # A dict keeps the order in which places were added.
        firsts = (
            next(iter(rows.values()), end)
            for share, rows in enumerate(self._shares)
            if share != but
        )
        return min(firsts)


class SqliteLogStore:
    """A `LogStore` in the SQLite file `path` (WAL, `synchronous=FULL`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        """Held while the writer's connection is used."""
        self._places = threading.BoundedSemaphore(READERS_MAX)
        self._idle: list[sqlite3.Connection] = []
        self._connections: list[sqlite3.Connection] = []
        self._identities = _Index("identities")
        self._leaves = {log: _Index(f"leaves_{log}") for log in LOGS}
        try:
            self._writer = self._connect()
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            schema = version(self._writer)
            if schema == 0:
                tables = _TABLES + "".join(_TABLES_OF_A_LOG.format(log=log) for log in LOGS)
                with self._transaction() as writer:
                    lay_out(writer, tables, SCHEMA)
            else:
                _require_known(schema)
            self._index_again()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the file up; nothing is lost without it. No thread may be reading."""
        for connection in self._connections:
            connection.close()

    def adopt(self, identities: Mapping[int, bytes]) -> Mapping[int, bytes]:
        with self._transaction() as writer:
            stored = dict(writer.execute("SELECT log, identity FROM heads"))
            if stored:
                return stored
            writer.executemany(
                "INSERT INTO heads VALUES (?, ?, 0, ?, 0, NULL, 0)",
                [(log, identity, EMPTY_ROOT) for log, identity in identities.items()],
            )
        return identities

    def head(self, log: int) -> Head:
        with self._reader() as reader:
            return _head(reader, log)

    def append(self, growths: Sequence[Growth]) -> None:
        due = {index: index.due() for growth in growths for index in self._indexes(growth.log)}
        with self._transaction() as writer:
            for growth in growths:
                self._write(writer, growth, due)
        for index, share in due.items():
            if share is not None:
                index.forget(share)
        for growth in growths:
            first = growth.head.size - len(growth.entries)
            self._leaves[growth.log].add(growth.leaves, first)
            self._identities.add(growth.identities, first)

    def placed(self, identities: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        places = {}
        asked = []
        for identity in identities:
            place = self._identities.get(identity)
            if place is None:
                asked.append(identity)
            else:
                places[identity] = place
        with self._turn:
            for at in range(0, len(asked), ASKED_AT_ONCE):
                some = asked[at : at + ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT * FROM identities WHERE identity IN ({marks})"  # noqa: S608
                places.update(self._writer.execute(query, some))
            found = {}
            for identity, place in places.items():
                (timestamp,) = self._writer.execute(
                    "SELECT substr(entry, 1, 8) FROM entries_0 WHERE position = ?", (place,)
                ).fetchone()
                found[identity] = (place, int.from_bytes(timestamp, "big"))
        return found

    def entries(self, log: int, first: int, count: int) -> list[bytes]:
        with self._reader() as reader:
            rows = reader.execute(
                f"SELECT entry FROM entries_{log} WHERE position >= ? AND position < ? "  # noqa: S608
                "ORDER BY position",
                (first, first + count),
            )
            return [entry for (entry,) in rows]

    def hashes(self, log: int, level: int, index: int) -> bytes | None:
        query = f"SELECT hashes FROM hashes_{log} WHERE level = ? AND number = ?"  # noqa: S608
        return self._one(query, level, index)

    def index_of(self, log: int, leaf: bytes) -> int | None:
        place = self._leaves[log].get(leaf)
        if place is not None:
            return place
        query = f"SELECT position FROM leaves_{log} WHERE hash = ?"  # noqa: S608
        with self._reader() as reader:
            row = reader.execute(query, (leaf,)).fetchone()
        return None if row is None else int(row[0])

    def issuer(self, fingerprint: bytes) -> bytes | None:
        return self._one("SELECT certificate FROM issuers WHERE fingerprint = ?", fingerprint)

    def publish(self, log: int, note: bytes) -> None:
        with self._transaction() as writer:
            writer.execute("UPDATE heads SET published = ? WHERE log = ?", (note, log))

    def published(self, log: int) -> bytes | None:
        return self._one("SELECT published FROM heads WHERE log = ?", log)

    def _indexes(self, log: int) -> tuple[_Index, ...]:
        leaves = self._leaves[log]
        return (leaves, self._identities) if log == CERTIFICATES else (leaves,)

    def _index_again(self) -> None:
        """Take the keys of entries that may not be in the tables yet back into memory."""
        for log in LOGS:
            row = self._writer.execute(
                "SELECT indexed, size FROM heads WHERE log = ?", (log,)
            ).fetchone()
            first, size = row or (0, 0)
            for begin in range(first, size, READ_AT_ONCE):
                entries = self.entries(log, begin, min(READ_AT_ONCE, size - begin))
                if log == CERTIFICATES:
                    read = list(read_tile_leaves(b"".join(entries)))
                    self._identities.add([entry.identity for entry in read], begin)
                    entries = [entry.leaf for entry in read]
                self._leaves[log].add([leaf_hash(leaf) for leaf in entries], begin)

    def _write(
        self, writer: sqlite3.Connection, growth: Growth, due: Mapping[_Index, int | None]
    ) -> None:
        log, head = growth.log, growth.head
        first = head.size - len(growth.entries)
        places = range(first, head.size)
        rows = list(zip(places, growth.entries, strict=True))
        insert(writer, "INSERT", f"entries_{log}", rows)
        writer.executemany(
            f"INSERT INTO hashes_{log} VALUES (?, ?, ?) "  # noqa: S608
            "ON CONFLICT DO UPDATE SET hashes = excluded.hashes",
            growth.tiles,
        )
        writer.executemany("INSERT OR IGNORE INTO issuers VALUES (?, ?)", growth.issuers)
        indexed = first
        for index in self._indexes(log):
            share = due[index]
            if share is not None:
                # After a start some rows are in memory and in the table.
                insert(writer, "INSERT OR IGNORE", index.table, index.rows(share))
            indexed = min(indexed, index.least(share, first))
        writer.execute(
            "UPDATE heads SET size = ?, root = ?, timestamp_ms = ?, indexed = ? WHERE log = ?",
            (head.size, head.root, head.timestamp_ms, indexed, log),
        )

    def _commit(self, writer: sqlite3.Connection) -> None:
        writer.execute("COMMIT")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                with transaction(self._writer, self._commit):
                    yield self._writer
            except sqlite3.Error as error:
                if is_full(error):
                    raise StoreFull(str(error)) from error
                raise

    def _one(self, query: str, *parameters: bytes | int) -> bytes | None:
        with self._reader() as reader:
            row = reader.execute(query, parameters).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with self._places:
            try:
                reader = self._idle.pop()
            except IndexError:
                reader = self._connect()
            try:
                yield reader
            except sqlite3.OperationalError as error:
                raise LogUnavailable("The log cannot be read", why=str(error)) from error
            except sqlite3.DatabaseError as error:
                raise LogDamaged(why=str(error)) from error
            finally:
                self._idle.append(reader)

    def _connect(self) -> sqlite3.Connection:
        connection = opened(self._path, cache_kib=CACHE_KIB)
        self._connections.append(connection)
        return connection


def _head(connection: sqlite3.Connection, log: int) -> Head:
    row = connection.execute(
        "SELECT size, root, timestamp_ms FROM heads WHERE log = ?", (log,)
    ).fetchone()
    return Head() if row is None else Head(*row)


def _require_known(schema: int) -> None:
    if schema != SCHEMA:
        raise LogDamaged(
            "The logs were written by another version",
            why=f"they have schema {schema}, this version knows {SCHEMA}",
            fix="Install the version that wrote them",
        )
