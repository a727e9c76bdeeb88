"""The ACME server's rows in one SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypermesh.sqlite.file import opened_to_read
from hypermesh.trustchain.acme.commits import Commits, Write
from hypermesh.trustchain.acme.order import Authorization, Order, OrderStatus
from hypermesh.trustchain.acme.store import Account, Binding, Certificate, Tables
from hypermesh.trustchain.ca.database import Database, StoreUnavailable
from hypermesh.wire.codec import decode, encode

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    id TEXT PRIMARY KEY, thumbprint BLOB NOT NULL UNIQUE, network TEXT NOT NULL,
    created_s INTEGER NOT NULL, document BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS accounts_by_network ON accounts (network, created_s);
CREATE TABLE IF NOT EXISTS bindings (kid TEXT PRIMARY KEY, document BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, status TEXT NOT NULL, created_s INTEGER NOT NULL,
    expires_s INTEGER NOT NULL, document BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS orders_by_account ON orders (account, created_s);
CREATE INDEX IF NOT EXISTS orders_by_page ON orders (account, id);
CREATE INDEX IF NOT EXISTS orders_by_end ON orders (expires_s);
CREATE INDEX IF NOT EXISTS orders_processing ON orders (id) WHERE status = 'processing';
CREATE TABLE IF NOT EXISTS authorizations (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, order_id TEXT NOT NULL, name TEXT NOT NULL,
    status TEXT NOT NULL, expires_s INTEGER NOT NULL, processing INTEGER NOT NULL,
    document BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS authorizations_by_order ON authorizations (order_id);
CREATE INDEX IF NOT EXISTS authorizations_by_name ON authorizations (account, name)
    WHERE status = 'valid';
CREATE INDEX IF NOT EXISTS authorizations_processing ON authorizations (id) WHERE processing = 1;
CREATE TABLE IF NOT EXISTS certificates (
    order_id TEXT PRIMARY KEY, not_after_s INTEGER NOT NULL, document BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS certificates_by_end ON certificates (not_after_s);
CREATE TABLE IF NOT EXISTS replacements (
    certificate TEXT PRIMARY KEY, order_id TEXT NOT NULL, at_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    account TEXT NOT NULL, name TEXT NOT NULL, at_s INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS failures_by_name ON failures (account, name, at_s);
CREATE INDEX IF NOT EXISTS failures_by_time ON failures (at_s);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, rows INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO counts VALUES ('accounts', 0), ('bindings', 0), ('orders', 0);
CREATE TRIGGER IF NOT EXISTS account_made AFTER INSERT ON accounts
    BEGIN UPDATE counts SET rows = rows + 1 WHERE name = 'accounts'; END;
CREATE TRIGGER IF NOT EXISTS binding_made AFTER INSERT ON bindings
    BEGIN UPDATE counts SET rows = rows + 1 WHERE name = 'bindings'; END;
CREATE TRIGGER IF NOT EXISTS binding_gone AFTER DELETE ON bindings
    BEGIN UPDATE counts SET rows = rows - 1 WHERE name = 'bindings'; END;
CREATE TRIGGER IF NOT EXISTS order_made AFTER INSERT ON orders
    BEGIN UPDATE counts SET rows = rows + 1 WHERE name = 'orders'; END;
CREATE TRIGGER IF NOT EXISTS order_gone AFTER DELETE ON orders
    BEGIN UPDATE counts SET rows = rows - 1 WHERE name = 'orders'; END;
"""


