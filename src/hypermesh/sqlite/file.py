"""One SQLite file: opened, read beside its writer, written in transactions.

What holds of each. The journal is a write-ahead log, so readers and the one writer do not wait for
one another. `Synced.AT_ONCE` syncs that log at each commit: what was committed outlives a power
cut. `Synced.LATER` syncs with the next such commit or a checkpoint: a power cut may take the last
transactions, whole ones and in their order (https://www.sqlite.org/pragma.html#pragma_synchronous).
No transaction begins unasked, and a schema in the file cannot call functions of ours.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

BUSY_WAIT_S: Final = 5.0
"""Seconds to wait for another process that holds the file, a backup say."""


class Synced(enum.Enum):
    """When what a transaction wrote is on the disk: when it ends, or some time after."""

    AT_ONCE = "FULL"
    LATER = "NORMAL"


def opened(
    file: Path,
    schema: str = "",
    *,
    synced: Synced = Synced.AT_ONCE,
    cache_kib: int | None = None,
) -> sqlite3.Connection:
    """A connection that may write, for threads that take turns. A new file has mode 0600; `schema`
    is applied each time. Raises `sqlite3.Error`, `OSError`."""
    # Only where it is not there: closing a descriptor of a file that this process has open would
    # give up the locks that SQLite holds on it (POSIX.1-2017, `fcntl`).
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        file, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        sync(connection, synced)
        connection.execute("PRAGMA trusted_schema = OFF")
        if cache_kib is not None:
            connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection


def opened_to_read(file: Path) -> sqlite3.Connection:
    """A connection that cannot write, for threads that take turns, beside one that does. Raises
    `sqlite3.Error`."""
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_WAIT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def sync(connection: sqlite3.Connection, synced: Synced) -> None:
    """From the next transaction on, what is written is on the disk when `synced` says."""
    connection.execute(f"PRAGMA synchronous = {synced.value}")


@contextlib.contextmanager
def transaction(
    connection: sqlite3.Connection, commit: Callable[[sqlite3.Connection], None] | None = None
) -> Iterator[sqlite3.Connection]:
    """A transaction that writes: wholly there when the block ends, undone if it raises. `commit`
    is called in the place of the commit, and does it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        if commit is None:
            connection.execute("COMMIT")
        else:
            commit(connection)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version(connection: sqlite3.Connection) -> int:
    """Which layout of tables the file says it has; 0 for a new file."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def lay_out(connection: sqlite3.Connection, tables: str, number: int) -> None:
    """Make `tables` and say that this is layout `number`, within the transaction that is open."""
    for statement in tables.split(";")[:-1]:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {number}")


def is_full(error: BaseException) -> bool:
    """Whether a statement failed for want of room, after which the file is as it was."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, sqlite3.Error) and code & 0xFF == sqlite3.SQLITE_FULL
