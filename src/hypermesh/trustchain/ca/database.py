"""One SQLite file for each store of the authority: acknowledged means durable."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from hypermesh.crypto.files import make_directory
from hypermesh.sqlite.file import opened, transaction
from hypermesh.wire.errors import HyperMeshError

WAL_PAGES = 4096
"""Pages in the write-ahead log before SQLite carries them over, which takes two more syncs."""
CACHE_KIB = 16 * 1024


class StoreUnavailable(HyperMeshError):
    """The operating system or SQLite refuses; nothing was changed."""

    code = "HM-TRUST-0023"
    status = 503
    exit_code = 3
    title = "The store of the certificate authority cannot be used"
    remedy = "Check the free space and the rights of the data directory"


class Database:
    """A SQLite file with the tables of `schema`; may be used from several threads."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._reported():
            make_directory(path.parent, 0o700)
            self._connection = opened(path, schema, cache_kib=CACHE_KIB)
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes: on the disk when the block ends, undone if it raises."""
        with self._lock, self._reported(), transaction(self._connection):
            yield self._connection

    def close(self) -> None:
        """Release the file. Nothing is lost without it."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path} cannot be used", why=str(error)) from error
