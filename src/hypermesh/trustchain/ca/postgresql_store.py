"""The store of an authority in PostgreSQL.

Writes happen one after the other, in all processes that have the database open (`Session.
transaction`): rows of audit follow one another without a gap, and a number that is seen has all
smaller ones before it. So an issuing CA is replaced while a server runs, as with a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

from hypermesh.postgresql.place import Place
from hypermesh.postgresql.session import Connection, Pool
from hypermesh.trustchain.ca.audit import ORIGIN, AuditRow, Entry, follows
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

_SERIAL_BYTES: Final = 20
_COLUMNS: Final = (
    "request, c.serial, c.issuer, kind, requester, holder, names, issued_s, not_before_s, "
    "c.not_after_s, draft, certificate, log_index, timestamp_ms, sct, revoked_s, reason"
)
_FROM: Final = "FROM certificates AS c LEFT JOIN revocations AS r ON r.serial = c.serial"
_LISTS: Final = (
    "SELECT number, covers, made_s, base_number, base_covers, base_s, complete, delta "
    "FROM lists WHERE issuer = %s AND shard = %s"
)


@final
class PostgresqlStore:
    """A `CertificateStore` in the database `place`. Raises the errors of `hypermesh.postgresql`."""

    def __init__(self, place: Place) -> None:
        self._pool = Pool(place, SCHEMA)
        try:
            with self._pool.session() as session:
                session.lay_out(MIGRATIONS)
        except BaseException:
            self._pool.close()
            raise

    def install(self, authority: Installed, entry: Entry) -> None:
        with self._pool.transaction() as connection:
            if _all(connection, "SELECT 1 FROM authorities WHERE key_id = %s", authority.key_id):
                return
            connection.execute(
                "UPDATE authorities SET retired_s = %s WHERE retired_s IS NULL",
                (authority.installed_s,),
            )
            connection.execute(
                "INSERT INTO authorities SELECT coalesce(max(number), 0) + 1, %s, %s, %s, %s, "
                "NULL, false FROM authorities",
                (
                    authority.key_id,
                    authority.certificate,
                    authority.settings,
                    authority.installed_s,
                ),
            )
            _append(connection, [entry])

    def retire(self, key_id: bytes, at_s: int, *, is_compromised: bool, entry: Entry) -> None:
        with self._pool.transaction() as connection:
            rows = _all(
                connection,
                "SELECT retired_s, is_compromised FROM authorities WHERE key_id = %s",
                key_id,
            )
            if not rows:
                raise NotFound("This store has no such issuing CA")
            if rows[0][0] is not None and rows[0][1] >= is_compromised:
                return
            connection.execute(
                "UPDATE authorities SET retired_s = coalesce(retired_s, %s), "
                "is_compromised = %s WHERE key_id = %s",
                (at_s, is_compromised, key_id),
            )
            _append(connection, [entry])

    def authorities(self) -> list[Installed]:
        rows = self._pool.rows(
            "SELECT key_id, certificate, settings, installed_s, retired_s, is_compromised "
            "FROM authorities ORDER BY number DESC"
        )
        return [Installed(*row) for row in rows]

    def find(self, requests: Sequence[Hash]) -> dict[Hash, Kept]:
        rows = self._pool.rows(f"SELECT {_COLUMNS} {_FROM} WHERE request = ANY(%s)", list(requests))
        return {row[0]: _read(row) for row in rows}

    def decide(self, drafts: Sequence[Kept]) -> list[Kept]:
        with self._pool.transaction() as connection:
            rows = _all(
                connection,
                f"SELECT {_COLUMNS} {_FROM} WHERE request = ANY(%s)",
                [draft.request for draft in drafts],
            )
            there = {row[0]: _read(row) for row in rows}
            fresh = {}
            for draft in drafts:
                if draft.request not in there:
                    there[draft.request] = fresh[draft.request] = draft
            if fresh:
                ((last,),) = _all(
                    connection, "SELECT coalesce(max(number), 0)::bigint FROM certificates"
                )
                numbered = list(enumerate(fresh.values(), last + 1))
                with connection.pipeline(), connection.cursor() as cursor:
                    cursor.executemany(
                        "INSERT INTO certificates VALUES "
                        "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                        [
                            (
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
                            )
                            for number, draft in numbered
                        ],
                    )
                    cursor.executemany(
                        "INSERT INTO names VALUES (%s, %s)",
                        [(name, number) for number, draft in numbered for name in draft.names],
                    )
        return [there[draft.request] for draft in drafts]

    def complete(self, recordings: Sequence[tuple[int, Recording]], now_s: int) -> list[Kept]:
        # The first of a serial number counts, as it would one by one.
        first: dict[int, Recording] = {}
        for serial, recording in recordings:
            first.setdefault(serial, recording)
        with self._pool.transaction() as connection:
            open_now = {
                serial
                for (serial,) in _all(
                    connection,
                    "SELECT serial FROM certificates WHERE serial = ANY(%s) AND "
                    "certificate IS NULL",
                    [_serial(serial) for serial in first],
                )
            }
            with connection.cursor() as cursor:
                cursor.executemany(
                    "UPDATE certificates SET certificate = %s, log_index = %s, timestamp_ms = %s, "
                    "sct = %s WHERE serial = %s AND certificate IS NULL",
                    [
                        (
                            recording.certificate,
                            recording.index,
                            recording.timestamp_ms,
                            recording.sct,
                            _serial(serial),
                        )
                        for serial, recording in first.items()
                    ],
                )
            rows = _all(
                connection,
                f"SELECT {_COLUMNS} {_FROM} WHERE c.serial = ANY(%s)",
                [_serial(serial) for serial in first],
            )
            there = {kept.serial: kept for kept in map(_read, rows)}
            entries = [
                Entry(
                    now_s,
                    there[serial].requester,
                    "ca.issue",
                    f"{serial:x}",
                    encode((there[serial].kind, recording.index)),
                )
                for serial, recording in first.items()
                if _serial(serial) in open_now
            ]
            _append(connection, entries)
        return [there[serial] for serial, _ in recordings]

    def unrecorded(self, limit: int) -> list[Kept]:
        return self._kept("WHERE certificate IS NULL ORDER BY c.number LIMIT %s", limit)

    def by_serial(self, serial: int) -> Kept | None:
        if not 0 < serial < 1 << (8 * _SERIAL_BYTES):
            return None
        found = self._kept("WHERE c.serial = %s", _serial(serial))
        return found[0] if found else None

    def by_name(self, name: str, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE c.number IN (SELECT number FROM names WHERE name = %s "
            "ORDER BY number DESC LIMIT %s) ORDER BY c.number DESC",
            # No certificate holds it, and the database would refuse the question.
            name.replace("\0", "\N{REPLACEMENT CHARACTER}"),
            _bounded(limit),
        )

    def by_holder(self, holder: Hash, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE holder = %s ORDER BY c.number DESC LIMIT %s", holder, _bounded(limit)
        )

    def by_requester(self, requester: str, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE requester = %s ORDER BY c.number DESC LIMIT %s", requester, _bounded(limit)
        )

    def issued_between(self, from_s: int, to_s: int, limit: int) -> list[Kept]:
        return self._kept(
            "WHERE issued_s >= %s AND issued_s < %s ORDER BY issued_s, c.number LIMIT %s",
            from_s,
            to_s,
            _bounded(limit),
        )

    def revoke(self, serial: int, shard: int, at_s: int, reason: Reason, entry: Entry) -> bool:
        with self._pool.transaction() as connection:
            rows = _all(
                connection,
                "SELECT issuer, not_after_s FROM certificates WHERE serial = %s",
                _serial(serial),
            )
            if not rows:
                raise NotFound("The store has no certificate with this serial number")
            issuer, not_after_s = rows[0]
            done = connection.execute(
                "INSERT INTO revocations "
                "SELECT coalesce(max(number), 0) + 1, %s, %s, %s, %s, %s, %s FROM revocations "
                "ON CONFLICT (serial) DO NOTHING",
                (_serial(serial), issuer, shard, at_s, int(reason), not_after_s),
            ).rowcount
            if done:
                _append(connection, [entry])
        return bool(done)

    def revocations(self, issuer: bytes, shard: int, after: int, now_s: int) -> list[Revoked]:
        rows = self._pool.rows(
            "SELECT number, serial, revoked_s, reason, not_after_s FROM revocations "
            "WHERE issuer = %s AND shard = %s AND number > %s AND not_after_s >= %s "
            "ORDER BY number",
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
        ((number,),) = self._pool.rows(
            "SELECT coalesce(max(number), 0)::bigint FROM revocations "
            "WHERE issuer = %s AND shard = %s",
            issuer,
            shard,
        )
        return int(number)

    def lists(self, issuer: bytes, shard: int) -> Lists | None:
        rows = self._pool.rows(_LISTS, issuer, shard)
        return Lists(*rows[0]) if rows else None

    def put_lists(self, issuer: bytes, shard: int, made: Lists) -> Lists:
        with self._pool.transaction() as connection:
            rows = _all(connection, _LISTS, issuer, shard)
            if rows and rows[0][0] + 1 != made.number:
                return Lists(*rows[0])
            connection.execute(
                "DELETE FROM lists WHERE issuer = %s AND shard = %s", (issuer, shard)
            )
            connection.execute(
                "INSERT INTO lists VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
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
        with self._pool.transaction() as connection:
            return _append(connection, [entry])[0]

    def audit(self, after: int, limit: int) -> list[AuditRow]:
        rows = self._pool.rows(
            "SELECT number, entry, before, hash FROM audit WHERE number > %s ORDER BY number "
            "LIMIT %s",
            after,
            _bounded(limit),
        )
        return [_audit_row(row) for row in rows]

    def untold(self, kinds: Sequence[str], limit: int) -> list[AuditRow]:
        rows: list[Any] = []
        for kind in kinds:
            rows += self._pool.rows(
                "SELECT number, entry, before, hash FROM audit WHERE kind = %s AND number > "
                "(SELECT coalesce(max(number), 0) FROM told) ORDER BY number LIMIT %s",
                kind,
                _bounded(limit),
            )
        return [_audit_row(row) for row in sorted(rows, key=lambda row: row[0])][:limit]

    def told(self, places: Sequence[tuple[int, int]]) -> None:
        with self._pool.transaction() as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO told VALUES (%s, %s) ON CONFLICT DO NOTHING", places)

    def close(self) -> None:
        self._pool.close()

    def _kept(self, condition: str, *values: object) -> list[Kept]:
        rows = self._pool.rows(f"SELECT {_COLUMNS} {_FROM} {condition}", *values)
        return [_read(row) for row in rows]


def _all(connection: Connection, query: str, *values: object) -> list[Any]:
    return connection.execute(query, values, binary=True).fetchall()


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


def _append(connection: Connection, entries: Sequence[Entry]) -> list[AuditRow]:
    if not entries:
        return []
    last = _all(connection, "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
    number, before = last[0] if last else (0, ORIGIN)
    rows = []
    for entry in entries:
        row = follows(entry, number + 1, before)
        rows.append((entry.kind, row))
        number, before = row.number, row.hash
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit VALUES (%s, %s, %s, %s, %s)",
            [(row.number, kind, encode(row.entry), row.before, row.hash) for kind, row in rows],
        )
    return [row for _, row in rows]


def _audit_row(row: Any) -> AuditRow:
    return AuditRow(row[0], decode(Entry, row[1]), row[2], row[3])


def _serial(serial: int) -> bytes:
    return serial.to_bytes(_SERIAL_BYTES, "big")


def _bounded(limit: int) -> int:
    return max(0, min(limit, PAGE_MAX))
