"""The statements of an authority's store, and what their rows mean, for both databases.

`TableStore` is a `CertificateStore` in SQL that SQLite and PostgreSQL know alike, with `?` for each
value. `sqlite_store` and `postgresql_store` add what differs: the tables' types, how a transaction
is made and how a reader's question is asked, and how rows go in sets (`Rows`).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeVar

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

_SERIAL_BYTES: Final = 20
_KEPT: Final = (
    "SELECT request, c.serial, c.issuer, kind, requester, holder, names, issued_s, not_before_s, "
    "c.not_after_s, draft, certificate, log_index, timestamp_ms, sct, revoked_s, reason "
    "FROM certificates AS c LEFT JOIN revocations AS r ON r.serial = c.serial"
)
_LISTS: Final = (
    "SELECT number, covers, made_s, base_number, base_covers, base_s, complete, delta "
    "FROM lists WHERE issuer = ? AND shard = ?"
)
_AUDIT: Final = "SELECT number, entry, before, hash FROM audit"
_UNTOLD: Final = (
    "SELECT number, entry, before, hash FROM audit WHERE kind = ? AND number > "
    "(SELECT coalesce(max(number), 0) FROM told) ORDER BY number LIMIT ?"
)

T = TypeVar("T")


class Rows(Protocol):
    """What is said to one connection."""

    def all(self, query: str, *values: object) -> list[Any]:
        """What `query` answers."""
        ...

    def among(self, query: str, column: str, values: Sequence[bytes]) -> list[Any]:
        """What `query`, which has no condition, answers where `column` has one of `values`."""
        ...

    def change(self, statement: str, *values: object) -> int:
        """How many rows `statement` changed."""
        ...

    def change_each(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        """`statement` once for each of `values`."""
        ...

    def insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Whole rows, new ones."""
        ...


