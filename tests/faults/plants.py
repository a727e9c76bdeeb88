"""Planted faults: what the checkers have to find.

Each is a small lie about durability of the kind that is easy to write.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypermesh.ledger.store import Store
from hypermesh.node import configuration


class UnsyncedStore(Store):
    """SQLite is told not to sync."""

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute("PRAGMA synchronous = OFF")
        return connection


class LateStore(Store):
    """A block is committed when the next one begins: its submitters have their answer before."""

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._writer.in_transaction:
            self._writer.execute("COMMIT")
        self._writer.execute("BEGIN IMMEDIATE")
        yield


STORES: dict[str, type[Store]] = {
    "": Store,
    "synchronous=OFF": UnsyncedStore,
    "acknowledged before the commit": LateStore,
}


def without_syncs_of(forgotten: Callable[[int], bool]) -> None:
    """From now on this process's Python code does not sync files whose `st_mode` is `forgotten`."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if not forgotten(os.fstat(descriptor).st_mode):
            real(descriptor)

    os.fsync = fsync  # type: ignore[assignment]


SYNCS: dict[str, Callable[[int], bool]] = {
    "a file replaced without a sync": stat.S_ISREG,
    "a rename without a sync of the directory": stat.S_ISDIR,
}

NOT_SETTLED = "what a killed process left is not synced"


def forget_to_settle() -> None:
    """From now on a start trusts what it finds in the system's cache."""
    configuration.settle = lambda _: None  # type: ignore[assignment]
