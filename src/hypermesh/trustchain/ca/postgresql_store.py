"""The store of an authority in PostgreSQL.

Writes happen one after the other, in all processes that have the database open (`Session.
transaction`): rows of audit follow one another without a gap, and a number that is seen has all
smaller ones before it. So an issuing CA is replaced while a server runs, as with a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, final

from hypermesh.postgresql.marks import marked
from hypermesh.postgresql.place import Place
from hypermesh.postgresql.session import Connection, Pool
from hypermesh.trustchain.ca.tables import Rows, TableStore

T = TypeVar("T")

SCHEMA: Final = "trustchain_ca"
MIGRATIONS: Final = (
    """
    CREATE TABLE authorities (
        number BIGINT PRIMARY KEY, key_id BYTEA NOT NULL UNIQUE, certificate BYTEA NOT NULL,
        settings BYTEA NOT NULL, installed_s BIGINT NOT NULL, retired_s BIGINT,
        is_compromised BOOLEAN NOT NULL
    );
    CREATE TABLE certificates (
        number BIGINT PRIMARY KEY, request BYTEA NOT NULL UNIQUE, serial BYTEA NOT NULL UNIQUE,
        issuer BYTEA NOT NULL, kind TEXT NOT NULL, requester TEXT NOT NULL, holder BYTEA NOT NULL,
        names BYTEA NOT NULL, issued_s BIGINT NOT NULL, not_before_s BIGINT NOT NULL,
        not_after_s BIGINT NOT NULL, draft BYTEA NOT NULL, certificate BYTEA, log_index BIGINT,
        timestamp_ms BIGINT, sct BYTEA
    );
    CREATE INDEX certificates_by_holder ON certificates (holder, number);
    CREATE INDEX certificates_by_requester ON certificates (requester, number);
    CREATE INDEX certificates_by_time ON certificates (issued_s, number);
    CREATE INDEX certificates_unrecorded ON certificates (number) WHERE certificate IS NULL;
    CREATE TABLE names (name TEXT NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (name, number));
    CREATE TABLE revocations (
        number BIGINT PRIMARY KEY, serial BYTEA NOT NULL UNIQUE, issuer BYTEA NOT NULL,
        shard BIGINT NOT NULL, revoked_s BIGINT NOT NULL, reason BIGINT NOT NULL,
        not_after_s BIGINT NOT NULL
    );
    CREATE INDEX revocations_by_shard ON revocations (issuer, shard, number);
    CREATE TABLE lists (
        issuer BYTEA NOT NULL, shard BIGINT NOT NULL, number BIGINT NOT NULL,
        covers BIGINT NOT NULL, made_s BIGINT NOT NULL, base_number BIGINT NOT NULL,
        base_covers BIGINT NOT NULL, base_s BIGINT NOT NULL, complete BYTEA NOT NULL,
        delta BYTEA NOT NULL, PRIMARY KEY (issuer, shard)
    );
    CREATE TABLE audit (
        number BIGINT PRIMARY KEY, kind TEXT NOT NULL, entry BYTEA NOT NULL,
        before BYTEA NOT NULL, hash BYTEA NOT NULL
    );
    CREATE INDEX audit_by_kind ON audit (kind, number);
    CREATE TABLE told (number BIGINT PRIMARY KEY, act_index BIGINT NOT NULL);
    CREATE FUNCTION audit_is_only_added_to() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit log is only added to'; END $$;
    CREATE TRIGGER audit_is_not_altered BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to();
    """,
)
TABLES: Final = (
    "authorities",
    "certificates",
    "names",
    "revocations",
    "lists",
    "audit",
    "told",
)


@final
class PostgresqlStore(TableStore):
    """A `CertificateStore` in the database `place`. Raises the errors of `hypermesh.postgresql`."""

    def __init__(self, place: Place) -> None:
        self._pool = Pool(place, SCHEMA)
        try:
            with self._pool.session() as session:
                session.lay_out(MIGRATIONS)
        except BaseException:
            self._pool.close()
            raise

    def close(self) -> None:
        self._pool.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Rows]:
        with self._pool.transaction() as connection:
            yield _Rows(connection)

    def _read(self, work: Callable[[Rows], T]) -> T:
        with self._pool.session() as session:
            return session.read(lambda connection: work(_Rows(connection)))


class _Rows:
    """`Rows` of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, query: str, *values: object) -> list[Any]:
        return self._connection.execute(marked(query), values, binary=True).fetchall()

    def among(self, query: str, column: str, values: Sequence[bytes]) -> list[Any]:
        return self.all(f"{query} WHERE {column} = ANY(?)", list(values))

    def change(self, statement: str, *values: object) -> int:
        return self._connection.execute(marked(statement), values).rowcount

    def change_each(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(marked(statement), values)

    def insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            marks = ",".join("?" * len(rows[0]))
            self.change_each(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
