"""How SQLite is opened and written, by itself: modes, syncs, transactions, versions."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hypermesh.sqlite.file import (
    Synced,
    is_full,
    lay_out,
    opened,
    opened_to_read,
    sync,
    transaction,
    version,
)

TABLE = "CREATE TABLE IF NOT EXISTS words (word TEXT NOT NULL) STRICT;"
FULL, NORMAL = 2, 1


def _words(connection: sqlite3.Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY rowid")]


def _put(connection: sqlite3.Connection, word: str | None) -> None:
    connection.execute("INSERT INTO words VALUES (?)", (word,))


def _put_two(connection: sqlite3.Connection, *words: str | None) -> None:
    with transaction(connection):
        for word in words:
            _put(connection, word)


def test_a_file_is_private_and_what_is_committed_is_synced(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    with closing(opened(file, TABLE)) as connection:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        pragma = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "trusted_schema")
        }
        assert pragma == {"journal_mode": "wal", "synchronous": FULL, "trusted_schema": 0}
        assert not connection.in_transaction
        sync(connection, Synced.LATER)
        assert connection.execute("PRAGMA synchronous").fetchone() == (NORMAL,)
    with closing(opened(file, synced=Synced.LATER, cache_kib=64)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (NORMAL,)
        assert connection.execute("PRAGMA cache_size").fetchone() == (-64,)


def test_a_transaction_is_there_wholly_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    with closing(opened(file, TABLE)) as connection, closing(opened_to_read(file)) as reader:
        with transaction(connection):
            _put(connection, "one")
            assert _words(reader) == []
        assert _words(reader) == ["one"]
        with pytest.raises(sqlite3.IntegrityError):
            _put_two(connection, "two", None)
        assert _words(connection) == ["one"]
        assert not connection.in_transaction

        def fail(_: sqlite3.Connection) -> None:
            raise OSError("the disk")

        with pytest.raises(OSError, match="the disk"), transaction(connection, fail):
            _put(connection, "three")
        assert _words(connection) == ["one"]
        assert not connection.in_transaction


def test_a_reader_cannot_write_and_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        opened_to_read(file)
    assert not file.exists()
    with (
        closing(opened(file, TABLE)),
        closing(opened_to_read(file)) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        _put(reader, "one")


def test_a_layout_is_made_with_its_version(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "a.sqlite")) as connection:
        assert version(connection) == 0
        with pytest.raises(sqlite3.OperationalError), transaction(connection):
            lay_out(connection, "CREATE TABLE a (b); CREATE TABLE a (b);", 3)
        assert version(connection) == 0
        with transaction(connection):
            lay_out(connection, "CREATE TABLE a (b); CREATE TABLE c (d);", 3)
        assert version(connection) == 3
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (2,)


def test_want_of_room_is_told_from_other_failures(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "a.sqlite", TABLE)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError) as full, transaction(connection):
            _put(connection, "x" * 100_000)
        assert is_full(full.value)
        assert _words(connection) == []
        with pytest.raises(sqlite3.OperationalError) as other:
            connection.execute("SELECT * FROM nothing")
        assert not is_full(other.value)
        assert not is_full(OSError("no room"))


def test_opening_twice_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """A second connection of this process must not give up what SQLite holds on the file: another
    process would write into the transaction that is open."""
    file = tmp_path / "a.sqlite"
    other = (
        "import sqlite3, sys\n"
        "held = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
        "try:\n    held.execute('BEGIN IMMEDIATE')\n"
        "except sqlite3.OperationalError as error:\n    print(error)\n"
    )

    def tried() -> str:
        return subprocess.run(
            [sys.executable, "-c", other, str(file)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()

    with closing(opened(file, TABLE)) as first:
        assert tried() == ""
        # The exclusive lock of the rollback journal is on the file itself.
        first.execute("PRAGMA journal_mode = DELETE")
        first.execute("BEGIN IMMEDIATE")
        before = file.stat().st_mtime_ns
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            opened_at_once(file)
        assert file.stat().st_mtime_ns == before
        assert tried() == "database is locked"
        first.execute("ROLLBACK")


def opened_at_once(file: Path) -> sqlite3.Connection:
    """`opened`, without the wait for the lock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hypermesh.sqlite.file.BUSY_WAIT_S", 0.0)
        return opened(file)
