"""The logs in PostgreSQL.

    heads       log -> identity of its keys, size, root, timestamp
    entries     (log, index) -> entry, leaf hash, identity of a submission
    hashes      (log, level, index) -> the hashes of a tile, full or not yet
    issuers     SHA-256 -> certificate
    checkpoints log -> last published checkpoint

What keeps the log from forking, from the outside in. One session has the claim of the database and
writes; a second server is refused. A batch is committed only where the head in the database is the
one that it goes on from. A connection lost during a commit is made again before anything else is
done, however long that takes: with its claim it sees whether the batch is there, and answers so.
And the file `logs.head` beside the database says how far the log had come when it last answered, so
a database that was brought back from an older copy, or a standby that lacked the last commits, is
found out at the start. It is synced when a checkpoint is shown; between two of these a power cut
can take its last word, not the database's.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hypermesh.postgresql.errors import (
    DatabaseAway,
    DatabaseBusy,
    DatabaseClaimed,
    DatabaseInDoubt,
    DatabaseRefused,
)
from hypermesh.postgresql.place import Place
from hypermesh.postgresql.session import Connection, Pool, Session
from hypermesh.trustchain.ct.errors import LogDamaged, LogInUse
from hypermesh.trustchain.ct.store import (
    CERTIFICATES,
    LOGS,
    Growth,
    Head,
    StoreAway,
    StoreFull,
)
from hypermesh.trustchain.ct.tiles import root_at
from hypermesh.trustchain.ct.tree import HASH_BYTES
from hypermesh.trustchain.evidence import LogUnavailable
from hypermesh.wire.codec import Undecodable, decode, encode

SCHEMA: Final = "trustchain_log"
CLAIM: Final = 1
SETTLE_S: Final = 0.5
"""Between two looks whether a database that was lost in a commit is back."""
HEAD_FILE: Final = "logs.head"
HEAD_BYTES_MAX: Final = 512
"""Of the file; within one sector, so that a write of it is whole."""

MIGRATIONS: Final = (
    """
    CREATE TABLE heads (
        log SMALLINT PRIMARY KEY, identity BYTEA NOT NULL, size BIGINT NOT NULL,
        root BYTEA NOT NULL, timestamp_ms BIGINT NOT NULL
    );
    CREATE TABLE entries (
        log SMALLINT NOT NULL, position BIGINT NOT NULL, entry BYTEA NOT NULL,
        leaf BYTEA NOT NULL, identity BYTEA, PRIMARY KEY (log, position)
    );
    CREATE INDEX entries_by_leaf ON entries (leaf);
    CREATE UNIQUE INDEX entries_by_identity ON entries (identity) WHERE identity IS NOT NULL;
    CREATE TABLE hashes (
        log SMALLINT NOT NULL, level SMALLINT NOT NULL, number BIGINT NOT NULL,
        hashes BYTEA NOT NULL, PRIMARY KEY (log, level, number)
    );
    CREATE TABLE issuers (fingerprint BYTEA PRIMARY KEY, certificate BYTEA NOT NULL);
    CREATE TABLE checkpoints (log SMALLINT PRIMARY KEY, note BYTEA NOT NULL);
    """,
)
_Shown = tuple[tuple[int, bytes], ...]
"""What `logs.head` says of each log: how many entries it has, and their root."""
TABLES: Final = ("heads", "entries", "hashes", "issuers", "checkpoints")


def copied_size(directory: Path) -> int:
    """How many entries the log of certificates has in a copy of the tables (`postgresql.copying`).
    Raises `LogDamaged`."""
    try:
        for line in (directory / f"{SCHEMA}.heads").read_text("ascii").splitlines():
            log, _, size = line.split("\t")[:3]
            if int(log) == CERTIFICATES:
                return int(size)
    except (OSError, ValueError) as error:
        raise LogDamaged("The copied heads of the logs cannot be read", why=str(error)) from error
    raise LogDamaged("The copy has no log of certificates")


class PostgresqlLogStore:
    """A `LogStore` in the database `place`. `path` is where a file of it would lie; `logs.head`
    lies beside it. Raises `LogInUse`, `LogDamaged` and the errors of `hypermesh.postgresql`."""

    def __init__(self, path: Path, place: Place) -> None:
        self._turn = threading.Lock()
        """Held while the writer's session and what is known of the heads move on together."""
        self._writer = Session(place, SCHEMA, CLAIM)
        self._readers = Pool(place, SCHEMA)
        self._heads: dict[int, Head] = {}
        self._noted = -1
        try:
            try:
                self._writer.connect()
            except DatabaseClaimed as error:
                raise LogInUse(why=error.why, fix=error.fix) from error
            self._writer.lay_out(MIGRATIONS)
            self._heads = self._stored_heads()
            self._noted = os.open(
                path.with_name(HEAD_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            self._require_not_behind()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the database up; nothing is lost without it. No thread may be reading."""
        self._writer.close()
        self._readers.close()
        if self._noted >= 0:
            os.close(self._noted)
            self._noted = -1

    def adopt(self, identities: Mapping[int, bytes]) -> Mapping[int, bytes]:
        with self._turn, self._writer.transaction() as writer:
            stored: dict[int, bytes] = dict(
                writer.execute("SELECT log, identity FROM heads", binary=True).fetchall()
            )
            if not stored:
                for log, identity in identities.items():
                    empty = Head()
                    writer.execute(
                        "INSERT INTO heads VALUES (%s, %s, 0, %s, 0)", (log, identity, empty.root)
                    )
                    self._heads[log] = empty
        return stored or identities

    def head(self, log: int) -> Head:
        return self._heads.get(log, Head())

    def append(self, growths: Sequence[Growth]) -> None:
        with self._turn:
            try:
                with self._refused(), self._writer.transaction(writes=False) as writer:
                    for growth in growths:
                        self._write(writer, growth)
            except DatabaseInDoubt as error:
                self._settle(growths, error)
            self._heads.update((growth.log, growth.head) for growth in growths)
            self._note()

    def placed(self, identities: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        with self._turn, self._refused():
            rows = self._writer.rows(
                "SELECT identity, position, substring(entry FROM 1 FOR 8) FROM entries "
                "WHERE identity = ANY(%s)",
                list(identities),
            )
        return {
            identity: (position, int.from_bytes(timestamp, "big"))
            for identity, position, timestamp in rows
        }

    def entries(self, log: int, first: int, count: int) -> list[bytes]:
        rows = self._read(
            "SELECT entry FROM entries WHERE log = %s AND position >= %s AND position < %s "
            "ORDER BY position",
            log,
            first,
            first + count,
        )
        return [entry for (entry,) in rows]

    def hashes(self, log: int, level: int, index: int) -> bytes | None:
        return self._one(
            "SELECT hashes FROM hashes WHERE log = %s AND level = %s AND number = %s",
            log,
            level,
            index,
        )

    def index_of(self, log: int, leaf: bytes) -> int | None:
        rows = self._read(
            "SELECT position FROM entries WHERE leaf = %s AND log = %s ORDER BY position LIMIT 1",
            leaf,
            log,
        )
        return int(rows[0][0]) if rows else None

    def issuer(self, fingerprint: bytes) -> bytes | None:
        return self._one("SELECT certificate FROM issuers WHERE fingerprint = %s", fingerprint)

    def publish(self, log: int, note: bytes) -> None:
        # By a reader's session: whoever shows a checkpoint must not wait for a commit that is in
        # doubt, and putting the same row there twice does no harm.
        with self._refused():
            try:
                with self._readers.transaction(writes=False) as connection:
                    connection.execute(
                        "INSERT INTO checkpoints VALUES (%s, %s) "
                        "ON CONFLICT (log) DO UPDATE SET note = excluded.note",
                        (log, note),
                    )
            except DatabaseInDoubt as error:
                raise StoreAway(str(error)) from error
        os.fdatasync(self._noted)

    def published(self, log: int) -> bytes | None:
        return self._one("SELECT note FROM checkpoints WHERE log = %s", log)

    def _write(self, writer: Connection, growth: Growth) -> None:
        log, head = growth.log, growth.head
        first = head.size - len(growth.entries)
        before = self._heads[log]
        moved = writer.execute(
            "UPDATE heads SET size = %s, root = %s, timestamp_ms = %s "
            "WHERE log = %s AND size = %s AND root = %s",
            (head.size, head.root, head.timestamp_ms, log, before.size, before.root),
        )
        if first != before.size or moved.rowcount != 1:
            raise self._another_wrote(log)
        identities: Sequence[bytes | None] = growth.identities or [None] * len(growth.entries)
        places = range(first, head.size)
        rows = zip(places, growth.entries, growth.leaves, identities, strict=True)
        with writer.pipeline(), writer.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO entries VALUES (%s, %s, %s, %s, %s)", [(log, *row) for row in rows]
            )
            cursor.executemany(
                "INSERT INTO hashes VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (log, level, number) DO UPDATE SET hashes = excluded.hashes",
                [(log, *tile) for tile in growth.tiles],
            )
            cursor.executemany(
                "INSERT INTO issuers VALUES (%s, %s) ON CONFLICT DO NOTHING", growth.issuers
            )

    def _settle(self, growths: Sequence[Growth], doubt: DatabaseInDoubt) -> None:
        """Find out whether the commit was done; raises `StoreAway` where it was not."""
        while True:
            try:
                stored = self._stored_heads()
            except (DatabaseAway, DatabaseBusy, DatabaseRefused):
                # Until it is known, nothing may be sequenced: whatever came next could be a fork.
                time.sleep(SETTLE_S)
                continue
            break
        if all(stored[growth.log] == growth.head for growth in growths):
            return
        if stored != self._heads:
            raise self._another_wrote(growths[0].log)
        raise StoreAway(str(doubt)) from doubt

    def _another_wrote(self, log: int) -> LogDamaged:
        return LogDamaged(
            "The transparency log is not where this server left it",
            why=f"log {log} in the database does not stand at {self._heads[log].size} entries",
            fix="See who else wrote to the database; start again when it is known",
        )

    def _stored_heads(self) -> dict[int, Head]:
        rows = self._writer.rows("SELECT log, size, root, timestamp_ms FROM heads")
        return {log: Head(*head) for log, *head in rows}

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._readers.rows(query, *values)
        except (DatabaseAway, DatabaseBusy, DatabaseRefused) as error:
            raise LogUnavailable("The log cannot be read", why=str(error)) from error

    def _one(self, query: str, *values: object) -> bytes | None:
        rows = self._read(query, *values)
        return rows[0][0] if rows else None

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        """What left the store as it was, in the words of `LogStore`."""
        try:
            yield
        except (DatabaseAway, DatabaseBusy) as error:
            raise StoreAway(str(error)) from error
        except DatabaseRefused as error:
            raise StoreFull(str(error)) from error

    def _note(self) -> None:
        heads = [self.head(log) for log in LOGS]
        data = encode(tuple((head.size, head.root) for head in heads))
        os.pwrite(self._noted, len(data).to_bytes(2, "big") + data, 0)

    def _require_not_behind(self) -> None:
        """Raise `LogDamaged` where the database lacks what this server has answered from."""
        data = os.pread(self._noted, HEAD_BYTES_MAX, 0)
        if not data:
            return
        try:
            heads: _Shown = decode(_Shown, data[2 : 2 + int.from_bytes(data[:2], "big")])
        except Undecodable as error:
            raise LogDamaged(why=f"{HEAD_FILE} cannot be read: {error}") from error
        for log, (size, root) in zip(LOGS, heads, strict=True):
            stored = self.head(log).size
            if stored < size:
                raise LogDamaged(
                    "The database has gone back",
                    why=f"log {log} has {stored} entries, and {size} were answered from",
                    fix="Bring back the newest copy of the database; if there is none, begin "
                    "another log: going on would fork this one",
                )
            if root_at(self._tile_of(log), size) != root:
                raise LogDamaged(why=f"log {log} had another root at {size} entries")

    def _tile_of(self, log: int) -> Callable[[int, int, int], bytes]:
        def read(level: int, index: int, width: int) -> bytes:
            hashes = (self.hashes(log, level, index) or b"")[: width * HASH_BYTES]
            if len(hashes) != width * HASH_BYTES:
                raise LogDamaged(why=f"log {log} lacks hashes of tile {index} of level {level}")
            return hashes

        return read
