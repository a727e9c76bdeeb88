"""The records of files that this node sends, in one SQLite file of mode 0600. What is kept is
durable when a call returns."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from hypermesh.node.transfers import Record
from hypermesh.sqlite.file import opened
from hypermesh.wire.api.transfer import FINAL, UnknownTransfer
from hypermesh.wire.delivery import TransferId
from hypermesh.wire.errors import HyperMeshError, InvalidInput

KEPT_MAX = 10_000
"""Beyond, the oldest that are over are dropped."""
CURSOR_DIGITS_MAX = 18

_SCHEMA = """
CREATE TABLE IF NOT EXISTS transfers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, transfer BLOB NOT NULL UNIQUE,
    is_over INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS transfers_open ON transfers (is_over, number);
"""


class TransfersNotKept(HyperMeshError):
    """The file of transfers cannot be used."""

    code = "HM-SEND-0010"
    status = 507
    exit_code = 8
    title = "Transfers cannot be kept"
    remedy = "Make room on the disk of the data directory, then ask again"


class KeptTransfers:
    """The transfers of this node. Safe to use from any thread."""

    def __init__(self, file: Path) -> None:
        """Raises `TransfersNotKept` where the file is damaged or cannot be written."""
        try:
            self._database = opened(file, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise TransfersNotKept(
                f"{file} cannot be used",
                why=str(error),
                fix="Make room on its disk; if it is damaged, remove it: no file is lost with it",
            ) from error
        self._lock = threading.Lock()

    def keep(self, record: Record) -> None:
        """A new record, or a newer one of the same transfer."""
        encoded = msgspec.msgpack.encode(record)
        with self._lock:
            self._query(
                "INSERT INTO transfers (transfer, is_over, record) VALUES (?, ?, ?) "
                "ON CONFLICT (transfer) DO UPDATE SET is_over = excluded.is_over, "
                "record = excluded.record",
                record.transfer,
                record.is_final,
                encoded,
            )
            self._query(
                "DELETE FROM transfers WHERE is_over AND number <= "
                "(SELECT max(number) FROM transfers) - ?",
                KEPT_MAX,
            )

    def get(self, transfer: TransferId) -> Record:
        """Raises `UnknownTransfer`."""
        with self._lock:
            rows = self._query("SELECT record FROM transfers WHERE transfer = ?", transfer)
        if not rows:
            raise UnknownTransfer(f"This node has no transfer {transfer.hex()}")
        return msgspec.msgpack.decode(rows[0][0], type=Record)

    def newest(self, cursor: str | None, limit: int) -> list[tuple[int, Record]]:
        """Transfers from the newest on, those beyond `cursor`, each with its place."""
        rows = self._page(before(cursor), limit)
        return [(number, msgspec.msgpack.decode(record, type=Record)) for number, record in rows]

    def unfinished(self) -> list[Record]:
        """Those that are not over, the oldest first."""
        with self._lock:
            rows = self._query("SELECT record FROM transfers WHERE NOT is_over ORDER BY number")
        found = [msgspec.msgpack.decode(row[0], type=Record) for row in rows]
        return [record for record in found if record.state not in FINAL]

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _page(self, number: int, limit: int) -> list[Any]:
        query = "SELECT number, record FROM transfers WHERE number < ? ORDER BY number DESC LIMIT ?"
        with self._lock:
            return self._query(query, number, limit)

    def _query(self, statement: str, *values: object) -> list[Any]:
        try:
            with closing(self._database.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise TransfersNotKept(why=str(error)) from error


def before(cursor: str | None) -> int:
    """The place that `cursor` names; above all where there is none."""
    if cursor is None:
        return 1 << 62
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= CURSOR_DIGITS_MAX):
        raise InvalidInput(f"{cursor[:40]!r} is not a cursor")
    return int(cursor)
