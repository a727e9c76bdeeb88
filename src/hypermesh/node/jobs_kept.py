"""The records of this node's jobs, in one SQLite file of mode 0600.

Two strengths of writing. `keep` returns when the record would survive a loss of power: for what was
acknowledged. `note` survives the end of the process, `kill -9` included, and costs no sync: for the
steps on the way. A later `keep` makes the notes before it as durable as itself, because both go
through one write-ahead log (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from hypermesh.node.jobs import Record, Said
from hypermesh.sqlite.file import opened
from hypermesh.wire.api.job import FINAL, JobState, JobSubmit, UnknownJob
from hypermesh.wire.errors import HyperMeshError, InvalidInput
from hypermesh.wire.ids import JobId

JOBS_KEPT_MAX = 10_000
OUTPUT_BYTES_KEPT_MAX = 256 << 20
"""Of all jobs together. Beyond either bound the oldest jobs that are over are dropped."""
CURSOR_DIGITS_MAX = 18

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job BLOB NOT NULL UNIQUE, state TEXT NOT NULL,
    owed INTEGER NOT NULL, size INTEGER NOT NULL, stdout INTEGER NOT NULL, stderr INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE INDEX IF NOT EXISTS jobs_owed ON jobs (owed, number) WHERE owed;
CREATE TABLE IF NOT EXISTS programs (job BLOB PRIMARY KEY, submit BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outputs (job BLOB PRIMARY KEY, said BLOB NOT NULL);
"""
_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL))


class JobsNotKept(HyperMeshError):
    """The file of jobs cannot be used."""

    code = "HM-JOB-0013"
    status = 507
    exit_code = 8
    title = "Jobs cannot be kept"
    remedy = "Make room on the disk of the data directory, then ask again"


class Kept(msgspec.Struct, frozen=True):
    """A record with its place in the list, and how long its outputs are."""

    number: int
    record: Record
    stdout_bytes: int
    stderr_bytes: int


