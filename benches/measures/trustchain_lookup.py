"""Looking up one certificate among a million: in a file, and in PostgreSQL where it is installed.

By serial number, by name and by key, in turn, of certificates spread over the store; each store
holds the same rows, of the size that real ones have. SQLite is filled by the store itself.
PostgreSQL is filled by COPY, whose rows have no row of audit, and is looked into by the store over
a UNIX socket. Its server has a cache that holds the indexes, as one for a million certificates
would, and syncs as it does without settings.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from result import ROOT, Metric, metric, percentile

from hypermesh.trustchain.ca.sqlite_store import SqliteStore
from hypermesh.trustchain.ca.store import CertificateStore, Kept, Recording
from hypermesh.trustchain.ca.tables import written

STORED = 1_000_000
LOOKUPS = 2_000
ROW_BYTES = 1_000
CHUNK = 5_000
GOAL_MS = 5.0
SCT_BYTES = 100
SERVER = {
    "shared_buffers": "1GB",
    "maintenance_work_mem": "512MB",
    # What is copied into a table of the same transaction is synced, and not logged before.
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def measure(stored: int = STORED) -> list[Metric]:
    metrics = []
    with _in_sqlite(stored) as store:
        metrics.append(_looked_up("trustchain.issue.lookup_p99", store, stored))
    if reason := _missing():
        sys.stdout.write(f"trustchain.issue.lookup_postgresql_p99 is not measured: {reason}\n")
        return metrics
    with _in_postgresql(stored) as store:
        metrics.append(_looked_up("trustchain.issue.lookup_postgresql_p99", store, stored))
    return metrics


def _looked_up(identifier: str, store: CertificateStore, stored: int) -> Metric:
    waits_ms = []
    for number in range(LOOKUPS):
        wanted = _row(number * 7919 % stored)
        started = time.perf_counter()
        found = _found(store, wanted, number % 3)
        waits_ms.append((time.perf_counter() - started) * 1000)
        if [each.serial for each in found] != [wanted.serial]:
            raise SystemExit("a look-up did not find what is there")
    return metric(identifier, waits_ms, "ms", value=percentile(waits_ms, 0.99), goal=GOAL_MS)


def _found(store: CertificateStore, wanted: Kept, way: int) -> list[Kept]:
    if way == 0:
        kept = store.by_serial(wanted.serial)
        return [] if kept is None else [kept]
    if way == 1:
        return store.by_name(wanted.names[0], 1)
    return store.by_holder(wanted.holder, 1)


@contextmanager
def _in_sqlite(stored: int) -> Iterator[CertificateStore]:
    with tempfile.TemporaryDirectory(prefix="bench-lookup-") as directory:
        store = SqliteStore(Path(directory))
        for start in range(0, stored, CHUNK):
            drafts = [_row(number) for number in range(start, min(start + CHUNK, stored))]
            store.decide(drafts)
            store.complete([(each.serial, _recording(each)) for each in drafts], 1)
        yield store
        store.close()


def _missing() -> str:
    """Why PostgreSQL cannot be measured here; empty where it can."""
    try:
        return str(_server().missing())
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"


def _server() -> Any:
    """The module of the tests that starts a server of one's own."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    from tests.postgresql import server

    return server


@contextmanager
def _in_postgresql(stored: int) -> Iterator[CertificateStore]:
    from hypermesh.postgresql.place import Place
    from hypermesh.trustchain.ca.postgresql_store import SCHEMA, PostgresqlStore

    server = _server().Server(SERVER)
    try:
        database = server.database()
        store = PostgresqlStore(Place(server.url(database)))
        with server.connect(database) as connection:
            connection.execute(f"SET search_path = {SCHEMA}")
            with connection.transaction(), _without_indexes(connection, "certificates"):
                rows = (written(number + 1, _recorded(number)) for number in range(stored))
                _copy(connection, "certificates", _CERTIFICATES, rows)
            with connection.transaction(), _without_indexes(connection, "names"):
                names = ((_name(number), number + 1) for number in range(stored))
                _copy(connection, "names", ("text", "int8"), names)
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        yield store
        store.close()
    finally:
        server.stop()


@contextmanager
def _without_indexes(connection: Any, table: str) -> Iterator[None]:
    """The indexes of `table` are made anew when the block ends: faster than row by row."""
    constraints = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
        (table,),
    ).fetchall()
    for name, _ in constraints:
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", (table,)
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for name, definition in constraints:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        connection.execute(definition)


_CERTIFICATES = (
    *("int8", "bytea", "bytea", "bytea", "text", "text", "bytea", "bytea"),
    *("int8", "int8", "int8", "bytea", "bytea", "int8", "int8", "bytea"),
)


def _copy(
    connection: Any, table: str, types: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    connection.execute(f"TRUNCATE {table}")
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY, FREEZE)") as copy,
    ):
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _name(number: int) -> str:
    return f"dns:{number}.example.internal"


def _recorded(number: int) -> Kept:
    kept = _row(number)
    return replace(kept, recording=_recording(kept))


def _recording(kept: Kept) -> Recording:
    return Recording(kept.draft, 1, 1, bytes(SCT_BYTES))


def _row(number: int) -> Kept:
    hashed = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return Kept(
        request=hashed,
        serial=int.from_bytes(b"\x01" + hashed[:19], "big"),
        issuer=bytes(20),
        kind="service",
        requester=f"requester-{number % 1000}",
        holder=hashlib.sha256(hashed).digest(),
        names=(_name(number),),
        issued_s=number,
        not_before_s=number,
        not_after_s=number + 86_400,
        draft=os.urandom(ROW_BYTES),
    )
