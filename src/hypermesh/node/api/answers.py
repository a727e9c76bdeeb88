"""Answers that were given to writes with an `Idempotency-Key`, kept for 24 hours.

A key is written down before its request runs and the answer before it is sent, so neither a lost
connection nor a crash makes a second effect.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from hypermesh.sqlite.file import opened
from hypermesh.wire.errors import Conflict, HyperMeshError, Overloaded

KEPT_MS = 24 * 60 * 60 * 1000
KEYS_MAX = 1_000_000
BYTES_MAX = 512 * 1024 * 1024
"""Of all answers together; with either bound reached, writes with a key are not taken."""
SHARE = 10
"""Of each bound, any principal but the owner may take up one part in so many."""
OWNERS = frozenset({"owner", "session"})
"""Principals whose writes nobody else can keep out."""
FORGOTTEN_AT_ONCE = 64
"""Old keys that one write takes away: more than one, so that they go faster than they come."""
NOT_TAKEN = frozenset({429, 503})
"""Statuses that say that nothing was done: the same request may come again and run."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    principal TEXT NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL, started_ms INTEGER NOT NULL,
    answer BLOB, PRIMARY KEY (principal, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (started_ms);
"""


class KeyReused(Conflict):
    """The idempotency key belongs to another request."""

    code = "HM-API-0005"
    title = "This Idempotency-Key was used for another request"
    remedy = "Use a fresh key for each request"


class OutcomeUnknown(Conflict):
    """The first request with this key has no answer, yet or for good."""

    code = "HM-API-0006"
    title = "The first request with this Idempotency-Key has no answer"


class KeysNotKept(HyperMeshError):
    """The file of answers cannot be used, so no write with a key is taken."""

    code = "HM-API-0007"
    status = 507
    exit_code = 8
    title = "Idempotency keys cannot be kept"
    remedy = "Make room on the disk of the data directory, then ask again"


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """An HTTP answer as it was sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Answers:
    """The answers given in the last 24 hours, in one SQLite file of mode 0600."""

    def __init__(self, file: Path) -> None:
        """Raises `KeysNotKept` where the file is damaged or cannot be written."""
        try:
            self._database = opened(file, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise KeysNotKept(
                f"{file} cannot be used",
                why=str(error),
                fix="Make room on its disk; if it is damaged, remove it: no effect is lost with it",
            ) from error
        self._lock = threading.Lock()
        self._running: set[tuple[str, str]] = set()
        self._kept: dict[str, tuple[int, int]] = {
            principal: (count, size)
            for principal, count, size in self._query(
                "SELECT principal, count(*), ifnull(sum(length(answer)), 0) FROM answers "
                "GROUP BY principal"
            )
        }
        """How many keys each principal has, and the bytes of their answers."""

    def begin(self, principal: str, key: str, request: bytes, now_ms: int) -> Answer | None:
        """The answer that `request` had, or None where it is to run now."""
        with self._lock:
            found = self._query(
                "SELECT request, answer FROM answers "
                "WHERE principal = ? AND key = ? AND started_ms >= ?",
                principal,
                key,
                now_ms - KEPT_MS,
            )
            if not found:
                self._note(principal, key, request, now_ms)
                return None
            kept, answer = found[0]
            if kept != request:
                raise KeyReused
            if answer is not None:
                return msgspec.msgpack.decode(answer, type=Answer)
            if (principal, key) in self._running:
                raise OutcomeUnknown(why="it is still being answered", fix="Ask again in a moment")
            raise OutcomeUnknown(
                why="the node went down meanwhile",
                fix="See whether it took effect; if not, ask with a fresh key",
            )

    def finish(self, principal: str, key: str, answer: Answer) -> None:
        """Keep the answer, durably; or forget the key where nothing was done."""
        with self._lock:
            self._running.discard((principal, key))
            if answer.status in NOT_TAKEN:
                self._query("DELETE FROM answers WHERE principal = ? AND key = ?", principal, key)
                self._count(principal, -1, 0)
                return
            encoded = msgspec.msgpack.encode(answer)
            self._query(
                "UPDATE answers SET answer = ? WHERE principal = ? AND key = ?",
                encoded,
                principal,
                key,
            )
            self._count(principal, 0, len(encoded))

    def _note(self, principal: str, key: str, request: bytes, now_ms: int) -> None:
        """Write down that the request runs; what is older than a day goes in the same commit."""
        old = self._query(
            "SELECT principal, key, ifnull(length(answer), 0) FROM answers "
            "WHERE started_ms < ? ORDER BY started_ms LIMIT ?",
            now_ms - KEPT_MS,
            FORGOTTEN_AT_ONCE,
        )
        self._require_room(principal, old)
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                for gone in old:
                    self._database.execute(
                        "DELETE FROM answers WHERE principal = ? AND key = ?", gone[:2]
                    )
                self._database.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, NULL)",
                    (principal, key, request, now_ms),
                )
        except sqlite3.Error as error:
            raise KeysNotKept(why=str(error)) from error
        for gone in old:
            self._count(gone[0], -1, -gone[2])
        self._count(principal, 1, 0)
        self._running.add((principal, key))

    def _require_room(self, principal: str, old: list[Any]) -> None:
        """Raise `Overloaded` where there is none, also once `old` rows have gone."""
        everybody, own = list(self._kept.values()), self._kept.get(principal, (0, 0))
        kept = [(everybody, old, 1)]
        if principal not in OWNERS:
            kept.append(([own], [each for each in old if each[0] == principal], SHARE))
        for counted, going, part in kept:
            count = sum(each[0] for each in counted) - len(going)
            size = sum(each[1] for each in counted) - sum(each[2] for each in going)
            if count >= KEYS_MAX // part or size >= BYTES_MAX // part:
                raise Overloaded(f"{count} idempotency keys are kept already, in {size} bytes")

    def _count(self, principal: str, keys: int, size: int) -> None:
        count, held = self._kept.get(principal, (0, 0))
        if count + keys:
            self._kept[principal] = count + keys, held + size
        else:
            self._kept.pop(principal, None)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _query(self, statement: str, *values: object) -> list[Any]:
        try:
            with closing(self._database.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise KeysNotKept(why=str(error)) from error