class SqliteStore:
    """A `Store` over the file `acme.sqlite` in a directory."""

    def __init__(self, directory: Path) -> None:
        path = directory / "acme.sqlite"
        self._database = Database(path, _SCHEMA)
        self._path = path
        with self._reported():
            self._reader = opened_to_read(path)
        self._tables = SqliteTables(self._reader)
        self._reading = threading.Lock()
        self._commits = Commits(self._commit)

    def read(self, work: Callable[[Tables], T]) -> T:
        with self._reading:
            try:
                return work(self._tables)
            except sqlite3.Error as error:
                raise self._unavailable(error) from error

    async def write(self, work: Callable[[Tables], T]) -> T:
        return await self._commits.write(work)

    def close(self) -> None:
        self._commits.close()
        self._reader.close()
        self._database.close()

    def _commit(self, writes: Sequence[Write]) -> None:
        with self._database.transaction() as connection:
            tables = SqliteTables(connection)
            for write in writes:
                write.run(connection.execute, tables, sqlite3.Error)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailable:
        return StoreUnavailable(f"{self._path} cannot be used", why=str(error))


class SqliteTables:
    """`Tables` on one connection, in SQL that other databases know as well."""

    row_id = "rowid"
    """What the database calls a row that has no key."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run: Callable[..., Any] = connection.execute

    def account(self, id_: str) -> Account | None:
        return self._one(Account, "SELECT document FROM accounts WHERE id = ?", id_)

    def account_of(self, thumbprint: bytes) -> Account | None:
        query = "SELECT document FROM accounts WHERE thumbprint = ?"
        return self._one(Account, query, thumbprint)

    def accounts(self) -> int:
        return self._rows("accounts")

    def accounts_from(self, network: str, since_s: int) -> int:
        return self._count(
            "SELECT count(*) FROM accounts WHERE network = ? AND created_s >= ?", network, since_s
        )

    def put_account(self, account: Account) -> None:
        self._run(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "thumbprint = excluded.thumbprint, document = excluded.document",
            (account.id, account.thumbprint, account.network, account.created_s, encode(account)),
        )

    def binding(self, kid: str) -> Binding | None:
        return self._one(Binding, "SELECT document FROM bindings WHERE kid = ?", kid)

    def bindings(self) -> int:
        return self._rows("bindings")

    def put_binding(self, binding: Binding) -> None:
        self._run(
            "INSERT INTO bindings VALUES (?, ?) ON CONFLICT (kid) DO UPDATE SET "
            "document = excluded.document",
            (binding.kid, encode(binding)),
        )

    def bindings_from(self, after: str, limit: int) -> Sequence[Binding]:
        query = "SELECT document FROM bindings WHERE kid > ? ORDER BY kid LIMIT ?"
        return [decode(Binding, row[0]) for row in self._run(query, (after, limit)).fetchall()]

    def drop_binding(self, kid: str) -> None:
        self._run("DELETE FROM bindings WHERE kid = ?", (kid,))

    def order(self, id_: str) -> Order | None:
        return self._one(Order, "SELECT document FROM orders WHERE id = ?", id_)

    def orders(self) -> int:
        return self._rows("orders")

    def orders_since(self, account: str, since_s: int) -> int:
        return self._count(
            "SELECT count(*) FROM orders WHERE account = ? AND created_s >= ?", account, since_s
        )

    def orders_of(self, account: str, after: str, limit: int) -> Sequence[str]:
        return self._ids(
            "SELECT id FROM orders WHERE account = ? AND id > ? AND status != ? ORDER BY id "
            "LIMIT ?",
            account,
            after,
            OrderStatus.INVALID.value,
            limit,
        )

    def orders_processing(self, limit: int) -> Sequence[str]:
        return self._ids("SELECT id FROM orders WHERE status = 'processing' LIMIT ?", limit)

    def put_order(self, order: Order) -> None:
        self._run(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "status = excluded.status, expires_s = excluded.expires_s, "
            "document = excluded.document",
            (
                order.id,
                order.account,
                order.status.value,
                order.created_s,
                order.expires_s,
                encode(order),
            ),
        )

    def authorization(self, id_: str) -> Authorization | None:
        return self._one(Authorization, "SELECT document FROM authorizations WHERE id = ?", id_)

    def authorizations_processing(self, limit: int) -> Sequence[str]:
        return self._ids("SELECT id FROM authorizations WHERE processing = 1 LIMIT ?", limit)

    def controls(self, account: str, name: str, now_s: int) -> bool:
        return (
            self._count(
                "SELECT count(*) FROM authorizations WHERE account = ? AND name = ? AND "
                "status = 'valid' AND expires_s >= ?",
                account,
                name,
                now_s,
            )
            > 0
        )

    def put_authorization(self, authorization: Authorization) -> None:
        prefix = "*." if authorization.is_wildcard else ""
        self._run(
            "INSERT INTO authorizations VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO "
            "UPDATE SET status = excluded.status, expires_s = excluded.expires_s, "
            "processing = excluded.processing, document = excluded.document",
            (
                authorization.id,
                authorization.account,
                authorization.order,
                prefix + authorization.identifier.value,
                authorization.status.value,
                authorization.expires_s,
                int(authorization.status == "pending" and authorization.answered is not None),
                encode(authorization),
            ),
        )

    def failures(self, account: str, name: str, since_s: int) -> int:
        return self._count(
            "SELECT count(*) FROM failures WHERE account = ? AND name = ? AND at_s >= ?",
            account,
            name,
            since_s,
        )

    def add_failure(self, account: str, name: str, now_s: int) -> None:
        self._run("INSERT INTO failures VALUES (?, ?, ?)", (account, name, now_s))

    def certificate(self, order: str) -> Certificate | None:
        query = "SELECT document FROM certificates WHERE order_id = ?"
        return self._one(Certificate, query, order)

    def put_certificate(self, certificate: Certificate) -> None:
        self._run(
            "INSERT INTO certificates VALUES (?, ?, ?)",
            (certificate.order, certificate.not_after_s, encode(certificate)),
        )

    def replaced_by(self, certificate: str) -> str | None:
        row = self._run(
            "SELECT order_id FROM replacements WHERE certificate = ?", (certificate,)
        ).fetchone()
        return None if row is None else str(row[0])

    def put_replacement(self, certificate: str, order: str, now_s: int) -> None:
        self._run(
            "INSERT INTO replacements VALUES (?, ?, ?) ON CONFLICT (certificate) DO UPDATE SET "
            "order_id = excluded.order_id, at_s = excluded.at_s",
            (certificate, order, now_s),
        )

    def expire(self, orders_s: int, certificates_s: int, failures_s: int, limit: int) -> int:
        # One that waits for its certificate is never dropped, however old.
        old = self._ids(
            "SELECT id FROM orders WHERE expires_s < ? AND status != 'processing' AND NOT EXISTS "
            "(SELECT 1 FROM certificates WHERE order_id = orders.id AND not_after_s >= ?) LIMIT ?",
            orders_s,
            certificates_s,
            limit,
        )
        for id_ in old:
            for table in ("authorizations", "certificates", "replacements"):
                self._run(f"DELETE FROM {table} WHERE order_id = ?", (id_,))  # noqa: S608
            self._run("DELETE FROM orders WHERE id = ?", (id_,))
        gone = self._run(
            f"DELETE FROM failures WHERE {self.row_id} IN "  # noqa: S608
            f"(SELECT {self.row_id} FROM failures WHERE at_s < ? LIMIT ?)",
            (failures_s, limit),
        )
        return len(old) + int(gone.rowcount)

    def _one(self, kind: type[T], query: str, value: str | bytes) -> T | None:
        row = self._run(query, (value,)).fetchone()
        return None if row is None else decode(kind, row[0])

    def _ids(self, query: str, *values: str | int) -> list[str]:
        return [str(id_) for (id_,) in self._run(query, values).fetchall()]

    def _rows(self, name: str) -> int:
        return self._count("SELECT rows FROM counts WHERE name = ?", name)

    def _count(self, query: str, *values: str | int) -> int:
        (count,) = self._run(query, values).fetchone()
        return int(count)
