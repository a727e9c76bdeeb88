"""The store of an authority in one SQLite file."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from hypermesh.trustchain.ca.audit import ORIGIN, AuditRow, Entry, follows
from hypermesh.trustchain.ca.database import Database, insert, parts
from hypermesh.trustchain.ca.store import (
    PAGE_MAX,
    Installed,
    Kept,
    Lists,
    Reason,
    Recording,
    Revoked,
)
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.errors import NotFound
from hypermesh.wire.ids import Hash

FILE = "issuing.sqlite"

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

_SERIAL_BYTES = 20
_COLUMNS_WRITTEN = 16
_COLUMNS = (
    "request, c.serial, c.issuer, kind, requester, holder, names, issued_s, not_before_s, "
    "c.not_after_s, draft, certificate, log_index, timestamp_ms, sct, revoked_s, reason"
)
_FROM = "FROM certificates AS c LEFT JOIN revocations AS r ON r.serial = c.serial"


@final
class SqliteStore:
    """A `CertificateStore` in the file `issuing.sqlite` of a directory."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory / FILE, _SCHEMA)

    def install(self, authority: Installed, entry: Entry) -> None:
        with self._database.transaction() as connection:
            known = connection.execute(
                "SELECT 1 FROM authorities WHERE key_id = ?", (authority.key_id,)
            ).fetchone()
            if known is not None:
                return
            connection.execute(
                "UPDATE authorities SET retired_s = ? WHERE retired_s IS NULL",
                (authority.installed_s,),
            )
            connection.execute(
                "INSERT INTO authorities VALUES (NULL, ?, ?, ?, ?, NULL, 0)",
                (
                    authority.key_id,
                    authority.certificate,
                    authority.settings,
                    authority.installed_s,
                ),
            )
            _append(connection, [entry])

    def retire(self, key_id: bytes, at_s: int, *, is_compromised: bool, entry: Entry) -> None:
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT retired_s, is_compromised FROM authorities WHERE key_id = ?", (key_id,)
            ).fetchone()
            if row is None:
                raise NotFound("This store has no such issuing CA")
            if row[0] is not None and row[1] >= is_compromised:
                return
            connection.execute(
                "UPDATE authorities SET retired_s = coalesce(retired_s, ?), "
                "is_compromised = ? WHERE key_id = ?",
                (at_s, int(is_compromised), key_id),
            )
            _append(connection, [entry])

    def authorities(self) -> list[Installed]:
        rows = self._rows(
            "SELECT key_id, certificate, settings, installed_s, retired_s, is_compromised "
            "FROM authorities ORDER BY number DESC"
        )
        return [
            Installed(key_id, certificate, settings, installed_s, retired_s, bool(compromised))
            for key_id, certificate, settings, installed_s, retired_s, compromised in rows
        ]

    def find(self, requests: Sequence[Hash]) -> dict[Hash, Kept]:
        with self._database.transaction() as connection:
            return _find(connection, requests)

    def decide(self, drafts: Sequence[Kept]) -> list[Kept]:
        with self._database.transaction() as connection:
            there = _find(connection, [draft.request for draft in drafts])
            fresh: dict[Hash, Kept] = {}
            for draft in drafts:
                if draft.request not in there:
                    fresh.setdefault(draft.request, draft)
            (last,) = connection.execute(
                "SELECT coalesce(max(number), 0) FROM certificates"
            ).fetchone()
            rows, names = [], []
            for number, draft in enumerate(fresh.values(), last + 1):
                rows.append(_row(number, draft))
                names += [(name, number) for name in draft.names]
            insert(connection, "INSERT", "certificates", _COLUMNS_WRITTEN, rows)
            insert(connection, "INSERT", "names", 2, names)
        there |= fresh
        return [there[draft.request] for draft in drafts]

    def complete(self, recordings: Sequence[tuple[int, Recording]], now_s: int) -> list[Kept]:
        with self._database.transaction() as connection:
            there = {
                kept.serial: kept
                for kept in _selected(
                    connection, "c.serial", [_serial(serial) for serial, _ in recordings]
                )
            }
            entries = []
            for serial, recording in recordings:
                kept = there[serial]
                if kept.recording is not None:
                    continue
                connection.execute(
                    "UPDATE certificates SET certificate = ?, log_index = ?, timestamp_ms = ?, "
                    "sct = ? WHERE serial = ?",
                    (
                        recording.certificate,
                        recording.index,
                        recording.timestamp_ms,
                        recording.sct,
                        _serial(serial),
                    ),
                )
                there[serial] = dataclasses.replace(kept, recording=recording)
                document = encode((kept.kind, recording.index))
                entries.append(Entry(now_s, kept.requester, "ca.issue", f"{serial:x}", document))
            _append(connection, entries)
        return [there[serial] for serial, _ in recordings]

    def unrecorded(self, limit: int) -> list[Kept]:
        return self._kept("WHERE certificate IS NULL ORDER BY c.number LIMIT ?", limit)

    def by_serial(self, serial: int) -> Kept | None:
        if not 0 < serial < 1 << (8 * _SERIAL_BYTES):
            return None
        found = self._kept("WHERE c.serial = ?", _serial(serial))
        return found[0] if found else None

    def by_name(self, name: str, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE c.number IN (SELECT number FROM names WHERE name = ? "
            "ORDER BY number DESC LIMIT ?) ORDER BY c.number DESC",
            name,
            _bounded(limit),
        )

    def by_holder(self, holder: Hash, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE holder = ? ORDER BY c.number DESC LIMIT ?", holder, _bounded(limit)
        )

    def by_requester(self, requester: str, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE requester = ? ORDER BY c.number DESC LIMIT ?", requester, _bounded(limit)
        )

    def issued_between(self, from_s: int, to_s: int, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE issued_s >= ? AND issued_s < ? ORDER BY issued_s, c.number LIMIT ?",
            from_s,
            to_s,
            _bounded(limit),
        )

    def revoke(self, serial: int, shard: int, at_s: int, reason: Reason, entry: Entry) -> bool:
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT issuer, not_after_s FROM certificates WHERE serial = ?", (_serial(serial),)
            ).fetchone()
            if row is None:
                raise NotFound("The store has no certificate with this serial number")
            done = connection.execute(
                "INSERT INTO revocations VALUES (NULL, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (serial) DO NOTHING",
                (_serial(serial), row[0], shard, at_s, int(reason), row[1]),
            ).rowcount
            if done:
                _append(connection, [entry])
        return bool(done)

    def revocations(self, issuer: bytes, shard: int, after: int, now_s: int) -> list[Revoked]:
        rows = self._rows(
            "SELECT number, serial, revoked_s, reason, not_after_s FROM revocations "
            "WHERE issuer = ? AND shard = ? AND number > ? AND not_after_s >= ? ORDER BY number",
            issuer,
            shard,
            after,
            now_s,
        )
        return [
            Revoked(number, int.from_bytes(serial, "big"), at_s, Reason(reason), end_s)
            for number, serial, at_s, reason, end_s in rows
        ]

    def revocation_count(self, issuer: bytes, shard: int) -> int:
        ((number,),) = self._rows(
            "SELECT coalesce(max(number), 0) FROM revocations WHERE issuer = ? AND shard = ?",
            issuer,
            shard,
        )
        return int(number)

    def lists(self, issuer: bytes, shard: int) -> Lists | None:
        rows = self._rows(
            "SELECT number, covers, made_s, base_number, base_covers, base_s, complete, delta "
            "FROM lists WHERE issuer = ? AND shard = ?",
            issuer,
            shard,
        )
        return Lists(*rows[0]) if rows else None

    def put_lists(self, issuer: bytes, shard: int, made: Lists) -> Lists:
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT number, covers, made_s, base_number, base_covers, base_s, complete, delta "
                "FROM lists WHERE issuer = ? AND shard = ?",
                (issuer, shard),
            ).fetchone()
            if row is not None and row[0] + 1 != made.number:
                return Lists(*row)
            connection.execute(
                "INSERT OR REPLACE INTO lists VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    issuer,
                    shard,
                    made.number,
                    made.covers,
                    made.made_s,
                    made.base_number,
                    made.base_covers,
                    made.base_s,
                    made.complete,
                    made.delta,
                ),
            )
        return made

    def append(self, entry: Entry) -> AuditRow:
        with self._database.transaction() as connection:
            return _append(connection, [entry])[0]

    def audit(self, after: int, limit: int) -> list[AuditRow]:
        rows = self._rows(
            "SELECT number, entry, before, hash FROM audit WHERE number > ? ORDER BY number "
            "LIMIT ?",
            after,
            _bounded(limit),
        )
        return [_audit_row(row) for row in rows]

    def untold(self, kinds: Sequence[str], limit: int) -> list[AuditRow]:
        with self._database.transaction() as connection:
            rows: list[Any] = []
            for kind in kinds:
                rows += connection.execute(
                    "SELECT number, entry, before, hash FROM audit WHERE kind = ? AND number > "
                    "(SELECT coalesce(max(number), 0) FROM told) ORDER BY number LIMIT ?",
                    (kind, _bounded(limit)),
                ).fetchall()
        return [_audit_row(row) for row in sorted(rows, key=lambda row: row[0])][:limit]

    def told(self, places: Sequence[tuple[int, int]]) -> None:
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO told VALUES (?, ?)", places)

    def close(self) -> None:
        self._database.close()

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with self._database.transaction() as connection:
            return connection.execute(statement, values).fetchall()

    def _kept(self, condition: str, *values: object) -> list[Kept]:
        return [_read(row) for row in self._rows(f"SELECT {_COLUMNS} {_FROM} {condition}", *values)]


