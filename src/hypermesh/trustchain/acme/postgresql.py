"""The ACME server's rows in PostgreSQL.

The session of a server has the claim, so a second server on the database is refused: its nonces
would be strangers to the first. Commands write beside it, one transaction after the other. Reads
have a session of their own, and see what was committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import psycopg

from hypermesh.postgresql.marks import marked
from hypermesh.postgresql.place import Place
from hypermesh.postgresql.session import Connection, Session
from hypermesh.trustchain.acme.commits import Commits, Write
from hypermesh.trustchain.acme.sqlite import SqliteTables
from hypermesh.trustchain.acme.store import Tables

T = TypeVar("T")

SCHEMA: Final = "trustchain_acme"
CLAIM: Final = 2
MIGRATIONS: Final = (
    """
    CREATE TABLE accounts (
        id TEXT PRIMARY KEY, thumbprint BYTEA NOT NULL UNIQUE, network TEXT NOT NULL,
        created_s BIGINT NOT NULL, document BYTEA NOT NULL
    );
    CREATE INDEX accounts_by_network ON accounts (network, created_s);
    CREATE TABLE bindings (kid TEXT PRIMARY KEY, document BYTEA NOT NULL);
    CREATE TABLE orders (
        id TEXT COLLATE "C" PRIMARY KEY, account TEXT NOT NULL, status TEXT NOT NULL,
        created_s BIGINT NOT NULL, expires_s BIGINT NOT NULL, document BYTEA NOT NULL
    );
    CREATE INDEX orders_by_account ON orders (account, created_s);
    CREATE INDEX orders_by_page ON orders (account, id);
    CREATE INDEX orders_by_end ON orders (expires_s);
    CREATE INDEX orders_processing ON orders (id) WHERE status = 'processing';
    CREATE TABLE authorizations (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, order_id TEXT NOT NULL, name TEXT NOT NULL,
        status TEXT NOT NULL, expires_s BIGINT NOT NULL, processing BIGINT NOT NULL,
        document BYTEA NOT NULL
    );
    CREATE INDEX authorizations_by_order ON authorizations (order_id);
    CREATE INDEX authorizations_by_name ON authorizations (account, name) WHERE status = 'valid';
    CREATE INDEX authorizations_processing ON authorizations (id) WHERE processing = 1;
    CREATE TABLE certificates (
        order_id TEXT PRIMARY KEY, not_after_s BIGINT NOT NULL, document BYTEA NOT NULL
    );
    CREATE INDEX certificates_by_end ON certificates (not_after_s);
    CREATE TABLE replacements (
        certificate TEXT PRIMARY KEY, order_id TEXT NOT NULL, at_s BIGINT NOT NULL
    );
    CREATE TABLE failures (account TEXT NOT NULL, name TEXT NOT NULL, at_s BIGINT NOT NULL);
    CREATE INDEX failures_by_name ON failures (account, name, at_s);
    CREATE INDEX failures_by_time ON failures (at_s);
    CREATE TABLE counts (name TEXT PRIMARY KEY, rows BIGINT NOT NULL);
    INSERT INTO counts VALUES ('accounts', 0), ('bindings', 0), ('orders', 0);
    CREATE FUNCTION row_is_counted() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE counts SET rows = rows + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
                WHERE name = TG_TABLE_NAME;
            RETURN NULL;
        END
    $$;
    CREATE TRIGGER account_made_or_gone AFTER INSERT OR DELETE ON accounts
        FOR EACH ROW EXECUTE FUNCTION row_is_counted();
    CREATE TRIGGER binding_made_or_gone AFTER INSERT OR DELETE ON bindings
        FOR EACH ROW EXECUTE FUNCTION row_is_counted();
    CREATE TRIGGER order_made_or_gone AFTER INSERT OR DELETE ON orders
        FOR EACH ROW EXECUTE FUNCTION row_is_counted();
    """,
)
TABLES: Final = (
    "accounts",
    "bindings",
    "orders",
    "authorizations",
    "certificates",
    "replacements",
    "failures",
)
"""All but `counts`, which follows from them."""


class PostgresqlStore:
    """A `Store` in the database `place`. Raises the errors of `hypermesh.postgresql`."""

    def __init__(self, place: Place, *, serves: bool = True) -> None:
        self._writer = Session(place, SCHEMA, CLAIM if serves else None)
        self._reader = Session(place, SCHEMA)
        self._reading = threading.Lock()
        try:
            self._writer.connect()
            self._writer.lay_out(MIGRATIONS)
            self._reader.connect()
        except BaseException:
            self._writer.close()
            self._reader.close()
            raise
        self._commits = Commits(self._commit)

    def read(self, work: Callable[[Tables], T]) -> T:
        with self._reading:
            return self._reader.read(lambda connection: work(PostgresqlTables(connection)))

    async def write(self, work: Callable[[Tables], T]) -> T:
        return await self._commits.write(work)

    def close(self) -> None:
        self._commits.close()
        self._reader.close()
        self._writer.close()

    def _commit(self, writes: Sequence[Write]) -> None:
        with self._writer.transaction() as connection:
            tables = PostgresqlTables(connection)
            for write in writes:
                write.run(connection.execute, tables, psycopg.Error)


class PostgresqlTables(SqliteTables):
    """`Tables` on one connection."""

    row_id = "ctid"

    def __init__(self, connection: Connection) -> None:
        def run(query: str, values: Sequence[object]) -> psycopg.Cursor[tuple[Any, ...]]:
            return connection.execute(marked(query), values, binary=True)

        self._run = run
