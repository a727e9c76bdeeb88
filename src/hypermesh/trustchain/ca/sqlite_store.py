"""The store of an authority in one SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

from hypermesh.sqlite.rows import insert, parts
from hypermesh.trustchain.ca.database import Database
from hypermesh.trustchain.ca.tables import Rows, TableStore

FILE = "issuing.sqlite"

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS authorities (
    number INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL UNIQUE,
    certificate BLOB NOT NULL,
    settings BLOB NOT NULL,
    installed_s INTEGER NOT NULL,
    retired_s INTEGER,
    is_compromised INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS certificates (
    number INTEGER PRIMARY KEY,
    request BLOB NOT NULL UNIQUE,
    serial BLOB NOT NULL UNIQUE,
    issuer BLOB NOT NULL,
    kind TEXT NOT NULL,
    requester TEXT NOT NULL,
    holder BLOB NOT NULL,
    names BLOB NOT NULL,
    issued_s INTEGER NOT NULL,
    not_before_s INTEGER NOT NULL,
    not_after_s INTEGER NOT NULL,
    draft BLOB NOT NULL,
    certificate BLOB,
    log_index INTEGER,
    timestamp_ms INTEGER,
    sct BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS certificates_by_holder ON certificates (holder);
CREATE INDEX IF NOT EXISTS certificates_by_requester ON certificates (requester);
CREATE INDEX IF NOT EXISTS certificates_by_time ON certificates (issued_s);
CREATE INDEX IF NOT EXISTS certificates_unrecorded ON certificates (number)
    WHERE certificate IS NULL;
CREATE TABLE IF NOT EXISTS names (
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (name, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revocations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    serial BLOB NOT NULL UNIQUE,
    issuer BLOB NOT NULL,
    shard INTEGER NOT NULL,
    revoked_s INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    not_after_s INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS revocations_by_shard ON revocations (issuer, shard, number);
CREATE TABLE IF NOT EXISTS lists (
    issuer BLOB NOT NULL,
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    covers INTEGER NOT NULL,
    made_s INTEGER NOT NULL,
    base_number INTEGER NOT NULL,
    base_covers INTEGER NOT NULL,
    base_s INTEGER NOT NULL,
    complete BLOB NOT NULL,
    delta BLOB NOT NULL,
    PRIMARY KEY (issuer, shard)
) STRICT;
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    entry BLOB NOT NULL,
    before BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_by_kind ON audit (kind, number);
CREATE TABLE IF NOT EXISTS told (
    number INTEGER PRIMARY KEY,
    act_index INTEGER NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS audit_is_not_altered BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_not_shortened BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
"""


@final
class SqliteStore(TableStore):
    """A `CertificateStore` in the file `issuing.sqlite` of a directory."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory / FILE, _SCHEMA)

    def close(self) -> None:
        self._database.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Rows]:
        with self._database.transaction() as connection:
            yield _Rows(connection)

    def _read(self, work: Callable[[Rows], T]) -> T:
        with self._database.transaction() as connection:
            return work(_Rows(connection))


class _Rows:
    """`Rows` of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, query: str, *values: object) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    def among(self, query: str, column: str, values: Sequence[bytes]) -> list[Any]:
        found: list[Any] = []
        for count, some in parts(values):
            marks = ",".join("?" * count)
            found += self._connection.execute(f"{query} WHERE {column} IN ({marks})", some)
        return found

    def change(self, statement: str, *values: object) -> int:
        return self._connection.execute(statement, values).rowcount

    def change_each(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        self._connection.executemany(statement, values)

    def insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        insert(self._connection, "INSERT", table, rows)