def _find(connection: sqlite3.Connection, requests: Sequence[Hash]) -> dict[Hash, Kept]:
    return {kept.request: kept for kept in _selected(connection, "request", requests)}


def _selected(
    connection: sqlite3.Connection, column: str, values: Sequence[bytes]
) -> Iterator[Kept]:
    """The certificates that have one of `values` in `column`."""
    for count, some in parts(values):
        marks = ",".join("?" * count)
        query = f"SELECT {_COLUMNS} {_FROM} WHERE {column} IN ({marks})"
        yield from map(_read, connection.execute(query, some).fetchall())


def _row(number: int, draft: Kept) -> tuple[object, ...]:
    return (
        number,
        draft.request,
        _serial(draft.serial),
        draft.issuer,
        draft.kind,
        draft.requester,
        draft.holder,
        encode(draft.names),
        draft.issued_s,
        draft.not_before_s,
        draft.not_after_s,
        draft.draft,
        None,
        None,
        None,
        None,
    )


def _read(row: Any) -> Kept:
    certificate, index, timestamp_ms, sct = row[11:15]
    return Kept(
        request=row[0],
        serial=int.from_bytes(row[1], "big"),
        issuer=row[2],
        kind=row[3],
        requester=row[4],
        holder=row[5],
        names=decode(tuple[str, ...], row[6]),
        issued_s=row[7],
        not_before_s=row[8],
        not_after_s=row[9],
        draft=row[10],
        recording=None if certificate is None else Recording(certificate, index, timestamp_ms, sct),
        revoked_s=row[15],
        reason=None if row[16] is None else Reason(row[16]),
    )


def _append(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[AuditRow]:
    last = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
    number, before = last.fetchone() or (0, ORIGIN)
    rows = []
    for entry in entries:
        row = follows(entry, number + 1, before)
        number, before = row.number, row.hash
        rows.append(row)
    written = [
        (row.number, row.entry.kind, encode(row.entry), row.before, row.hash) for row in rows
    ]
    insert(connection, "INSERT", "audit", 5, written)
    return rows


def _audit_row(row: Any) -> AuditRow:
    return AuditRow(row[0], decode(Entry, row[1]), row[2], row[3])


def _serial(serial: int) -> bytes:
    return serial.to_bytes(_SERIAL_BYTES, "big")


def _bounded(limit: int) -> int:
    return max(0, min(limit, PAGE_MAX))