class KeptJobs:
    """The jobs of this node. Safe to use from any thread."""

    def __init__(self, file: Path) -> None:
        """Raises `JobsNotKept` where the file is damaged or cannot be written."""
        try:
            self._database = opened(file, _SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise JobsNotKept(
                f"{file} cannot be used",
                why=str(error),
                fix="Make room on its disk; if it is damaged, remove it: no lease is lost with it",
            ) from error
        self._lock = threading.Lock()
        self._count, self._bytes = self._query("SELECT count(*), total(size) FROM jobs")[0]

    def add(self, record: Record, submit: JobSubmit | None) -> None:
        """A new job. With `submit` it is durable when this returns, and can be run after a restart;
        without, whoever submitted it waits for it and has been told nothing yet."""
        with self._lock, self._transaction(durable=submit is not None):
            self._query(
                "INSERT INTO jobs (job, state, owed, size, stdout, stderr, record) "
                "VALUES (?, ?, 0, 0, 0, 0, ?)",
                record.job,
                record.state.value,
                msgspec.msgpack.encode(record),
            )
            self._count += 1
            if submit is not None:
                encoded = msgspec.msgpack.encode(submit)
                self._query("INSERT INTO programs VALUES (?, ?)", record.job, encoded)
            self._drop_old()

    def note(self, record: Record, *, owed: bool, durable: bool = False) -> None:
        """Another step of a job. `owed`: it has a lease that is not settled yet."""
        with self._lock, self._transaction(durable=durable):
            self._put(record, owed)

    def keep(self, record: Record, *, owed: bool, said: Said | None = None) -> None:
        """The end of a job, or what came after it, durably."""
        with self._lock, self._transaction(durable=True):
            self._put(record, owed)
            self._query("DELETE FROM programs WHERE job = ?", record.job)
            if said is not None:
                before = self._query("SELECT size FROM jobs WHERE job = ?", record.job)[0][0]
                self._query(
                    "UPDATE jobs SET size = ?, stdout = ?, stderr = ? WHERE job = ?",
                    said.size,
                    len(said.stdout),
                    len(said.stderr),
                    record.job,
                )
                encoded = msgspec.msgpack.encode(said)
                self._query("INSERT OR REPLACE INTO outputs VALUES (?, ?)", record.job, encoded)
                self._bytes += said.size - before
            self._drop_old()

    def get(self, job: JobId) -> Record:
        """Raises `UnknownJob`."""
        with self._lock:
            found = self._query("SELECT record FROM jobs WHERE job = ?", job)
        if not found:
            raise UnknownJob(f"This node has no job {job.hex()}")
        return msgspec.msgpack.decode(found[0][0], type=Record)

    def said(self, job: JobId) -> Said:
        """What a job that is over had said."""
        with self._lock:
            found = self._query("SELECT said FROM outputs WHERE job = ?", job)
        return msgspec.msgpack.decode(found[0][0], type=Said) if found else Said()

    def submitted(self, job: JobId) -> JobSubmit | None:
        """What was submitted, for a job that can still be run."""
        with self._lock:
            found = self._query("SELECT submit FROM programs WHERE job = ?", job)
        return msgspec.msgpack.decode(found[0][0], type=JobSubmit) if found else None

    def newest(self, state: JobState | None, cursor: str | None, limit: int) -> list[Kept]:
        """Jobs from the newest on, those beyond `cursor`, in one state or in any."""
        before = 1 << 62
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= CURSOR_DIGITS_MAX):
                raise InvalidInput(f"{cursor[:40]!r} is not a cursor of jobs")
            before = int(cursor)
        columns = "SELECT number, record, stdout, stderr FROM jobs WHERE "
        with self._lock:
            if state is None:
                query = columns + "number < ? ORDER BY number DESC LIMIT ?"
                rows = self._query(query, before, limit)
            else:
                query = columns + "state = ? AND number < ? ORDER BY number DESC LIMIT ?"
                rows = self._query(query, state.value, before, limit)
        return [_kept(row) for row in rows]

    def unfinished(self) -> list[Record]:
        """Jobs that are not over, the oldest first."""
        with self._lock:
            rows = self._query(
                f"SELECT record FROM jobs WHERE state NOT IN ({_FINAL}) ORDER BY number"  # noqa: S608
            )
        return [msgspec.msgpack.decode(row[0], type=Record) for row in rows]

    def owed(self) -> list[Record]:
        """Jobs that are over and whose leases are not settled, the oldest first."""
        with self._lock:
            rows = self._query(
                f"SELECT record FROM jobs WHERE owed AND state IN ({_FINAL}) ORDER BY number"  # noqa: S608
            )
        return [msgspec.msgpack.decode(row[0], type=Record) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _put(self, record: Record, owed: bool) -> None:
        self._query(
            "UPDATE jobs SET state = ?, owed = ?, record = ? WHERE job = ?",
            record.state.value,
            owed,
            msgspec.msgpack.encode(record),
            record.job,
        )

    def _drop_old(self) -> None:
        while self._count > JOBS_KEPT_MAX or self._bytes > OUTPUT_BYTES_KEPT_MAX:
            rows = self._query(
                f"SELECT job, size FROM jobs WHERE state IN ({_FINAL}) AND NOT owed "  # noqa: S608
                "ORDER BY number LIMIT 1"
            )
            if not rows:
                return
            for job, size in rows:
                for table in ("jobs", "outputs", "programs"):
                    self._query(f"DELETE FROM {table} WHERE job = ?", job)  # noqa: S608
                self._count -= 1
                self._bytes -= size

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        count, size = self._count, self._bytes
        self._query(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._query("BEGIN IMMEDIATE")
        try:
            yield
            self._query("COMMIT")
        except BaseException:
            self._count, self._bytes = count, size
            if self._database.in_transaction:
                self._query("ROLLBACK")
            raise

    def _query(self, statement: str, *values: object) -> list[Any]:
        try:
            with closing(self._database.execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise JobsNotKept(why=str(error)) from error


def forget_programs(file: Path) -> None:
    """Leave nothing to be run in a file that nobody has open. Raises `JobsNotKept`."""
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute("DELETE FROM programs")
    except sqlite3.Error as error:
        raise JobsNotKept(f"{file} cannot be used", why=str(error)) from error


def _kept(row: tuple[int, bytes, int, int]) -> Kept:
    number, record, stdout, stderr = row
    return Kept(number, msgspec.msgpack.decode(record, type=Record), stdout, stderr)