class TableStore(abc.ABC):
    """See the top of the module."""

    @abc.abstractmethod
    def _transaction(self) -> AbstractContextManager[Rows]:
        """A transaction: durable when the block ends, undone if it raises, and no other writes
        meanwhile."""

    @abc.abstractmethod
    def _read(self, work: Callable[[Rows], T]) -> T:
        """What `work` answers, which only reads; each question of it sees what was committed."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release what is open. Nothing is lost without it."""

    def install(self, authority: Installed, entry: Entry) -> None:
        with self._transaction() as rows:
            if rows.all("SELECT 1 FROM authorities WHERE key_id = ?", authority.key_id):
                return
            rows.change(
                "UPDATE authorities SET retired_s = ? WHERE retired_s IS NULL",
                authority.installed_s,
            )
            rows.change(
                "INSERT INTO authorities SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, "
                "NULL, false FROM authorities",
                authority.key_id,
                authority.certificate,
                authority.settings,
                authority.installed_s,
            )
            _append(rows, [entry])

    def retire(self, key_id: bytes, at_s: int, *, is_compromised: bool, entry: Entry) -> None:
        with self._transaction() as rows:
            found = rows.all(
                "SELECT retired_s, is_compromised FROM authorities WHERE key_id = ?", key_id
            )
            if not found:
                raise NotFound("This store has no such issuing CA")
            retired_s, was_compromised = found[0]
            if retired_s is not None and was_compromised >= is_compromised:
                return
            rows.change(
                "UPDATE authorities SET retired_s = coalesce(retired_s, ?), is_compromised = ? "
                "WHERE key_id = ?",
                at_s,
                is_compromised,
                key_id,
            )
            _append(rows, [entry])

    def authorities(self) -> list[Installed]:
        found = self._all(
            "SELECT key_id, certificate, settings, installed_s, retired_s, is_compromised "
            "FROM authorities ORDER BY number DESC"
        )
        return [
            Installed(key_id, certificate, settings, installed_s, retired_s, bool(compromised))
            for key_id, certificate, settings, installed_s, retired_s, compromised in found
        ]

    def find(self, requests: Sequence[Hash]) -> dict[Hash, Kept]:
        return self._read(lambda rows: _found(rows, requests))

    def decide(self, drafts: Sequence[Kept]) -> list[Kept]:
        with self._transaction() as rows:
            there = _found(rows, [draft.request for draft in drafts])
            fresh: dict[Hash, Kept] = {}
            for draft in drafts:
                if draft.request not in there:
                    fresh.setdefault(draft.request, draft)
            if fresh:
                ((last,),) = rows.all("SELECT coalesce(max(number), 0) FROM certificates")
                numbered = list(enumerate(fresh.values(), last + 1))
                rows.insert("certificates", [written(number, draft) for number, draft in numbered])
                rows.insert(
                    "names",
                    [(name, number) for number, draft in numbered for name in draft.names],
                )
        there |= fresh
        return [there[draft.request] for draft in drafts]

    def complete(self, recordings: Sequence[tuple[int, Recording]], now_s: int) -> list[Kept]:
        with self._transaction() as rows:
            serials = [_serial(serial) for serial, _ in recordings]
            there = {
                kept.serial: kept for kept in map(_kept, rows.among(_KEPT, "c.serial", serials))
            }
            changes, entries = [], []
            for serial, recording in recordings:
                kept = there[serial]
                if kept.recording is not None:
                    continue
                changes.append((*_recorded(recording), _serial(serial)))
                there[serial] = dataclasses.replace(kept, recording=recording)
                document = encode((kept.kind, recording.index))
                entries.append(Entry(now_s, kept.requester, "ca.issue", f"{serial:x}", document))
            rows.change_each(
                "UPDATE certificates SET certificate = ?, log_index = ?, timestamp_ms = ?, "
                "sct = ? WHERE serial = ?",
                changes,
            )
            _append(rows, entries)
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
            # No certificate holds it, and PostgreSQL would refuse the question.
            name.replace("\0", "\N{REPLACEMENT CHARACTER}"),
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
        with self._transaction() as rows:
            found = rows.all(
                "SELECT issuer, not_after_s FROM certificates WHERE serial = ?", _serial(serial)
            )
            if not found:
                raise NotFound("The store has no certificate with this serial number")
            issuer, not_after_s = found[0]
            done = rows.change(
                "INSERT INTO revocations "
                "SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ? FROM revocations "
                # Without a condition SQLite takes what follows for one of a join.
                "WHERE true ON CONFLICT (serial) DO NOTHING",
                _serial(serial),
                issuer,
                shard,
                at_s,
                int(reason),
                not_after_s,
            )
            if done:
                _append(rows, [entry])
        return bool(done)

    def revocations(self, issuer: bytes, shard: int, after: int, now_s: int) -> list[Revoked]:
        found = self._all(
            "SELECT number, serial, revoked_s, reason, not_after_s FROM revocations "
            "WHERE issuer = ? AND shard = ? AND number > ? AND not_after_s >= ? ORDER BY number",
            issuer,
            shard,
            after,
            now_s,
        )
        return [
            Revoked(number, int.from_bytes(serial, "big"), at_s, Reason(reason), end_s)
            for number, serial, at_s, reason, end_s in found
        ]

    def revocation_count(self, issuer: bytes, shard: int) -> int:
        ((number,),) = self._all(
            "SELECT coalesce(max(number), 0) FROM revocations WHERE issuer = ? AND shard = ?",
            issuer,
            shard,
        )
        return int(number)

    def lists(self, issuer: bytes, shard: int) -> Lists | None:
        found = self._all(_LISTS, issuer, shard)
        return Lists(*found[0]) if found else None

    def put_lists(self, issuer: bytes, shard: int, made: Lists) -> Lists:
        with self._transaction() as rows:
            found = rows.all(_LISTS, issuer, shard)
            if found and found[0][0] + 1 != made.number:
                return Lists(*found[0])
            rows.change("DELETE FROM lists WHERE issuer = ? AND shard = ?", issuer, shard)
            rows.insert(
                "lists",
                [
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
                    )
                ],
            )
        return made

    def append(self, entry: Entry) -> AuditRow:
        with self._transaction() as rows:
            return _append(rows, [entry])[0]

    def audit(self, after: int, limit: int) -> list[AuditRow]:
        found = self._all(
            f"{_AUDIT} WHERE number > ? ORDER BY number LIMIT ?", after, _bounded(limit)
        )
        return [_audit_row(row) for row in found]

    def untold(self, kinds: Sequence[str], limit: int) -> list[AuditRow]:
        if not kinds:
            return []
        # One question, which sees one moment: a row that came between two of them would be left
        # out for good, for rows are told up to a number. Each kind has its part of the index.
        query = " UNION ALL ".join(
            f"SELECT * FROM ({_UNTOLD}) AS kind_{place}"  # noqa: S608
            for place in range(len(kinds))
        )
        values = [value for kind in kinds for value in (kind, _bounded(limit))]
        found = self._all(query, *values)
        return [_audit_row(row) for row in sorted(found, key=lambda row: row[0])][:limit]

    def told(self, places: Sequence[tuple[int, int]]) -> None:
        with self._transaction() as rows:
            rows.change_each("INSERT INTO told VALUES (?, ?) ON CONFLICT DO NOTHING", places)

    def _all(self, query: str, *values: object) -> list[Any]:
        return self._read(lambda rows: rows.all(query, *values))

    def _kept(self, condition: str, *values: object) -> list[Kept]:
        return [_kept(row) for row in self._all(f"{_KEPT} {condition}", *values)]


def written(number: int, kept: Kept) -> tuple[object, ...]:
    """The row of `certificates` that holds `kept` under a number."""
    recording = (None,) * 4 if kept.recording is None else _recorded(kept.recording)
    return (
        number,
        kept.request,
        _serial(kept.serial),
        kept.issuer,
        kept.kind,
        kept.requester,
        kept.holder,
        encode(kept.names),
        kept.issued_s,
        kept.not_before_s,
        kept.not_after_s,
        kept.draft,
        *recording,
    )


def _recorded(recording: Recording) -> tuple[object, ...]:
    return recording.certificate, recording.index, recording.timestamp_ms, recording.sct


def _kept(row: Any) -> Kept:
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


def _found(rows: Rows, requests: Sequence[Hash]) -> dict[Hash, Kept]:
    return {row[0]: _kept(row) for row in rows.among(_KEPT, "request", requests)}


def _append(rows: Rows, entries: Sequence[Entry]) -> list[AuditRow]:
    if not entries:
        return []
    last = rows.all("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
    number, before = last[0] if last else (0, ORIGIN)
    made = []
    for entry in entries:
        row = follows(entry, number + 1, before)
        number, before = row.number, row.hash
        made.append(row)
    rows.insert(
        "audit",
        [(row.number, row.entry.kind, encode(row.entry), row.before, row.hash) for row in made],
    )
    return made


def _audit_row(row: Any) -> AuditRow:
    return AuditRow(row[0], decode(Entry, row[1]), row[2], row[3])


def _serial(serial: int) -> bytes:
    return serial.to_bytes(_SERIAL_BYTES, "big")


def _bounded(limit: int) -> int:
    return max(0, min(limit, PAGE_MAX))
